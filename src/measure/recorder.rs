//! The recorder of a shard: turns events into counts and distributions, one interval at a time.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::faults::{Noted, OpenFaults, Sample, is_loss};
use super::network::{Groups, Network, share};
use super::{Distribution, Metric, stored};
use crate::event::{Event, FailureClass, Outcome, Sent, TurnRecord, stall_ratio};
use crate::report::result::{BargeInCounts, TurnCounts};
use crate::time::Micros;

/// Classes kept apart; further ones (a server can invent error codes) are counted together.
const MAX_CLASSES: usize = 64;

/// What happened in one interval on one shard, or on all of them: intervals add up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interval {
    #[serde(with = "stored::metrics")]
    metrics: Vec<Distribution>,
    /// Counts.
    pub counts: Counts,
    /// Failures by class.
    #[serde(with = "stored::pairs")]
    pub failures: HashMap<FailureClass, Failures>,
    /// Turns that ended.
    pub turns: Vec<Box<TurnRecord>>,
    /// Networks and faults; `None` until there is something of them.
    pub network: Option<Box<Network>>,
}

/// Counts of one interval; `connected` and `in_turn` are levels at its end, `most_connected` is the highest within it.
#[allow(missing_docs, reason = "named after the events they count")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub connected: i64,
    pub most_connected: i64,
    pub in_turn: i64,
    pub started: u64,
    pub started_warmup: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub interrupted: u64,
    pub cancelled: u64,
    pub missed: u64,
    pub warmup_ended: u64,
    pub connects: u64,
    pub connected_total: u64,
    pub connect_failures: u64,
    pub lost: u64,
    pub reconnected: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub barge_ins: u64,
    pub barge_ins_stopped: u64,
    pub backchannels: u64,
    pub false_stops: u64,
    pub stale_messages: u64,
    pub replies: u64,
    pub media: Micros,
    /// At each of the prebuffers.
    pub playback: [PlaybackCounts; 4],
    pub stalls: u64,
    pub faults: u64,
    pub turns_reconnected: u64,
    pub turns_lost_to_cut: u64,
    pub turns_cut_short: u64,
    pub turns_answered_twice: u64,
    pub turns_speech_lost: u64,
    pub turns_speech_late: u64,
    pub speech_lost: Micros,
    pub speech_late: Micros,
    pub bitrate_downs: u64,
    pub bitrate_ups: u64,
    /// Chunks sent at a lower bit rate than the scenario's.
    pub lowered: u64,
    /// CPU time: of the thread up to now, and in sums of the whole generator in the interval.
    pub cpu: Micros,
    /// Resident memory of the generator at the end, bytes; set by the run.
    pub rss: u64,
}

/// Stalls at one prebuffer.
#[allow(missing_docs, reason = "plain")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaybackCounts {
    pub stalled_replies: u64,
    pub stalls: u64,
    pub stalled: Micros,
}

/// Failures of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Failed turns.
    pub turns: u64,
    /// Failed or lost connections.
    pub connections: u64,
    /// The first: (device, turn, when, what was seen).
    pub example: Option<(u32, Option<u32>, Micros, Box<str>)>,
}

impl Default for Interval {
    fn default() -> Self {
        let metrics = Metric::ALL.iter().map(|_| Distribution::default()).collect();
        Self {
            metrics,
            counts: Counts::default(),
            failures: HashMap::new(),
            turns: Vec::new(),
            network: None,
        }
    }
}

impl Interval {
    /// An interval whose distributions have about the size that they grow to in a run: most hold a fraction of a
    /// second, and `frequent` ones only have many samples in one interval of one thread. Those of networks and faults
    /// are few, or are not there.
    pub fn in_full(frequent: bool) -> Self {
        let mut full = Self::default();
        for &m in Metric::ALL.iter().filter(|m| !m.is_of_network() && (!frequent || m.is_frequent())) {
            full.record(m, Micros::from_millis(250));
            full.metrics[m as usize].make_many();
        }
        full
    }

    /// The distribution of a metric.
    pub fn metric(&self, m: Metric) -> &Distribution {
        &self.metrics[m as usize]
    }

    fn record(&mut self, m: Metric, value: Micros) {
        self.metrics[m as usize].record(value);
    }

