//! The plan of faults: what strikes which device, when, by seed.
//!
//! ```text
//! reset at=20s share=30% phase=speaking        a share of the fleet, at one instant
//! roam every=exponential(60s)                  each device, again and again
//!
//! FaultSpec ──▶ Line, one per device and fault, with a stream of its own ──▶ Planned: when, what, for how long
//!                    (due: it waits for its phase) ──▶ the device is struck
//! ```
//!
//! What is planned depends on the seed, the device's number and its arrival, and on nothing that happens: the plan can be
//! printed before the run. When a planned fault waits for a phase, only the strike depends on the run.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::{FaultKind, Phase};
use crate::scenario::Dist;
use crate::scenario::units::{
    TextError, format_duration, format_size, nearest, parse_duration, parse_share, parse_size,
};
use crate::seed::{Seed, Stream};
use crate::time::Micros;

/// Two strikes of one line are at least this far apart, whatever its distribution draws.
const CLOSEST: Micros = Micros::from_millis(10);

/// Waits that the first one is drawn from.
const WAITS: usize = 32;

/// How long the first fault is waited for, where faults come again and again and have always done so: from a random
/// instant, in a row of waits, to the end of the wait that it falls into. Long waits are hit more often than short ones.
fn first_wait(every: &Dist, stream: &mut Stream) -> Micros {
    let waits: [f64; WAITS] = std::array::from_fn(|_| every.draw(stream).0.max(0) as f64);
    let mut at = stream.unit() * waits.iter().sum::<f64>();
    for wait in waits {
        if at < wait {
            return Micros((wait - at) as i64);
        }
        at -= wait;
    }
    Micros::ZERO
}

/// Of each so many devices in a row a share strikes its part, to within one: a small fleet gets its share, too.
const BLOCK: u32 = 10;

/// How long an address change takes to be known, where the scenario does not say.
const ADDRESS_KNOWN: Micros = Micros::from_secs(2);
/// A gap between two access points.
const ROAM: (Micros, Micros) = (Micros::from_millis(50), Micros::from_secs(5));
/// How long a device reads slowly, and how slowly: a little less than speech at 24 kbit/s needs.
const SLOW: (Micros, u32) = (Micros::from_secs(30), 2_048);
/// How long a socket takes nothing.
const STALL: Micros = Micros::from_secs(2);

/// One fault of a scenario: a line of its plan.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpec {
    /// What happens.
    pub kind: FaultKind,
    /// When.
    pub when: When,
    /// To which share of the devices; which of them, the seed decides.
    pub share: f64,
    /// What the device must be doing: the fault strikes at the first instant from then on; `None`: anything.
    pub phase: Option<Phase>,
    /// For how long; `None` for what has no length.
    pub length: Option<Dist>,
    /// Bytes a second, for a slow reader.
    pub rate: Option<u32>,
}

/// When a fault comes.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// Once, at this instant of the run; devices that come later are spared.
    At(Micros),
    /// Again and again, with such times between two faults of one device. The first comes as if it had always been so:
    /// anywhere within one of these times after the device's arrival, so that devices that came together are not struck
    /// together.
    Every(Dist),
}

/// A part of a fault, as it was written: its name and its value, each with where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) name_span: Range<usize>,
    pub(crate) value: &'a str,
    pub(crate) span: Range<usize>,
}

/// What a fault looks like, for messages.
pub(crate) const FAULT_HELP: &str = "expected for example `\"reset at=20s share=30% phase=speaking\"` or \
     `{ kind = \"roam\", every = \"exponential(60s)\" }`";

impl FaultSpec {
    /// True for a fault that has a length.
    pub fn has_length(kind: FaultKind) -> bool {
        default_length(kind).is_some()
    }

