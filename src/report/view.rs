//! What every report for people says, in the order in which it says it. Terminal, Markdown and HTML only lay it out.

use std::collections::BTreeMap;

use super::BUDGET;
use super::result::{FailureGroup, PlaybackResult, RunResult, Status, ThresholdResult, ThresholdVerdict};
use super::text::{Cell, QUANTILES, Shown, chosen, count, counted, harmless, one_line, share, span};
use crate::gate::{Subject, Threshold};
use crate::measure::{Distribution, Metric, fewest_samples};
use crate::time::Micros;

/// The metrics of the first table: planned time, and beside it what a naive tool would print.
const LATENCY: [Metric; 7] = [
    Metric::Ttfa,
    Metric::TtfaUncorrected,
    Metric::TtfaFirstByte,
    Metric::TtfaFirstByteUncorrected,
    Metric::TtfaFromLastSend,
    Metric::Ttft,
    Metric::TtftUncorrected,
];

/// What "uncorrected" means, once a report.
const UNCORRECTED: &str = "uncorrected: the clock restarts at the late send, and failures are left out: what a naive tool would \
                           report. Where the two differ, believe the other";

mod generator;
mod network;

pub(super) use network::{Grid, of_ttfa};

/// A label and its value.
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) value: String,
}

/// A line of the table of metrics.
pub(super) struct MetricLine {
    pub(super) name: String,
    /// True for the uncorrected view of the line above.
    pub(super) twin: bool,
    pub(super) doc: &'static str,
    pub(super) unit: &'static str,
    pub(super) count: String,
    /// Smallest, the [`QUANTILES`], largest.
    pub(super) cells: Vec<String>,
    /// Failures.
    pub(super) infinite: u64,
}

/// A failure class.
pub(super) struct FailureLine {
    pub(super) class: String,
    pub(super) explanation: String,
    /// `12 turns, 3 connections`.
    pub(super) affected: String,
    /// `device 17, turn 3, at 12.3 s`.
    pub(super) place: String,
    pub(super) detail: String,
}

/// A run, said in words.
pub(super) struct View<'a> {
    pub(super) result: &'a RunResult,
    /// The distributions behind `result.metrics`.
    pub(super) distributions: BTreeMap<&'a str, Distribution>,
    /// What in the document could not be read; the rest is shown.
    pub(super) problems: Vec<String>,
}