    fn failure(&mut self, class: &FailureClass) -> &mut Failures {
        if !self.failures.contains_key(class) && self.failures.len() >= MAX_CLASSES {
            return self.failures.entry(FailureClass::Server("other".to_owned())).or_default();
        }
        self.failures.entry(class.clone()).or_default()
    }

    /// What networks and faults did.
    fn network(&mut self) -> &mut Network {
        self.network.get_or_insert_default()
    }

    /// What an event meant for faults.
    fn note(&mut self, noted: Noted) {
        for sample in noted.samples {
            let (metric, value) = match sample {
                Sample::Notice(value) => (Metric::Notice, value),
                Sample::Outage(value) => (Metric::Outage, value),
                Sample::Recover(value) => (Metric::Recover, value),
            };
            match value {
                Some(value) => self.record(metric, value),
                None => self.metrics[metric as usize].record_infinite(),
            }
        }
        if noted.cut.is_some() || !noted.backs.is_empty() {
            let network = self.network();
            network.cuts.extend(noted.cut);
            network.backs.extend(noted.backs);
        }
    }

    /// The intervals of all shards, or of all processes, at the same time, as if one had recorded everything: what is
    /// listed is in the order of time, whoever recorded it.
    pub fn joined(intervals: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        intervals.into_iter().for_each(|one| all.gather(one));
        all.turns.sort_by_key(|t| (t.ended, t.device, t.turn));
        if let Some(network) = &mut all.network {
            network.in_order();
        }
        all
    }

    /// Adds an interval of another shard, and takes over what sums do not have: turns, and the lists of the network.
    pub fn gather(&mut self, mut other: Self) {
        self.absorb(&other);
        self.turns.append(&mut other.turns);
        if let Some(theirs) = &mut other.network {
            self.network().gather(theirs);
        }
    }

    /// Adds another interval: of another shard at the same time, or of a later time. Turns are not taken over.
    pub fn absorb(&mut self, other: &Self) {
        for (mine, theirs) in self.metrics.iter_mut().zip(&other.metrics) {
            mine.merge(theirs);
        }
        self.counts.absorb(&other.counts);
        for (class, theirs) in &other.failures {
            let mine = self.failure(class);
            mine.turns += theirs.turns;
            mine.connections += theirs.connections;
            // A turn tells more than the connection it was lost with; among equals, the first.
            let best = |e: &(u32, Option<u32>, Micros, Box<str>)| (e.1.is_none(), e.2, e.0);
            mine.example = mine.example.take().into_iter().chain(theirs.example.clone()).min_by_key(best);
        }
        if let Some(theirs) = &other.network {
            self.network().absorb(theirs);
        }
    }
}

impl Counts {
    /// Turns, for `result.json`.
    pub const fn turns(&self) -> TurnCounts {
        TurnCounts {
            planned: self.started + self.missed,
            started: self.started,
            succeeded: self.succeeded,
            failed: self.failed,
            timed_out: self.timed_out,
            interrupted: self.interrupted,
            cancelled: self.cancelled,
            missed: self.missed,
            warmup: self.started_warmup,
            reconnected: self.turns_reconnected,
            lost_to_cut: self.turns_lost_to_cut,
            cut_short: self.turns_cut_short,
            answered_twice: self.turns_answered_twice,
            speech_lost: self.turns_speech_lost,
            speech_lost_us: self.speech_lost.0,
            speech_late: self.turns_speech_late,
            speech_late_us: self.speech_late.0,
            lowered_chunks: self.lowered,
            bitrate_downs: self.bitrate_downs,
            bitrate_ups: self.bitrate_ups,
        }
    }

    /// Interruptions, for `result.json`.
    pub const fn barge_in(&self) -> BargeInCounts {
        BargeInCounts {
            made: self.barge_ins,
            stopped: self.barge_ins_stopped,
            backchannels: self.backchannels,
            false_stops: self.false_stops,
            stale_messages: self.stale_messages,
        }
    }

