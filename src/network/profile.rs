//! The description of a link: shared by all devices that have one like it.

use std::sync::Arc;

use super::jitter::Jitter;
use super::loss::Loss;
use super::trace::Trace;
use super::{Direction, preset};
use crate::time::Micros;

/// A link: a path each way, and the TCP of the device at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name, for reports.
    pub name: String,
    /// From the device.
    pub up: Way,
    /// To the device.
    pub down: Way,
    /// The device's TCP; the server's is always Linux's.
    pub stack: Stack,
    /// What changes later, in the order of time, counted from the start of the run.
    pub schedule: Vec<Change>,
}

/// One way of a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// One-way delay.
    pub delay: Micros,
    /// On top of it.
    pub jitter: Jitter,
    /// What gets lost.
    pub loss: Loss,
    /// Bits per second of the bottleneck; `None`: no limit.
    pub rate: Option<u32>,
    /// Bytes that may wait for the bottleneck; more are lost. `None`: 250 ms of its rate, at least 32 KiB.
    pub queue: Option<u32>,
    /// The bottleneck as a recording instead of a rate.
    pub trace: Option<Arc<Trace>>,
}

impl Way {
    /// The least time that bytes take.
    pub fn least(&self) -> Micros {
        (self.delay + self.jitter.least()).max(Micros::ZERO)
    }

    /// True when bytes come out as they go in.
    pub fn is_none(&self) -> bool {
        self.delay == Micros::ZERO
            && self.jitter.is_none()
            && self.loss.is_none()
            && self.rate.is_none()
            && self.trace.is_none()
    }
}

/// From an instant on, other paths.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// From when on, since the start of the run.
    pub at: Micros,
    /// What it is called.
    pub name: String,
    /// From the device.
    pub up: Way,
    /// To the device.
    pub down: Way,
}

/// The TCP of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stack {
    /// Linux: selective acknowledgements, RACK, tail-loss probes, CUBIC.
    #[default]
    Linux,
    /// Linux without selective acknowledgements, as behind some middleboxes.
    LinuxNoSack,
    /// lwIP as an ESP32 has it: no selective acknowledgements, windows of 5,744 bytes, timeouts in ticks of 500 ms.
    Lwip,
}

impl Stack {
    /// Every stack.
    pub const ALL: [Self; 3] = [Self::Linux, Self::LinuxNoSack, Self::Lwip];

    /// The name used in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::LinuxNoSack => "linux-nosack",
            Self::Lwip => "lwip",
        }
    }

    /// The stack of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl Profile {
    /// A link that does nothing.
    pub fn none() -> Self {
        Self {
            name: "none".to_owned(),
            up: Way::default(),
            down: Way::default(),
            stack: Stack::Linux,
            schedule: Vec::new(),
        }
    }

    /// The shipped link of that name.
    pub fn preset(name: &str) -> Option<Self> {
        preset::PRESETS.iter().find(|p| p.name == name).map(preset::Preset::profile)
    }

    /// Every shipped link, in the order of the documentation.
    pub const fn presets() -> &'static [preset::Preset] {
        preset::PRESETS
    }

    /// True when bytes come out as they go in, both ways, for good.
    pub fn is_none(&self) -> bool {
        self.up.is_none()
            && self.down.is_none()
            && self.schedule.iter().all(|c| c.up.is_none() && c.down.is_none())
    }

    /// How a way is at an instant, and which of the schedule's changes made it so (0: none has yet).
    pub(super) fn way(&self, d: Direction, at: Micros) -> (&Way, usize) {
        let step = self.schedule.iter().take_while(|c| c.at <= at).count();
        let way = match (step.checked_sub(1).and_then(|i| self.schedule.get(i)), d) {
            (Some(change), Direction::Up) => &change.up,
            (Some(change), Direction::Down) => &change.down,
            (None, Direction::Up) => &self.up,
            (None, Direction::Down) => &self.down,
        };
        (way, step)
    }

    /// The round trip of an empty path, without jitter.
    pub fn rtt(&self) -> Micros {
        self.up.delay + self.down.delay
    }
}
