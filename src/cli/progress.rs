//! What `voxload run` says while it lasts: one live line on a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::run::{Phase, Progress};
use crate::measure::{Metric, Quantile};
use crate::time::Micros;

/// Between plain lines.
const EVERY: Micros = Micros::from_secs(5);

/// Reports progress on standard error.
pub(super) struct Reporter {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: Micros,
    phase: Option<Phase>,
}

impl Reporter {
    /// Silent when `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        let live = !quiet && std::io::stderr().is_terminal();
        Self { bar: live.then(bar), quiet, last: Micros(i64::MIN / 2), phase: None }
    }

    /// An interval is over.
    pub(super) fn update(&mut self, p: &Progress<'_>) {
        if self.quiet {
            return;
        }
        let text = line(p);
        if let Some(bar) = &self.bar {
            bar.set_length(p.end.0.max(1) as u64);
            bar.set_position(p.now.0.clamp(0, p.end.0) as u64);
            bar.set_message(text);
        } else if p.now >= self.last + EVERY || self.phase.replace(p.phase) != Some(p.phase) {
            self.last = p.now;
            super::say(format_args!("{:>6.1} s  {text}", p.now.as_secs_f64()));
        }
    }

    /// Takes the live line away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {bar:12} {eta:>4} left  {wide_msg}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

fn line(p: &Progress<'_>) -> String {
    let phase = match p.phase {
        Phase::WarmUp => "warm-up",
        Phase::Load => "load",
        Phase::Extended => "undecided, going on",
        Phase::Draining => "draining",
        Phase::Aborted => "stopped by a threshold, draining",
        Phase::Interrupted => "interrupted, draining (again to stop at once)",
    };
    let at = |metric, q| match p.totals.all.metric(metric).quantile(q) {
        Some(Quantile::Finite(t)) => t.to_string(),
        Some(Quantile::Infinite) => "∞".to_owned(),
        None => "–".to_owned(),
    };
    let c = &p.totals.all.counts;
    let done = c.succeeded + c.interrupted;
    let failed = c.failed + c.timed_out + c.connect_failures + c.lost;
    let (connected, in_turn) = (p.latest.counts.connected.max(0), p.latest.counts.in_turn.max(0));
    format!(
        "{phase} · {connected} devices, {in_turn} talking · {done} turns, {failed} failures · TTFA p50 {} p95 {} (uncorrected {}, {})",
        at(Metric::Ttfa, 0.5),
        at(Metric::Ttfa, 0.95),
        at(Metric::TtfaUncorrected, 0.5),
        at(Metric::TtfaUncorrected, 0.95)
    )
}
