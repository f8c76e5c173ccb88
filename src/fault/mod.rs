//! Faults: what happens to a device's connection on purpose, what the device was doing, and how it came back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::FailureClass;
use crate::time::Micros;

pub mod plan;

pub use plan::{FaultSpec, Planned, Strikes, When};

/// Something that happens to a device's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection is reset.
    Reset,
    /// The connection ends without a goodbye.
    Close,
    /// Nothing arrives any more, either way; only an application that waits for an answer notices.
    BlackHole,
    /// Everything is lost for a while: another access point.
    Roam,
    /// Nothing arrives any more; a little later the device knows, and comes back from another port.
    AddressChange,
    /// The device takes only so many bytes a second from its socket.
    SlowReader,
    /// The device's socket takes nothing for a while.
    StalledWriter,
    /// The device is gone without a word, and never comes back.
    Vanish,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Reset,
        Self::Close,
        Self::BlackHole,
        Self::Roam,
        Self::AddressChange,
        Self::SlowReader,
        Self::StalledWriter,
        Self::Vanish,
    ];

    /// The name used in scenarios and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::BlackHole => "black_hole",
            Self::Roam => "roam",
            Self::AddressChange => "address_change",
            Self::SlowReader => "slow_reader",
            Self::StalledWriter => "stalled_writer",
            Self::Vanish => "vanish",
        }
    }

    /// What happens, for people.
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Reset => "the connection is reset",
            Self::Close => "the connection ends without a goodbye",
            Self::BlackHole => {
                "nothing arrives any more, either way: only a heartbeat or a turn that is not answered tells, and a new connection works"
            }
            Self::Roam => "everything is lost for `length`, also of new connections: another access point",
            Self::AddressChange => {
                "nothing arrives any more; after `length` the device knows, and comes back from another port"
            }
            Self::SlowReader => {
                "for `length`, the device takes only `rate` bytes a second from its socket (default 2 KiB)"
            }
            Self::StalledWriter => "for `length`, the device's socket takes nothing",
            Self::Vanish => {
                "the device is gone without a word, and never comes back; the turn under way is not counted"
            }
        }
    }
}

/// What a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Connecting, up to the upgrade.
    Handshake,
    /// Connected, between turns.
    Idle,
    /// Its user speaks.
    Speaking,
    /// Its user has spoken and has heard nothing yet.
    Waiting,
    /// Its user listens to a reply.
    Listening,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Handshake, Self::Idle, Self::Speaking, Self::Waiting, Self::Listening];

    /// The name used in scenarios and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Speaking => "speaking",
            Self::Waiting => "waiting",
            Self::Listening => "listening",
        }
    }
}

/// Why a device had to come back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A fault of the scenario.
    Fault(FaultKind),
    /// Something else: what the device saw.
    Lost(FailureClass),
}

/// The key used in reports: `roam`, `closed_1012`, …
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(kind) => f.write_str(kind.name()),
            Self::Lost(class) => class.fmt(f),
        }
    }
}

/// What the owner of a socket does to it for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impairment {
    /// Resets the connection, now.
    Reset,
    /// Ends it without a goodbye, now.
    Close,
    /// Everything is lost, both ways, until this instant; `NEVER`: for good.
    Lose(Micros),
    /// Takes at most so many bytes a second from the socket, until this instant.
    SlowRead(u32, Micros),
    /// Gives nothing to the socket until this instant.
    StallWrites(Micros),
}

/// How a device came back from a cut, or lived through a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Why.
    pub cause: Cause,
    /// What the device was doing.
    pub phase: Phase,
    /// When it was cut. What was no fault of the scenario is cut when it is noticed, except for an unanswered heartbeat:
    /// then when that was sent.
    pub cut: Micros,
    /// When it noticed; `None`: it never lost its connection.
    pub noticed: Option<Micros>,
    /// Attempts to connect that it took.
    pub attempts: u32,
    /// Time spent waiting between attempts.
    pub back_off: Micros,
    /// Of the attempt that succeeded: TCP.
    pub tcp: Micros,
    /// TLS.
    pub tls: Micros,
    /// Upgrade.
    pub upgrade: Micros,
    /// From the upgrade to the server's session message; `None` when the server sends none.
    pub session: Option<Micros>,
    /// When it was connected again; of a fault that it lived through, when the fault began; of a device that was never
    /// connected again, when the next fault struck it, or it left.
    pub connected: Micros,
    /// True when the server knew the session still.
    pub resumed: bool,
    /// First audio after the cut, once the device is connected again; of a fault that it lived through, once the fault is
    /// over. `None` when the device left, or was struck again, before it heard any.
    pub audio: Option<Micros>,
}