    /// Adds everything, levels too: right for shards at one time. Along time the levels of the sum mean nothing.
    pub(super) fn absorb(&mut self, o: &Self) {
        self.connected += o.connected;
        self.most_connected += o.most_connected;
        self.in_turn += o.in_turn;
        self.media += o.media;
        self.speech_lost += o.speech_lost;
        self.speech_late += o.speech_late;
        self.cpu += o.cpu;
        self.rss = o.rss.max(self.rss);
        for (mine, theirs) in [
            (&mut self.started, o.started),
            (&mut self.started_warmup, o.started_warmup),
            (&mut self.succeeded, o.succeeded),
            (&mut self.failed, o.failed),
            (&mut self.timed_out, o.timed_out),
            (&mut self.interrupted, o.interrupted),
            (&mut self.cancelled, o.cancelled),
            (&mut self.missed, o.missed),
            (&mut self.warmup_ended, o.warmup_ended),
            (&mut self.connects, o.connects),
            (&mut self.connected_total, o.connected_total),
            (&mut self.connect_failures, o.connect_failures),
            (&mut self.lost, o.lost),
            (&mut self.reconnected, o.reconnected),
            (&mut self.messages_sent, o.messages_sent),
            (&mut self.messages_received, o.messages_received),
            (&mut self.bytes_sent, o.bytes_sent),
            (&mut self.bytes_received, o.bytes_received),
            (&mut self.barge_ins, o.barge_ins),
            (&mut self.barge_ins_stopped, o.barge_ins_stopped),
            (&mut self.backchannels, o.backchannels),
            (&mut self.false_stops, o.false_stops),
            (&mut self.stale_messages, o.stale_messages),
            (&mut self.replies, o.replies),
            (&mut self.stalls, o.stalls),
            (&mut self.bitrate_downs, o.bitrate_downs),
            (&mut self.bitrate_ups, o.bitrate_ups),
            (&mut self.lowered, o.lowered),
            (&mut self.faults, o.faults),
            (&mut self.turns_reconnected, o.turns_reconnected),
            (&mut self.turns_lost_to_cut, o.turns_lost_to_cut),
            (&mut self.turns_cut_short, o.turns_cut_short),
            (&mut self.turns_answered_twice, o.turns_answered_twice),
            (&mut self.turns_speech_lost, o.turns_speech_lost),
            (&mut self.turns_speech_late, o.turns_speech_late),
        ] {
            *mine += theirs;
        }
        for (mine, theirs) in self.playback.iter_mut().zip(&o.playback) {
            mine.stalled_replies += theirs.stalled_replies;
            mine.stalls += theirs.stalls;
            mine.stalled += theirs.stalled;
        }
    }
}

/// Records the events of one shard.
#[derive(Debug)]
pub struct Recorder {
    interval: Interval,
    /// Levels, carried from one interval to the next.
    connected: i64,
    in_turn: i64,
    warmup: Micros,
    /// False when the dialect has no reply text: a failed turn then says nothing about TTFT.
    has_text: bool,
    /// False when it recognises speech, and nobody replies: a failed turn then is a transcript that never came.
    has_reply: bool,
    groups: Groups,
    open: OpenFaults,
    /// When load ends, and for how long after a cut a device need not have been heard of by then.
    end: Micros,
    patience: Micros,
}

impl Recorder {
    /// A recorder; pacing and lateness before `warmup` are not counted.
    pub fn new(warmup: Micros, has_text: bool) -> Self {
        Self {
            interval: Interval::default(),
            connected: 0,
            in_turn: 0,
            warmup,
            has_text,
            has_reply: true,
            groups: Groups::default(),
            open: OpenFaults::default(),
            end: Micros::NEVER,
            patience: Micros::ZERO,
        }
    }

    /// Turns are complete with their transcripts.
    pub const fn without_replies(&mut self) {
        self.has_reply = false;
    }

    /// Counts by group, too. Load ends at `end`: a device that was cut less than `patience` before need not have
    /// recovered by then.
    pub fn of_run(&mut self, groups: Groups, end: Micros, patience: Micros) {
        (self.groups, self.end, self.patience) = (groups, end, patience);
    }

    /// Load ends earlier than planned.
    pub fn ends(&mut self, at: Micros) {
        self.end = self.end.min(at);
    }

    /// The last device has left: faults that are still open come to something.
    pub fn finish(&mut self, now: Micros) {
        let patience = self.patience;
        if !self.open.is_empty() {
            let faults = &mut self.interval.network().faults;
            let noted = self.open.finish(faults, |cut| now - cut < patience);
            self.interval.note(noted);
        }
    }

