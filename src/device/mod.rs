//! The device: a sans-IO state machine that talks, listens, is cut off and comes back.
//!
//! ```text
//!            ┌────────────── back-off ◀──────────────┐ lost, refused, or hung up after a failed turn
//!            ▼                                        │
//!   Offline ──▶ Connecting ──▶ Online: idle ──▶ speaking ──▶ waiting ──▶ listening ─┐
//!                                ▲    ▲                                    │ barge-in│
//!                                │    └────────────── think time ◀─────────┼─────────┘
//!                                └── the next utterance starts at once ◀───┘
//! ```
//!
//! Inputs come through [`Device::handle`], outputs leave through [`Device::poll`], and [`Device::deadline`] says when the
//! device wants to be woken. Utterances start at planned instants: a device that is late keeps its schedule, and what it
//! then measures includes the wait. Without a connection its user speaks all the same: the speech waits, or is lost.
//!
//! The faults that the scenario has planned strike here (`trouble`), as [`Output::Impair`] and [`Output::Abandon`]; how the
//! device comes back, and goes on with its session, is in `connect`; how it hangs up, in `leave`.

use std::collections::VecDeque;
use std::sync::Arc;

mod bitrate;
mod connect;
pub mod conversation;
pub mod ear;
mod ending;
mod hear;
mod leave;
pub mod moment;
pub mod plan;
pub mod playback;
mod speaker;
mod speech;
mod talk;
mod trouble;
mod turn;
pub mod watch;

use self::bitrate::{Bitrate, Step};
use self::ear::Ear;
use self::plan::{Draw, Plan};
use self::speaker::Speaker;
use self::speech::Speech;
pub use self::speech::{Piece, Voice};
use self::trouble::{Conditions, Trouble};
use self::turn::{Fault, Turn};
use crate::dialect::{DeviceDialect, Meaning};
use crate::event::{Event, FailureClass, Sent, TurnRecord};
use crate::fault::{Impairment, Strikes};
use crate::time::Micros;
use crate::transport::{Closed, ConnectTimes, Frame};

/// Something that happens to a device.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The connection that was asked for is open.
    Connected(ConnectTimes),
    /// The connection that was asked for could not be opened, or the open one ended.
    Closed(Closed),
    /// A message arrived.
    Frame(Frame),
    /// The last frame of the utterance of this turn (counted on the connection) was written.
    Written(u32),
    /// The imitated network has delivered that frame to the server, so long after it was written.
    Delivered {
        /// The turn, counted on the connection.
        turn: u32,
        /// From the write to the delivery.
        after: Micros,
    },
    /// Begin no more turns from this instant on.
    LeaveAt(Micros),
    /// Leave now. With `owed`, turns that the server has had a fair chance to answer count as failed.
    Abort {
        /// True at the end of the graceful stop; false when the user interrupts.
        owed: bool,
    },
}

/// Something that a device wants.
#[derive(Debug)]
pub enum Output {
    /// Open a connection.
    Connect,
    /// Write a frame.
    Send(Outgoing),
    /// Drop the connection, or the attempt to open one.
    Hangup,
    /// Close the connection once what was sent has been written; the device is finished with it, and may ask for the next.
    Goodbye,
    /// Do this to the connection, or to the attempt to open one. After [`Impairment::Reset`] and [`Impairment::Close`]
    /// it is gone, and the device knows: tell it nothing. The others end with the connection, unless they have a time;
    /// what still holds when the next connection is asked for is said again after its [`Output::Connect`].
    Impair(Impairment),
    /// Vanish: never touch the connection again, and keep it open until the run ends. The device is done.
    Abandon,
    /// Tell the recorder.
    Event(Event),
    /// The device has left.
    Done,
}

