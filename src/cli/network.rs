//! `voxload network`: what the imitated links do, as numbers and as pictures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::network::study::{self, Delays, EVERY, MESSAGE};
use crate::network::truth::{self, Compared};
use crate::network::{Direction, Profile, Stack, TRACE_HELP, Trace, Way, WayStats, traces};
use crate::report::chart::{Curve, compared};
use crate::scenario::units::nearest;
use crate::seed::Seed;
use crate::time::Micros;

/// Show the links that `[link]` imitates, in numbers and as a picture.
///
/// Without anything: the presets. With a PRESET: what it makes of a thin audio stream (200 bytes each 60 ms over TCP),
/// simulated in virtual time, so that you know what to expect before you run. The imitation needs no root and no
/// network; how it works, and what it cannot do: docs/NETWORK.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload network                               # the presets
  voxload network wifi-congested                # delays, losses and repairs of one
  voxload network cat1 --stack lwip             # the same with the TCP of an ESP32
  voxload network lte --svg lte.svg             # its percentiles as a chart
  voxload network --check drive.trace           # is this recording good?
  voxload network --truth                       # how near the imitation comes to real TCP")]
pub(super) struct Args {
    /// The preset to look at
    #[arg(value_name = "PRESET")]
    preset: Option<String>,

    /// Check a recorded link in mahimahi's format (a file, or the name of a shipped one), and describe it
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["preset", "truth", "svg", "seed", "stack"])]
    check: Option<PathBuf>,

    /// Compare the imitation with what was measured with real TCP; takes some seconds
    #[arg(long, conflicts_with_all = ["preset", "svg", "stack"])]
    truth: bool,

    /// With --truth: this many runs of each measurement, with one seed each
    #[arg(long, value_name = "N", default_value_t = 9, requires = "truth", value_parser = clap::value_parser!(u64).range(1..=999))]
    runs: u64,

    /// The TCP of the device: linux, linux-nosack or lwip
    #[arg(long, value_name = "STACK", requires = "preset", value_parser = ["linux", "linux-nosack", "lwip"])]
    stack: Option<String>,

    /// Write the percentiles as a chart into this file
    #[arg(long, value_name = "FILE", requires = "preset")]
    svg: Option<PathBuf>,

    /// Decides losses and delays: the same seed gives the same numbers
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Devices of a study, and for how long each talks.
const DEVICES: u32 = 40;
const SPAN: Micros = Micros::from_secs(120);
/// Handshakes of a study.
const HANDSHAKES: u32 = 20_000;

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let seed = args.seed.unwrap_or(1);
    let text = if let Some(trace) = &args.check {
        check(trace, args.json)?
    } else if args.truth {
        let rows = truth::compare(seed, args.runs);
        if args.json { pretty(&json_of_truth(&rows)) } else { table_of_truth(&rows, args.runs) }
    } else if let Some(name) = &args.preset {
        let study = Study::of(find(name)?, args.stack.as_deref(), seed);
        if let Some(path) = &args.svg {
            study.draw(path)?;
        }
        if args.json { pretty(&study.json()) } else { study.text() }
    } else if args.json {
        pretty(&Value::Array(Profile::presets().iter().map(|p| json_of_preset(&p.profile())).collect()))
    } else {
        list()
    };
    super::print(&text)?;
    Ok(Exit::Good)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn find(name: &str) -> Result<Profile, Failure> {
    Profile::preset(name).ok_or_else(|| {
        let names = || Profile::presets().iter().map(|p| p.name);
        let near = nearest(name, names()).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
        let all = names().collect::<Vec<_>>().join(", ");
        Failure::usage(format!("no preset `{name}`\n  {near}there are {all}"))
    })
}

// ── The presets ──────────────────────────────────────────────────────────────────────────────────────────────

/// A rate for people.
fn rate(bits: Option<u32>) -> String {
    bits.map_or_else(|| "–".to_owned(), |n| format!("{}", f64::from(n) / 1e6))
}

fn dash(text: String, none: bool) -> String {
    if none { "–".to_owned() } else { text }
}

