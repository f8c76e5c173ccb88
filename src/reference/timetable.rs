//! Trouble on a timetable: what holds at an instant, and what is to be done. Sans-IO; [`super::conductor`] follows it.
//!
//! Some trouble lasts (refusals, silence): of the same kind, what began last and has not ended holds. Some strikes in an
//! instant (drains, resets, freezes): each once.

use std::sync::Arc;

use crate::scenario::{ReferencePlan, ServerEvent, Trouble};
use crate::seed::Seed;
use crate::time::Micros;

/// Trouble with the number by which its draws are told apart, at an instant on the server's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) at: Micros,
    pub(super) trouble: Trouble,
}

/// Trouble that was told at run time, in the order in which it was; what is long over is forgotten.
pub(super) type Told = Arc<Vec<Entry>>;

/// What is told has numbers from here on; what is planned has its place in the plan.
const TOLD: u64 = 1 << 20;

/// What is told is kept for a while after its end, so that a thread that stood still hears of it, too.
const MEMORY: Micros = Micros::from_secs(3_600);

/// What holds now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conditions {
    /// The share of upgrades that is refused, with the number of the trouble.
    pub(super) refuse: Option<(u64, f64)>,
    /// How long an upgrade waits for its answer.
    pub(super) handshake: Micros,
    /// Whether pings are answered.
    pub(super) pongs: bool,
    /// No replies are given.
    pub(super) silent: bool,
}

impl Conditions {
    /// Where there is no trouble.
    pub(super) fn usual(plan: &ReferencePlan) -> Self {
        Self { refuse: None, handshake: plan.handshake_delay, pongs: plan.pongs, silent: false }
    }

    /// Whether a connection's upgrade is refused.
    pub(super) fn refuses(&self, seed: u64, connection: u64) -> bool {
        self.refuse.is_some_and(|(key, share)| chosen(seed, "reference refuse", key, connection, share))
    }
}

/// Whether trouble strikes one of many: by seed, so that the same run strikes the same.
pub(super) fn chosen(seed: u64, purpose: &str, key: u64, which: u64, share: f64) -> bool {
    Seed(seed).stream(purpose, key << 40 ^ which).chance(share)
}

/// Adds what was told at `now`.
pub(super) fn tell(told: &Told, now: Micros, trouble: Trouble) -> Told {
    let key = told.last().map_or(TOLD, |e| e.key + 1);
    let lasts = |e: &&Entry| e.at.saturating_add(e.trouble.length()).saturating_add(MEMORY) > now;
    let kept = told.iter().filter(lasts).copied();
    Arc::new(kept.chain([Entry { key, at: now, trouble }]).collect())
}

/// The timetable as one thread follows it.
#[derive(Debug)]
pub(super) struct Timetable {
    usual: Conditions,
    /// In order of time.
    planned: Vec<(u64, ServerEvent)>,
    /// When the run began; before, nothing that is planned happens.
    pub(super) zero: Option<Micros>,
    pub(super) told: Told,
    /// How much of `planned` has been done, and the next number of what is told.
    done: (usize, u64),
}

impl Timetable {
    pub(super) fn new(plan: &ReferencePlan) -> Self {
        let mut planned: Vec<_> = (0..).zip(plan.events.iter().copied()).collect();
        planned.sort_by_key(|(_, e)| e.at);
        Self { usual: Conditions::usual(plan), planned, zero: None, told: Told::default(), done: (0, 0) }
    }

    fn planned(&self) -> impl Iterator<Item = Entry> {
        let zero = self.zero;
        self.planned.iter().filter_map(move |(key, e)| {
            Some(Entry { key: *key, at: zero?.saturating_add(e.at), trouble: e.trouble })
        })
    }

    fn all(&self) -> impl Iterator<Item = Entry> {
        self.planned().chain(self.told.iter().copied())
    }

    /// What holds at `now`.
    pub(super) fn conditions(&self, now: Micros) -> Conditions {
        let mut lasting: Vec<_> = self.all().filter(|e| e.at <= now && now < end(e)).collect();
        lasting.sort_by_key(|e| e.at);
        let mut conditions = self.usual;
        for e in lasting {
            match e.trouble {
                Trouble::Refuse { share, .. } => conditions.refuse = Some((e.key, share)),
                Trouble::Pongs { on, .. } => conditions.pongs = on,
                Trouble::Handshake { delay, .. } => conditions.handshake = delay,
                Trouble::Silence { .. } => conditions.silent = true,
                Trouble::Drain { .. } | Trouble::Reset { .. } | Trouble::Freeze { .. } => {}
            }
        }
        conditions
    }

    /// What strikes in an instant that has come: each once.
    pub(super) fn due(&mut self, now: Micros) -> Vec<Entry> {
        let (mut done, from) = self.done;
        let mut due: Vec<_> = self.planned().skip(done).take_while(|e| e.at <= now).collect();
        done += due.len();
        due.extend(self.told.iter().filter(|e| e.key >= from));
        self.done = (done, self.told.last().map_or(from, |e| e.key + 1));
        due.retain(|e| {
            matches!(e.trouble, Trouble::Drain { .. } | Trouble::Reset { .. } | Trouble::Freeze { .. })
        });
        due
    }

