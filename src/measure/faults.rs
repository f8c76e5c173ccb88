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
    connected: bool,
    /// It was said at this instant that the device will hear nothing any more, and not yet why.
    silent: Option<Micros>,
}

impl Open {
    fn is(&self, cause: &Cause) -> bool {
        self.cause == *cause && self.silent.is_none()
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
        self.struck_again(faults, device, now);
        let lost = severs(kind).then_some(now);
        let cut = lost.map(|at| Cut { device, at, cause: cause.clone() });
        self.open(
            faults,
            device,
            Open { cause, phase, cut: now, noticed: false, lost, connected: false, silent: None },
        );
        Noted { cut, ..Noted::default() }
    }

    fn open(&mut self, faults: &mut Faults, device: u32, open: Open) {
        let all = self.devices.entry(device).or_default();
        if all.len() >= MAX_OPEN {
            end(faults, &all.remove(0));
        }
        all.push(open);
    }

    /// A device that was said to hear nothing any more: because this befalls it now.
    fn struck_again(&mut self, faults: &mut Faults, device: u32, now: Micros) {
        let Some(all) = self.devices.get_mut(&device) else { return };
        all.extract_if(.., |o| o.silent == Some(now)).for_each(|o| end(faults, &o));
    }

    /// A device leaves as planned, or ends its connection as planned.
    pub(super) fn disconnected(&mut self, faults: &mut Faults, device: u32, now: Micros) {
        let Some(all) = self.devices.get_mut(&device) else { return };
        for o in all.extract_if(.., |o| o.lost.is_none() || (o.connected && o.silent == Some(now))) {
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
            for o in all.extract_if(.., |o| o.silent.is_some()) {
                faults.of(&o.cause, o.phase).never(!o.connected, !o.noticed, &mut samples);
            }
            // A device that has vanished says nothing more.
            let gone = |o: &Open| o.cause == Cause::Fault(FaultKind::Vanish);
            if all.iter().any(gone) {
                all.drain(..).filter(|o| !gone(o)).for_each(|o| end(faults, &o));
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
        self.struck_again(faults, device, now);
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
                    silent: None,
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
        (device, now): (u32, Micros),
        r: &Recovery,
        at_end: impl Fn(Micros) -> bool,
    ) -> Noted {
        let all = self.devices.entry(device).or_default();
        let open = all.iter().rposition(|o| o.is(&r.cause)).map(|at| all.remove(at));
        let unknown = open.is_none();
        let mut open = open.unwrap_or_else(|| Open {
            cause: r.cause.clone(),
            phase: r.phase,
            cut: r.cut,
            noticed: false,
            lost: r.noticed,
            connected: r.connected > r.cut,
            silent: None,
        });
        open.connected |= r.audio.is_some();
        let n = faults.of(&r.cause, open.phase);
        n.began += u64::from(unknown);
        let mut samples = Vec::new();
        if let Some(noticed) = r.noticed {
            if !open.noticed {
                n.notice.record(noticed - r.cut);
                samples.push(Sample::Notice(Some(noticed - r.cut)));
                open.noticed = true;
            }
            if open.connected {
                n.reconnected(r);
                samples.push(Sample::Outage(Some(r.connected - r.cut)));
            }
        }
        match r.audio {
            _ if r.noticed.is_none() && open.lost.is_none() => {
                n.lived_through += 1;
                if let Some(audio) = r.audio.filter(|_| silences(&r.cause)) {
                    n.silence.record(audio - r.cut);
                }
            }
            Some(audio) => {
                n.recovered += 1;
                n.recover.record(audio - r.cut);
                samples.push(Sample::Recover(Some(audio - r.cut)));
                // What befell it before it was connected again is over with this.
                all.extract_if(.., |o| o.cut <= r.connected).for_each(|o| end(faults, &o));
            }
            None if all.iter().any(|o| o.cut >= r.cut && o.silent.is_none()) => n.overtaken += 1,
            None if at_end(r.cut) => n.unfinished += 1,
            // What comes next at this instant says why.
            None => all.push(Open { silent: Some(now), ..open }),
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

/// A fault that another one put an end to, or that never did much.
fn end(faults: &mut Faults, open: &Open) {
    let n = faults.of(&open.cause, open.phase);
    *(if open.lost.is_none() { &mut n.lived_through } else { &mut n.overtaken }) += 1;
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