fn list() -> String {
    let mut text = String::from(
        "Links for `link.preset`. Round trip of the empty path; jitter as extra delay each way (median, 99th percentile); loss each\n\
         way, with the length of its bursts; Mbit/s to and from the device.\n\n",
    );
    let line = |text: &mut String, cells: [&str; 6]| {
        let [name, rtt, jitter, loss, rates, about] = cells;
        let _ = writeln!(text, "{name:<15} {rtt:>8}  {jitter:<24} {loss:<14} {rates:<8} {about}");
    };
    line(&mut text, ["preset", "RTT", "jitter", "loss", "down/up", ""]);
    for p in Profile::presets() {
        let rates =
            if p.down.is_none() { "–".to_owned() } else { format!("{}/{}", rate(p.down), rate(p.up)) };
        line(
            &mut text,
            [
                p.name,
                &p.rtt.to_string(),
                &dash(p.jitter.to_string(), p.jitter.is_none()),
                &dash(p.loss.to_string(), p.loss.is_none()),
                &rates,
                p.about,
            ],
        );
    }
    text.push_str("\nRecorded links for `link.trace_down` and `link.trace_up`:\n\n");
    for (name, about, _) in traces::SHIPPED {
        if let Some(trace) = traces::find(name) {
            let mbit = trace.rate() / 1e6;
            let _ =
                writeln!(text, "{name:<15} {:>8}  {mbit:.2} Mbit/s on average · {about}", trace.duration());
        }
    }
    text.push_str("\n`voxload network PRESET` shows what one does to speech.\n");
    text
}

fn json_of_preset(p: &Profile) -> Value {
    let basis = Profile::presets().iter().find(|q| q.name == p.name).map_or("", |q| q.basis);
    let way = |w: &Way| {
        json!({
            "delay_us": w.delay, "jitter": w.jitter.to_string(), "loss": w.loss.to_string(),
            "loss_mean": w.loss.mean(), "bits_per_second": w.rate,
        })
    };
    json!({
        "name": p.name, "rtt_us": p.rtt(), "stack": p.stack.name(), "basis": basis,
        "up": way(&p.up), "down": way(&p.down),
    })
}

// ── One of them ──────────────────────────────────────────────────────────────────────────────────────────────

/// What a link does to a thin audio stream.
struct Study {
    profile: Arc<Profile>,
    seed: u64,
    up: Delays,
    down: Delays,
    connect: Delays,
}

impl Study {
    fn of(mut profile: Profile, stack: Option<&str>, seed: u64) -> Self {
        profile.stack = stack.and_then(Stack::from_name).unwrap_or(profile.stack);
        let profile = Arc::new(profile);
        let stream = |d| study::stream(&profile, d, Seed(seed), DEVICES, SPAN);
        Self {
            up: stream(Direction::Up),
            down: stream(Direction::Down),
            connect: study::handshakes(&profile, Seed(seed), HANDSHAKES),
            profile,
            seed,
        }
    }

