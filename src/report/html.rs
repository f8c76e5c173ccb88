//! `report.html`: one file, no network. Light or dark as the reader's system is, on a phone or on paper.
//!
//! Everything that comes from outside goes through askama's escaping; only the charts and the style are ours.

use std::borrow::Cow;

use askama::Template;

use super::BUDGET;
use super::chart::Chart;
use super::look::{Figure, Look};
use super::result::{RunResult, Status, ThresholdVerdict, TurnRow};
use super::text::{Cell, Shown, bytes, chosen, count, one_line, share, span};
use super::view::{Fact, View, of_ttfa};
use crate::measure::Metric;
use crate::time::Micros;

/// Fixtures that are listed, and characters of the scenario that are shown: the page stays small.
const FIXTURES: usize = 200;
const SCENARIO: usize = 100_000;

/// The page, for `src/report/html/page.html`.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    r: &'a RunResult,
    view: &'a View<'a>,
    /// `pass`, `fail`, `invalid` or `interrupted`.
    tone: &'static str,
    tiles: Vec<Tile>,
    /// Charts, by the section that they belong to.
    percentiles: Vec<Figure<'a>>,
    over_time: Vec<Figure<'a>>,
    stages: Vec<Figure<'a>>,
    worst_drawn: Vec<Figure<'a>>,
    by_group: Vec<Figure<'a>>,
    stalls: Vec<Figure<'a>>,
    worst: Vec<WorstTurn>,
    /// Worst turns have a column for the network.
    networked: bool,
    audio: Vec<Fact>,
    repeat: Vec<Fact>,
    fixtures_more: usize,
    scenario: Cow<'a, str>,
    look: Look<'a>,
}

/// A headline number.
struct Tile {
    label: &'static str,
    value: String,
    unit: &'static str,
    note: String,
    /// The same number without correction, with its unit; empty where there is none.
    naive: String,
}

/// A row of the table of worst turns.
struct WorstTurn {
    turn: String,
    /// Empty in runs without groups.
    group: String,
    fixture: String,
    outcome: String,
    ended: String,
    ttft: Both,
    first_byte: Both,
    ttfa: Both,
    network: String,
    stalled: String,
    detail: String,
}

/// A latency in both views.
struct Both {
    planned: String,
    /// Empty where there is none.
    naive: String,
}

/// Renders the page.
pub(super) fn render(view: &View<'_>, charts: &[Chart]) -> Result<String, String> {
    let r = view.result;
    let figures =
        |names: &[&str]| charts.iter().filter(|c| names.contains(&c.name)).map(Figure::of).collect();
    Page {
        r,
        view,
        tone: match r.verdict.status {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Invalid => "invalid",
            Status::Interrupted => "interrupted",
        },
        tiles: tiles(view),
        percentiles: figures(&["latency-by-percentile"]),
        over_time: figures(&["ttfa-over-time", "load-over-time"]),
        stages: figures(&["stages", "turn-typical"]),
        worst_drawn: charts.iter().filter(|c| c.name.starts_with("turn-worst")).map(Figure::of).collect(),
        by_group: figures(&["ttfa-by-group"]),
        stalls: figures(&["stalls"]),
        worst: r.worst_turns.iter().map(worst).collect(),
        networked: r.worst_turns.iter().any(|t| t.network_us.is_some()),
        audio: audio(r),
        repeat: repeat(r),
        fixtures_more: r.fixtures.len().saturating_sub(FIXTURES),
        scenario: shortened(&r.scenario),
        look: Look::new(&r.voxload_version),
    }
    .render()
    .map_err(|e| e.to_string())
}

/// The scenario: a fleet's table of values can be long, and is in `scenario.toml` in full.
fn shortened(scenario: &str) -> Cow<'_, str> {
    match scenario.char_indices().nth(SCENARIO) {
        None => scenario.into(),
        Some((end, _)) => {
            format!("{}…\n# the rest is in scenario.toml", scenario.get(..end).unwrap_or_default()).into()
        }
    }
}

