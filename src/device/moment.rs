//! What `voxload debug` tells of a device: frames with their meaning, milestones, steps of the connection.

use crate::audio::AudioFormat;
use crate::event::{Event, FailureClass};
use crate::fault::Cause;
use crate::time::Micros;
use crate::transport::{ConnectTimes, Frame};

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When it happened; a milestone may become known a little later.
    pub at: Micros,
    /// The turn that it belongs to, where there is one.
    pub turn: Option<u32>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A frame, either way.
    Frame(Box<Seen>),
    /// A milestone, or a step of the connection.
    Step(Step),
}

/// A frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// When it was to be written; `None` for frames from the server.
    pub planned: Option<Micros>,
    /// Its content; `None` for the goodbye of WebSocket.
    pub frame: Option<Frame>,
    /// True when the device wrote it.
    pub ours: bool,
    /// What it says, where its bytes do not show it.
    pub content: Option<String>,
    /// What it means, by the names of the [`Meaning`](crate::dialect::Meaning)s; empty for ours.
    pub meanings: Vec<&'static str>,
    /// What its content does not say; may be empty.
    pub note: String,
    /// The audio in it.
    pub audio: Option<Audio>,
}

/// Audio in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// What was agreed.
    pub format: AudioFormat,
    /// How long it plays, or why it is not audio of that format.
    pub media: Result<Micros, String>,
    /// How loud it is, dBFS; `None` when it could not be decoded.
    pub level: Option<f64>,
    /// Which part of what it is.
    pub part: Option<Part>,
}

impl Audio {
    pub(super) const fn new(format: AudioFormat) -> Self {
        Self { format, media: Ok(Micros::ZERO), level: None, part: None }
    }
}

/// Which part of an utterance, or of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of what.
    pub of: Source,
    /// Counted from 1.
    pub number: u32,
    /// How many there are, where that is known.
    pub total: Option<u32>,
    /// Media time of its first sample, from the start of the utterance or of the reply.
    pub from: Micros,
}

/// Whose sound it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The user says this fixture.
    Utterance(String),
    /// The user is silent, and the microphone is open.
    Silence,
    /// The user coughs or hums: this fixture.
    Sound(String),
    /// The server's reply.
    Reply,
}

/// A milestone, or a step of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Stable name, for programs.
    pub name: &'static str,
    /// For people.
    pub text: String,
    /// More about it; may be empty.
    pub detail: String,
    /// Since the end of speech, where that says something.
    pub after: Option<Micros>,
    /// What it counts as, when it is a failure.
    pub class: Option<FailureClass>,
    /// What that means and what to look at, unless it has just been said.
    pub explanation: Option<&'static str>,
    /// Further numbers, for programs: names end in their unit.
    pub values: Vec<(&'static str, i64)>,
}

impl From<Step> for What {
    fn from(step: Step) -> Self {
        Self::Step(step)
    }
}

impl From<Seen> for What {
    fn from(seen: Seen) -> Self {
        Self::Frame(Box::new(seen))
    }
}

impl Step {
    pub(super) fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into(), ..Self::default() }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn after(mut self, after: Micros) -> Self {
        self.after = Some(after);
        self
    }

    pub(super) fn failed(mut self, class: &FailureClass) -> Self {
        self.class = Some(class.clone());
        self.explanation = Some(class.explain());
        self
    }

    /// Says no more than this: the rest has just been said.
    pub(super) fn known(mut self, text: &str) -> Self {
        self.text = text.to_owned();
        self.explanation = None;
        self
    }

    pub(super) fn value(mut self, name: &'static str, value: Micros) -> Self {
        self.values.push((name, value.0));
        self
    }

    /// What an event means to a connection; `None` for what is told in another way.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let span =
            |name, text, detail: String, value, span| Self::new(name, text).detail(detail).value(value, span);
        Some(match event {
            Event::Connecting => Self::new("connecting", "connecting"),
            Event::Connected { times, total, reconnect } => {
                let ConnectTimes { tcp, tls, upgrade, local_port } = *times;
                let secured = if tls > Micros::ZERO { format!(" · TLS {tls}") } else { String::new() };
                let detail =
                    format!("TCP {tcp}{secured} · upgrade {upgrade} · {total} in all, port {local_port}");
                let text = if *reconnect { "connected again" } else { "connected" };
                span("connected", text, detail, "total_us", *total)
                    .value("tcp_us", tcp)
                    .value("tls_us", tls)
                    .value("upgrade_us", upgrade)
                    .value("local_port", Micros(local_port.into()))
            }
            Event::SessionReady { after, total: _ } => span(
                "session_ready",
                "session ready",
                format!("{after} after the upgrade"),
                "after_us",
                *after,
            ),
            Event::ConnectionLost { class, detail, established } => {
                let (name, what) =
                    if *established { ("lost", "connection lost") } else { ("refused", "no connection") };
                Self::new(name, format!("{what}: {class}: {detail}")).failed(class)
            }
            Event::Disconnected => Self::new("disconnected", "the device hangs up"),
            Event::Reconnected { after } => {
                span("reconnected", "back", format!("{after} after the loss"), "after_us", *after)
            }
            Event::HeartbeatAnswered { rtt } => {
                span("heartbeat", "heartbeat answered", format!("after {rtt}"), "rtt_us", *rtt)
            }
            Event::StaleMessage => {
                Self::new("stale_message", "dropped").detail("it belongs to a turn that is over")
            }
            Event::FaultBegan { fault, phase } => Self::new("fault", format!("fault: {}", fault.name()))
                .detail(format!("while {}", phase.name())),
            Event::AnsweredTwice { turn } => {
                Self::new("answered_twice", format!("turn {turn} was answered a second time"))
                    .detail("it had ended before the connection was lost")
            }
            // What was no fault of the scenario is told as a lost connection, and as one that is back.
            Event::Recovered(r) if matches!(r.cause, Cause::Fault(_)) => match r.audio {
                Some(audio) => {
                    let how = if r.resumed { ", in the same session" } else { "" };
                    let detail = format!("first audio {} after it began{how}", audio - r.cut);
                    span(
                        "recovered",
                        "recovered",
                        format!("{}: {detail}", r.cause),
                        "audio_us",
                        audio - r.cut,
                    )
                }
                None => Self::new("not_recovered", format!("no audio since {}", r.cause)),
            },
            Event::Noticed { cause: cause @ Cause::Fault(_), phase: _, after } => {
                span("noticed", "noticed", format!("{cause}, {after} after it began"), "after_us", *after)
            }
            _ => return None,
        })
    }
}
