//! The metrics: their names, units and meaning. Definitions: `docs/METRICS.md`.

/// The unit of a metric's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Micros,
    /// Millionths: a ratio of 1 is 1,000,000.
    Ppm,
}

impl Unit {
    /// As written in `result.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Micros => "us",
            Self::Ppm => "ppm",
        }
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $unit:ident;)+) => {
        /// A metric with a distribution.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Metric { $($(#[doc = $doc])+ $variant,)+ }

        impl Metric {
            /// Every metric, in the order of reports.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in `result.json`, thresholds and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The unit of its samples.
            pub const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)+ }
            }

            /// One sentence for people.
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_start(),)+ }
            }
        }
    };
}

impl Metric {
    /// True for what needs a reply with audio.
    pub fn is_of_reply(self) -> bool {
        let name = self.name();
        let of_audio =
            ["ttfa", "stall_ratio", "audio_gap", "rtf", "lead_silence", "required_prebuffer", "barge_in"];
        of_audio.iter().any(|n| name.starts_with(n))
    }
}

metrics! {
    /// Time to first audio: end of speech → the first audible sample leaves the loudspeaker. Failures are +∞.
    Ttfa = "ttfa", Micros;
    /// Time to first token: end of speech → first non-empty token; may be negative. Failures are +∞.
    Ttft = "ttft", Micros;
    /// Time to first audio, first byte: end of speech → first decodable audio. Failures are +∞.
    TtfaFirstByte = "ttfa_first_byte", Micros;
    /// TTFA, first byte, without correction: clocks restart at late sends, failures are absent.
    TtfaFirstByteUncorrected = "ttfa_first_byte_uncorrected", Micros;
    /// Diagnostic: last send written → first audible sample. Hides the chunk size; failures are absent.
    TtfaFromLastSend = "ttfa_from_last_send", Micros;
    /// TTFA without correction: clocks restart at late sends, failures are absent. What coordinated omission shows.
    TtfaUncorrected = "ttfa_uncorrected", Micros;
    /// TTFT without correction: clocks restart at late sends, failures are absent.
    TtftUncorrected = "ttft_uncorrected", Micros;
    /// End of speech → the server's own turn-end event (server-side detection).
    EndpointDelay = "endpoint_delay", Micros;
    /// End of speech → first partial transcript; usually negative.
    FirstPartial = "first_partial", Micros;
    /// End of speech → final transcript.
    FinalTranscript = "final_transcript", Micros;
    /// Leading silence of the reply.
    LeadSilence = "lead_silence", Micros;
    /// Between two tokens of one reply.
    TokenGap = "token_gap", Micros;
    /// Between two audio messages of one reply.
    AudioGap = "audio_gap", Micros;
    /// Wall clock per second of reply audio, first to last audio; at most 1 keeps up.
    Rtf = "rtf", Ppm;
    /// The prebuffer that would have avoided every stall of the reply.
    RequiredPrebuffer = "required_prebuffer", Micros;
    /// Stalled share of a reply's playback, prebuffer 0.
    StallRatio0 = "stall_ratio@0ms", Ppm;
    /// Stalled share of a reply's playback, prebuffer 60 ms.
    StallRatio60 = "stall_ratio@60ms", Ppm;
    /// Stalled share of a reply's playback, prebuffer 120 ms.
    StallRatio120 = "stall_ratio@120ms", Ppm;
    /// Stalled share of a reply's playback, prebuffer 200 ms.
    StallRatio200 = "stall_ratio@200ms", Ppm;
    /// TTFA at prebuffer 0, whatever the scenario's own is. Failures are +∞.
    TtfaAt0 = "ttfa@0ms", Micros;
    /// TTFA at a prebuffer of 60 ms. Failures are +∞.
    TtfaAt60 = "ttfa@60ms", Micros;
    /// TTFA at a prebuffer of 120 ms. Failures are +∞.
    TtfaAt120 = "ttfa@120ms", Micros;
    /// TTFA at a prebuffer of 200 ms. Failures are +∞.
    TtfaAt200 = "ttfa@200ms", Micros;
    /// TTFA at prebuffer 0 without correction: clocks restart at late sends, failures are absent.
    TtfaUncorrectedAt0 = "ttfa_uncorrected@0ms", Micros;
    /// TTFA at a prebuffer of 60 ms without correction.
    TtfaUncorrectedAt60 = "ttfa_uncorrected@60ms", Micros;
    /// TTFA at a prebuffer of 120 ms without correction.
    TtfaUncorrectedAt120 = "ttfa_uncorrected@120ms", Micros;
    /// TTFA at a prebuffer of 200 ms without correction.
    TtfaUncorrectedAt200 = "ttfa_uncorrected@200ms", Micros;
    /// Planned onset of an interruption → last audible agent sample played.
    BargeInStop = "barge_in_stop", Micros;
    /// Planned onset of an interruption → last audio of the old reply received.
    BargeInLastByte = "barge_in_last_byte", Micros;
    /// Planned connection attempt → upgraded: from here on the device may speak.
    Connect = "connect", Micros;
    /// Connecting without correction: the attempt as it really began → upgraded.
    ConnectUncorrected = "connect_uncorrected", Micros;
    /// TCP handshake.
    ConnectTcp = "connect_tcp", Micros;
    /// TLS handshake.
    ConnectTls = "connect_tls", Micros;
    /// WebSocket upgrade.
    ConnectUpgrade = "connect_upgrade", Micros;
    /// Upgrade → the server's session message, where it sends one.
    SessionReady = "session_ready", Micros;
    /// Planned connection attempt → the server's session message, where it sends one: TCP, TLS, upgrade, session together.
    ConnectReady = "connect_ready", Micros;
    /// Loss of an open connection → upgraded again.
    Reconnect = "reconnect", Micros;
    /// Cut of a connection → the device notices; never is +∞.
    Notice = "notice", Micros;
    /// Cut of a connection → connected again; never is +∞.
    Outage = "outage", Micros;
    /// Cut of a connection → the first audio after it; never is +∞.
    Recover = "recover", Micros;
    /// The imitated network's share of TTFA, up: how long it took to deliver the end of the speech.
    NetworkUp = "network_up", Micros;
    /// The imitated network's share of TTFA, down: how long it took to deliver the first audible sample.
    NetworkDown = "network_down", Micros;
    /// The imitated network's share of TTFA, both ways.
    Network = "network", Micros;
    /// Heartbeat → its answer.
    HeartbeatRtt = "heartbeat_rtt", Micros;
    /// Audio sends: planned → written to the socket.
    SendLateness = "send_lateness", Micros;
    /// Of it: the harness's own lateness, all but the time for which the socket took nothing. Validity is judged by it.
    OwnLateness = "own_lateness", Micros;
    /// Of it: time for which the socket took nothing. The server's or the network's.
    SocketBlocked = "socket_blocked", Micros;
    /// The harness's timer: due → served, over all its threads. What arrives is noticed as late as what is due.
    TickerLag = "ticker_lag", Micros;
}