impl<'a> View<'a> {
    pub(super) fn new(result: &'a RunResult) -> Self {
        let mut distributions = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, metric) in &result.metrics {
            match Distribution::from_result(metric) {
                Ok(d) => {
                    distributions.insert(name.as_str(), d);
                }
                Err(e) => problems.push(format!("result.json, metrics.{name}: {e}; its chart is left out")),
            }
        }
        Self { result, distributions, problems }
    }

    pub(super) fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        self.distributions.get(metric.name()).filter(|d| d.count() > 0)
    }

    /// The verdict in a word.
    pub(super) const fn word(&self) -> &'static str {
        match self.result.verdict.status {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
            Status::Invalid => "INVALID",
            Status::Interrupted => "INTERRUPTED",
        }
    }

    /// The verdict in a sentence.
    pub(super) fn headline(&self) -> String {
        match self.result.verdict.status {
            Status::Pass | Status::Fail => self.answered(),
            Status::Invalid => NOTHING.to_owned(),
            Status::Interrupted => format!("stopped by the user. Until then, {}", self.answered()),
        }
    }

    /// The same as a sentence of its own.
    pub(super) fn headline_sentence(&self) -> String {
        sentence(&self.headline())
    }

    /// How quickly turns were answered.
    fn answered(&self) -> String {
        let t = &self.result.turns;
        if t.started == 0 {
            return "no turn was started".to_owned();
        }
        if t.succeeded + t.interrupted == 0 {
            return format!("not one of {} was answered", counted(t.started, "turn"));
        }
        let (within, of) = self.within_budget().unwrap_or_default();
        let p95 = self.result.metrics.get(Metric::Ttfa.name());
        match p95.map(|m| Cell::quantile(m, 0.95)) {
            Some(Cell::Value(us)) if us <= BUDGET.0 => {
                format!(
                    "95 % of turns answered within {}{} of the last word, budget {BUDGET}",
                    Micros(us),
                    self.uncorrected_p95()
                )
            }
            Some(Cell::Value(us)) => format!(
                "95 % of turns answered within {}{} of the last word, only {} within the budget of {BUDGET}",
                Micros(us),
                self.uncorrected_p95(),
                share(within, of)
            ),
            Some(Cell::Infinite) => format!(
                "more than 5 % of turns failed or were never answered, {} within the budget of {BUDGET}",
                share(within, of)
            ),
            _ => format!(
                "{} of {} answered within {BUDGET} of the last word (95th percentile: insufficient, needs {} turns)",
                count(within),
                counted(of, "turn"),
                fewest_samples(0.95)
            ),
        }
    }

    /// ` (uncorrected 224 ms)`, where there is such a number.
    fn uncorrected_p95(&self) -> String {
        let twin = self.result.metrics.get(Metric::TtfaUncorrected.name());
        match twin.map(|m| Cell::quantile(m, 0.95)) {
            Some(Cell::Value(us)) => format!(" (uncorrected {})", Micros(us)),
            _ => String::new(),
        }
    }

    /// Whether the numbers can be trusted, in a word.
    pub(super) const fn validity_word(&self) -> &'static str {
        if self.result.validity.valid { "VALID" } else { "INVALID" }
    }

    /// Whether the numbers can be trusted, in a sentence: the first thing that a report says.
    pub(super) fn validity(&self) -> String {
        let v = &self.result.validity;
        let (checks, bad) = (v.checks.len() as u64, v.checks.iter().filter(|c| !c.ok).count());
        let by = if v.loosened.is_empty() { "" } else { ", by loosened limits" };
        match (v.valid, bad) {
            (true, 0) => format!("the load generator kept up{by} ({})", counted(checks, "check")),
            (true, _) => format!("with remarks: {bad} of {} not met{by}", counted(checks, "check")),
            (false, _) => format!("{NOTHING} ({bad} of {} not met{by})", counted(checks, "check")),
        }
    }

    /// Limits that are not voxload's own: the looser ones, which everybody must see, and the tighter ones.
    pub(super) fn changed_limits(&self) -> (Vec<String>, Vec<String>) {
        let lines = |what: &str, all: &[String]| {
            all.iter().map(|l| format!("validity {what}: {}", one_line(l))).collect()
        };
        let v = &self.result.validity;
        (lines("loosened", &v.loosened), lines("tightened", &v.tightened))
    }

    /// What a run says about a threshold: how it is marked, and in a word.
    pub(super) fn threshold_mark(&self, t: &ThresholdResult) -> (ThresholdVerdict, &'static str) {
        let verdict = t.verdict();
        let word = match verdict {
            ThresholdVerdict::Pass => "held",
            ThresholdVerdict::Fail => "failed",
            ThresholdVerdict::Undecided => "undecided",
        };
        (verdict, word)
    }

    /// What thresholds did to the course of the run, where they did something.
    pub(super) fn course(&self) -> Option<String> {
        let gate = self.result.gate.as_ref()?;
        if let Some(a) = &gate.aborted {
            return Some(format!(
                "stopped after {} of {} by {} ({})",
                Micros(a.at_us),
                chosen(a.planned_us),
                one_line(&a.expression),
                one_line(&a.seen)
            ));
        }
        let by = Micros(gate.extended_us);
        (by > Micros::ZERO).then(|| format!("extended by {by}, because thresholds were undecided"))
    }

    /// The note beside a threshold, with what a tool without a plan would have judged.
    pub(super) fn threshold_note(&self, t: &ThresholdResult) -> String {
        let uncorrected = || {
            let Subject::Metric(metric) = Threshold::parse(&t.expression).ok()?.subject() else {
                return None;
            };
            let twin = t.expression.replacen(metric.name(), metric.uncorrected()?.name(), 1);
            let judged = Threshold::parse(&twin).ok()?.evaluate(self.result);
            judged.actual.map(|_| format!("uncorrected {}", judged.actual_text))
        };
        [Some(t.note.clone()).filter(|n| !n.is_empty()), uncorrected()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// What was found out besides.
    pub(super) fn notes(&self) -> Vec<String> {
        self.result.notes.iter().map(|n| harmless(&n.text)).collect()
    }

    /// What was run against what.
    pub(super) fn setting(&self) -> String {
        let r = self.result;
        let t = &r.target;
        let warmup = if r.warmup_us > 0 {
            format!(" ({} of warm-up not counted)", chosen(r.warmup_us))
        } else {
            String::new()
        };
        let mut remarks = vec![t.dialect.clone()];
        if t.embedded {
            remarks.push("embedded reference server".to_owned());
        }
        if t.tls {
            remarks.push("TLS".to_owned());
        }
        if t.insecure {
            remarks.push("certificates NOT checked".to_owned());
        }
        format!(
            "{} at once · {}{warmup} · {} ({})",
            counted(r.generator.devices.into(), "device"),
            chosen(r.duration_us),
            one_line(&t.url),
            remarks.join(", ")
        )
    }

    /// Turns answered within the budget, of all that count.
    pub(super) fn within_budget(&self) -> Option<(u64, u64)> {
        let d = self.distribution(Metric::Ttfa)?;
        Some((d.count() - d.count_above(BUDGET), d.count()))
    }

    /// The share of turns within the budget, in a sentence.
    fn budget(&self) -> Option<String> {
        let uncorrected = self.distribution(Metric::TtfaUncorrected).map_or_else(String::new, |d| {
            format!("; uncorrected {}", share(d.count() - d.count_above(BUDGET), d.count()))
        });
        self.within_budget().map(|(within, of)| {
            format!(
                "{} of {} answered within {BUDGET} ({}{uncorrected})",
                count(within),
                counted(of, "turn"),
                share(within, of)
            )
        })
    }

    /// How sure the 99th percentile of TTFA is.
    fn interval(&self) -> Option<String> {
        let metric = self.result.metrics.get(Metric::Ttfa.name())?;
        let [low, high] = metric.p99_interval_us?;
        // Where even the lower end is a failure, the table has said it.
        let low = Micros(low?);
        let high = high.map_or_else(|| "∞".to_owned(), |us| Micros(us).to_string());
        Some(format!("the 99th percentile of ttfa lies between {low} and {high} (95 % confidence)"))
    }

    /// What a first token is in this dialect.
    fn granularity(&self) -> String {
        match self.result.target.text_granularity.as_str() {
            "none" => "this dialect sends no text, so there is no TTFT".to_owned(),
            g => format!("the first text counted by TTFT is a {g}"),
        }
    }

    /// The headings of a table of metrics after name and unit.
    pub(super) fn headings() -> Vec<&'static str> {
        let mut h = vec!["count", "min"];
        h.extend(QUANTILES.iter().map(|(label, _)| *label));
        h.extend(["max", "failed"]);
        h
    }

    /// The table of latencies.
    pub(super) fn latency(&self) -> Vec<MetricLine> {
        LATENCY.iter().filter_map(|&m| self.metric(m)).collect()
    }

    /// All metrics that this version knows, in the order of [`Metric::ALL`].
    pub(super) fn metrics(&self) -> Vec<MetricLine> {
        Metric::ALL.iter().filter_map(|&m| self.metric(m)).collect()
    }

    fn metric(&self, metric: Metric) -> Option<MetricLine> {
        let m = self.result.metrics.get(metric.name()).filter(|m| m.count > 0)?;
        let shown = Shown::of(metric.name(), &m.unit);
        let mut cells = vec![Cell::min(m)];
        cells.extend(QUANTILES.iter().map(|&(_, q)| Cell::quantile(m, q)));
        cells.push(Cell::max(m));
        Some(MetricLine {
            name: metric.name().to_owned(),
            twin: LATENCY.iter().any(|m| m.uncorrected() == Some(metric)),
            doc: metric.doc(),
            unit: shown.unit(),
            count: count(m.count),
            cells: cells.into_iter().map(|c| c.text(shown)).collect(),
            infinite: m.infinite,
        })
    }

    /// What "insufficient" means here; `None` when no quantile is.
    fn insufficient(&self) -> Option<String> {
        let mut needs: Vec<String> = Vec::new();
        for (label, q) in QUANTILES {
            let lacks = LATENCY
                .iter()
                .filter_map(|m| self.result.metrics.get(m.name()))
                .any(|m| matches!(Cell::quantile(m, q), Cell::Insufficient { .. }));
            if lacks {
                needs.push(format!("{label} needs {}", count(fewest_samples(q))));
            }
        }
        (!needs.is_empty()).then(|| format!("insufficient: {} turns", needs.join(", ")))
    }

    /// What to know beside the table of latencies.
    pub(super) fn latency_notes(&self) -> Vec<String> {
        let naive = self.distribution(Metric::TtfaUncorrected).map(|_| UNCORRECTED.to_owned());
        let notes = [naive, self.budget(), self.interval(), self.insufficient(), Some(self.granularity())];
        notes.into_iter().flatten().collect()
    }

    /// Turns, counted.
    pub(super) fn turns(&self) -> String {
        let t = &self.result.turns;
        let mut parts = vec![format!("{} succeeded", count(t.succeeded))];
        for (n, what) in [
            (t.failed, "failed"),
            (t.timed_out, "timed out"),
            (t.interrupted, "cut short by a barge-in as planned"),
            (t.cancelled, "cancelled by the end of the run"),
            (t.missed, "missed (planned, never begun)"),
        ] {
            if n > 0 || what == "failed" {
                parts.push(format!("{} {what}", count(n)));
            }
        }
        let warmup = if t.warmup > 0 {
            format!("; {} more during warm-up, not counted", count(t.warmup))
        } else {
            String::new()
        };
        format!("{} planned: {}{warmup}", count(t.planned), parts.join(", "))
    }

    /// Connections, counted.
    pub(super) fn connections(&self) -> String {
        let c = &self.result.connections;
        let mut parts = vec![format!("{} opened of {} attempted", count(c.opened), count(c.attempted))];
        for (n, what) in [(c.failed, "failed"), (c.lost, "lost"), (c.reconnected, "reconnected")] {
            if n > 0 {
                parts.push(format!("{} {what}", count(n)));
            }
        }
        parts.join(", ")
    }

    /// How long connecting took, both views.
    pub(super) fn connect(&self) -> Option<String> {
        let quantiles = |metric: Metric| {
            let m = self.result.metrics.get(metric.name()).filter(|m| m.count > 0)?;
            let cell = |q| Cell::quantile(m, q);
            let known: Vec<_> =
                [("p50", cell(0.5)), ("p95", cell(0.95)), ("p99", cell(0.99)), ("max", Cell::max(m))]
                    .into_iter()
                    .filter(|(_, c)| !matches!(c, Cell::Insufficient { .. }))
                    .map(|(label, c)| format!("{label} {}", c.spoken(Shown::Millis)))
                    .collect();
            Some(known.join(", "))
        };
        let planned = quantiles(Metric::Connect)?;
        let naive = quantiles(Metric::ConnectUncorrected).map(|q| format!("; uncorrected {q}"));
        Some(format!("{planned} (planned attempt → upgraded{})", naive.unwrap_or_default()))
    }

    /// Failure classes, most frequent first.
    pub(super) fn failures(&self) -> Vec<FailureLine> {
        self.result.failures.iter().map(failure).collect()
    }

    /// Playback: stalls at each prebuffer, and whether the server keeps up.
    pub(super) fn audio(&self) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self
            .result
            .playback
            .iter()
            .filter(|p| p.replies > 0)
            .map(|p| Fact {
                label: format!("prebuffer {}", chosen(p.prebuffer_us)),
                value: stalls(self.result, p),
            })
            .collect();
        if let Some(rtf) = self.result.metrics.get(Metric::Rtf.name()).filter(|m| m.count > 0) {
            let cell = |q| Cell::quantile(rtf, q).text(Shown::Ratio);
            facts.push(Fact {
                label: "RTF".to_owned(),
                value: format!(
                    "p50 {}, p95 {} (wall clock per second of reply; at most 1 keeps up)",
                    cell(0.5),
                    cell(0.95)
                ),
            });
        }
        facts
    }

    /// Barge-in, if there was any.
    pub(super) fn barge_in(&self) -> Vec<Fact> {
        let b = &self.result.barge_in;
        let mut facts = Vec::new();
        let mut fact = |label: &str, value: String| {
            facts.push(Fact { label: label.to_owned(), value });
        };
        if b.made > 0 {
            fact(
                "interruptions",
                format!(
                    "{} made, the reply stopped in {} ({})",
                    count(b.made),
                    count(b.stopped),
                    share(b.stopped, b.made)
                ),
            );
            if let Some(m) = self.result.metrics.get(Metric::BargeInStop.name()) {
                let cell = |q| Cell::quantile(m, q).spoken(Shown::Millis);
                fact(
                    "until it is quiet",
                    format!("p50 {}, p95 {} after the interruption began", cell(0.5), cell(0.95)),
                );
            }
            fact(
                "stale messages",
                format!("{} of interrupted replies came late and were dropped", count(b.stale_messages)),
            );
        }
        if b.backchannels > 0 {
            fact(
                "false barge-ins",
                format!(
                    "{} of {} coughs and \"mm-hm\"s stopped the reply ({})",
                    count(b.false_stops),
                    count(b.backchannels),
                    share(b.false_stops, b.backchannels)
                ),
            );
        }
        facts
    }
}

