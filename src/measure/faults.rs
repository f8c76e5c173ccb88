//! Faults, and how devices came back from them: by cause and by what the device was doing.
//!
//! A fault is *open* until the device has heard something again, or has left; also when it is cut again before, or hangs up
//! because a turn failed. It comes to exactly one thing: recovered, never, lived through, unfinished, overtaken
//! (`docs/METRICS.md`).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Distribution;
use super::stored;
use super::storm::{Back, Cut};
use crate::event::FailureClass;
use crate::fault::{Cause, FaultKind, Phase, Recovery};
use crate::report::result::{FaultNumbers, FaultResult, PhaseResult, RecoverySteps};
use crate::time::Micros;

/// Causes and phases kept apart; further ones (a server can invent close codes) are counted together.
const MAX_KEYS: usize = 48;

/// Open faults of one device that are followed; an older one is then overtaken.
const MAX_OPEN: usize = 4;

/// Faults by cause and phase, of one interval or of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Faults {
    #[serde(with = "stored::pairs")]
    by: BTreeMap<(Cause, Phase), Numbers>,
}

/// What came of the faults of one cause in one phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Numbers {
    began: u64,
    recovered: u64,
    never: u64,
    lived_through: u64,
    unfinished: u64,
    overtaken: u64,
    resumed: u64,
    reconnected: u64,
    attempts: u64,
    notice: Distribution,
    outage: Distribution,
    recover: Distribution,
    /// Of those that kept their connection: cut → first audio.
    silence: Distribution,
    back_off: Micros,
    tcp: Micros,
    tls: Micros,
    upgrade: Micros,
    session: Micros,
    /// Of the reconnected: those whose server sent a session message.
    sessions: u64,
}

impl Numbers {
    fn absorb(&mut self, o: &Self) {
        for (mine, theirs) in [
            (&mut self.began, o.began),
            (&mut self.recovered, o.recovered),
            (&mut self.never, o.never),
            (&mut self.lived_through, o.lived_through),
            (&mut self.unfinished, o.unfinished),
            (&mut self.overtaken, o.overtaken),
            (&mut self.resumed, o.resumed),
            (&mut self.reconnected, o.reconnected),
            (&mut self.attempts, o.attempts),
            (&mut self.sessions, o.sessions),
        ] {
            *mine += theirs;
        }
        for (mine, theirs) in [
            (&mut self.back_off, o.back_off),
            (&mut self.tcp, o.tcp),
            (&mut self.tls, o.tls),
            (&mut self.upgrade, o.upgrade),
            (&mut self.session, o.session),
        ] {
            *mine += theirs;
        }
        self.notice.merge(&o.notice);
        self.outage.merge(&o.outage);
        self.recover.merge(&o.recover);
        self.silence.merge(&o.silence);
    }

    fn to_result(&self) -> FaultNumbers {
        let mean = |sum: Micros, of: u64| sum.0 as f64 / of.max(1) as f64;
        let n = self.reconnected;
        FaultNumbers {
            began: self.began,
            recovered: self.recovered,
            never: self.never,
            lived_through: self.lived_through,
            unfinished: self.unfinished,
            overtaken: self.overtaken,
            resumed: self.resumed,
            reconnected: n,
            attempts: self.attempts,
            notice: self.notice.to_spread(),
            outage: self.outage.to_spread(),
            recover: self.recover.to_spread(),
            silence: self.silence.to_spread(),
            steps: (n > 0).then(|| RecoverySteps {
                back_off_us: mean(self.back_off, n),
                tcp_us: mean(self.tcp, n),
                tls_us: mean(self.tls, n),
                upgrade_us: mean(self.upgrade, n),
                session_us: (self.sessions > 0).then(|| mean(self.session, self.sessions)),
            }),
        }
    }
}

impl Faults {
    /// True when there was none.
    pub fn is_empty(&self) -> bool {
        self.by.is_empty()
    }

    fn of(&mut self, cause: &Cause, phase: Phase) -> &mut Numbers {
        let known = self.by.contains_key(&(cause.clone(), phase));
        let cause = if known || self.by.len() < MAX_KEYS {
            cause.clone()
        } else {
            Cause::Lost(FailureClass::Server("other".to_owned()))
        };
        self.by.entry((cause, phase)).or_default()
    }

    /// Adds those of another shard, or of a later interval.
    pub fn absorb(&mut self, other: &Self) {
        for ((cause, phase), theirs) in &other.by {
            self.of(cause, *phase).absorb(theirs);
        }
    }

