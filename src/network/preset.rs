//! The shipped links: numbers that somebody measured, or a choice where nobody has.

use super::jitter::Jitter;
use super::loss::Loss;
use super::profile::{Profile, Stack, Way};
use crate::time::Micros;

/// A shipped link.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is like, in a few words.
    pub about: &'static str,
    /// Where the numbers come from.
    pub basis: &'static str,
    /// Round trip of the empty path; half of it each way.
    pub rtt: Micros,
    /// Jitter, each way.
    pub jitter: Jitter,
    /// Loss, each way.
    pub loss: Loss,
    /// Bits per second to the device; `None`: no limit.
    pub down: Option<u32>,
    /// Bits per second from the device.
    pub up: Option<u32>,
}

impl Preset {
    /// As a link.
    pub fn profile(&self) -> Profile {
        let way = |rate| Way {
            delay: self.rtt / 2,
            jitter: self.jitter,
            loss: self.loss,
            rate,
            queue: None,
            trace: None,
        };
        Profile {
            name: self.name.to_owned(),
            up: way(self.up),
            down: way(self.down),
            stack: Stack::Linux,
            schedule: Vec::new(),
        }
    }
}

const fn ms(n: i64) -> Micros {
    Micros::from_millis(n)
}

const fn log_normal(median: i64, p99: i64) -> Jitter {
    Jitter::LogNormal { median: ms(median), p99: ms(p99) }
}

const fn mbit(thousandths: u32) -> Option<u32> {
    Some(thousandths * 1_000)
}

/// Every shipped link.
pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "none",
        about: "no link at all: bytes come out as they go in",
        basis: "",
        rtt: Micros::ZERO,
        jitter: Jitter::None,
        loss: Loss::None,
        down: None,
        up: None,
    },
    Preset {
        name: "lan",
        about: "a wire in the same building",
        basis: "choice",
        rtt: ms(1),
        jitter: Jitter::None,
        loss: Loss::None,
        down: None,
        up: None,
    },
    Preset {
        name: "wifi-home",
        about: "good Wi-Fi, a server in the region",
        basis: "comcast, `WIFI good`; jitter is a choice",
        rtt: ms(40),
        jitter: log_normal(2, 20),
        loss: Loss::Independent(0.002),
        down: mbit(30_000),
        up: mbit(30_000),
    },
    Preset {
        name: "wifi-congested",
        about: "Wi-Fi that many share: delay spikes, bursts of loss",
        basis: "Pei, `WiFi can be the weakest link`: over half of the packets above 20 ms on the Wi-Fi hop, over 10 % above 100 ms",
        rtt: ms(40),
        jitter: log_normal(10, 180),
        loss: Loss::Burst { mean: 0.01, bad: ms(60) },
        down: mbit(5_000),
        up: mbit(2_000),
    },
    Preset {
        name: "lte",
        about: "4G on a phone or in a car",
        basis: "WebPageTest LTE; Huang 2012, medians 13/6 Mbit/s; Loadero 4G",
        rtt: ms(70),
        jitter: log_normal(8, 60),
        loss: Loss::Burst { mean: 0.002, bad: ms(40) },
        down: mbit(12_000),
        up: mbit(6_000),
    },
    Preset {
        name: "cat1",
        about: "LTE Cat 1: a toy with a modem of its own",
        basis: "ceiling of the category; the rest is a choice",
        rtt: ms(100),
        jitter: log_normal(15, 150),
        loss: Loss::Burst { mean: 0.005, bad: ms(80) },
        down: mbit(10_000),
        up: mbit(5_000),
    },
    Preset {
        name: "5g",
        about: "5G, not standing still",
        basis: "Rohde & Schwarz: 7 ms best down, 18 ms worst up",
        rtt: ms(25),
        jitter: log_normal(3, 25),
        loss: Loss::Burst { mean: 0.001, bad: ms(20) },
        down: mbit(100_000),
        up: mbit(20_000),
    },
    Preset {
        name: "3g",
        about: "what is left of 3G",
        basis: "Loadero; comcast",
        rtt: ms(250),
        jitter: Jitter::Uniform(ms(50)),
        loss: Loss::Independent(0.01),
        down: mbit(1_200),
        up: mbit(750),
    },
    Preset {
        name: "edge",
        about: "2G in the countryside",
        basis: "comcast; jitter is a choice",
        rtt: ms(300),
        jitter: log_normal(50, 300),
        loss: Loss::Independent(0.015),
        down: mbit(250),
        up: mbit(200),
    },
];
