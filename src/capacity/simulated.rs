//! Servers in virtual time whose capacity is known, and what the search makes of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::binomial::{Share, design_effect};
use super::judge::SLICES;
use super::queueing::Slots;
use super::{Above, Ask, Limits, Probe, Search, Seen, Tally, run};
use crate::seed::{Seed, Stream};

/// How long work takes, around its mean.
#[derive(Clone, Copy)]
enum Work {
    Exponential,
    Constant,
}

/// Who comes.
#[derive(Clone, Copy)]
enum Arrivals {
    /// Devices that are away for so long on average (uniform, ±half).
    Closed { away: f64 },
    /// So many a second per unit of load.
    Open { rate: f64 },
}

/// A stage with slots, its budget, and how it is measured.
#[derive(Clone, Copy)]
struct Server {
    slots: Slots,
    work: Work,
    arrivals: Arrivals,
    budget: f64,
    allowed: f64,
    /// Seconds that count, after as many of warm-up as the second says.
    seconds: f64,
    warmup: f64,
    /// From run to run the server is faster or slower by this share (standard deviation): a noisy neighbour.
    noise: f64,
    /// Share of turns that fail whatever the load.
    failures: f64,
}

struct Simulation {
    server: Server,
    seed: Seed,
    probes: u64,
}

/// An instant, ordered.
#[derive(Clone, Copy, PartialEq)]
struct At(f64);
impl Eq for At {}
impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Server {
    /// (when asked, time until done) of every request that counts.
    fn run(&self, load: u64, r: &mut Stream) -> Vec<(f64, f64)> {
        let speed = 1.0 + self.noise * r.normal();
        let end = self.warmup + self.seconds;
        let work = |r: &mut Stream| {
            self.slots.work
                * speed.max(0.1)
                * match self.work {
                    Work::Exponential => r.exponential(),
                    Work::Constant => 1.0,
                }
        };
        let mut free: BinaryHeap<Reverse<At>> = (0..self.slots.slots).map(|_| Reverse(At(0.0))).collect();
        let mut asks: BinaryHeap<Reverse<At>> = match self.arrivals {
            Arrivals::Closed { away } => (0..load).map(|_| Reverse(At(away * r.unit()))).collect(),
            Arrivals::Open { rate } => [Reverse(At(r.exponential() / (rate * load as f64)))].into(),
        };
        let mut all = Vec::new();
        while let Some(Reverse(At(at))) = asks.pop().filter(|a| a.0.0 < end) {
            let slot = free.pop().map_or(0.0, |f| f.0.0);
            let done = slot.max(at) + work(r);
            free.push(Reverse(At(done)));
            asks.push(Reverse(At(match self.arrivals {
                Arrivals::Closed { away } => done + away * (0.5 + r.unit()),
                Arrivals::Open { rate } => at + r.exponential() / (rate * load as f64),
            })));
            if at >= self.warmup {
                all.push((at, done - at));
            }
        }
        all
    }

    fn share(&self, load: u64, r: &mut Stream) -> Share {
        let all = self.run(load, r);
        let mut slices = vec![(0, 0); SLICES];
        for (at, took) in &all {
            let slice = ((at - self.warmup) / self.seconds * SLICES as f64) as usize;
            let over = *took > self.budget || r.chance(self.failures);
            if let Some(s) = slices.get_mut(slice) {
                *s = (s.0 + u64::from(over), s.1 + 1);
            }
        }
        let (over, of) = slices.iter().fold((0, 0), |(a, b), (x, n)| (a + x, b + n));
        Share { over, of, allowed: self.allowed, effect: design_effect(&slices) }
    }

    /// By long simulation, where no formula is at hand: the largest load between these that holds.
    fn simulated_truth(&self, mut low: u64, mut high: u64) -> u64 {
        let many = Self { seconds: 60.0, warmup: 10.0, ..*self };
        while high - low > 1 {
            let middle = (low + high) / 2;
            let runs = (0..60).map(|n| many.share(middle, &mut Seed(99).stream("truth", n)));
            let holds = runs.reduce(Share::with).is_some_and(|s| s.leans());
            if holds { low = middle } else { high = middle }
        }
        low
    }
}

impl Probe for Simulation {
    type Trouble = ();