    /// How many began, by cause.
    pub fn began(&self) -> impl Iterator<Item = (&Cause, u64)> {
        self.by.iter().map(|((cause, _), n)| (cause, n.began)).filter(|(_, n)| *n > 0)
    }

    /// The most frequent cause first.
    pub fn to_result(&self) -> Vec<FaultResult> {
        let mut causes: BTreeMap<&Cause, (Numbers, Vec<PhaseResult>)> = BTreeMap::new();
        for ((cause, phase), n) in &self.by {
            let (all, phases) = causes.entry(cause).or_default();
            all.absorb(n);
            phases.push(PhaseResult { phase: phase.name().to_owned(), numbers: n.to_result() });
        }
        let mut all: Vec<FaultResult> = causes
            .into_iter()
            .map(|(cause, (all, phases))| FaultResult {
                cause: cause.to_string(),
                planned: matches!(cause, Cause::Fault(_)),
                all: all.to_result(),
                phases,
            })
            .collect();
        all.sort_by(|a, b| b.all.began.cmp(&a.all.began).then_with(|| a.cause.cmp(&b.cause)));
        all
    }
}

/// A sample of one of the metrics, for the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    Notice(Option<Micros>),
    Outage(Option<Micros>),
    Recover(Option<Micros>),
}

/// What one event, or the end of the run, adds to an interval.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// `None`: +∞.
    pub(super) samples: Vec<Sample>,
    pub(super) cut: Option<Cut>,
    pub(super) backs: Vec<Back>,
}

/// The faults of a shard's devices that have not come to an end. Empty, it costs a look at a map without entries.
#[derive(Debug, Default)]
pub(super) struct OpenFaults {
    devices: HashMap<u32, Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    cause: Cause,
    phase: Phase,
    cut: Micros,
    noticed: bool,
    /// As a storm counts it: when the connection became useless. `None`: it has not, as far as is known.
    lost: Option<Micros>,
    /// When the device was connected again.
    connected: Option<Micros>,
    /// The device has said how it came back, or that it has given up waiting.
    told: bool,
    /// The latter, at this instant: what comes next says why.
    silent: Option<Micros>,
}

impl Open {
    fn new(cause: Cause, phase: Phase, cut: Micros, lost: Option<Micros>) -> Self {
        Self { cause, phase, cut, noticed: false, lost, connected: None, told: false, silent: None }
    }
}

/// What ends every connection that it meets; the others can be lived through.
const fn severs(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Reset | FaultKind::Close | FaultKind::BlackHole | FaultKind::AddressChange)
}

/// What lets nothing through: a device that keeps its connection hears nothing for a while.
fn silences(cause: &Cause) -> bool {
    !matches!(cause, Cause::Fault(FaultKind::SlowReader | FaultKind::StalledWriter))
}

/// True when a connection was lost. False: the device has hung up, because a turn failed.
pub(super) const fn is_loss(class: &FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Reset
            | FailureClass::Closed(_)
            | FailureClass::HeartbeatLost
            | FailureClass::NotConnected
            | FailureClass::Cut(_)
    )
}

/// A device that hangs up after a failed turn: no fault, but what it has not recovered from, it has not yet.
const fn is_hangup(cause: &Cause) -> bool {
    matches!(cause, Cause::Lost(class) if !is_loss(class))
}

/// The fault that is meant: that of this cut, or else the latest that nothing was said about yet.
fn find(all: &[Open], cause: &Cause, cut: Micros) -> Option<usize> {
    let open = |o: &Open| o.cause == *cause && !o.told;
    all.iter().rposition(|o| open(o) && o.cut == cut).or_else(|| all.iter().rposition(open))
}

impl OpenFaults {
    /// True when every fault has come to an end.
    pub(super) fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// A fault of the scenario begins.
    pub(super) fn began(
        &mut self,
        faults: &mut Faults,
        (device, now): (u32, Micros),
        kind: FaultKind,
        phase: Phase,
    ) -> Noted {
        let cause = Cause::Fault(kind);
        faults.of(&cause, phase).began += 1;
        self.struck_again(device, now);
        let lost = severs(kind).then_some(now);
        let cut = lost.map(|at| Cut { device, at, cause: cause.clone() });
        self.open(faults, device, Open::new(cause, phase, now, lost));
        Noted { cut, ..Noted::default() }
    }