impl Metric {
    /// True when its samples are messages or ticks rather than turns.
    pub const fn is_frequent(self) -> bool {
        matches!(
            self,
            Self::TokenGap
                | Self::AudioGap
                | Self::SendLateness
                | Self::OwnLateness
                | Self::SocketBlocked
                | Self::TickerLag
        )
    }

    /// True when only runs with networks or faults have samples of it.
    pub const fn is_of_network(self) -> bool {
        matches!(
            self,
            Self::Notice | Self::Outage | Self::Recover | Self::NetworkUp | Self::NetworkDown | Self::Network
        )
    }

    /// True when its samples are of turns, and counted by group where a threshold is about one; all others are of
    /// connections or messages.
    pub const fn is_of_turns(self) -> bool {
        !self.is_frequent()
            && !matches!(
                self,
                Self::Connect
                    | Self::ConnectUncorrected
                    | Self::ConnectTcp
                    | Self::ConnectTls
                    | Self::ConnectUpgrade
                    | Self::SessionReady
                    | Self::ConnectReady
                    | Self::Reconnect
                    | Self::Notice
                    | Self::Outage
                    | Self::Recover
                    | Self::HeartbeatRtt
            )
    }

    /// The metric with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }

    /// The same latency as a tool without a plan would print it: its clock restarts at the late send, and it leaves
    /// failures out.
    pub const fn uncorrected(self) -> Option<Self> {
        Some(match self {
            Self::Ttfa => Self::TtfaUncorrected,
            Self::Ttft => Self::TtftUncorrected,
            Self::TtfaFirstByte => Self::TtfaFirstByteUncorrected,
            Self::TtfaAt0 => Self::TtfaUncorrectedAt0,
            Self::TtfaAt60 => Self::TtfaUncorrectedAt60,
            Self::TtfaAt120 => Self::TtfaUncorrectedAt120,
            Self::TtfaAt200 => Self::TtfaUncorrectedAt200,
            Self::Connect => Self::ConnectUncorrected,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for &m in Metric::ALL {
            assert_eq!(Metric::from_name(m.name()), Some(m));
        }
    }

    #[test]
    fn uncorrected_twins_are_named_after_their_metric() {
        for m in Metric::ALL {
            if let Some(twin) = m.uncorrected() {
                let name = m.name();
                let (stem, at) =
                    name.split_once('@').map_or((name, String::new()), |(s, at)| (s, format!("@{at}")));
                assert_eq!(twin.name(), format!("{stem}_uncorrected{at}"));
            }
        }
    }
}