/// What an invalid run is worth.
const NOTHING: &str = "the load generator was the bottleneck; these numbers say nothing about the server";

/// With a capital at its beginning and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

fn failure(f: &FailureGroup) -> FailureLine {
    let affected: Vec<_> = [(f.turns, "turn"), (f.connections, "connection")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, noun)| counted(n, noun))
        .collect();
    let turn = f.example.turn.map_or_else(String::new, |t| format!(", turn {t}"));
    FailureLine {
        class: one_line(&f.class),
        explanation: f.explanation.clone(),
        affected: affected.join(", "),
        place: format!("device {}{turn}, at {}", f.example.device, Micros(f.example.at_us)),
        detail: one_line(&f.example.detail),
    }
}

fn stalls(r: &RunResult, p: &PlaybackResult) -> String {
    let played = p.media_us.saturating_add(p.stalled_us).max(0) as u64;
    // The metric knows why a quantile is missing; `ttfa` itself is the one at the scenario's own prebuffer.
    let metric = if p.prebuffer_us == r.audio.prebuffer_us {
        r.metrics.get(Metric::Ttfa.name())
    } else {
        r.metrics.get(&format!("ttfa@{}ms", p.prebuffer_us / 1_000))
    };
    let ttfa = |q, us| match metric.map(|m| Cell::quantile(m, q)) {
        Some(Cell::Infinite) => "∞".to_owned(),
        _ => span(us),
    };
    let naive = match (p.ttfa_uncorrected_p50_us, p.ttfa_uncorrected_p95_us) {
        (None, None) => String::new(),
        (p50, p95) => format!(" (uncorrected {}, {})", span(p50), span(p95)),
    };
    format!(
        "{} of {} replies stalled ({}), {} of playback; TTFA p50 {}, p95 {}{naive}",
        count(p.stalled_replies),
        count(p.replies),
        share(p.stalled_replies, p.replies),
        share(p.stalled_us.max(0) as u64, played),
        ttfa(0.5, p.ttfa_p50_us),
        ttfa(0.95, p.ttfa_p95_us)
    )
}