    /// Ends the interval and begins the next.
    pub fn take(&mut self) -> Interval {
        if !self.open.is_empty() {
            let noted = self.open.settle(&mut self.interval.network().faults);
            self.interval.note(noted);
        }
        self.interval.counts.connected = self.connected;
        self.interval.counts.in_turn = self.in_turn;
        let done = std::mem::take(&mut self.interval);
        self.interval.counts.most_connected = self.connected;
        done
    }

    /// A frame was written: the frequent event, recorded without being made into one. `blocked` is how long it waited
    /// for the socket; the rest of its lateness is the harness's.
    pub fn sent(&mut self, what: Sent, bytes: usize, planned: Micros, blocked: Micros, written: Micros) {
        let i = &mut self.interval;
        i.counts.messages_sent += 1;
        i.counts.bytes_sent += bytes as u64;
        if what == Sent::Audio && planned >= self.warmup {
            let late = written - planned;
            i.record(Metric::SendLateness, late);
            i.record(Metric::OwnLateness, late - blocked);
            i.record(Metric::SocketBlocked, blocked);
        }
    }

    /// The thread's timer was served `lag` after it was due.
    pub fn ticked(&mut self, now: Micros, lag: Micros) {
        if now >= self.warmup {
            self.interval.record(Metric::TickerLag, lag);
        }
    }

    /// Something happened to a device.
    pub fn record(&mut self, device: u32, now: Micros, event: Event) {
        let i = &mut self.interval;
        let c = &mut i.counts;
        match event {
            Event::Connecting => c.connects += 1,
            Event::Connected { times, total, reconnect: _ } => {
                c.connected_total += 1;
                self.connected += 1;
                c.most_connected = c.most_connected.max(self.connected);
                i.record(Metric::Connect, total);
                i.record(Metric::ConnectUncorrected, times.tcp + times.tls + times.upgrade);
                i.record(Metric::ConnectTcp, times.tcp);
                i.record(Metric::ConnectUpgrade, times.upgrade);
                if times.tls > Micros::ZERO {
                    i.record(Metric::ConnectTls, times.tls);
                }
                let noted = self.open.connected(device, now);
                i.note(noted);
            }
            Event::SessionReady { after, total } => {
                i.record(Metric::SessionReady, after);
                i.record(Metric::ConnectReady, total);
            }
            Event::ConnectionLost { class, detail, established } => {
                if established {
                    c.lost += 1;
                    self.connected -= 1;
                } else {
                    c.connect_failures += 1;
                }
                let f = i.failure(&class);
                f.connections += 1;
                f.example.get_or_insert((device, None, now, detail));
            }
            Event::Disconnected => {
                self.connected -= 1;
                if !self.open.is_empty() {
                    self.open.disconnected(&mut i.network().faults, device);
                }
            }
            Event::Reconnected { after } => {
                c.reconnected += 1;
                i.record(Metric::Reconnect, after);
            }
            Event::Received { bytes } => {
                c.messages_received += 1;
                c.bytes_received += u64::from(bytes);
            }
            Event::TurnStarted { warmup } => {
                *(if warmup { &mut c.started_warmup } else { &mut c.started }) += 1;
                self.in_turn += 1;
            }
            Event::TokenGap(gap) => i.record(Metric::TokenGap, gap),
            Event::AudioGap(gap) => i.record(Metric::AudioGap, gap),
            Event::HeartbeatAnswered { rtt } => i.record(Metric::HeartbeatRtt, rtt),
            Event::StaleMessage => c.stale_messages += 1,
            Event::Missed { turns } => c.missed += u64::from(turns),
            Event::FaultBegan { fault, phase } => {
                c.faults += 1;
                let noted = self.open.began(&mut i.network().faults, (device, now), fault, phase);
                i.note(noted);
            }
            Event::Noticed { cause, phase, after } => {
                let noted = self.open.noticed(&mut i.network().faults, (device, now), &cause, phase, after);
                i.note(noted);
            }
            Event::Recovered(recovery) => {
                let (end, patience) = (self.end, self.patience);
                let at_end = |cut| now >= end && now - cut < patience;
                let noted = self.open.recovered(&mut i.network().faults, (device, now), &recovery, at_end);
                i.note(noted);
            }
            Event::LinkEnded(link) => {
                if let Some(group) = self.groups.of(device) {
                    i.network().link_ended(device, group, link);
                }
            }
            Event::AnsweredTwice { .. } => c.turns_answered_twice += 1,
            Event::BitrateChanged { down } => {
                *(if down { &mut c.bitrate_downs } else { &mut c.bitrate_ups }) += 1
            }
            Event::TurnEnded(turn) => {
                self.in_turn -= 1;
                if turn.warmup {
                    i.counts.warmup_ended += 1;
                } else {
                    i.turn(&turn, self.has_text, self.has_reply);
                    if self.groups.are_any() {
                        i.network().turn(&turn, self.has_text);
                    }
                    if self.groups.is_judged(turn.group) {
                        i.network().judged(turn.group).turn(&turn, self.has_text, self.has_reply);
                    }
                }
                i.turns.push(turn);
            }
        }
    }
}

