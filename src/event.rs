//! What happens: the one stream of events that flows out of the devices.
//!
//! Every metric is a pure function of events, every report a consumer of what the metrics add up to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Cause, FaultKind, Phase, Recovery};
use crate::network::LinkStats;
use crate::time::Micros;
use crate::transport::ConnectTimes;

/// Playback prebuffers for which stalls are computed, all four from one run.
pub const PREBUFFERS: [Micros; 4] =
    [Micros(0), Micros::from_millis(60), Micros::from_millis(120), Micros::from_millis(200)];

/// Why a turn or a connection failed: the classes that reports count by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Connection refused.
    Refused,
    /// The host name does not resolve.
    Dns,
    /// No connection within the limit.
    ConnectTimeout,
    /// Host or network unreachable, or another network error while connecting.
    Network,
    /// A local limit: descriptors, ports, memory. The harness's own fault: the run is invalid.
    LocalLimit,
    /// TLS handshake or certificate.
    Tls,
    /// The upgrade was answered with this HTTP status.
    UpgradeStatus(u16),
    /// Not authorised: 401, 403, close 4401, or an error message that says so.
    Auth,
    /// The peer broke the rules of the transport or of the dialect.
    Protocol,
    /// The peer sent, or complained about, another audio format than agreed.
    FormatMismatch,
    /// A message larger than the limit.
    MessageTooLarge,
    /// A message for another turn than any that is open.
    WrongTurn,
    /// No first audio within the limit.
    Timeout,
    /// The reply began, then nothing came for too long.
    ReplyStalled,
    /// The reply ended without an audible sound.
    Silent,
    /// The reply stuttered more than the limit.
    Stalls,
    /// The server answered before the end of speech: it cut its user off.
    CutOff,
    /// The reply stopped because of a cough or an "mm-hm".
    FalseBargeIn,
    /// An `error` message from the server, with its code.
    Server(String),
    /// The server closed the connection with this code.
    Closed(u16),
    /// The connection was reset, or ended without a goodbye.
    Reset,
    /// Heartbeats went unanswered.
    HeartbeatLost,
    /// The server did not complete the opening of the session.
    Unready,
    /// The user spoke before the device had come back from a loss.
    NotConnected,
    /// A fault of the scenario cut the connection, and the device knew at once.
    Cut(FaultKind),
    /// The run ended while the server still owed an answer, or the rest of one.
    UnansweredAtStop,
}

impl FailureClass {
    /// The class of an error that a server reports with this code.
    pub fn of_code(code: &str) -> Self {
        let code = plain_code(code);
        match code.as_str() {
            "auth" | "unauthorized" | "forbidden" | "invalid_token" | "invalid_api_key" => Self::Auth,
            "format_mismatch" | "unsupported_format" | "invalid_audio_format" => Self::FormatMismatch,
            _ => Self::Server(code),
        }
    }

