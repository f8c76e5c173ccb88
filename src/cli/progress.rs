//! What `voxload run` shows while it lasts: a view on a terminal, a plain line every few seconds elsewhere; and what it tells
//! Prometheus.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::drive::run::{Ask, Phase, Progress};
use crate::exit::Failure;
use crate::live::{self, Board, Metrics, Screen, Watcher};
use crate::measure::{Metric, Quantile};
use crate::time::{Clock, Micros};

/// Between plain lines.
const EVERY: Micros = Micros::from_secs(5);

/// What to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Live {
    /// The view on a terminal, lines elsewhere and in CI
    #[default]
    Auto,
    /// The view
    On,
    /// Lines
    Off,
}

impl Live {
    /// Whether there will be a view.
    pub(super) fn wanted(self, quiet: bool) -> Result<bool, Failure> {
        match self {
            Self::Off => Ok(false),
            Self::Auto => Ok(!quiet && !in_ci() && live::possible()),
            Self::On if live::possible() => Ok(true),
            Self::On => Err(Failure::usage(
                "--live on: standard error is not a terminal that a view can be shown on, or voxload runs in its background\n  \
                 leave --live out: then there are lines instead",
            )),
        }
    }
}

/// As build servers say it: `CI=true`.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| !matches!(v.as_str(), "" | "0" | "false"))
}

/// Reports progress on standard error, and to whoever scrapes.
pub(super) struct Reporter<'a> {
    watcher: Watcher<'a>,
    board: Arc<Board>,
    screen: Option<Screen>,
    /// Serves until the end of the process: the latest numbers stay until the report is written.
    metrics: bool,
    quiet: bool,
    last: Micros,
    phase: Option<Phase>,
}

impl<'a> Reporter<'a> {
    /// Lines, unless `quiet`.
    pub(super) fn new(watcher: Watcher<'a>, board: Arc<Board>, quiet: bool) -> Self {
        Self { watcher, board, screen: None, metrics: false, quiet, last: Micros(i64::MIN / 2), phase: None }
    }

    /// Serves metrics.
    pub(super) fn serve(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        let served = metrics.serve(Arc::clone(&self.board));
        self.metrics = true;
        served.map_err(|e| Failure::usage(format!("cannot serve metrics: {e}")))
    }

    /// Opens the view. Without it there are lines.
    pub(super) fn open(&mut self, asks: UnboundedSender<Ask>, clock: Clock) {
        match Screen::open(Arc::clone(&self.board), asks, clock) {
            Ok(screen) => self.screen = Some(screen),
            Err(e) => super::say(format_args!("warning: no view on this terminal: {e}")),
        }
    }

    /// An interval is over.
    pub(super) fn update(&mut self, p: &Progress<'_>) {
        // A view may have ended early: then there are lines.
        let shown = self.screen.as_ref().is_some_and(Screen::is_open);
        if shown || self.metrics {
            self.board.put(self.watcher.look(p));
        }
        if !shown && !self.quiet && (p.now >= self.last + EVERY || self.phase != Some(p.phase)) {
            (self.last, self.phase) = (p.now, Some(p.phase));
            super::say(format_args!("{:>6.1} s  {}", p.now.as_secs_f64(), line(p)));
        }
    }

    /// Takes the view away.
    pub(super) fn finish(&mut self) {
        self.screen = None;
    }
}

fn line(p: &Progress<'_>) -> String {
    let phase = match p.phase {
        Phase::Interrupted => "interrupted, draining (again to stop at once)",
        Phase::Extended => "undecided, going on",
        Phase::Aborted => "stopped by a threshold, draining",
        phase => phase.name(),
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
