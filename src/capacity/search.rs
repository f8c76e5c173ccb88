//! The search for the largest load that a server carries: a state machine without clock, process or server. It proposes a
//! load, is told what was seen, and proposes again; what it does follows from what it was told alone.
//!
//! ```text
//! bracket   10 ✓  20 ✓  40 ✓  80 ✗          up by a factor, by half of one near the budget
//! bisect                 57 ✓  67 ✓  73 ✗  70 ✓       geometrically, to the precision
//! confirm   0.8·N  1.1·N  N                 on fresh starts, N being where the fitted line crosses the budget
//! refine    N                               while the interval is wider than the precision
//! ```
//!
//! An undecided trial near the budget runs on: the same load again, its turns added. One that stays undecided counts as
//! what it leans to; the answer comes from all trials together ([`fit`]), so that one wrong turn costs time, not
//! the answer.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::binomial::{Share, Verdict};
use super::fit::{self, Crossing, Point};

/// Where confirmations run, as a share of the answer so far.
const CONFIRM: [f64; 3] = [0.8, 1.1, 1.0];

/// The widest interval, as shares of the answer: confirmations a little within have told that it lies between.
const WIDEST: [f64; 2] = [0.75, 1.25];

/// More runs at the answer, while its interval is wide.
const REFINE: usize = 3;

/// An INVALID load is tried so often before it counts as more than the harness can do.
pub const INVALID_TRIES: u32 = 2;

/// So many INVALID runs in a row end the confirmations.
const INVALID_IN_A_ROW: usize = 4;

/// Between loads of which the upper is too much for the harness, this is close enough.
const HARNESS_PRECISION: f64 = 0.2;

/// What the search may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Where it begins.
    pub from: u64,
    /// More is never tried.
    pub ceiling: u64,
    /// A step up is at most this factor.
    pub factor: f64,
    /// How close the largest load that holds and the smallest that does not come, as a share.
    pub precision: f64,
    /// Runs of one load while it is undecided.
    pub rounds: u32,
}

/// What a budget looked like under a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tally {
    /// Turns over it: judged with confidence.
    Share(Share),
    /// A budget that is no share of turns (a mean, a maximum): it held or it did not, in so many runs.
    Plain {
        /// Runs in which it held.
        held: u32,
        /// Runs in which it did not.
        failed: u32,
    },
}

impl Tally {
    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Share(s) => s.verdict(),
            Self::Plain { failed: 0, held: 1.. } => Verdict::Pass,
            Self::Plain { held: 0, failed: 1.. } => Verdict::Fail,
            Self::Plain { .. } => Verdict::Undecided,
        }
    }

    fn leans(&self) -> bool {
        match self {
            Self::Share(s) => s.leans(),
            Self::Plain { held, failed } => held > failed,
        }
    }

    fn near(&self) -> bool {
        match self {
            Self::Share(s) => s.near(),
            Self::Plain { .. } => true,
        }
    }

    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Share(a), Self::Share(b)) => *a = a.with(*b),
            (Self::Plain { held, failed }, Self::Plain { held: h, failed: f }) => {
                (*held, *failed) = (*held + h, *failed + f);
            }
            // One budget is always of one kind.
            _ => {}
        }
    }
}

/// What was seen under a load.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// One tally a budget.
    Judged(Vec<Tally>),
    /// Stopped to protect the server: it does not carry this.
    Aborted,
    /// The harness was the bottleneck: nothing is known about the server.
    Invalid,
}

/// Why a load is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To find loads that hold and that do not.
    Bracket,
    /// Between them.
    Bisect,
    /// The same again: it was undecided, or INVALID.
    Again,
    /// A fresh start at, below or above the answer.
    Confirm,
    /// To narrow the interval.
    Refine,
}

impl Purpose {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bracket => "bracket",
            Self::Bisect => "bisect",
            Self::Again => "again",
            Self::Confirm => "confirm",
            Self::Refine => "refine",
        }
    }
}

/// A load to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How much.
    pub load: u64,
    /// Why.
    pub purpose: Purpose,
}

