//! Faults, and how devices came back from them: by cause and by what the device was doing.
//!
//! A device that has been cut is *open* until it has heard something again, or has left. What it comes to is exactly
//! one of: recovered, never, lived through, unfinished, overtaken (`docs/METRICS.md`).

use std::collections::{BTreeMap, HashMap};

use super::Distribution;
use super::storm::{Back, Cut};
use crate::event::FailureClass;
use crate::fault::{Cause, FaultKind, Phase, Recovery};
use crate::report::result::{FaultNumbers, FaultResult, PhaseResult, RecoverySteps};
use crate::time::Micros;

/// Causes and phases kept apart; further ones (a server can invent close codes) are counted together.
const MAX_KEYS: usize = 48;

/// Open faults of one device that are kept; an older one is then overtaken.
const MAX_OPEN: usize = 4;

/// Faults by cause and phase, of one interval or of a run.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    by: BTreeMap<(Cause, Phase), Numbers>,
}

/// What came of the faults of one cause in one phase.
#[derive(Clone, Debug, Default)]
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
    connected: bool,
}

impl Open {
    fn is(&self, cause: &Cause) -> bool {
        self.cause == *cause
    }
}

/// What ends every connection that it meets; the others can be lived through.
const fn severs(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Reset | FaultKind::Close | FaultKind::BlackHole | FaultKind::AddressChange)
}

/// What lets nothing through: the first audio after it is a recovery, also of a device that kept its connection.
fn silences(cause: &Cause) -> bool {
    !matches!(cause, Cause::Fault(FaultKind::SlowReader | FaultKind::StalledWriter))
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
        if kind == FaultKind::Vanish {
            // It is gone, and with it what it had not recovered from.
            for open in self.devices.remove(&device).unwrap_or_default() {
                faults.of(&open.cause, open.phase).overtaken += 1;
            }
            return Noted::default();
        }
        let lost = severs(kind).then_some(now);
        let cut = lost.map(|at| Cut { device, at, cause: cause.clone() });
        self.open(faults, device, Open { cause, phase, cut: now, noticed: false, lost, connected: false });
        Noted { cut, ..Noted::default() }
    }

    fn open(&mut self, faults: &mut Faults, device: u32, open: Open) {
        let all = self.devices.entry(device).or_default();
        if all.len() >= MAX_OPEN {
            let oldest = all.remove(0);
            faults.of(&oldest.cause, oldest.phase).overtaken += 1;
        }
        all.push(open);
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
        let known = self.devices.get_mut(&device).and_then(|all| all.iter_mut().rfind(|o| o.is(cause)));
        let (phase, newly_lost) = match known {
            Some(open) if open.noticed => return Noted::default(),
            Some(open) => {
                open.noticed = true;
                let newly = open.lost.is_none();
                open.lost.get_or_insert(now);
                (open.phase, newly)
            }
            None => {
                faults.of(cause, phase).began += 1;
                let open = Open {
                    cause: cause.clone(),
                    phase,
                    cut: now - after,
                    noticed: true,
                    lost: Some(now),
                    connected: false,
                };
                self.open(faults, device, open);
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
        for open in all.iter_mut().filter(|o| !o.connected) {
            if let Some(lost) = open.lost {
                open.connected = true;
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
        device: u32,
        r: &Recovery,
        at_end: impl Fn(Micros) -> bool,
    ) -> Noted {
        let all = self.devices.entry(device).or_default();
        let open = all.iter().rposition(|o| o.is(&r.cause)).map(|at| all.remove(at));
        // What came before was overtaken by this cut; what came after it goes on.
        let before: Vec<Open> = all.extract_if(.., |o| o.cut <= r.cut).collect();
        if all.is_empty() {
            self.devices.remove(&device);
        }
        for o in before {
            faults.of(&o.cause, o.phase).overtaken += 1;
        }
        let phase = open.as_ref().map_or(r.phase, |o| o.phase);
        let (was_noticed, came_back) =
            open.as_ref().map_or((false, true), |o| (o.noticed, o.connected || o.lost.is_none()));
        let n = faults.of(&r.cause, phase);
        if open.is_none() {
            n.began += 1;
        }
        let mut samples = Vec::new();
        let Some(noticed) = r.noticed else {
            n.lived_through += 1;
            if let Some(audio) = r.audio.filter(|_| silences(&r.cause)) {
                n.recover.record(audio - r.cut);
                samples.push(Sample::Recover(Some(audio - r.cut)));
            }
            return Noted { samples, ..Noted::default() };
        };
        if !was_noticed {
            n.notice.record(noticed - r.cut);
            samples.push(Sample::Notice(Some(noticed - r.cut)));
        }
        // One that has heard something was connected, whatever else is known.
        let connected = came_back || r.audio.is_some();
        if connected {
            n.reconnected += 1;
            n.resumed += u64::from(r.resumed);
            n.attempts += u64::from(r.attempts);
            n.back_off += r.back_off;
            n.tcp += r.tcp;
            n.tls += r.tls;
            n.upgrade += r.upgrade;
            if let Some(session) = r.session {
                n.session += session;
                n.sessions += 1;
            }
            n.outage.record(r.connected - r.cut);
            samples.push(Sample::Outage(Some(r.connected - r.cut)));
        }
        match r.audio {
            Some(audio) => {
                n.recovered += 1;
                n.recover.record(audio - r.cut);
                samples.push(Sample::Recover(Some(audio - r.cut)));
            }
            None if at_end(r.cut) => n.unfinished += 1,
            None => {
                n.never(!connected, false, &mut samples);
            }
        }
        Noted { samples, ..Noted::default() }
    }

    /// The run is over: what is still open has come to something, too.
    pub(super) fn finish(&mut self, faults: &mut Faults, at_end: impl Fn(Micros) -> bool) -> Noted {
        let mut samples = Vec::new();
        for open in std::mem::take(&mut self.devices).into_values().flatten() {
            let n = faults.of(&open.cause, open.phase);
            if open.lost.is_none() {
                n.lived_through += 1;
            } else if at_end(open.cut) {
                n.unfinished += 1;
            } else {
                n.never(!open.connected, !open.noticed, &mut samples);
            }
        }
        Noted { samples, ..Noted::default() }
    }
}

impl Numbers {
    /// It never heard anything again; perhaps it never connected again, or even never noticed.
    fn never(&mut self, unconnected: bool, unnoticed: bool, samples: &mut Vec<Sample>) {
        self.never += 1;
        self.recover.record_infinite();
        samples.push(Sample::Recover(None));
        if unconnected {
            self.outage.record_infinite();
            samples.push(Sample::Outage(None));
        }
        if unnoticed {
            self.notice.record_infinite();
            samples.push(Sample::Notice(None));
        }
    }
}

#[cfg(test)]
mod tests;