    fn probe(&mut self, ask: Ask, _: &Search) -> Result<Option<Seen>, ()> {
        self.probes += 1;
        assert!(self.probes < 60, "it does not end");
        let mut r = self.seed.stream("probe", self.probes);
        let share = self.server.share(ask.load, &mut r);
        Ok(Some(Seen::Judged(vec![Tally::Share(share)])))
    }
}

const LIMITS: Limits = Limits { from: 10, ceiling: 10_000, factor: 2.0, precision: 0.05, rounds: 3 };

/// A closed fleet against eight slots of 100 ms: what scenarios/capacity.toml plays.
const TOYS: Server = Server {
    slots: Slots { slots: 8, work: 0.1 },
    work: Work::Exponential,
    arrivals: Arrivals::Closed { away: 2.5 },
    budget: 0.6,
    allowed: 0.05,
    seconds: 12.0,
    warmup: 5.0,
    noise: 0.0,
    failures: 0.0,
};

/// What many searches came to.
struct Record {
    /// Largest |answer / truth − 1|, and the mean of it.
    worst: f64,
    mean: f64,
    /// Mean of answer / truth − 1.
    bias: f64,
    /// Share of intervals that hold the truth.
    held: f64,
    most_probes: u64,
    mean_probes: f64,
}

fn search(server: Server, truth: u64, searches: u64) -> Record {
    let mut record = Record { worst: 0.0, mean: 0.0, bias: 0.0, held: 0.0, most_probes: 0, mean_probes: 0.0 };
    for n in 0..searches {
        let mut probe = Simulation { server, seed: Seed(1_000 + n), probes: 0 };
        let mut search = Search::new(LIMITS);
        run(&mut search, &mut probe).unwrap();
        let answer = search.answer();
        let (load, [low, high]) = (answer.load().unwrap(), answer.interval().unwrap());
        let off = (load as f64 / truth as f64 - 1.0).abs();
        record.worst = record.worst.max(off);
        record.bias += (load as f64 / truth as f64 - 1.0) / searches as f64;
        record.mean += off / searches as f64;
        record.held += f64::from(u8::from(low <= truth && truth <= high)) / searches as f64;
        record.most_probes = record.most_probes.max(probe.probes);
        record.mean_probes += probe.probes as f64 / searches as f64;
        assert!(answer.confirmed && low <= load && load <= high);
    }
    println!(
        "truth {truth}: off by {:.3} at most, {:.3} on average, {:+.3} with its sign; {:.2} of intervals hold it; {:.1} probes, at most {}",
        record.worst, record.mean, record.bias, record.held, record.mean_probes, record.most_probes
    );
    record
}

fn closed_truth(server: &Server) -> u64 {
    let Arrivals::Closed { away } = server.arrivals else { unreachable!() };
    server.slots.closed_capacity(away, server.budget, server.allowed).into()
}

#[test]
fn the_simulation_agrees_with_queueing_theory() {
    let long = Server { seconds: 3_000.0, warmup: 30.0, ..TOYS };
    for devices in [120, 170, 200] {
        let mut r = Seed(3).stream("check", devices);
        let share = long.share(devices, &mut r);
        let seen = share.over as f64 / share.of as f64;
        let paper = TOYS.slots.closed_longer_than(devices as u32, 2.5, TOYS.budget);
        assert!((seen - paper).abs() < 0.006 + 0.1 * paper, "{devices}: {seen} {paper}");
    }
    let open = Server { arrivals: Arrivals::Open { rate: 1.0 }, ..long };
    let mut r = Seed(4).stream("check", 0);
    let share = open.share(70, &mut r);
    let (seen, paper) = (share.over as f64 / share.of as f64, TOYS.slots.open_longer_than(70.0, TOYS.budget));
    assert!((seen - paper).abs() < 0.005, "{seen} {paper}");
}

#[test]
fn a_closed_fleet_within_ten_percent_of_theory() {
    let truth = closed_truth(&TOYS);
    let r = search(TOYS, truth, 60);
    assert!(r.worst < 0.10 && r.mean < 0.035 && r.held > 0.85, "{truth}");
    assert!(r.mean_probes < 18.0 && r.most_probes < 30);
}

#[test]
fn work_that_takes_constant_time() {
    let server = Server { work: Work::Constant, budget: 0.4, ..TOYS };
    let truth = server.simulated_truth(150, 300);
    let r = search(server, truth, 40);
    assert!(r.worst < 0.10 && r.mean < 0.035 && r.held > 0.85, "{truth}");
}