/// All that is known of one load.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// One a budget; empty: no valid run.
    pub tallies: Vec<Tally>,
    /// Valid runs.
    pub rounds: u32,
    /// INVALID ones.
    pub invalid: u32,
    /// One was stopped to protect the server.
    pub aborted: bool,
}

impl Level {
    /// The verdict over all budgets; `None`: no valid run.
    pub fn verdict(&self) -> Option<Verdict> {
        if self.aborted {
            return Some(Verdict::Fail);
        }
        let verdicts: Vec<_> = self.tallies.iter().map(Tally::verdict).collect();
        if verdicts.is_empty() {
            None
        } else if verdicts.contains(&Verdict::Fail) {
            Some(Verdict::Fail)
        } else if verdicts.contains(&Verdict::Undecided) {
            Some(Verdict::Undecided)
        } else {
            Some(Verdict::Pass)
        }
    }

    /// Whether the budgets held, decided or as far as was seen; `None`: no valid run.
    pub fn holds(&self) -> Option<bool> {
        Some(match self.verdict()? {
            Verdict::Pass => true,
            Verdict::Fail => false,
            Verdict::Undecided => self.tallies.iter().all(Tally::leans),
        })
    }

    /// INVALID so often that it is not tried again.
    fn is_spent(&self) -> bool {
        self.rounds == 0 && self.invalid >= INVALID_TRIES
    }

    /// More turns would say more.
    fn worth_more(&self) -> bool {
        let undecided = |t: &Tally| t.verdict() == Verdict::Undecided && t.near();
        self.verdict() == Some(Verdict::Undecided) && self.tallies.iter().any(undecided)
    }

    /// So far from every budget that a whole step up is none too large.
    fn far_below(&self) -> bool {
        self.tallies.iter().all(|t| match t {
            Tally::Share(s) => s.seen().is_some_and(|p| p < s.allowed / 5.0),
            Tally::Plain { .. } => true,
        })
    }
}

/// What keeps the search from going higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Above {
    /// A budget did not hold under this load.
    Fails(u64),
    /// The harness cannot drive this much.
    Harness(u64),
    /// The ceiling holds.
    Ceiling,
    /// Not tried.
    Unknown,
}

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The largest load that held, below the smallest that did not.
    pub held: Option<u64>,
    /// What lies above it.
    pub above: Above,
    /// Where the fitted line crosses the budget that is crossed first.
    pub crossing: Option<Crossing>,
    /// Which budget that is.
    pub bound_by: Option<usize>,
    /// True: that `held` holds (or, without one, that the smallest load does not) is beyond doubt.
    pub certain: bool,
    /// True: confirmed on fresh starts below, at and above it.
    pub confirmed: bool,
    /// A lower load failed where a higher one held, both beyond doubt.
    pub not_monotonic: Option<(u64, u64)>,
    /// What the search resolves, as a share.
    pub precision: f64,
}

impl Answer {
    /// The answer, when both sides are known: never beyond what was tried on either side of it.
    pub fn load(&self) -> Option<u64> {
        let (Some(held), Above::Fails(fails)) = (self.held, self.above) else { return None };
        let Some(c) = self.crossing else { return Some(held) };
        // Each bound may be wrong by chance, but not by much; a line that is not sure of itself stays between them.
        let reach = if c.is_bounded() { 1.1 } else { 1.0 };
        let at = c.at.clamp(held as f64 / reach, fails as f64 * reach - 1.0);
        Some((at.floor() as u64).max(1))
    }

    /// Its 95 % interval; without a fitted line, the loads on either side. Never narrower than the search's precision,
    /// which resolves no more: turns that queue together are worth few independent ones, and runs of a minute do not see all
    /// of how a server's days differ. Nor wider than what was confirmed on either side.
    pub fn interval(&self) -> Option<[u64; 2]> {
        let load = self.load()?;
        let share = |s: f64| load as f64 * s;
        let (low, high) = match (self.crossing, self.held, self.above) {
            (Some(c), ..) => (
                c.low.max(share(WIDEST[0])).min(share(1.0 - self.precision)),
                c.high.min(share(WIDEST[1])).max(share(1.0 + self.precision)),
            ),
            (None, Some(held), Above::Fails(fails)) => (held as f64, fails as f64),
            _ => return None,
        };
        Some([(low.floor() as u64).clamp(1, load), (high.ceil() as u64).max(load)])
    }
}