    /// One sentence for people: what it means and what to look at.
    pub fn explain(&self) -> &'static str {
        match self {
            Self::Refused => "nothing listens at the target's port, or its accept queue is full",
            Self::Dns => "the host name does not resolve",
            Self::ConnectTimeout => "no connection within session.connect_timeout",
            Self::Network => "the network refused: unreachable host, or no route",
            Self::LocalLimit => {
                "this machine ran out of descriptors (ulimit -n), local ports (--source-ip) or memory: raise what it ran out of, or \
                 lower fleet.devices"
            }
            Self::Tls => "the TLS handshake failed: see target.ca, target.client_cert, target.insecure",
            Self::UpgradeStatus(_) => {
                "the server answered the WebSocket upgrade with an HTTP status: check path and headers"
            }
            Self::Auth => "not authorised: check the token in target.headers",
            Self::Protocol => {
                "the server sent what the dialect does not allow: look at it with `voxload debug`"
            }
            Self::FormatMismatch => {
                "the audio is not in the agreed format: check audio.codec and audio.rate on both sides"
            }
            Self::MessageTooLarge => "the server sent a message larger than session.max_message",
            Self::WrongTurn => "the server sent something for a turn that is not open",
            Self::Timeout => "no audio within turn.timeout of the end of speech",
            Self::ReplyStalled => "the reply began, then nothing came for turn.gap_timeout",
            Self::Silent => "the reply ended without an audible sound",
            Self::Stalls => "the reply stuttered more than playback.max_stall_ratio",
            Self::CutOff => {
                "the reply began before the user had finished speaking: the server's end-of-speech detection is too eager"
            }
            Self::FalseBargeIn => "a cough or an \"mm-hm\" stopped the reply",
            Self::Server(_) => "the server reported an error",
            Self::Closed(_) => "the server closed the connection in the middle",
            Self::Reset => "the connection ended without a goodbye",
            Self::HeartbeatLost => "heartbeats went unanswered",
            Self::Unready => {
                "the server did not say what the dialect's opening waits for: look at it with `voxload debug`, or `voxload dialect learn`"
            }
            Self::NotConnected => {
                "the user spoke while the device had no connection, or was still coming back from a lost one"
            }
            Self::Cut(_) => "the scenario cut the connection on purpose (faults)",
            Self::UnansweredAtStop => "the run ended before the server had answered in full",
        }
    }
}

/// A server's code as a part of a key: whatever it sends, short, and of small letters, digits and underscores.
pub fn plain_code(code: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    code.chars().map(plain).take(32).collect()
}

/// The stable key: `refused`, `upgrade_503`, `closed_1011`, `server_overloaded`, …
impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Dns => f.write_str("dns"),
            Self::ConnectTimeout => f.write_str("connect_timeout"),
            Self::Network => f.write_str("network"),
            Self::LocalLimit => f.write_str("local_limit"),
            Self::Tls => f.write_str("tls"),
            Self::UpgradeStatus(status) => write!(f, "upgrade_{status}"),
            Self::Auth => f.write_str("auth"),
            Self::Protocol => f.write_str("protocol"),
            Self::FormatMismatch => f.write_str("format_mismatch"),
            Self::MessageTooLarge => f.write_str("message_too_large"),
            Self::WrongTurn => f.write_str("wrong_turn"),
            Self::Timeout => f.write_str("timeout"),
            Self::ReplyStalled => f.write_str("reply_stalled"),
            Self::Silent => f.write_str("silent"),
            Self::Stalls => f.write_str("stalls"),
            Self::CutOff => f.write_str("cut_off"),
            Self::FalseBargeIn => f.write_str("false_barge_in"),
            Self::Server(code) if code.is_empty() => f.write_str("server_error"),
            Self::Server(code) => write!(f, "server_{code}"),
            Self::Closed(code) => write!(f, "closed_{code}"),
            Self::Reset => f.write_str("reset"),
            Self::HeartbeatLost => f.write_str("heartbeat_lost"),
            Self::Unready => f.write_str("unready"),
            Self::NotConnected => f.write_str("not_connected"),
            Self::Cut(kind) => write!(f, "cut_{}", kind.name()),
            Self::UnansweredAtStop => f.write_str("unanswered_at_stop"),
        }
    }
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete audible reply for the right turn.
    Succeeded,
    /// Cut by a planned barge-in, after its first audio, and the server stopped as asked.
    Interrupted,
    /// Failed; enters the gated distributions as +∞.
    Failed(FailureClass, Box<str>),
    /// Cut by the end of the run through no fault of the server: not counted.
    Cancelled,
}

/// Playback of one reply at one prebuffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playout {
    /// When the first audible sample left the loudspeaker.
    pub first_audible: Option<Micros>,
    /// How often playback ran dry.
    pub stalls: u32,
    /// For how long in all.
    pub stalled: Micros,
    /// When it first ran dry.
    #[serde(default)]
    pub first_stall: Option<Micros>,
}