    fn open(&mut self, faults: &mut Faults, device: u32, open: Open) {
        let all = self.devices.entry(device).or_default();
        if all.len() >= MAX_OPEN {
            end(faults, &all.remove(0));
        }
        all.push(open);
    }

    /// A device that gave up waiting did so because this befalls it now: it is still coming back.
    fn struck_again(&mut self, device: u32, now: Micros) {
        for o in self.devices.get_mut(&device).into_iter().flatten().filter(|o| o.silent == Some(now)) {
            o.silent = None;
        }
    }

    /// A device leaves as planned, or ends its connection as planned.
    pub(super) fn disconnected(&mut self, faults: &mut Faults, device: u32) {
        let Some(all) = self.devices.get_mut(&device) else { return };
        let vanished = |o: &Open| o.cause == Cause::Fault(FaultKind::Vanish);
        for o in all.extract_if(.., |o| !vanished(o) && (o.lost.is_none() || o.connected.is_some())) {
            let n = faults.of(&o.cause, o.phase);
            // It was connected, and its user had nothing more to say.
            *(if o.lost.is_none() { &mut n.lived_through } else { &mut n.unfinished }) += 1;
        }
        if all.is_empty() {
            self.devices.remove(&device);
        }
    }

    /// An interval is over: nothing that its events said waits for the next ones.
    pub(super) fn settle(&mut self, faults: &mut Faults) -> Noted {
        let mut samples = Vec::new();
        self.devices.retain(|_, all| {
            // A device that has vanished says nothing more.
            let vanished = |o: &Open| o.cause == Cause::Fault(FaultKind::Vanish);
            if all.iter().any(vanished) {
                all.drain(..).filter(|o| !vanished(o)).for_each(|o| end(faults, &o));
            } else if all.iter().any(|o| o.silent.is_some()) {
                all.drain(..).for_each(|o| never(faults, &o, &mut samples));
            }
            !all.is_empty()
        });
        Noted { samples, ..Noted::default() }
    }

    /// A device noticed that its connection is of no use.
    pub(super) fn noticed(
        &mut self,
        faults: &mut Faults,
        (device, now): (u32, Micros),
        cause: &Cause,
        phase: Phase,
        after: Micros,
    ) -> Noted {
        self.struck_again(device, now);
        if is_hangup(cause) {
            return Noted::default();
        }
        let all = self.devices.entry(device).or_default();
        let known = find(all, cause, now - after).and_then(|at| all.get_mut(at));
        let (phase, newly_lost) = match known {
            Some(open) => {
                open.noticed = true;
                let newly = open.lost.is_none();
                open.lost.get_or_insert(now);
                (open.phase, newly)
            }
            None => {
                faults.of(cause, phase).began += 1;
                let open = Open::new(cause.clone(), phase, now - after, Some(now));
                self.open(faults, device, Open { noticed: true, ..open });
                (phase, true)
            }
        };
        faults.of(cause, phase).notice.record(after);
        Noted {
            samples: vec![Sample::Notice(Some(after))],
            cut: newly_lost.then(|| Cut { device, at: now, cause: cause.clone() }),
            backs: Vec::new(),
        }
    }

    /// A device is connected again.
    pub(super) fn connected(&mut self, device: u32, now: Micros) -> Noted {
        let Some(all) = self.devices.get_mut(&device) else { return Noted::default() };
        let mut noted = Noted::default();
        for open in all.iter_mut().filter(|o| o.connected.is_none()) {
            if let Some(lost) = open.lost {
                open.connected = Some(now);
                noted.backs.push(Back { lost, at: now });
            }
        }
        noted
    }

    /// A device has heard something again, or will not any more. `at_end`: the run is over, and has not given it the
    /// time that it should have had.
    pub(super) fn recovered(
        &mut self,
        faults: &mut Faults,
        (device, now): (u32, Micros),
        r: &Recovery,
        at_end: impl Fn(Micros) -> bool,
    ) -> Noted {
        let all = self.devices.entry(device).or_default();
        let mut samples = Vec::new();
        if !is_hangup(&r.cause) {
            told(faults, all, now, r, &at_end, &mut samples);
        }
        if let Some(audio) = r.audio.filter(|_| r.noticed.is_some()) {
            // Everything that befell it before it was connected is over with this.
            for o in all.extract_if(.., |o| o.cut <= r.connected) {
                let n = faults.of(&o.cause, o.phase);
                if o.lost.is_none() {
                    n.lived_through += 1;
                    continue;
                }
                if !o.told {
                    n.outage.record(r.connected - o.cut);
                    samples.push(Sample::Outage(Some(r.connected - o.cut)));
                }
                n.recovered += 1;
                n.recover.record(audio - o.cut);
                samples.push(Sample::Recover(Some(audio - o.cut)));
            }
        }
        if all.is_empty() {
            self.devices.remove(&device);
        }
        Noted { samples, ..Noted::default() }
    }