/// A frame to write.
#[derive(Debug)]
pub struct Outgoing {
    /// The frame.
    pub frame: Frame,
    /// When it should have been written.
    pub planned: Micros,
    /// What it is.
    pub what: Sent,
    /// The end of this turn's speech: answer with [`Input::Written`]; the last such frame counts.
    pub last_of_turn: Option<u32>,
    /// True when it waited for a connection rather than for the harness.
    pub waited: bool,
    /// The chunk that it carries.
    pub piece: Option<Piece>,
}

/// One simulated device.
pub struct Device {
    id: u32,
    plan: Arc<Plan>,
    link: Link,
    dialect: Option<Box<dyn DeviceDialect>>,
    leave_at: Micros,
    /// So much later it hangs up, when it is idle then.
    departs_after: Micros,
    /// Attempts to come back since the last connection that lasted, and in all.
    attempts: u32,
    returns: u32,
    opened: bool,
    /// An attempt has failed since the last open connection.
    refused: bool,
    lost_at: Option<Micros>,
    last_failure: Option<Fault>,
    /// How the last open connection was lost.
    loss: Option<Fault>,
    /// The server's name for the session that a next connection asks for.
    session: Option<Box<str>>,
    /// How often this session has gone on after a loss.
    resumes: u32,
    /// The last turn of this session whose reply was complete.
    answered: Option<Answered>,
    /// What the seed has planned against it.
    strikes: Strikes,
    trouble: Option<Box<Trouble>>,
    conditions: Conditions,
    /// When it learns that its address has changed.
    knows_at: Micros,
    /// The next turn's number, draws and planned start; `None` when there is none.
    next_turn: u32,
    draw: Draw,
    next_start: Option<Micros>,
    session_turn: u32,
    group: u8,
    /// Of a device that adapts its bit rate to its line.
    bitrate: Option<Bitrate>,
    /// How long the imitated network took for the frame that comes next.
    link_delay: Option<Micros>,
    turn: Option<Box<Turn>>,
    /// The turn whose reply was interrupted, until the server says that it stopped.
    interrupted: Option<Box<Turn>>,
    /// Until then, audio without an id is what an interrupted server had under way.
    stale_until: Micros,
    speech: Option<Speech>,
    cough: Option<Speech>,
    speaker: Speaker,
    /// Until when a device that leaves waits for the answer to its goodbye; `NEVER`: it has not said any.
    parting_until: Micros,
    out: VecDeque<Output>,
    meanings: Vec<Meaning>,
    frames: Vec<Frame>,
}

/// A turn whose reply was complete.
#[derive(Clone, Copy, Debug)]
struct Answered {
    session_turn: u32,
    /// In the device's life.
    turn: u32,
    /// The server is saying it again: audio that names no turn is of it.
    again: bool,
    /// It has said it again.
    twice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Offline { retry_at: Micros },
    Connecting { planned: Micros },
    Online(Online),
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Online {
    /// When it should have been asked for.
    planned: Micros,
    /// When it was upgraded.
    since: Micros,
    /// Since when the device can speak; `None`: it waits for the opening, or to hear whether its session goes on.
    ready: Option<Micros>,
    /// It has asked for the session that it had before.
    resumes: bool,
    local_port: u16,
    next_heartbeat: Micros,
    /// A heartbeat that has not been answered yet.
    heartbeat_sent: Option<Micros>,
}

impl Device {
    /// A device that comes at `arrive` and begins no turn after `leave_at`.
    pub fn new(id: u32, plan: Arc<Plan>, arrive: Micros, leave_at: Micros) -> Self {
        let draw = plan.draw(id, 0);
        let first_start = plan.first_beat(id, arrive + draw.think);
        // Who hangs up after each turn connects for the first one, too.
        let connects_at = if plan.session.turns.is_some() { first_start } else { arrive };
        Self {
            id,
            link: Link::Offline { retry_at: connects_at },
            dialect: None,
            leave_at,
            departs_after: plan.departs_after(id),
            attempts: 0,
            returns: 0,
            opened: false,
            refused: false,
            lost_at: None,
            last_failure: None,
            loss: None,
            session: None,
            resumes: 0,
            answered: None,
            strikes: Strikes::of(&plan.faults, plan.seed, id, arrive),
            trouble: None,
            conditions: Conditions::default(),
            knows_at: Micros::NEVER,
            next_turn: 0,
            draw,
            next_start: Some(first_start),
            session_turn: 0,
            group: 0,
            bitrate: plan.adapts().then(|| Bitrate::new(plan.rates())),
            link_delay: None,
            turn: None,
            interrupted: None,
            stale_until: Micros::ZERO,
            speech: None,
            cough: None,
            speaker: Speaker::default(),
            parting_until: Micros::NEVER,
            out: VecDeque::new(),
            meanings: Vec::new(),
            frames: Vec::new(),
            plan,
        }
    }