#[test]
fn one_slot_and_few_devices() {
    let server = Server {
        slots: Slots { slots: 1, work: 0.2 },
        arrivals: Arrivals::Closed { away: 4.0 },
        budget: 1.2,
        seconds: 60.0,
        ..TOYS
    };
    let truth = closed_truth(&server);
    let r = search(server, truth, 40);
    // A device is 7 % here.
    assert!(r.worst < 0.25 && r.mean < 0.08 && r.held > 0.85, "{truth}");
}

#[test]
fn open_arrivals_by_erlang_c() {
    let server = Server { arrivals: Arrivals::Open { rate: 0.2 }, seconds: 40.0, warmup: 15.0, ..TOYS };
    let truth = (TOYS.slots.open_capacity(TOYS.budget, TOYS.allowed) / 0.2) as u64;
    let r = search(server, truth, 40);
    assert!(r.worst < 0.10 && r.mean < 0.035 && r.held > 0.85, "{truth}");
}

#[test]
fn a_noisy_server() {
    let server = Server { noise: 0.05, failures: 0.005, ..TOYS };
    // A server that is faster today and slower tomorrow carries less than its mean would.
    let truth = server.simulated_truth(150, 300);
    assert!(truth < closed_truth(&TOYS));
    let r = search(server, truth, 60);
    assert!(r.mean < 0.05 && r.worst < 0.15 && r.held > 0.65, "{truth}");
}

fn told(limits: Limits, seen: impl Fn(u64) -> Seen) -> (Search, Vec<u64>) {
    let mut search = Search::new(limits);
    let mut tried = Vec::new();
    while let Some(ask) = search.next() {
        tried.push(ask.load);
        assert!(ask.load <= limits.ceiling && tried.len() < 60, "{tried:?}");
        search.tell(ask, seen(ask.load));
    }
    (search, tried)
}

/// A server that carries up to `most`, beyond doubt.
fn step(most: u64) -> impl Fn(u64) -> Seen {
    move |n| {
        let over = if n <= most { 0 } else { 400 };
        Seen::Judged(vec![Tally::Share(Share { over, of: 400, allowed: 0.05, effect: 1.0 })])
    }
}

#[test]
fn brackets_bisects_and_confirms() {
    let (search, tried) = told(LIMITS, step(70));
    assert_eq!(tried[..7], [10, 20, 40, 80, 57, 68, 74]);
    let answer = search.answer();
    assert!(answer.confirmed && answer.load().unwrap().abs_diff(70) <= 3, "{answer:?} {tried:?}");
    assert_eq!(answer.bound_by, Some(0));
    let (search, tried) = told(LIMITS, step(3));
    assert_eq!(tried[..3], [10, 5, 2]);
    assert_eq!((search.answer().held, search.answer().above), (Some(3), Above::Fails(4)));
}

#[test]
fn what_carries_nothing_is_said() {
    let (search, tried) = told(LIMITS, step(0));
    assert_eq!(tried, [10, 5, 2, 1]);
    assert_eq!((search.answer().held, search.answer().above), (None, Above::Fails(1)));
    assert_eq!(search.answer().load(), None);
}

#[test]
fn never_above_the_ceiling() {
    let (search, tried) = told(Limits { ceiling: 50, ..LIMITS }, step(9_999));
    assert_eq!(tried, [10, 20, 40, 50]);
    assert_eq!(search.answer().above, Above::Ceiling);
    assert_eq!(told(Limits { ceiling: 1, from: 7, ..LIMITS }, step(9_999)).1, [1]);
}

#[test]
fn steps_are_smaller_near_the_budget() {
    let seen = |n: u64| {
        let over = if n < 40 { 0 } else { 8 };
        Seen::Judged(vec![Tally::Share(Share { over, of: 400, allowed: 0.05, effect: 1.0 })])
    };
    let (_, tried) = told(Limits { ceiling: 100, ..LIMITS }, seen);
    assert_eq!(tried, [10, 20, 40, 56, 79, 100]);
}

#[test]
fn a_harness_that_cannot_do_more_ends_the_search_upwards() {
    let (search, tried) = told(LIMITS, |n| if n <= 100 { step(999)(n) } else { Seen::Invalid });
    assert_eq!(tried, [10, 20, 40, 80, 160, 160, 113, 113, 95]);
    assert_eq!((search.answer().held, search.answer().above), (Some(95), Above::Harness(113)));
    assert_eq!(search.answer().load(), None, "at least, not about");
    let (search, tried) = told(LIMITS, |_| Seen::Invalid);
    assert_eq!((tried.last(), search.answer().held), (Some(&1), None));
}