    /// The run is over: what is still open has come to something, too.
    pub(super) fn finish(&mut self, faults: &mut Faults, at_end: impl Fn(Micros) -> bool) -> Noted {
        let mut samples = self.settle(faults).samples;
        for open in std::mem::take(&mut self.devices).into_values().flatten() {
            if open.lost.is_some() && at_end(open.cut) {
                faults.of(&open.cause, open.phase).unfinished += 1;
            } else {
                never(faults, &open, &mut samples);
            }
        }
        Noted { samples, ..Noted::default() }
    }
}

/// What a device says about one fault. Without audio after it, it stays open.
fn told(
    faults: &mut Faults,
    all: &mut Vec<Open>,
    now: Micros,
    r: &Recovery,
    at_end: impl Fn(Micros) -> bool,
    samples: &mut Vec<Sample>,
) {
    // One that is not open has come to something already.
    let Some(mut open) = find(all, &r.cause, r.cut).map(|at| all.remove(at)) else { return };
    let n = faults.of(&open.cause, open.phase);
    open.told = true;
    let Some(noticed) = r.noticed else {
        if open.lost.is_none() {
            n.lived_through += 1;
            if let Some(audio) = r.audio.filter(|_| silences(&r.cause)) {
                n.silence.record(audio - r.cut);
            }
            return;
        }
        // Cut for good, and never noticed.
        if at_end(open.cut) {
            n.unfinished += 1
        } else {
            all.push(Open { silent: Some(now), ..open })
        }
        return;
    };
    if !open.noticed {
        n.notice.record(noticed - r.cut);
        samples.push(Sample::Notice(Some(noticed - r.cut)));
        open.noticed = true;
    }
    // Without audio, the instant may be that of giving up.
    let connected = if r.audio.is_some() { Some(r.connected) } else { open.connected };
    if let Some(connected) = connected {
        open.connected = Some(connected);
        open.lost.get_or_insert(noticed);
        n.reconnected(r);
        samples.push(Sample::Outage(Some(r.connected - r.cut)));
    }
    if r.audio.is_none() && at_end(open.cut) {
        n.unfinished += 1;
        return;
    }
    // Struck again already, or what comes next says why.
    let again = all.iter().any(|o| o.cut >= open.cut && !o.told);
    let silent = (r.audio.is_none() && !again).then_some(now);
    all.push(Open { silent, ..open });
}

/// A fault that is not followed any more: the device has vanished, or is struck too often.
fn end(faults: &mut Faults, open: &Open) {
    let n = faults.of(&open.cause, open.phase);
    *(if open.lost.is_none() { &mut n.lived_through } else { &mut n.overtaken }) += 1;
}

/// A fault after which the device never heard anything again; perhaps it never connected again, or even never noticed.
fn never(faults: &mut Faults, open: &Open, samples: &mut Vec<Sample>) {
    let n = faults.of(&open.cause, open.phase);
    if open.lost.is_none() {
        n.lived_through += 1;
        return;
    }
    n.never += 1;
    n.recover.record_infinite();
    samples.push(Sample::Recover(None));
    match open.connected {
        Some(at) if !open.told => {
            n.outage.record(at - open.cut);
            samples.push(Sample::Outage(Some(at - open.cut)));
        }
        Some(_) => {}
        None => {
            n.outage.record_infinite();
            samples.push(Sample::Outage(None));
        }
    }
    if !open.noticed {
        n.notice.record_infinite();
        samples.push(Sample::Notice(None));
    }
}

impl Numbers {
    /// It is connected again.
    fn reconnected(&mut self, r: &Recovery) {
        self.reconnected += 1;
        self.resumed += u64::from(r.resumed);
        self.attempts += u64::from(r.attempts);
        self.back_off += r.back_off;
        self.tcp += r.tcp;
        self.tls += r.tls;
        self.upgrade += r.upgrade;
        if let Some(session) = r.session {
            self.session += session;
            self.sessions += 1;
        }
        self.outage.record(r.connected - r.cut);
    }
}

#[cfg(test)]
mod tests;
