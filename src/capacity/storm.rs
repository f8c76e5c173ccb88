//! The connect storm: all devices that one server carries come at once, as after a power cut or a restart. Does it let them in?

use super::document::{AnswerResult, LoadUnit, StormResult};
use super::judge;
use super::lab::{Lab, NotMade, Stopped, Timing, trial_budget, why_invalid};
use crate::exit::Failure;
use crate::measure::{Metric, agreement};
use crate::report::section::Section;
use crate::report::text::{chosen, count, counted, span};
use crate::report::{RunResult, json};
use crate::scenario::units::format_duration;
use crate::time::Micros;

impl Lab<'_> {
    /// Lets the devices of the answer come within this time, and looks how they fare from the first connection on. `None`: there
    /// is no answer in devices, no time left, or the user wants it to end.
    pub fn storm(
        &mut self,
        answer: Option<AnswerResult>,
        within: Micros,
    ) -> Result<Option<StormResult>, Failure> {
        let Some(answer) = answer.filter(|_| self.unit == LoadUnit::Devices) else { return Ok(None) };
        // A search that ran out of time has left some for this.
        if !matches!(self.stopped, None | Some(Stopped::Time)) || self.plan.stop.asked() {
            return Ok(None);
        }
        let timing = Timing { ramp: within, warmup: Micros::ZERO, duration: within + self.plan.probe };
        self.kept = Micros::ZERO;
        if !self.time_for(timing.duration) {
            (self.say)("no time left for the storm (--time)");
            return Ok(None);
        }
        (self.say)(&format!("storm     {} within {}", self.unit.text(answer.load), format_duration(within)));
        let dir = self.plan.dir.join("storm");
        let keys = self.keys(answer.load, &timing);
        let launched = match self.launch(&keys, &dir, &timing, false)? {
            Ok(launched) => launched,
            Err(NotMade::Interrupted) => {
                self.stopped = Some(Stopped::Interrupted);
                return Ok(None);
            }
            Err(NotMade::Broken(failure)) => {
                (self.say)(&format!("          the storm could not be made: {}", failure.message));
                return Ok(None);
            }
        };
        let read = json::read(&dir).map_err(Failure::usage)?.0;
        let mut turns = Vec::new();
        agreement::for_each_turn(&dir.join("turns.csv"), |t| turns.push(t)).map_err(Failure::usage)?;
        let tallies = judge::tallies(&self.plan.budgets, &read, &turns);
        let mut storm = of(&read, answer.load as u32, within);
        storm.budgets = tallies.iter().map(trial_budget).collect();
        if let Some(reason) = launched.aborted {
            storm.survived = storm.survived.map(|_| false);
            storm.reason =
                if storm.reason.is_empty() { reason } else { format!("{}; {reason}", storm.reason) };
        }
        (self.say)(&format!("          {}", in_words(&storm)));
        Ok(Some(storm))
    }
}

/// What a run tells in which so many came within that time.
fn of(r: &RunResult, devices: u32, within: Micros) -> StormResult {
    let connect = r.metrics.get(Metric::Connect.name());
    let c = &r.connections;
    let valid = r.validity.valid;
    StormResult {
        devices,
        within_us: within.0,
        connected: r.generator.devices,
        attempts_failed: c.failed,
        lost: c.lost,
        connect_p50_us: connect.and_then(|m| m.p50_us),
        connect_p95_us: connect.and_then(|m| m.p95_us),
        connect_max_us: connect.and_then(|m| m.max_us),
        ttfa_p95_us: r.metrics.get(Metric::Ttfa.name()).and_then(|m| m.p95_us),
        budgets: Vec::new(),
        survived: valid.then_some(r.generator.devices >= devices && c.failed == 0 && c.lost == 0),
        reason: if valid { String::new() } else { format!("INVALID: {}", why_invalid(r)) },
        dir: "storm".to_owned(),
    }
}

/// The verdict in a sentence.
fn in_words(s: &StormResult) -> String {
    let who = format!("{} within {}", counted(s.devices.into(), "device"), chosen(s.within_us));
    match s.survived {
        None => format!("{who}: not judged, {}", s.reason),
        Some(true) => format!("{who}: survived, all came in at the first attempt and stayed"),
        Some(false) if s.reason.is_empty() => format!("{who}: NOT survived"),
        Some(false) => format!("{who}: NOT survived, and stopped to protect the server: {}", s.reason),
    }
}

/// Its table.
pub(super) fn section(s: &StormResult) -> Section {
    let row = |label: &str, value: String| vec![label.to_owned(), value];
    let over = s.budgets.iter().filter(|b| b.verdict == "fail").count() > 0;
    Section {
        title: "The connect storm",
        headings: vec!["", "all of them at once"],
        rows: vec![
            row("came in", format!("{} of {}", count(s.connected.into()), count(s.devices.into()))),
            row("attempts that failed", count(s.attempts_failed)),
            row("connections lost", count(s.lost)),
            row("connecting, p50", span(s.connect_p50_us)),
            row("connecting, p95", span(s.connect_p95_us)),
            row("connecting, the last", span(s.connect_max_us)),
            row(
                "TTFA p95 from the first turn on",
                format!("{}{}", span(s.ttfa_p95_us), if over { ", over the budget" } else { "" }),
            ),
        ],
        notes: vec![in_words(s)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Kind, make};

    #[test]
    fn a_storm_is_survived_when_everybody_is_let_in() {
        let mut r = make(Kind::Good, 1, 500).result;
        let n = r.generator.devices;
        (r.connections.failed, r.connections.lost) = (0, 0);
        let judged = |r: &RunResult, n| of(r, n, Micros::from_secs(1));
        assert_eq!(judged(&r, n).survived, Some(true));
        assert!(
            in_words(&judged(&r, n))
                .ends_with("within 1 s: survived, all came in at the first attempt and stayed")
        );
        assert_eq!(judged(&r, n + 1).survived, Some(false), "one stayed outside");
        r.connections.failed = 3;
        let s = judged(&r, n);
        assert!(s.survived == Some(false) && section(&s).rows[1][1] == "3", "{}", in_words(&s));
        let s = judged(&make(Kind::Invalid, 1, 500).result, n);
        assert!(s.survived.is_none() && in_words(&s).contains("not judged, INVALID"), "{}", in_words(&s));
    }
}