    /// The device's number.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Spares it every fault of the scenario: a device of a control group.
    pub fn spare(&mut self) {
        self.strikes = Strikes::of(&[].into(), self.plan.seed, self.id, Micros::ZERO);
    }

    /// Which of the run's groups it belongs to (networks, control group).
    pub const fn set_group(&mut self, group: u8) {
        self.group = group;
    }

    /// The frame of the next [`Input::Frame`] came through an imitated network, which took so long for it.
    pub const fn set_link_delay(&mut self, delay: Micros) {
        self.link_delay = Some(delay);
    }

    /// The turn under way, as far as it has come; its outcome says nothing yet.
    pub fn turn(&self) -> Option<TurnRecord> {
        self.turn.as_deref().map(Turn::so_far)
    }

    /// Likewise the turn whose reply was interrupted, until the server says that it stopped.
    pub fn interrupted(&self) -> Option<TurnRecord> {
        self.interrupted.as_deref().map(Turn::so_far)
    }

    /// So much of what the device has sent has not come through: playing time of speech. Said before each
    /// [`Input::Tick`], where it is known.
    pub fn set_backlog(&mut self, now: Micros, waiting: Micros) {
        let step = self.bitrate.as_mut().and_then(|b| b.backlog(now, waiting));
        self.bitrate_changed(step);
    }

    /// True when somebody should tell it its backlog.
    pub const fn adapts(&self) -> bool {
        self.bitrate.is_some()
    }

    fn bitrate_changed(&mut self, step: Option<Step>) {
        if let Some(step) = step {
            self.event(Event::BitrateChanged { down: step == Step::Down });
        }
    }

    /// The next thing that the device wants.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When the device wants an [`Input::Tick`].
    pub fn deadline(&self) -> Micros {
        let mut at = Micros::NEVER;
        let mut earliest = |t: Micros| at = at.min(t);
        let next_start = self.next_start.filter(|&t| t < self.leave_at);
        match self.link {
            Link::Gone => return Micros::NEVER,
            _ if self.parting_until < Micros::NEVER => {
                return self.parting_until.min(next_start.unwrap_or(Micros::NEVER));
            }
            Link::Offline { retry_at } => earliest(retry_at),
            Link::Connecting { planned } => earliest(planned + self.plan.session.connect_timeout),
            Link::Online(online) => {
                earliest(online.next_heartbeat);
                earliest(self.speaker.deadline());
                if let Some(sent) = online.heartbeat_sent {
                    earliest(sent + self.plan.session.keep_alive_timeout);
                }
            }
        }
        if self.turn.is_none() {
            earliest(next_start.unwrap_or(Micros::NEVER));
        }
        if self.ready_since().is_some() {
            for speech in self.speech.iter().chain(&self.cough) {
                earliest(speech.due().unwrap_or(Micros::NEVER));
            }
        } else {
            earliest(self.all_lost_at());
            earliest(self.session_deadline());
        }
        earliest(self.strike_deadline());
        if let Some(quiet) = self.plan.dialect.capabilities().quiet {
            let heard = |t: &&Turn| t.record.first_byte.is_some();
            for turn in
                [self.turn.as_deref(), self.interrupted.as_deref()].into_iter().flatten().filter(heard)
            {
                earliest(turn.deadline(self.plan.turn.timeout, quiet));
            }
        }
        if let Some(turn) = &self.turn {
            earliest(turn.deadline(self.plan.turn.timeout, self.plan.turn.gap_timeout));
            earliest(self.barge_in_at(turn).unwrap_or(Micros::NEVER));
            earliest(self.cough_at(turn).unwrap_or(Micros::NEVER));
        } else if next_start.is_none() && self.interrupted.is_none() {
            earliest(self.departs_at());
        }
        if let Some(turn) = &self.interrupted {
            earliest(self.stop_deadline(turn));
        }
        at
    }