/// The search.
#[derive(Clone, Debug)]
pub struct Search {
    limits: Limits,
    trials: Vec<(Ask, Seen)>,
}

impl Search {
    /// Has tried nothing yet.
    pub fn new(limits: Limits) -> Self {
        let ceiling = limits.ceiling.max(1);
        let limits = Limits { from: limits.from.clamp(1, ceiling), ceiling, ..limits };
        Self { limits, trials: Vec::new() }
    }

    /// What came of the last proposal.
    pub fn tell(&mut self, ask: Ask, seen: Seen) {
        self.trials.push((ask, seen));
    }

    /// All that is known, by load.
    pub fn levels(&self) -> BTreeMap<u64, Level> {
        let mut levels: BTreeMap<u64, Level> = BTreeMap::new();
        for (ask, seen) in &self.trials {
            let level = levels.entry(ask.load).or_default();
            match seen {
                Seen::Invalid => level.invalid += 1,
                Seen::Aborted => (level.aborted, level.rounds) = (true, level.rounds + 1),
                Seen::Judged(tallies) => {
                    level.rounds += 1;
                    if level.tallies.is_empty() {
                        level.tallies.clone_from(tallies);
                    } else {
                        level.tallies.iter_mut().zip(tallies).for_each(|(a, b)| a.add(b));
                    }
                }
            }
        }
        levels
    }

    /// What is known now.
    pub fn answer(&self) -> Answer {
        let levels = self.levels();
        let fails = levels.iter().find(|(_, l)| l.holds() == Some(false)).map(|(n, _)| *n);
        // INVALID below a load that was valid is a disturbance, not a limit.
        let valid = levels.iter().filter(|(_, l)| l.rounds > 0).map(|(n, _)| *n).max().unwrap_or(0);
        let harness = levels.iter().find(|(n, l)| l.is_spent() && **n > valid).map(|(n, _)| *n);
        let bound = fails.unwrap_or(u64::MAX).min(harness.unwrap_or(u64::MAX));
        let held = levels.range(..bound).rev().find(|(_, l)| l.holds() == Some(true)).map(|(n, _)| *n);
        let above = match (fails, harness) {
            (Some(f), h) if h.is_none_or(|h| f < h) => Above::Fails(f),
            (_, Some(h)) => Above::Harness(h),
            _ if held == Some(self.limits.ceiling) => Above::Ceiling,
            _ => Above::Unknown,
        };
        let sure = |v: Verdict| levels.iter().filter(move |(_, l)| l.verdict() == Some(v)).map(|(n, _)| *n);
        let (failed, passed) = (sure(Verdict::Fail).min(), sure(Verdict::Pass).max());
        let (crossing, bound_by) = match (held, above) {
            (Some(held), Above::Fails(fails)) => cross(&self.trials, held, fails),
            _ => (None, None),
        };
        Answer {
            held,
            above,
            crossing,
            bound_by: bound_by.or_else(|| worst(levels.get(&fails?)?)),
            certain: match held {
                Some(n) => levels.get(&n).and_then(Level::verdict) == Some(Verdict::Pass),
                None => fails.and_then(|n| levels.get(&n)?.verdict()) == Some(Verdict::Fail),
            },
            confirmed: self.count(Purpose::Confirm) >= CONFIRM.len(),
            not_monotonic: failed.zip(passed).filter(|(f, p)| f < p),
            precision: self.limits.precision,
        }
    }