impl Interval {
    /// A counted turn ended: every number of it.
    fn turn(&mut self, t: &TurnRecord, has_text: bool, has_reply: bool) {
        let c = &mut self.counts;
        let counted = match &t.outcome {
            Outcome::Succeeded => &mut c.succeeded,
            Outcome::Interrupted => &mut c.interrupted,
            Outcome::Failed(FailureClass::Timeout, _) => &mut c.timed_out,
            Outcome::Failed(..) => &mut c.failed,
            Outcome::Cancelled => &mut c.cancelled,
        };
        *counted += 1;
        if t.outcome == Outcome::Cancelled {
            return;
        }
        self.interruptions(t);
        self.cuts(t);
        // Stalls and pace are those of every reply that was heard, also of those that failed because of them.
        if t.reply_media > Micros::ZERO {
            self.playback(t);
        }
        if let Outcome::Failed(class, detail) = &t.outcome {
            let f = self.failure(class);
            f.turns += 1;
            // A turn tells more than the connection it was lost with.
            if f.example.as_ref().is_none_or(|e| e.1.is_none()) {
                f.example = Some((t.device, Some(t.turn), t.ended, detail.clone()));
            }
            let gated = [
                Metric::Ttfa,
                Metric::TtfaFirstByte,
                Metric::TtfaAt0,
                Metric::TtfaAt60,
                Metric::TtfaAt120,
                Metric::TtfaAt200,
            ];
            if !has_reply {
                return self.metrics[Metric::FinalTranscript as usize].record_infinite();
            }
            for m in gated.into_iter().chain(has_text.then_some(Metric::Ttft)) {
                self.metrics[m as usize].record_infinite();
            }
            return;
        }
        let eos = t.end_of_speech;
        // The clock that a tool without a plan would have used: it starts when the speech was really out.
        let uncorrected = t.send_delay().unwrap_or_default();
        let late = |at: Option<Micros>| at.map(|at| at - eos);
        for (m, value) in [
            (Metric::Ttfa, t.ttfa()),
            (Metric::Ttft, t.ttft()),
            (Metric::TtfaFirstByte, t.ttfa_first_byte()),
            (Metric::TtfaFromLastSend, t.judged.first_audible.zip(t.last_send_done).map(|(a, b)| a - b)),
            (Metric::TtfaAt0, late(t.playout[0].first_audible)),
            (Metric::TtfaAt60, late(t.playout[1].first_audible)),
            (Metric::TtfaAt120, late(t.playout[2].first_audible)),
            (Metric::TtfaAt200, late(t.playout[3].first_audible)),
            (Metric::EndpointDelay, late(t.endpoint)),
            (Metric::FirstPartial, late(t.first_partial)),
            (Metric::FinalTranscript, late(t.final_transcript)),
            (Metric::LeadSilence, t.lead_silence),
        ] {
            if let Some(value) = value {
                self.record(m, value);
                if let Some(twin) = m.uncorrected() {
                    self.record(twin, value - uncorrected);
                }
            }
        }
    }