/// A barge-in, as it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BargeIn {
    /// Planned onset.
    pub planned: Micros,
    /// When the last audible agent sample was played.
    pub last_played: Option<Micros>,
    /// When the last audio of the interrupted reply arrived.
    pub last_byte: Option<Micros>,
    /// When the server acknowledged (its `turn_end`).
    pub acknowledged: Option<Micros>,
}

/// A cough or "mm-hm" during the reply, which must not stop it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backchannel {
    /// When it was made.
    pub planned: Micros,
    /// True when the reply stopped because of it: a false barge-in.
    pub stopped_reply: bool,
}

/// Everything about one turn. All instants are since the start of the run; `None` means it did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRecord {
    /// The device.
    pub device: u32,
    /// The turn, counted from 0 over the device's life.
    pub turn: u32,
    /// The turn, counted from 0 on its connection.
    pub session_turn: u32,
    /// The connection's local port, to find it in the server's log; 0 when there was none.
    pub local_port: u16,
    /// Which fixture was spoken (index into the run's fixtures).
    pub fixture: u16,
    /// True while the run warms up: not counted in results.
    pub warmup: bool,
    /// `t0`: planned start of the utterance.
    pub planned_start: Micros,
    /// `T_eos`: planned end of speech.
    pub end_of_speech: Micros,
    /// Planned instant of the last send of the turn (last chunk, or end-of-turn message).
    pub last_send_planned: Micros,
    /// When that send was written to the socket.
    pub last_send_done: Option<Micros>,
    /// The server's own end-of-turn event.
    pub endpoint: Option<Micros>,
    /// First partial transcript.
    pub first_partial: Option<Micros>,
    /// Final transcript.
    pub final_transcript: Option<Micros>,
    /// First non-empty token of the reply.
    pub first_token: Option<Micros>,
    /// First decodable audio.
    pub first_byte: Option<Micros>,
    /// Leading silence of the reply: media time before its first audible sample.
    pub lead_silence: Option<Micros>,
    /// Last audio.
    pub last_byte: Option<Micros>,
    /// The server's "reply complete".
    pub reply_done: Option<Micros>,
    /// Non-empty tokens.
    pub tokens: u32,
    /// Audio messages.
    pub audio_messages: u32,
    /// Audio received, as playing time.
    pub reply_media: Micros,
    /// Playback at each of [`PREBUFFERS`].
    pub playout: [Playout; 4],
    /// Playback at the scenario's own prebuffer: the one that TTFA and success are judged by.
    pub judged: Playout,
    /// The prebuffer that would have avoided every stall.
    pub required_prebuffer: Micros,
    /// A barge-in during this turn's reply.
    pub barge_in: Option<BargeIn>,
    /// A cough or "mm-hm" during this turn's reply.
    pub backchannel: Option<Backchannel>,
    /// Which group of devices: an index into the run's groups (networks, control group).
    pub group: u8,
    /// How long the imitated network took to deliver the end of the speech; `None` without one.
    pub network_up: Option<Micros>,
    /// How long it took to deliver the message with the first audible sample.
    pub network_down: Option<Micros>,
    /// How often the connection was lost and the turn went on.
    pub reconnects: u16,
    /// The reply had begun, and its end never came: it was lost with a connection, or dropped by a server that went on with
    /// the session. What is missing in the middle of a reply that ends cannot be seen here: messages have no numbers.
    pub cut_short: bool,
    /// After a reconnect, the first messages of the reply (four, or as many as there had been) came again, in order. A reply
    /// that was complete before the loss is [`Event::AnsweredTwice`].
    pub answered_twice: bool,
    /// Speech that was never sent, because there was no connection; and what was sent into a fault that swallowed it, up to
    /// the loss of that connection.
    pub speech_lost: Micros,
    /// Speech that was kept and sent after the connection had come back.
    pub speech_late: Micros,
    /// Chunks sent at a lower bit rate than the scenario's, because the line was slow.
    pub lowered: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub ended: Micros,
}