#[test]
fn a_machine_that_is_busy_now_and_then_does_not_hide_the_answer() {
    // Some loads are INVALID whenever they are tried, on either side of the answer.
    for bad in [57..58, 66..69, 54..57, 76..79, 70..71] {
        let (search, tried) = told(LIMITS, |n| if bad.contains(&n) { Seen::Invalid } else { step(70)(n) });
        let answer = search.answer();
        assert!(answer.load().is_some_and(|n| n.abs_diff(70) <= 4), "{bad:?}: {answer:?} {tried:?}");
    }
    // And one that is busy for good from some time on ends it.
    let mut left = 8;
    let mut search = Search::new(LIMITS);
    while let Some(ask) = search.next() {
        search.tell(ask, if left > 0 { step(70)(ask.load) } else { Seen::Invalid });
        left -= 1;
        assert!(left > -20, "it does not end");
    }
    assert!(search.answer().load().is_some() && !search.answer().confirmed);
}

#[test]
fn a_disturbed_run_is_made_again() {
    let mut search = Search::new(LIMITS);
    let first = search.next().unwrap();
    search.tell(first, Seen::Invalid);
    let again = search.next().unwrap();
    assert_eq!(again.load, first.load);
    search.tell(again, step(99)(again.load));
    assert_eq!(search.next().unwrap().load, 20);
}

#[test]
fn a_server_that_is_stopped_for_its_errors_does_not_carry_that() {
    let (search, _) = told(LIMITS, |n| if n <= 60 { step(999)(n) } else { Seen::Aborted });
    let answer = search.answer();
    assert!(matches!(answer.above, Above::Fails(61..=64)), "{answer:?}");
    assert!((57..=63).contains(&answer.load().unwrap()), "{answer:?}");
}

#[test]
fn undecided_loads_run_on() {
    let near = |n: u64| Share { over: if n < 20 { 0 } else { 5 }, of: 100, allowed: 0.05, effect: 1.0 };
    let (_, tried) = told(Limits { ceiling: 20, ..LIMITS }, |n| Seen::Judged(vec![Tally::Share(near(n))]));
    assert_eq!(tried, [10, 20, 20, 20]);
}

#[test]
fn few_turns_make_nothing_certain() {
    let few = |_| Seen::Judged(vec![Tally::Share(Share { over: 0, of: 15, allowed: 0.05, effect: 1.0 })]);
    let (search, tried) = told(Limits { ceiling: 20, ..LIMITS }, few);
    assert_eq!(tried, [10, 20, 20, 20], "the ceiling itself runs on");
    assert!(!search.answer().certain, "45 turns, and 59 are the fewest");
    let (search, tried) = told(Limits { ceiling: 20, rounds: 4, ..LIMITS }, few);
    assert!(tried.len() == 5 && search.answer().certain);
}

#[test]
fn budgets_that_are_no_shares() {
    let seen = |n: u64| {
        let holds = n <= 33;
        Seen::Judged(vec![Tally::Plain { held: holds.into(), failed: (!holds).into() }])
    };
    let (search, _) = told(LIMITS, seen);
    let answer = search.answer();
    assert_eq!((answer.load(), answer.interval(), answer.bound_by), (Some(33), Some([33, 34]), Some(0)));
}

#[test]
fn what_is_not_monotonic_is_said() {
    let (search, _) = told(LIMITS, |n| if (21..60).contains(&n) { step(0)(n) } else { step(80)(n) });
    let answer = search.answer();
    assert!(answer.held < Some(60) && answer.not_monotonic.is_none(), "nothing above was tried: {answer:?}");
    let mut search = search;
    search.tell(Ask { load: 70, purpose: super::Purpose::Bracket }, step(80)(70));
    assert_eq!(search.answer().not_monotonic.map(|(_, held)| held), Some(70));
}

#[test]
fn the_time_left_shrinks() {
    let mut search = Search::new(LIMITS);
    let mut left = vec![search.left()];
    while let Some(ask) = search.next() {
        search.tell(ask, step(70)(ask.load));
        left.push(search.left());
    }
    assert!(left[0] >= 10 && left[0] <= 20, "{left:?}");
    assert!(left.last() < Some(&3), "{left:?}");
}