    /// Reads the text form; every error at once.
    pub(crate) fn read(text: &str) -> Result<Self, Vec<TextError>> {
        let (mut fields, mut errors) = (Vec::new(), Vec::new());
        for (i, span) in words(text).into_iter().enumerate() {
            let word = &text[span.clone()];
            match word.split_once('=') {
                Some((name, value)) => {
                    let middle = span.start + name.len();
                    let (name_span, span) = (span.start..middle, middle + 1..span.end);
                    fields.push(Field { name, name_span, value, span });
                }
                None if i == 0 => {
                    fields.push(Field { name: "kind", name_span: span.clone(), value: word, span });
                }
                None => {
                    let message = format!("`{word}` is not of the form `name=value`");
                    errors.push(TextError::new(span, message).help(FAULT_HELP));
                }
            }
        }
        let broken = !errors.is_empty();
        match Self::from_fields(&fields, 0..text.len()) {
            Ok(spec) if !broken => return Ok(spec),
            Ok(_) => {}
            // What is missing may be what could not be read.
            Err(more) => errors.extend(more.into_iter().filter(|e| !broken || e.span != (0..text.len()))),
        }
        Err(errors)
    }

    /// From its parts; every error at once. Spans of errors are those of the fields; `whole` is the whole fault's.
    pub(crate) fn from_fields(fields: &[Field<'_>], whole: Range<usize>) -> Result<Self, Vec<TextError>> {
        let mut errors = Vec::new();
        let mut bad = |e: TextError| errors.push(e);
        let names = ["kind", "at", "every", "share", "phase", "length", "rate"];
        for (i, f) in fields.iter().enumerate() {
            if !names.contains(&f.name) {
                let help = match nearest(f.name, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("a fault has {}", quoted(names)),
                };
                bad(TextError::new(f.name_span.clone(), format!("a fault has no `{}`", f.name)).help(help));
            } else if fields[..i].iter().any(|before| before.name == f.name) {
                bad(TextError::new(f.name_span.clone(), format!("`{}` stands twice", f.name)));
            }
        }
        let field = |name: &str| fields.iter().find(|f| f.name == name);
        let kind = match field("kind") {
            Some(kind) => one_of(kind, "fault", FaultKind::ALL, FaultKind::name).map_err(&mut bad).ok(),
            None => {
                bad(TextError::new(whole.clone(), "a fault without its kind").help(FAULT_HELP));
                None
            }
        };
        let when = match (field("at"), field("every")) {
            (Some(at), None) => read(at, parse_duration).map(When::At).map_err(&mut bad).ok(),
            (None, Some(every)) => read(every, often).map(When::Every).map_err(&mut bad).ok(),
            (None, None) => {
                bad(TextError::new(whole, "a fault that does not say when it comes").help(
                    "`at` for once (`at=20s`), `every` for again and again (`every=exponential(60s)`)",
                ));
                None
            }
            (Some(_), Some(every)) => {
                let message = "a fault comes once (`at`) or again and again (`every`), not both";
                bad(TextError::new(every.name_span.clone(), message).help("write two faults"));
                None
            }
        };
        let share = field("share").map_or(Some(1.0), |f| read(f, some_share).map_err(&mut bad).ok());
        let phase = field("phase").filter(|f| f.value != "any").and_then(|phase| {
            one_of(phase, "phase, nor `any`", Phase::ALL, Phase::name).map_err(&mut bad).ok()
        });
        let mut length = kind.and_then(default_length);
        if let (Some(field), Some(kind)) = (field("length"), kind) {
            if length.is_some() {
                length = read(field, str::parse).map_err(&mut bad).ok();
            } else {
                let with = FaultKind::ALL.into_iter().filter(|k| Self::has_length(*k)).map(FaultKind::name);
                let message = format!("`{}` has no length", kind.name());
                bad(TextError::new(field.name_span.clone(), message)
                    .help(format!("{} have one", quoted(with))));
            }
        }
        let mut rate = kind.filter(|k| *k == FaultKind::SlowReader).map(|_| SLOW.1);
        if let (Some(field), Some(kind)) = (field("rate"), kind) {
            if rate.is_some() {
                rate = read(field, parse_size).map_err(&mut bad).ok();
            } else {
                let message = format!("`{}` has no rate", kind.name());
                bad(TextError::new(field.name_span.clone(), message).help("`slow_reader` has one"));
            }
            if rate == Some(0) {
                bad(TextError::new(field.span.clone(), "a reader of 0 bytes a second").help("at least 1"));
            }
        }
        match (kind, when, share) {
            (Some(kind), Some(when), Some(share)) if errors.is_empty() => {
                Ok(Self { kind, when, share, phase, length, rate })
            }
            _ => Err(errors),
        }
    }

    /// True when it is meant for this device: about its share of each [`BLOCK`] in a row, so that any fleet gets its part.
    fn strikes(&self, seed: Seed, line: u64, device: u32) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        let lot = |device: u32| seed.stream("fault-share", line << 32 | u64::from(device)).bits();
        let (first, mine) = (device / BLOCK * BLOCK, lot(device));
        let rank = (first..first.saturating_add(BLOCK)).filter(|d| *d != device && lot(*d) < mine).count();
        // Every `1 / share`th of the devices in that order, from a place that the seed chooses.
        let from = seed.stream("fault-share-from", line).unit();
        let at = |n: f64| (n * self.share + from).floor();
        let n = f64::from(first) + rank as f64;
        at(n + 1.0) > at(n)
    }
}