impl TurnRecord {
    /// Time to first token: may be negative.
    pub fn ttft(&self) -> Option<Micros> {
        self.first_token.map(|t| t - self.end_of_speech)
    }

    /// Time to first audio at the scenario's prebuffer: the headline.
    pub fn ttfa(&self) -> Option<Micros> {
        self.judged.first_audible.map(|t| t - self.end_of_speech)
    }

    /// Time to first audio, first byte.
    pub fn ttfa_first_byte(&self) -> Option<Micros> {
        self.first_byte.map(|t| t - self.end_of_speech)
    }

    /// How late the last send was written: what the uncorrected view hides.
    pub fn send_delay(&self) -> Option<Micros> {
        self.last_send_done.map(|t| t - self.last_send_planned)
    }

    /// Wall clock from the first to the last audio per second of audio. A reply in one message has no pace.
    pub fn rtf(&self) -> Option<f64> {
        let (first, last) = self.first_byte.zip(self.last_byte)?;
        let paced = self.audio_messages > 1 && self.reply_media > Micros::ZERO;
        paced.then(|| (last - first).0 as f64 / self.reply_media.0 as f64)
    }

    /// Stalled share of the reply at the scenario's prebuffer.
    pub fn stall_ratio(&self) -> f64 {
        stall_ratio(self.judged.stalled, self.reply_media)
    }
}

/// Stalled time as a share of the time that the reply took to play, stalls included.
pub fn stall_ratio(stalled: Micros, media: Micros) -> f64 {
    let total = stalled + media;
    if total.0 <= 0 { 0.0 } else { stalled.0 as f64 / total.0 as f64 }
}

/// What a sent frame was, for lateness and for `debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A chunk of speech (or of streamed silence): paced, so its lateness counts.
    Audio,
    /// Anything else.
    Control,
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variant's text and the field's name say it")]
pub enum Event {
    /// A connection attempt begins.
    Connecting,
    /// A connection is upgraded. `total` runs from the planned attempt; `reconnect` when it is not the device's first.
    Connected { times: ConnectTimes, total: Micros, reconnect: bool },
    /// The server's session message came, this long after the upgrade and after the planned attempt.
    SessionReady { after: Micros, total: Micros },
    /// A connection attempt failed, or an open connection was lost (the device hangs up after a failed turn, too).
    ConnectionLost { class: FailureClass, detail: Box<str>, established: bool },
    /// A connection ended as planned.
    Disconnected,
    /// Back after the loss of an open connection: from the loss to the next upgrade.
    Reconnected { after: Micros },
    /// A frame arrived.
    Received { bytes: u32 },
    /// An utterance begins.
    TurnStarted { warmup: bool },
    /// Between two tokens of one reply.
    TokenGap(Micros),
    /// Between two audio messages of one reply.
    AudioGap(Micros),
    /// A heartbeat was answered.
    HeartbeatAnswered { rtt: Micros },
    /// A message that belonged to an interrupted turn, and was dropped as it should be.
    StaleMessage,
    /// A turn ended.
    TurnEnded(Box<TurnRecord>),
    /// The server said a second time, after a reconnect, that the reply to this turn was complete; the turn had ended.
    AnsweredTwice { turn: u32 },
    /// Turns that were planned and could never be started.
    Missed { turns: u32 },
    /// A fault of the scenario begins.
    FaultBegan { fault: FaultKind, phase: Phase },
    /// The device noticed that its connection is of no use, this long after it was cut.
    Noticed { cause: Cause, phase: Phase, after: Micros },
    /// The device is back and has heard something, or will not any more.
    Recovered(Box<Recovery>),
    /// The device lowers its bit rate (or raises it again), because of its line.
    BitrateChanged { down: bool },
    /// An imitated network path ends with its connection: what it did.
    LinkEnded(Box<LinkStats>),
}