    fn text(&self) -> String {
        let p = &self.profile;
        let preset = Profile::presets().iter().find(|q| q.name == p.name);
        let mut text = String::new();
        let mut fact = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<12}{value}");
        };
        fact("round trip", format!("{}, half of it each way", p.rtt()));
        fact("jitter", dash(format!("{} each way", p.up.jitter), p.up.jitter.is_none()));
        let good = p.up.loss.good().map(|good| format!("; good for {good} in between")).unwrap_or_default();
        fact("loss", dash(format!("{} each way{good}", p.up.loss), p.up.loss.is_none()));
        fact("Mbit/s", format!("{} to the device, {} from it", rate(p.down.rate), rate(p.up.rate)));
        fact("TCP", p.stack.name().to_owned());
        if let Some(preset) = preset.filter(|p| !p.basis.is_empty()) {
            fact("basis", preset.basis.to_owned());
        }
        let about = preset.map_or("", |p| p.about);
        let mut text = format!("{} · {about}\n\n{text}\n", p.name);
        let minutes = SPAN.as_secs_f64() / 60.0;
        let _ = writeln!(
            text,
            "A thin audio stream through it: {MESSAGE} bytes each {EVERY} over TCP, {DEVICES} devices for {minutes} min, seed {}; delay in ms\n",
            self.seed
        );
        let _ = writeln!(
            text,
            "  {:<12}{:>8}{:>8}{:>8}{:>8}{:>9}{:>8}",
            "", "p50", "p90", "p95", "p99", "p99.9", "max"
        );
        for (name, d) in [("up", &self.up), ("down", &self.down), ("connecting", &self.connect)] {
            let at = |q| format!("{:.1}", d.quantile(q).as_millis_f64());
            let _ = writeln!(
                text,
                "  {name:<12}{:>8}{:>8}{:>8}{:>8}{:>9}{:>8}",
                at(0.5),
                at(0.9),
                at(0.95),
                at(0.99),
                at(0.999),
                at(1.0)
            );
        }
        text.push('\n');
        for (name, d, stats) in
            [("up", &self.up, &self.up.stats.up), ("down", &self.down, &self.down.stats.down)]
        {
            let _ = writeln!(text, "  {name:<12}{}", repairs(stats, d.count()));
        }
        for (name, d) in [("up", &self.up), ("down", &self.down)] {
            let _ = write!(text, "\nDelays {name}\n{}", histogram(d));
        }
        text
    }

    fn json(&self) -> Value {
        let delays = |d: &Delays| {
            json!({
                "count": d.count(), "p50_us": d.quantile(0.5), "p90_us": d.quantile(0.9), "p95_us": d.quantile(0.95),
                "p99_us": d.quantile(0.99), "p999_us": d.quantile(0.999), "max_us": d.quantile(1.0),
            })
        };
        let mut up = delays(&self.up);
        up["link"] = json!(self.up.stats.up);
        let mut down = delays(&self.down);
        down["link"] = json!(self.down.stats.down);
        json!({
            "preset": json_of_preset(&self.profile), "seed": self.seed, "devices": DEVICES, "span_us": SPAN,
            "message_bytes": MESSAGE, "every_us": EVERY, "up": up, "down": down, "connect": delays(&self.connect),
        })
    }

    fn draw(&self, path: &Path) -> Result<(), Failure> {
        let us = |d: &Delays| d.sorted().iter().map(|t| t.0).collect::<Vec<_>>();
        let (up, down) = (us(&self.up), us(&self.down));
        let least = self.up.quantile(0.0).min(self.down.quantile(0.0)).as_millis_f64().max(0.1);
        let curve = |label, sorted| Curve { label, sorted, dashed: false };
        let title = format!("{}: delay of {MESSAGE} bytes each {EVERY}", self.profile.name);
        compared(&title, "ms", least, &[curve("from the device", &up), curve("to the device", &down)])
            .and_then(|svg| std::fs::write(path, svg).map_err(|e| e.to_string()))
            .map_err(|e| Failure::usage(format!("{} cannot be written: {e}", path.display())))
    }
}

/// What it took to get everything through.
fn repairs(s: &WayStats, messages: usize) -> String {
    let percent = |n: u64, of: u64| 100.0 * n as f64 / of.max(1) as f64;
    format!(
        "{messages} messages, {} segments, {:.2} % lost, {} sent again, {} timeouts; stood still {} times, the longest {}",
        s.segments,
        percent(s.lost, s.segments + s.retransmissions),
        s.retransmissions,
        s.timeouts,
        s.stalls,
        s.longest_stall
    )
}

/// Edges of the bars, ms.
const EDGES: [i64; 25] = [
    0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 700, 1_000, 1_500, 2_000,
    5_000, 10_000,
];
const BAR: f64 = 50.0;