    /// When something begins or ends next, after `now`.
    pub(super) fn next(&self, now: Micros) -> Micros {
        let instants = self.all().flat_map(|e| [e.at, end(&e)]);
        instants.filter(|at| *at > now).min().unwrap_or(Micros::NEVER)
    }
}

fn end(e: &Entry) -> Micros {
    e.at.saturating_add(e.trouble.length())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(i64) -> Micros = Micros::from_secs;

    fn timetable(events: &[&str]) -> Timetable {
        let events = events.iter().map(|e| ServerEvent::parse(e).unwrap()).collect();
        Timetable::new(&ReferencePlan { events, ..ReferencePlan::instant() })
    }

    #[test]
    fn what_began_last_and_has_not_ended_holds() {
        let mut t = timetable(&[
            "10s: pongs off",
            "20s: refuse 50% for 10s",
            "5s: handshake 300ms for 60s",
            "25s: handshake 1s for 5s",
            "22s: silence for 3s",
            "40s: pongs on",
        ]);
        assert_eq!(t.conditions(S(1_000)), t.usual, "the run has not begun");
        assert_eq!(t.next(S(1_000)), Micros::NEVER);
        t.zero = Some(S(100));
        let at = |s: i64| {
            let c = t.conditions(S(100 + s));
            (c.refuse.map(|(_, share)| share), c.handshake, c.pongs, c.silent)
        };
        let ms = Micros::from_millis;
        assert_eq!(at(0), (None, ms(0), true, false));
        assert_eq!(at(15), (None, ms(300), false, false));
        assert_eq!(at(22), (Some(0.5), ms(300), false, true));
        assert_eq!(at(26), (Some(0.5), ms(1_000), false, false));
        assert_eq!(at(30), (None, ms(300), false, false), "an end is exact");
        assert_eq!(at(45), (None, ms(300), true, false));
        assert_eq!(at(65), (None, ms(0), true, false));
        let mut now = Micros(0);
        let mut changes = Vec::new();
        while t.next(now) != Micros::NEVER {
            now = t.next(now);
            changes.push(now - S(100));
        }
        assert_eq!(changes, [5, 10, 20, 22, 25, 30, 40, 65].map(S));
    }

    #[test]
    fn each_strike_comes_once_and_late_rather_than_never() {
        let mut t = timetable(&["30s: freeze 2s", "10s: drain 1012", "10s: refuse 10% for 5s"]);
        assert!(t.due(S(500)).is_empty(), "the run has not begun");
        t.zero = Some(S(0));
        assert!(t.due(S(9)).is_empty());
        let drain = t.due(S(12));
        assert_eq!((drain.len(), drain[0].key, drain[0].at), (1, 1, S(10)));
        assert!(t.due(S(20)).is_empty());
        t.told = tell(&t.told, S(21), Trouble::Reset { share: 0.5 });
        t.told = tell(&t.told, S(22), Trouble::Pongs { on: false, length: S(5) });
        let due: Vec<_> = t.due(S(31)).iter().map(|e| e.trouble).collect();
        assert_eq!(due, [Trouble::Freeze { length: S(2) }, Trouble::Reset { share: 0.5 }]);
        assert!(!t.conditions(S(24)).pongs);
        assert!(t.due(S(100)).is_empty());
    }

    #[test]
    fn what_was_told_is_forgotten_when_it_is_long_over() {
        let mut told = Told::default();
        for n in 0..10_000 {
            told = tell(&told, S(n), Trouble::Refuse { share: 0.5, length: S(5) });
        }
        assert!(told.len() <= 3_700, "{}", told.len());
        assert!(told.is_sorted_by_key(|e| e.key));
        let told = tell(&told, S(9_000), Trouble::Reset { share: 1.0 });
        let keys: std::collections::HashSet<_> = told.iter().map(|e| e.key).collect();
        assert_eq!(keys.len(), told.len());
    }

    #[test]
    fn a_share_strikes_the_same_ones_by_seed() {
        let struck = |seed, key| -> Vec<u64> {
            (0..10_000).filter(|n| chosen(seed, "reference strike", key, *n, 0.3)).collect()
        };
        assert_eq!(struck(1, 0), struck(1, 0));
        assert_ne!(struck(1, 0), struck(1, 1));
        assert_ne!(struck(1, 0), struck(2, 0));
        assert!((struck(1, 0).len() as f64 / 10_000.0 - 0.3).abs() < 0.02);
        assert!((0..100).all(|n| chosen(1, "reference strike", 0, n, 1.0)));
        assert!(!(0..100).any(|n| chosen(1, "reference strike", 0, n, 0.0)));
    }
}