    /// What lost connections and the network did to it.
    fn cuts(&mut self, t: &TurnRecord) {
        let c = &mut self.counts;
        let lost = match &t.outcome {
            Outcome::Failed(class, _) => t.reconnects > 0 || is_loss(class),
            _ => false,
        };
        let went_on = t.reconnects > 0 && !matches!(t.outcome, Outcome::Failed(..));
        for (n, yes) in [
            (&mut c.turns_lost_to_cut, lost),
            (&mut c.turns_reconnected, went_on),
            (&mut c.turns_cut_short, t.cut_short),
            (&mut c.turns_answered_twice, t.answered_twice),
            (&mut c.turns_speech_lost, t.speech_lost > Micros::ZERO),
            (&mut c.turns_speech_late, t.speech_late > Micros::ZERO),
        ] {
            *n += u64::from(yes);
        }
        c.speech_lost += t.speech_lost;
        c.speech_late += t.speech_late;
        c.lowered += u64::from(t.lowered);
        if matches!(t.outcome, Outcome::Failed(..)) {
            return;
        }
        for (m, value) in [
            (Metric::NetworkUp, t.network_up),
            (Metric::NetworkDown, t.network_down),
            (Metric::Network, share(t)),
        ] {
            if let Some(value) = value {
                self.record(m, value);
            }
        }
    }

    fn interruptions(&mut self, t: &TurnRecord) {
        if let Some(b) = &t.barge_in {
            self.counts.barge_ins += 1;
            self.counts.barge_ins_stopped += u64::from(b.acknowledged.is_some());
            match b.last_played {
                Some(at) => self.record(Metric::BargeInStop, at - b.planned),
                // It neither stopped nor ended, as far as anybody could hear.
                None => self.metrics[Metric::BargeInStop as usize].record_infinite(),
            }
            if let Some(at) = b.last_byte {
                self.record(Metric::BargeInLastByte, at - b.planned);
            }
        }
        if let Some(b) = &t.backchannel {
            self.counts.backchannels += 1;
            self.counts.false_stops += u64::from(b.stopped_reply);
        }
    }

    fn playback(&mut self, t: &TurnRecord) {
        self.record(Metric::RequiredPrebuffer, t.required_prebuffer);
        if let Some(rtf) = t.rtf() {
            self.record(Metric::Rtf, Micros((rtf * 1e6).round() as i64));
        }
        self.counts.replies += 1;
        self.counts.media += t.reply_media;
        self.counts.stalls += u64::from(t.judged.stalls);
        let ratios =
            [Metric::StallRatio0, Metric::StallRatio60, Metric::StallRatio120, Metric::StallRatio200];
        for (n, (m, p)) in ratios.into_iter().zip(&t.playout).enumerate() {
            let counts = &mut self.counts.playback[n];
            counts.stalled_replies += u64::from(p.stalls > 0);
            counts.stalls += u64::from(p.stalls);
            counts.stalled += p.stalled;
            self.record(m, Micros((stall_ratio(p.stalled, t.reply_media) * 1e6).round() as i64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::{World, loud, ms, plan, text};
    use crate::scenario::EndOfTurn;

    fn recorded(world: &World) -> Interval {
        let mut recorder = Recorder::new(Micros::ZERO, true);
        for (at, event) in &world.events {
            recorder.record(0, *at, event.clone());
        }
        recorder.take()
    }

    #[test]
    fn a_reply_that_fails_because_it_stalls_is_in_the_stall_statistics() {
        let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
        w.says(1_700, loud()).says(2_000, loud()).says(2_010, text(r#"{"type":"turn_end"}"#)).until(2_100);
        let i = recorded(&w);
        assert_eq!((i.counts.failed, i.counts.replies, i.counts.playback[0].stalled), (1, 1, ms(240)));
        assert_eq!(i.metric(Metric::StallRatio0).count(), 1);
        assert_eq!(i.metric(Metric::RequiredPrebuffer).max(), Some(ms(240)));
        assert_eq!(i.metric(Metric::Ttfa).infinite_count(), 1);
    }

    #[test]
    fn examples_of_turns_come_before_those_of_connections() {
        let lost = |turn, at| {
            let mut i = Interval::default();
            i.failure(&FailureClass::Reset).example = Some((1, turn, Micros(at), "x".into()));
            i
        };
        let mut all = lost(None, 1);
        all.absorb(&lost(Some(3), 9));
        all.absorb(&lost(Some(4), 5));
        let example = all.failures[&FailureClass::Reset].example.clone();
        assert_eq!(example.map(|e| (e.1, e.2)), Some((Some(4), Micros(5))));
    }
}