fn tiles(view: &View<'_>) -> Vec<Tile> {
    let r = view.result;
    let quantile = |m: Metric, q: f64| {
        let cell = r.metrics.get(m.name()).map_or(Cell::Empty, |m| Cell::quantile(m, q));
        let unit = if matches!(cell, Cell::Value(_)) { "ms" } else { "" };
        (cell.text(Shown::Millis), unit)
    };
    let mut tiles = Vec::new();
    for (label, metric, q, note) in [
        ("TTFA, median", Metric::Ttfa, 0.5, "end of speech → first audible sound"),
        ("TTFA, p95", Metric::Ttfa, 0.95, "19 of 20 turns are at least this fast"),
        ("TTFA, p99", Metric::Ttfa, 0.99, "99 of 100 turns are at least this fast"),
        ("TTFT, p95", Metric::Ttft, 0.95, "end of speech → first token"),
    ] {
        let (value, unit) = quantile(metric, q);
        let naive = match metric.uncorrected().map(|m| quantile(m, q)) {
            Some((value, "ms")) => format!("uncorrected {value} ms"),
            _ => String::new(),
        };
        tiles.push(Tile { label, value, unit, note: note.to_owned(), naive });
    }
    let (within, of) = view.within_budget().unwrap_or_default();
    tiles.push(Tile {
        label: "Within 300 ms",
        value: share(within, of),
        unit: "",
        note: format!("{} of {} turns", count(within), count(of)),
        naive: view.distribution(Metric::TtfaUncorrected).map_or_else(String::new, |d| {
            format!("uncorrected {}", share(d.count() - d.count_above(BUDGET), d.count()))
        }),
    });
    let failed = r.turns.failed + r.turns.timed_out;
    tiles.push(Tile {
        label: "Failed turns",
        value: count(failed),
        unit: "",
        note: match r.turns.started {
            0 => "none begun".to_owned(),
            n => format!("{} of {} begun", share(failed, n), count(n)),
        },
        naive: String::new(),
    });
    tiles
}

fn worst(t: &TurnRow) -> WorstTurn {
    WorstTurn {
        turn: format!("{} / {}", t.device, t.turn),
        group: one_line(&t.group),
        fixture: one_line(&t.fixture),
        outcome: one_line(&t.outcome),
        ended: Micros(t.ended_us).to_string(),
        ttft: both(t.ttft_us, t.ttft_uncorrected_us),
        first_byte: both(t.ttfa_first_byte_us, t.ttfa_first_byte_uncorrected_us),
        ttfa: both(t.ttfa_us, t.ttfa_uncorrected_us),
        network: of_ttfa(t.network_us, t.ttfa_us),
        stalled: if t.stalls == 0 {
            "–".to_owned()
        } else {
            format!("{} ({})", t.stalls, Micros(t.stalled_us))
        },
        detail: one_line(&t.detail),
    }
}

fn both(planned: Option<i64>, naive: Option<i64>) -> Both {
    let naive = naive.map_or_else(String::new, |us| Micros(us).to_string());
    Both { planned: span(planned), naive }
}

fn audio(r: &RunResult) -> Vec<Fact> {
    let a = &r.audio;
    let bitrate =
        if a.bitrate > 0 { format!(", {:.0} kbit/s", f64::from(a.bitrate) / 1e3) } else { String::new() };
    facts([
        ("codec", format!("{}{bitrate}, sent as {}", a.codec, a.encoding)),
        (
            "sample rate",
            format!("{} Hz up, {} Hz down", count(a.sample_rate.into()), count(a.reply_sample_rate.into())),
        ),
        (
            "messages",
            format!(
                "{} of audio each, in frames of {}; codec look-ahead {}",
                chosen(a.chunk_us),
                chosen(a.frame_us),
                chosen(a.lookahead_us)
            ),
        ),
        (
            "on the wire, while speaking",
            format!(
                "{:.1} kbit/s and {:.1} messages/s up, with WebSocket, TLS, TCP and IP headers (computed)",
                a.wire_kbps_up, a.messages_per_s_up
            ),
        ),
        (
            "end of turn",
            match a.end_of_turn.as_str() {
                "signal" => "the device says so (talk button)".to_owned(),
                "vad" => "the server finds it (voice activity detection)".to_owned(),
                other => other.to_owned(),
            },
        ),
        ("playback prebuffer", chosen(a.prebuffer_us)),
    ])
}

fn repeat(r: &RunResult) -> Vec<Fact> {
    let h = &r.host;
    facts([
        ("command", r.command.clone()),
        ("started", r.started_at.clone()),
        ("seed", r.seed.to_string()),
        ("version", format!("voxload {}", r.voxload_version)),
        ("host", format!("{}, {} ({} cores), {}", h.os, h.cpu, h.cores, bytes(h.memory_bytes))),
        ("open files, at most", count(h.open_files)),
        ("devices at once", count(r.generator.devices.into())),
    ])
}

fn facts<const N: usize>(facts: [(&str, String); N]) -> Vec<Fact> {
    facts.into_iter().map(|(label, value)| Fact { label: label.to_owned(), value }).collect()
}
