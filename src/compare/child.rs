//! Runs of this same binary as children, one after the other: their CPU and memory are their own, as a user's would be.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::record::{Slot, State, TRIES, Target, state};
use crate::exit::{Exit, Failure};
use crate::report::result::ThresholdVerdict;
use crate::report::{RunResult, json};
use crate::subprocess::{self, End, Stop, Subprocess};
use crate::time::Micros;

/// What a run takes besides its planned time, at a guess: starting, draining, writing.
const OVERHEAD: Micros = Micros::from_secs(4);

/// A series of runs to be made.
pub struct Series<'a> {
    /// All of it, in order.
    pub slots: &'a [Slot],
    /// The arguments of `voxload run` for a target, without seed and folder.
    pub args: &'a dyn Fn(Target) -> Vec<String>,
    /// How long load is applied in one.
    pub planned: Micros,
    /// Whether the user wants it to end.
    pub stop: &'a Stop,
}

/// How a series ended.
#[derive(Debug, Default)]
pub struct Made {
    /// Runs that are there and VALID, those of earlier times included.
    pub valid: usize,
    /// Runs that were INVALID as often as was tried.
    pub invalid: usize,
    /// Runs whose thresholds failed, among the valid ones.
    pub thresholds_failed: usize,
    /// Runs in which no turn completed, among the valid ones.
    pub no_turns: usize,
    /// The user has interrupted it.
    pub interrupted: bool,
}

impl Series<'_> {
    /// Makes the runs that are missing. What has been made stays, however it ends.
    pub fn make(&self, say: &mut dyn FnMut(&str)) -> Result<Made, Failure> {
        let mut made = Made::default();
        let mut clock = Left::new(self.slots.len(), self.planned);
        for (i, slot) in self.slots.iter().enumerate() {
            let found = read(&slot.dir);
            let mut now = state(slot, found.as_ref());
            let (mut result, mut tries) = (found, 0);
            while now != State::Done && tries < TRIES {
                if self.stop.asked() {
                    made.interrupted = true;
                    return Ok(made);
                }
                say(&format!(
                    "run {} of {} ({}, seed {}) · about {} left",
                    i + 1,
                    self.slots.len(),
                    slot.name(),
                    slot.seed,
                    words(clock.left(i))
                ));
                if now == State::Invalid {
                    put_aside(slot)?;
                }
                tries += 1;
                let began = Instant::now();
                let Some(ran) = self.run(slot)? else {
                    made.interrupted = true;
                    return Ok(made);
                };
                clock.took(began.elapsed().into());
                say(&format!("  {}", in_a_line(&ran)));
                now = state(slot, Some(&ran));
                result = Some(ran);
            }
            if now != State::Done {
                made.invalid += 1;
                continue;
            }
            made.valid += 1;
            if let Some(r) = result {
                made.thresholds_failed +=
                    usize::from(r.thresholds.iter().any(|t| t.verdict() == ThresholdVerdict::Fail));
                made.no_turns += usize::from(r.turns.succeeded + r.turns.interrupted == 0);
            }
        }
        Ok(made)
    }

    /// Makes one; `None` when the user has interrupted.
    fn run(&self, slot: &Slot) -> Result<Option<RunResult>, Failure> {
        let cannot = |what: &str, e: &dyn std::fmt::Display| Failure::usage(format!("{what}: {e}"));
        fs::create_dir_all(&slot.dir)
            .map_err(|e| cannot(&format!("cannot create {}", slot.dir.display()), &e))?;
        let said = slot.dir.join("stderr.txt");
        let mut command = subprocess::command()?;
        command.arg("run").args((self.args)(slot.target));
        command.args(["--quiet", "--seed", &slot.seed.to_string()]).arg("--report-dir").arg(&slot.dir);
        let mut child = Subprocess::start(command, &said)?;
        let End::Exited(status) = child.wait(self.stop, None)? else { return Ok(None) };
        let words = fs::read_to_string(&said).unwrap_or_default();
        // Warnings and errors of the run stay with its report; an empty file says nothing.
        if words.trim().is_empty() {
            let _ = fs::remove_file(&said);
        }
        let code = status.code().and_then(|c| u8::try_from(c).ok()).and_then(Exit::from_code);
        let judged = [Exit::Good, Exit::Threshold, Exit::Invalid, Exit::NoTurns, Exit::Interrupted];
        match read(&slot.dir) {
            Some(result) if code.is_some_and(|c| judged.contains(&c)) => Ok(Some(result)),
            _ => Err(Failure {
                exit: code.filter(|c| !judged.contains(c)).unwrap_or(Exit::Usage),
                message: format!(
                    "{} could not be made ({status}): {}\n  the runs made before are kept; the same command goes on from there",
                    slot.name(),
                    words.trim().trim_start_matches("error: ")
                ),
            }),
        }
    }
}

/// An INVALID run stays, under another name.
fn put_aside(slot: &Slot) -> Result<(), Failure> {
    fs::rename(&slot.dir, slot.next_aside(Path::exists))
        .map_err(|e| Failure::usage(format!("cannot move {}: {e}", slot.dir.display())))
}

/// A run's result, if it is there and can be read.
fn read(dir: &Path) -> Option<RunResult> {
    if !dir.join(json::FILE).is_file() {
        return None;
    }
    json::read(dir).ok().map(|(result, _)| result)
}

/// What came of a run, in a line.
fn in_a_line(r: &RunResult) -> String {
    let validity = if r.validity.valid { "VALID" } else { "INVALID" };
    let bad = r.validity.checks.iter().find(|c| !c.ok);
    let why = bad.map_or_else(String::new, |c| format!(", {} was {} (limit {})", c.name, c.seen, c.limit));
    let p95 = super::measure::Measure::parse(super::measure::PRIMARY).ok().map(|m| match m.of(r) {
        Ok(x) => format!("{} {}", m.spoken(), m.unit().level(x)),
        Err(why) => format!("no {} ({})", m.spoken(), why.text()),
    });
    let failed = r.turns.failed + r.turns.timed_out;
    format!("{validity}{why}: {}, {} turns, {failed} failed", p95.unwrap_or_default(), r.turns.started)
}

/// How long a series will last.
struct Left {
    runs: usize,
    guess: Micros,
    took: Micros,
    made: i64,
}

impl Left {
    fn new(runs: usize, planned: Micros) -> Self {
        Self { runs, guess: planned + OVERHEAD, took: Micros::ZERO, made: 0 }
    }

    fn took(&mut self, t: Micros) {
        self.took += t;
        self.made += 1;
    }

    fn left(&self, done: usize) -> Micros {
        let each = if self.made > 0 { self.took / self.made } else { self.guess };
        each * (self.runs - done.min(self.runs)) as i64
    }
}

/// To the second, or the minute.
fn words(t: Micros) -> String {
    let s = (t.as_secs_f64()).round() as i64;
    match s {
        ..90 => format!("{s} s"),
        _ => format!("{} min", (s + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_guessed_and_then_measured() {
        let mut left = Left::new(10, Micros::from_secs(6));
        assert_eq!(left.left(0), Micros::from_secs(100));
        left.took(Micros::from_secs(20));
        left.took(Micros::from_secs(30));
        assert_eq!(left.left(2), Micros::from_secs(200));
        assert_eq!(
            [30, 89, 90, 200].map(|s| words(Micros::from_secs(s))),
            ["30 s", "89 s", "2 min", "3 min"]
        );
    }
}