    /// The load to try next; `None` when there is nothing more to be learned.
    pub fn next(&self) -> Option<Ask> {
        let levels = self.levels();
        if let Some((ask, seen)) = self.trials.last()
            && let Some(level) = levels.get(&ask.load)
        {
            let again = match seen {
                Seen::Invalid => level.rounds == 0 && level.invalid < INVALID_TRIES,
                Seen::Aborted => false,
                // Confirmations and refinements are repeats themselves.
                Seen::Judged(_) if matches!(ask.purpose, Purpose::Confirm | Purpose::Refine) => false,
                Seen::Judged(_) => {
                    level.rounds < self.limits.rounds && (level.worth_more() || self.is_last(ask.load, level))
                }
            };
            if again {
                return Some(Ask { load: ask.load, purpose: Purpose::Again });
            }
        }
        let Limits { from, ceiling, factor, precision, .. } = self.limits;
        let answer = self.answer();
        let ask = |load: u64, purpose| Some(Ask { load: load.clamp(1, ceiling), purpose });
        match (answer.held, answer.above) {
            (None, Above::Unknown | Above::Ceiling) => ask(from, Purpose::Bracket),
            (None, Above::Fails(n) | Above::Harness(n)) => {
                let less = (n as f64 / factor).floor().max(1.0) as u64;
                if n > 1 { ask(less, Purpose::Bracket) } else { None }
            }
            (Some(_), Above::Ceiling) => None,
            (Some(n), Above::Unknown) => {
                let far = levels.get(&n).is_some_and(Level::far_below);
                let step = if far { factor } else { factor.sqrt() };
                ask(((n as f64 * step).floor() as u64).max(n + 1), Purpose::Bracket)
            }
            (Some(low), Above::Harness(high)) => {
                ask(untired(&levels, between(low, high, HARNESS_PRECISION)?, (low, high))?, Purpose::Bisect)
            }
            (Some(low), Above::Fails(high)) => match between(low, high, precision) {
                Some(n) => ask(untired(&levels, n, (low, high))?, Purpose::Bisect),
                None => self.confirm(&answer, &levels),
            },
        }
    }

    /// Nothing above or below will be tried, so that this load itself must be sure.
    fn is_last(&self, load: u64, level: &Level) -> bool {
        let end = match level.holds() {
            Some(true) => self.limits.ceiling,
            _ => 1,
        };
        level.verdict() == Some(Verdict::Undecided) && load == end
    }

    fn confirm(&self, answer: &Answer, levels: &BTreeMap<u64, Level>) -> Option<Ask> {
        let load = answer.load()?;
        let (done, refined) = (self.count(Purpose::Confirm), self.count(Purpose::Refine));
        // A machine that is too busy for them is not waited for.
        if self.trials.iter().rev().take_while(|(_, s)| *s == Seen::Invalid).count() > INVALID_IN_A_ROW {
            return None;
        }
        let at = |share: f64| {
            let n = load as f64 * share;
            let n = if share > 1.0 { n.ceil() } else { n.floor() } as u64;
            n.clamp(1, self.limits.ceiling)
        };
        if let Some(share) = CONFIRM.get(done) {
            let mut n = at(*share);
            // What the harness could not drive before is not asked of it again.
            if levels.get(&n).is_some_and(|l| l.rounds == 0 && l.invalid > 0) {
                n = load;
            }
            return Some(Ask { load: n, purpose: Purpose::Confirm });
        }
        let [low, high] = answer.interval()?;
        let wide = (high - low) as f64 > 2.5 * self.limits.precision * load as f64 && high - low > 3;
        // Spread about the answer: they tell of the slope, too.
        let places = [1.0 - self.limits.precision, 1.0 + self.limits.precision, 1.0];
        (wide && refined < REFINE)
            .then(|| Ask { load: at(places[refined % places.len()]), purpose: Purpose::Refine })
    }

    fn count(&self, purpose: Purpose) -> usize {
        self.trials.iter().filter(|(a, s)| a.purpose == purpose && *s != Seen::Invalid).count()
    }