/// A picture of delays: one bar per range, as long as its share.
fn histogram(d: &Delays) -> String {
    let counts: Vec<usize> = EDGES
        .iter()
        .enumerate()
        .map(|(i, from)| {
            let below = |ms: i64| d.sorted().partition_point(|t| *t < Micros::from_millis(ms));
            EDGES.get(i + 1).map_or_else(|| d.count(), |to| below(*to)) - below(*from)
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let first = counts.iter().position(|n| *n > 0).unwrap_or(0);
    let last = counts.iter().rposition(|n| *n > 0).unwrap_or(0);
    let mut text = String::new();
    for (i, n) in counts.iter().enumerate().take(last + 1).skip(first) {
        let from = EDGES.get(i).copied().unwrap_or(0);
        let to = EDGES.get(i + 1).map_or_else(String::new, i64::to_string);
        let eighths = (*n as f64 / most * BAR * 8.0).round() as usize;
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied().unwrap_or("");
        let bar = format!("{}{part}", "█".repeat(eighths / 8));
        let share = 100.0 * *n as f64 / d.count().max(1) as f64;
        let _ = writeln!(
            text,
            "  {from:>6}–{to:<6} ms {share:>7.3} %  {}",
            if *n > 0 && bar.is_empty() { "▏" } else { &bar }
        );
    }
    text
}

// ── Recordings ───────────────────────────────────────────────────────────────────────────────────────────────

fn check(path: &Path, json: bool) -> Result<String, Failure> {
    let shown = path.display();
    let shipped = path.to_str().and_then(traces::find);
    let trace = match shipped {
        Some(trace) => trace,
        None => {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let names: Vec<_> = traces::SHIPPED.iter().map(|(name, ..)| *name).collect();
                Failure::usage(format!(
                    "{shown} cannot be read: {e}\n  expected a file, or one of the shipped {}",
                    names.join(", ")
                ))
            })?;
            let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("trace");
            Trace::parse(name, &text).map_err(|errors| {
                let lines: Vec<_> = errors.iter().map(|e| format!("{shown}: {e}")).collect();
                Failure::usage(format!("{}\n  {TRACE_HELP}", lines.join("\n")))
            })?
        }
    };
    let (gap, at) = trace.longest_gap();
    if json {
        return Ok(pretty(&json!({
            "name": trace.name, "opportunities": trace.opportunities(), "duration_us": trace.duration(),
            "bits_per_second": trace.rate().round(), "longest_gap_us": gap, "longest_gap_at_us": at,
        })));
    }
    Ok(format!(
        "{}: good\n  {:<14}{}, then it starts over\n  {:<14}{} of 1500 bytes\n  {:<14}{:.2} Mbit/s on average\n  {:<14}{gap}, from {:.3} s on\n",
        shown,
        "duration",
        trace.duration(),
        "opportunities",
        trace.opportunities(),
        "rate",
        trace.rate() / 1e6,
        "longest gap",
        at.as_secs_f64()
    ))
}

// ── The truth ────────────────────────────────────────────────────────────────────────────────────────────────

fn table_of_truth(rows: &[Compared], runs: u64) -> String {
    let mut text = format!(
        "The imitation against real TCP: Linux 6.18 over a path of 40 ms each way that loses packets at random, both ways. Delays in ms;\n\
         {runs} runs, each as large as the measurement, together and their range. Meant to be within 2 ms, and 15 % at p99.\n\n"
    );
    let mut line =
        |row: &str, statistic: &str, measured: &str, imitated: &str, range: &str, verdict: &str| {
            let _ =
                writeln!(text, "{row:<42}{statistic:>6}{measured:>10}{imitated:>10}{range:>18}  {verdict}");
        };
    line("", "", "measured", "imitated", "range", "");
    let mut last = "";
    for c in rows {
        let verdict = match (c.is_within(), c.is_among()) {
            (true, _) => "within",
            (false, true) => "within the range of runs",
            (false, false) => "outside",
        };
        let range = format!("{:.1}–{:.1}", c.range.0, c.range.1);
        let name = if c.row == last { "" } else { c.row };
        line(
            name,
            c.statistic,
            &format!("{:.1}", c.measured),
            &format!("{:.1}", c.imitated),
            &range,
            verdict,
        );
        last = c.row;
    }
    text.push_str(
        "\nPercentiles near a share of losses stand on a step: one loss more or less moves them from one kind of repair to the next. There\n\
         the range says more.\n",
    );
    text
}

fn json_of_truth(rows: &[Compared]) -> Value {
    let row = |c: &Compared| {
        json!({
            "row": c.row, "statistic": c.statistic, "measured": c.measured, "imitated": c.imitated,
            "lowest": c.range.0, "highest": c.range.1, "tolerance": c.tolerance, "within": c.is_within(),
            "within_range": c.is_among(),
        })
    };
    Value::Array(rows.iter().map(row).collect())
}