/// The length that a fault has where the scenario does not say.
const fn default_length(kind: FaultKind) -> Option<Dist> {
    match kind {
        FaultKind::Roam => Some(Dist::Uniform(ROAM.0, ROAM.1)),
        FaultKind::AddressChange => Some(Dist::Constant(ADDRESS_KNOWN)),
        FaultKind::SlowReader => Some(Dist::Constant(SLOW.0)),
        FaultKind::StalledWriter => Some(Dist::Constant(STALL)),
        FaultKind::Reset | FaultKind::Close | FaultKind::BlackHole | FaultKind::Vanish => None,
    }
}

fn read<T>(field: &Field<'_>, parse: impl Fn(&str) -> Result<T, TextError>) -> Result<T, TextError> {
    parse(field.value).map_err(|e| {
        let e = e.shifted(field.span.start);
        TextError { message: format!("`{}`: {}", field.name, e.message), ..e }
    })
}

/// A time between two faults that leaves a device something to do.
fn often(text: &str) -> Result<Dist, TextError> {
    let every: Dist = text.parse()?;
    if every.mean() >= Micros::from_millis(100) {
        return Ok(every);
    }
    let message = format!("faults every {} leave a device nothing to do", every.mean());
    Err(TextError::new(0..text.len(), message).help("a mean of at least `100ms`"))
}

fn some_share(text: &str) -> Result<f64, TextError> {
    match parse_share(text)? {
        share if share > 0.0 => Ok(share),
        _ => Err(TextError::new(0..text.len(), "a fault that strikes nobody").help("a share above 0")),
    }
}

fn one_of<T: Copy, const N: usize>(
    field: &Field<'_>,
    what: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, TextError> {
    all.into_iter().find(|x| name(*x) == field.value).ok_or_else(|| {
        let names = all.map(name);
        let expected = format!("expected {}", quoted(names));
        let help = match nearest(field.value, names) {
            Some(near) => format!("did you mean `{near}`? {expected}"),
            None => expected,
        };
        TextError::new(field.span.clone(), format!("`{}` is not a {what}", field.value)).help(help)
    })
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// As it is written in a scenario; parses back to the same fault.
impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match &self.when {
            When::At(at) => write!(f, " at={}", format_duration(*at))?,
            When::Every(every) => write!(f, " every={every}")?,
        }
        if self.share < 1.0 {
            write!(f, " share={}", self.share)?;
        }
        if let Some(phase) = self.phase {
            write!(f, " phase={}", phase.name())?;
        }
        if let Some(length) = &self.length {
            write!(f, " length={length}")?;
        }
        match self.rate {
            Some(rate) => write!(f, " rate={}", format_size(rate).replace(' ', "")),
            None => Ok(()),
        }
    }
}

impl FromStr for FaultSpec {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::read(text).map_err(|errors| {
            let first = errors.into_iter().min_by_key(|e| e.span.start);
            first.unwrap_or_else(|| TextError::new(0..text.len(), "not a fault"))
        })
    }
}