    /// About how many more trials it will take, for the time left.
    pub fn left(&self) -> u32 {
        let Limits { from, ceiling, factor, precision, .. } = self.limits;
        let steps = |ratio: f64, by: f64| (ratio.max(1.0).ln() / by.ln()).ceil() as u32;
        let halvings = |ratio: f64| {
            let closeness = (1.0 + precision).ln();
            (ratio.max(1.0).ln() / closeness).max(1.0).log2().ceil() as u32
        };
        let rest = 4_u32.saturating_sub(self.count(Purpose::Confirm) as u32);
        let answer = self.answer();
        match (answer.held, answer.above) {
            // Nobody knows how far it goes: a few steps.
            (held, Above::Unknown | Above::Ceiling) => {
                let room = ceiling as f64 / held.unwrap_or(from) as f64;
                steps(room, factor).min(4) + halvings(factor) + rest
            }
            (None, Above::Fails(n) | Above::Harness(n)) => {
                steps(n as f64, factor).min(4) + halvings(factor) + rest
            }
            (Some(low), Above::Fails(high)) => halvings(high as f64 / low as f64) + rest,
            (Some(low), Above::Harness(high)) => halvings(high as f64 / low as f64).saturating_sub(2),
        }
    }
}

/// This load or one beside it that has not been INVALID too often, between these two; `None`: there is none.
fn untired(levels: &BTreeMap<u64, Level>, n: u64, (low, high): (u64, u64)) -> Option<u64> {
    let step = (n / 32).max(1);
    let free = |n: &u64| (low + 1..high).contains(n) && !levels.get(n).is_some_and(Level::is_spent);
    [n, n - step, n + step].into_iter().find(free)
}

/// The load in the middle, geometrically; `None` when they are close.
fn between(low: u64, high: u64, precision: f64) -> Option<u64> {
    let middle = ((low as f64 * high as f64).sqrt().round() as u64).clamp(low + 1, high.max(low + 2) - 1);
    (high as f64 > low as f64 * (1.0 + precision) && high > low + 1).then_some(middle)
}

/// The budget that is crossed first, and where. Every run is a point of its own: how much runs of one load differ is
/// part of how sure the answer can be.
fn cross(trials: &[(Ask, Seen)], held: u64, fails: u64) -> (Option<Crossing>, Option<usize>) {
    let middle = (held as f64 * fails as f64).sqrt();
    // Far from the crossing the line is none.
    let window = (middle * 0.7).floor() as u64..=(middle * 1.4).ceil() as u64;
    let near: Vec<(u64, &[Tally])> = trials
        .iter()
        .filter_map(|(ask, seen)| match seen {
            Seen::Judged(tallies) if window.contains(&ask.load) => Some((ask.load, tallies.as_slice())),
            _ => None,
        })
        .collect();
    let budgets = near.iter().map(|(_, tallies)| tallies.len()).max().unwrap_or(0);
    let first = (0..budgets).filter_map(|b| {
        let shares: Vec<(u64, Share)> = near
            .iter()
            .filter_map(|(n, tallies)| match tallies.get(b) {
                Some(Tally::Share(s)) => Some((*n, *s)),
                _ => None,
            })
            .collect();
        let allowed = shares.first()?.1.allowed;
        // One effect for all: that of a single run is as rough as its slices are few.
        let turns: u64 = shares.iter().map(|(_, s)| s.of).sum();
        let effect =
            shares.iter().map(|(_, s)| s.effect * s.of as f64).sum::<f64>() / (turns as f64).max(1.0);
        let effect = effect.max(1.0);
        let points: Vec<Point> = shares
            .iter()
            .map(|(n, s)| Point { load: *n as f64, over: s.over as f64 / effect, of: s.of as f64 / effect })
            .collect();
        Some((fit::crossing(&points, allowed)?, b))
    });
    // One that is sure of where it lies counts before one that is not.
    let order = |c: &Crossing| (!c.is_bounded(), c.at);
    first.min_by(|(a, _), (b, _)| order(a).partial_cmp(&order(b)).unwrap_or(Ordering::Equal)).unzip()
}

/// The budget that failed most clearly.
fn worst(level: &Level) -> Option<usize> {
    level
        .tallies
        .iter()
        .position(|t| t.verdict() == Verdict::Fail)
        .or_else(|| level.tallies.iter().position(|t| !t.leans()))
}