    /// Something happened.
    pub fn handle(&mut self, now: Micros, input: Input, ear: &mut Ear) {
        if self.link == Link::Gone {
            return;
        }
        match input {
            Input::Tick => {}
            Input::Connected(times) => self.connected(now, times),
            Input::Closed(closed) => {
                if !self.closed_as_planned(now, &closed, ear) {
                    self.lost(now, closed.class, closed.detail);
                }
            }
            Input::Frame(frame) => self.hear(now, &frame, ear),
            Input::Written(session_turn) => {
                let turns = [&mut self.turn, &mut self.interrupted];
                for t in turns.into_iter().flatten().filter(|t| t.is(session_turn)) {
                    t.unwritten = t.unwritten.saturating_sub(1);
                    t.record.last_send_done = Some(now);
                }
            }
            Input::Delivered { turn, after } => {
                let turns = [&mut self.turn, &mut self.interrupted];
                for t in turns.into_iter().flatten().filter(|t| t.is(turn)) {
                    t.record.network_up = Some(after);
                }
            }
            Input::LeaveAt(at) => self.leave_at = self.leave_at.min(at),
            Input::Abort { owed } => return self.abort(now, owed),
        }
        self.fell_quiet(now, ear);
        self.tick(now);
    }

    /// Does what is due.
    fn tick(&mut self, now: Micros) {
        if self.hangs_up_due(now) {
            self.part(now);
            if self.parting_until < Micros::NEVER || self.link == Link::Gone {
                return;
            }
        }
        match self.link {
            Link::Offline { retry_at } if retry_at <= now => self.connect(now, retry_at),
            Link::Connecting { planned } if planned + self.plan.session.connect_timeout <= now => {
                self.out.push_back(Output::Hangup);
                let limit = self.plan.session.connect_timeout;
                self.lost(now, FailureClass::ConnectTimeout, format!("no open connection within {limit}"));
            }
            _ => {}
        }
        self.session_overdue(now);
        self.learn_address(now);
        self.start_due(now);
        self.speak(now);
        self.interrupt_due(now);
        self.give_up_due(now);
        self.played(now);
        self.heartbeat(now);
        self.strike_due(now);
        if self.hangs_up_due(now) {
            self.part(now);
            // Its next turn may be due.
            if matches!(self.link, Link::Offline { retry_at } if retry_at <= now) {
                self.tick(now);
            }
        }
    }

    /// Since when the device can speak; `None`: it cannot.
    const fn ready_since(&self) -> Option<Micros> {
        match self.link {
            Link::Online(online) => online.ready,
            _ => None,
        }
    }

    /// Queues what a dialect has written into `frames`.
    fn send_frames(&mut self, planned: Micros, last_of_turn: Option<u32>, waited: bool) {
        for frame in self.frames.drain(..) {
            let what = Sent::Control;
            self.out.push_back(Output::Send(Outgoing {
                frame,
                planned,
                what,
                last_of_turn,
                waited,
                piece: None,
            }));
        }
    }

    fn event(&mut self, e: Event) {
        self.out.push_back(Output::Event(e));
    }

    fn received(&mut self, bytes: usize) {
        self.event(Event::Received { bytes: u32::try_from(bytes).unwrap_or(u32::MAX) });
    }
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
pub(crate) mod tests;