/// Where the words of a text are: between spaces that stand in no parentheses.
fn words(text: &str) -> Vec<Range<usize>> {
    pieces(text, char::is_whitespace).into_iter().filter(|r| !r.is_empty()).collect()
}

/// Cuts a text where `cut` says so, but not within parentheses, as distributions have them, or braces, as groups do.
pub(crate) fn pieces(text: &str, cut: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let (mut all, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            c if depth == 0 && cut(c) => {
                all.push(start..at);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    all.push(start..text.len());
    all
}

/// A fault that the seed has planned for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// From when on it strikes.
    pub at: Micros,
    /// What happens.
    pub kind: FaultKind,
    /// What the device must be doing; `None`: anything with a connection, or with an attempt to open one.
    pub phase: Option<Phase>,
    /// For how long; zero for what has no length.
    pub length: Micros,
    /// Bytes a second, for a slow reader; else 0.
    pub rate: u32,
}

/// What is planned for one device, as time goes by.
#[derive(Clone, Debug)]
pub struct Strikes {
    specs: Arc<[FaultSpec]>,
    lines: Vec<Line>,
}

/// One fault of the scenario, for one device.
#[derive(Clone, Debug)]
struct Line {
    spec: usize,
    stream: Stream,
    /// The next one.
    next: Option<Planned>,
    /// One that is due, and waits for its phase. The next one of the line takes its place.
    due: Option<Planned>,
}

impl Strikes {
    /// What is planned for a device that comes at `arrive`.
    pub fn of(specs: &Arc<[FaultSpec]>, seed: Seed, device: u32, arrive: Micros) -> Self {
        let line = |(spec, s): (usize, &FaultSpec)| {
            let number = spec as u64;
            s.strikes(seed, number, device).then(|| {
                let mut stream = seed.stream("fault", number << 32 | u64::from(device));
                let next = match &s.when {
                    When::At(at) => (*at >= arrive).then_some(*at),
                    When::Every(every) => Some(arrive.saturating_add(first_wait(every, &mut stream))),
                };
                let next = next.map(|at| s.planned(at, &mut stream));
                Line { spec, stream, next, due: None }
            })
        };
        Self { specs: Arc::clone(specs), lines: specs.iter().enumerate().filter_map(line).collect() }
    }

    /// When the next fault becomes due.
    pub fn next_at(&self) -> Micros {
        let next = self.lines.iter().filter_map(|l| l.next.as_ref());
        next.map(|n| n.at).min().unwrap_or(Micros::NEVER)
    }

    /// True when a fault is due that waits for the device to be in this phase.
    pub fn waits_for(&self, phase: Phase) -> bool {
        self.lines.iter().any(|l| l.due.is_some_and(|d| d.phase == Some(phase)))
    }

    /// A fault that strikes a device that is in this phase now, if there is one.
    pub fn take(&mut self, now: Micros, phase: Option<Phase>) -> Option<Planned> {
        for line in &mut self.lines {
            while let Some(next) = line.next.filter(|n| n.at <= now) {
                line.due = Some(next);
                line.advance(&self.specs);
            }
        }
        let phase = phase?;
        let strikes = |d: &Planned| d.phase.is_none_or(|wanted| wanted == phase);
        self.lines.iter_mut().find(|l| l.due.as_ref().is_some_and(strikes))?.due.take()
    }

    /// Everything that is planned before `end`, in order.
    pub fn until(mut self, end: Micros) -> Vec<Planned> {
        let mut all = Vec::new();
        for line in &mut self.lines {
            while let Some(next) = line.next.filter(|n| n.at < end) {
                all.push(next);
                line.advance(&self.specs);
            }
        }
        all.sort_by_key(|p| p.at);
        all
    }
}

impl Line {
    fn advance(&mut self, specs: &[FaultSpec]) {
        let spec = &specs[self.spec];
        self.next = match (&spec.when, self.next) {
            (When::Every(every), Some(before)) => {
                let wait = every.draw(&mut self.stream).max(CLOSEST);
                Some(spec.planned(before.at.saturating_add(wait), &mut self.stream))
            }
            _ => None,
        };
    }
}

impl FaultSpec {
    fn planned(&self, at: Micros, stream: &mut Stream) -> Planned {
        Planned {
            at,
            kind: self.kind,
            phase: self.phase,
            length: self.length.as_ref().map_or(Micros::ZERO, |l| l.draw(stream)),
            rate: self.rate.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn specs(texts: &[&str]) -> Arc<[FaultSpec]> {
        texts.iter().map(|t| t.parse::<FaultSpec>().unwrap_or_else(|e| panic!("{t}: {e}"))).collect()
    }

    fn struck(spec: &str, seed: u64, devices: u32) -> Vec<u32> {
        let specs = specs(&[spec]);
        let planned =
            |d: &u32| !Strikes::of(&specs, Seed(seed), *d, Micros::ZERO).until(Micros::NEVER).is_empty();
        (0..devices).filter(planned).collect()
    }

    #[test]
    fn texts_are_read_and_written() {
        for (text, written) in [
            ("reset at=20s share=30% phase=speaking", "reset at=20s share=0.3 phase=speaking"),
            (" close   every=exponential( 60s ) phase=any", "close every=exponential(1m)"),
            ("roam at=1m30s", "roam at=1m30s length=uniform(50ms, 5s)"),
            ("slow_reader at=5s rate=3KiB", "slow_reader at=5s length=30s rate=3KiB"),
            (
                "kind=stalled_writer at=5s length=uniform(1s, 2s)",
                "stalled_writer at=5s length=uniform(1s, 2s)",
            ),
            ("address_change at=5s", "address_change at=5s length=2s"),
            ("vanish at=5s share=1%", "vanish at=5s share=0.01"),
        ] {
            let spec: FaultSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), written);
            assert_eq!(written.parse(), Ok(spec));
        }
    }

    #[test]
    fn errors_say_the_column() {
        let report = [
            "",
            "rest at=20s",
            "reset",
            "reset 20s",
            "reset at=20",
            "reset at=20s every=5s",
            "reset at=20s at=21s",
            "reset every=1ms",
            "reset every=lognormal(0ms, 5s)",
            "reset at=20s share=130%",
            "reset at=20s share=0",
            "reset at=20s phase=talking",
            "reset at=20s length=5s",
            "roam at=20s rate=5",
            "slow_reader at=20s rate=0",
            "reset at=20s shar=5%",
            "rest 5 at=20 share=130% phase=now",
        ]
        .map(|text| {
            let errors = FaultSpec::read(text).unwrap_err();
            errors.iter().map(|e| format!("{text:?} {e}")).collect::<Vec<_>>().join("\n")
        })
        .join("\n");
        insta::assert_snapshot!(report);
    }

    #[test]
    fn a_share_of_a_fleet_is_that_share() {
        for share in [0.1, 0.3, 0.5, 0.77] {
            for devices in [10, 50, 200, 2_000] {
                for seed in 0..5 {
                    let n = struck(&format!("reset at=1s share={share}"), seed, devices).len() as f64;
                    assert!((n - share * f64::from(devices)).abs() <= 1.0, "{share} of {devices}: {n}");
                }
            }
        }
        let a = struck("reset at=1s share=0.3", 1, 200);
        assert_ne!(a, struck("reset at=1s share=0.3", 2, 200), "which ones: the seed decides");
        // Each device about equally often, over many seeds: binomial with mean 90 and standard deviation 8.
        let mut often = [0_u32; 30];
        (0..300).for_each(|seed| {
            struck("reset at=1s share=0.3", seed, 30).iter().for_each(|d| often[*d as usize] += 1)
        });
        assert!(often.iter().all(|n| n.abs_diff(90) < 48), "{often:?}");
    }

    #[test]
    fn devices_that_come_later_are_spared_what_was_at_one_instant() {
        let specs = specs(&["reset at=20s"]);
        let of = |arrive: i64| {
            Strikes::of(&specs, Seed(1), 0, Micros::from_secs(arrive)).until(Micros::NEVER).len()
        };
        assert_eq!((of(0), of(20), of(21)), (1, 1, 0));
    }

    #[test]
    fn the_first_fault_is_as_likely_in_any_second_as_later_ones() {
        let specs = specs(&["roam every=exponential(20s)"]);
        let within = |from: i64, until: i64| {
            let range = Micros::from_secs(from)..Micros::from_secs(until);
            let of = |d| Strikes::of(&specs, Seed(1), d, Micros::ZERO).until(Micros::from_secs(until));
            (0..2_000).map(|d| of(d).iter().filter(|p| range.contains(&p.at)).count()).sum::<usize>()
        };
        // 1,000 are expected in any ten seconds.
        let counts = [within(0, 10), within(10, 20), within(50, 60)];
        assert!(counts.iter().all(|n| (880..1_120).contains(n)), "{counts:?}");
    }

    #[test]
    fn devices_that_came_together_are_not_struck_together() {
        let specs = specs(&["roam every=60s"]);
        let first = |d: u32| Strikes::of(&specs, Seed(1), d, Micros::ZERO).next_at();
        let mut thirds = [0; 3];
        (0..3_000).for_each(|d| thirds[(first(d).0 / 20_000_000) as usize] += 1);
        assert!(thirds.iter().all(|n| (850..1_150).contains(n)), "{thirds:?}");
        let all = Strikes::of(&specs, Seed(1), 7, Micros::ZERO).until(Micros::from_secs(3_600));
        assert!(all.windows(2).all(|w| w[1].at - w[0].at == Micros::from_secs(60)) && all.len() >= 59);
        assert!(all.iter().all(|p| (ROAM.0..=ROAM.1).contains(&p.length)));
    }

    #[test]
    fn a_fault_waits_for_its_phase_and_the_next_takes_its_place() {
        let specs = specs(&["reset at=1s phase=speaking", "roam every=2s phase=listening", "close at=5s"]);
        let mut s = Strikes::of(&specs, Seed(1), 0, Micros::ZERO);
        assert_eq!(s.take(Micros::from_secs(1), Some(Phase::Idle)), None);
        assert!(s.waits_for(Phase::Speaking));
        assert_eq!(s.take(Micros::from_secs(2), None), None, "without a connection nothing strikes");
        assert_eq!(
            s.take(Micros::from_secs(3), Some(Phase::Speaking)).map(|p| p.kind),
            Some(FaultKind::Reset)
        );
        let late = Micros::from_secs(100);
        assert_eq!(s.take(late, Some(Phase::Listening)).map(|p| p.kind), Some(FaultKind::Roam));
        assert_eq!(
            s.take(late, Some(Phase::Listening)).map(|p| p.kind),
            Some(FaultKind::Close),
            "one roam, not fifty"
        );
        assert_eq!(s.take(late, Some(Phase::Listening)), None);
        assert!(s.next_at() > late);
    }

    proptest! {
        /// The same seed, the same plan; lines do not shift each other; and however fast they come, time goes on.
        #[test]
        fn the_plan_follows_from_the_seed(seed: u64, device: u32, mean_ms in 100_i64..5_000) {
            let one = specs(&[&format!("roam every=exponential({mean_ms}ms)")]);
            let two = specs(&[&format!("roam every=exponential({mean_ms}ms)"), "reset every=normal(100ms, 900ms)"]);
            let plan = |specs: &Arc<[FaultSpec]>, seed| {
                Strikes::of(specs, Seed(seed), device, Micros::ZERO).until(Micros::from_secs(60))
            };
            prop_assert_eq!(plan(&two, seed), plan(&two, seed));
            prop_assert_ne!(plan(&two, seed), plan(&two, seed ^ 1));
            let mut roams = plan(&two, seed);
            roams.retain(|p| p.kind == FaultKind::Roam);
            prop_assert_eq!(&roams, &plan(&one, seed));
            let all = plan(&two, seed);
            let mut resets = all.iter().filter(|p| p.kind == FaultKind::Reset).map(|p| p.at);
            let mut before = resets.next().unwrap_or_default();
            for at in resets {
                prop_assert!(at - before >= CLOSEST);
                before = at;
            }
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9=%(),. µ\\PC]{0,32}") {
            let _ = text.parse::<FaultSpec>();
        }
    }
}
