//! Networks and faults in words and tables: what they cost, and how devices came back.

use std::fmt::Write as _;

use super::super::result::{FaultNumbers, FaultResult, GroupResult, NetworkResult, Spread, StormResult};
use super::super::text::{bytes, count, counted, millis, one_line, percent, share, span};
use super::{Fact, View};
use crate::measure::fewest_samples;
use crate::time::Micros;

/// A table that is not of metrics. Its first column is on the left, the others are numbers.
pub(in crate::report) struct Grid {
    pub(in crate::report) headings: Vec<&'static str>,
    pub(in crate::report) rows: Vec<GridRow>,
    /// What to know beside it.
    pub(in crate::report) notes: Vec<String>,
}

/// A row of it.
pub(in crate::report) struct GridRow {
    /// True: a part of the row above.
    pub(in crate::report) part: bool,
    pub(in crate::report) cells: Vec<String>,
}

/// Phases are shown apart when their medians differ by this factor, and have so many samples.
const DIFFERS: f64 = 1.25;
const ENOUGH: u64 = 10;

impl View<'_> {
    fn network(&self) -> Option<&NetworkResult> {
        self.result.network.as_ref()
    }

    /// Groups of devices: what the network cost them.
    pub(in crate::report) fn groups(&self) -> Option<Grid> {
        let groups = &self.network().filter(|n| !n.groups.is_empty())?.groups;
        let control = groups.iter().any(|g| g.control);
        let mut headings = vec!["group", "turns", "failed", "TTFA p50", "p95"];
        if control {
            headings.extend(["more p50", "more p95"]);
        }
        headings.extend(["network p50", "p95"]);
        let rows = groups.iter().map(|g| GridRow { part: false, cells: group(g, control) }).collect();
        let mut notes = Vec::new();
        if control {
            notes.push(
                "more: TTFA above that of the control group, whose network is left alone: what the network cost".to_owned(),
            );
        }
        notes.push(
            "network: what the imitated links say that they took of a turn, up and down. Where it differs much from what the \
             network cost, look at the server and at failures"
                .to_owned(),
        );
        notes.extend(few(groups
            .iter()
            .flat_map(|g| [g.network.count, g.ttfa.count].into_iter().filter(|n| *n > 0))));
        Some(Grid { headings, rows, notes })
    }

    /// What the links of each group did.
    pub(in crate::report) fn links(&self) -> Option<Grid> {
        let network = self.network()?;
        let linked = |g: &&GroupResult| g.links.connections > 0;
        let rows: Vec<GridRow> = network.groups.iter().filter(linked).map(links).collect();
        let headings = vec![
            "links of",
            "number",
            "up",
            "down",
            "sent again",
            "timeouts",
            "stalls",
            "stalled",
            "longest",
            "SYNs lost",
        ];
        let notes = match network.links_more {
            0 => Vec::new(),
            n => vec![format!("{} are not in links.csv, which would be too long", counted(n, "connection"))],
        };
        (!rows.is_empty()).then_some(Grid { headings, rows, notes })
    }

    /// Faults by cause, and by phase where it makes a difference.
    pub(in crate::report) fn faults(&self) -> Option<Grid> {
        let faults = &self.network().filter(|n| !n.faults.is_empty())?.faults;
        let mut rows = Vec::new();
        for f in faults {
            let all = fault(&one_line(&f.cause), &f.all);
            rows.push(GridRow { part: false, cells: all });
            if differs(f) {
                rows.extend(
                    f.phases
                        .iter()
                        .map(|p| GridRow { part: true, cells: fault(&one_line(&p.phase), &p.numbers) }),
                );
            }
            if f.all.silence.count > 0 && f.all.recover.count > 0 {
                rows.push(GridRow { part: true, cells: kept(&f.all) });
            }
        }
        let mut notes = vec![
            "from the cut: until the device noticed, until it was connected again, until it heard something again (in idle, that \
             takes until its user speaks again); never is ∞"
                .to_owned(),
        ];
        if rows.iter().any(|r| r.part && r.cells.first().is_some_and(|c| c == "kept")) {
            notes.push(
                "kept: devices that kept their connection; of the other columns of their cause they are in `began` only"
                    .to_owned(),
            );
        }
        let samples = faults.iter().flat_map(|f| [f.all.outage.count, f.all.recover.count]);
        notes.extend(few(samples.filter(|n| *n > 0)));
        let headings = vec![
            "cause",
            "began",
            "never back",
            "noticed p50",
            "connected p50",
            "p95",
            "audio p50",
            "p95",
            "max",
        ];
        Some(Grid { headings, rows, notes })
    }

    /// What came of the faults of each cause, of turns, and of storms.
    pub(in crate::report) fn recoveries(&self) -> Vec<Fact> {
        let Some(network) = self.network() else { return Vec::new() };
        let mut facts: Vec<Fact> = network
            .faults
            .iter()
            .map(|f| Fact { label: one_line(&f.cause), value: came_to(&f.all) })
            .collect();
        if let Some(value) = self.cut_turns() {
            facts.push(Fact { label: "turns".to_owned(), value });
        }
        let rates = &network.reconnects;
        if rates.peak_per_s > 0.0 {
            let steady = match rates.peak_over_steady {
                Some(times) => {
                    format!(", {} the {} outside of storms", multiple(times), rate(rates.steady_per_s))
                }
                None => ", none outside of storms".to_owned(),
            };
            facts.push(Fact {
                label: "reconnects".to_owned(),
                value: format!("at most {} a second{steady}", rate(rates.peak_per_s)),
            });
        }
        for s in &network.storms {
            facts.push(Fact { label: format!("storm at {}", Micros(s.at_us)), value: storm(s) });
        }
        if network.storms_more > 0 {
            facts.push(Fact {
                label: "more storms".to_owned(),
                value: format!("{}, of which only the number is kept", count(network.storms_more)),
            });
        }
        facts
    }

    /// What cuts did to turns; `None` when nothing.
    fn cut_turns(&self) -> Option<String> {
        let t = &self.result.turns;
        let mut parts = Vec::new();
        for (n, what) in [
            (t.reconnected, "lost their connection and went on with another"),
            (t.lost_to_cut, "failed with a lost connection"),
            (t.cut_short, "had the end of the reply cut off"),
            (t.answered_twice, "were answered twice"),
        ] {
            if n > 0 {
                parts.push(format!("{} {what}", count(n)));
            }
        }
        for (n, us, what) in [
            (t.speech_lost, t.speech_lost_us, "of speech was lost"),
            (t.speech_late, t.speech_late_us, "of speech was kept and sent late"),
        ] {
            if n > 0 {
                parts.push(format!("{} {what} ({})", Micros(us), counted(n, "turn")));
            }
        }
        if t.bitrate_downs > 0 {
            parts.push(format!(
                "bit rates were lowered {} and raised {}, {} went out at a lower one",
                times(t.bitrate_downs),
                times(t.bitrate_ups),
                counted(t.lowered_chunks, "chunk")
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn times(n: u64) -> String {
    match n {
        1 => "once".to_owned(),
        n => format!("{} times", count(n)),
    }
}

fn group(g: &GroupResult, control: bool) -> Vec<String> {
    let ttfa = Spread {
        count: g.ttfa.count,
        infinite: g.ttfa.infinite,
        p50_us: g.ttfa.p50_us,
        p95_us: g.ttfa.p95_us,
        ..Spread::default()
    };
    let failed = match g.turns.failed {
        0 => "0".to_owned(),
        n => share(n, g.turns.ended),
    };
    let mut cells = vec![
        one_line(&g.name),
        count(g.turns.ended),
        failed,
        number(&ttfa, 0.5, millis),
        number(&ttfa, 0.95, millis),
    ];
    if control {
        let more = |us: Option<i64>| match us {
            Some(us) => format!("{}{}", if us > 0 { "+" } else { "" }, millis(us)),
            None => "–".to_owned(),
        };
        let a = g.against_control.unwrap_or_default();
        cells.extend([more(a.ttfa_p50_us), more(a.ttfa_p95_us)]);
    }
    cells.extend([0.5, 0.95].map(|q| number(&g.network, q, millis)));
    cells
}

fn links(g: &GroupResult) -> GridRow {
    let (l, up, down) = (&g.links, &g.links.up, &g.links.down);
    let again = up.retransmissions.saturating_add(down.retransmissions);
    let segments = up.segments.saturating_add(down.segments);
    let time = |us: i64| span((us > 0).then_some(us));
    GridRow {
        part: false,
        cells: vec![
            one_line(&g.name),
            count(l.connections),
            bytes(up.bytes),
            bytes(down.bytes),
            share(again, segments),
            count(up.timeouts.saturating_add(down.timeouts)),
            count(up.stalls.saturating_add(down.stalls)),
            time(up.stalled_us.saturating_add(down.stalled_us)),
            time(up.longest_stall_us.max(down.longest_stall_us)),
            count(l.syn_lost),
        ],
    }
}

fn time(us: i64) -> String {
    Micros(us).to_string()
}

fn largest(s: &Spread) -> String {
    match (s.max_us, s.infinite) {
        (Some(us), _) => time(us),
        (None, 1..) => "∞".to_owned(),
        (None, 0) => "–".to_owned(),
    }
}

/// Those that kept their connection: the audio columns are all that they have.
fn kept(n: &FaultNumbers) -> Vec<String> {
    let none = || "–".to_owned();
    vec![
        "kept".to_owned(),
        count(n.lived_through),
        none(),
        none(),
        none(),
        none(),
        number(&n.silence, 0.5, time),
        number(&n.silence, 0.95, time),
        largest(&n.silence),
    ]
}

fn fault(name: &str, n: &FaultNumbers) -> Vec<String> {
    // Where every device kept its connection, this is what can be said.
    let audio = if n.recover.count > 0 { &n.recover } else { &n.silence };
    vec![
        name.to_owned(),
        count(n.began),
        count(n.never),
        number(&n.notice, 0.5, time),
        number(&n.outage, 0.5, time),
        number(&n.outage, 0.95, time),
        number(audio, 0.5, time),
        number(audio, 0.95, time),
        largest(audio),
    ]
}

/// True when it matters what the device was doing.
fn differs(f: &FaultResult) -> bool {
    let medians = f.phases.iter().filter(|p| p.numbers.recover.count >= ENOUGH);
    let medians: Vec<i64> = medians.filter_map(|p| p.numbers.recover.p50_us).collect();
    match (medians.iter().min(), medians.iter().max()) {
        (Some(least), Some(most)) => *most as f64 > *least as f64 * DIFFERS,
        _ => false,
    }
}

/// A quantile for a table: `–` without samples, `few` with too few.
fn number(s: &Spread, q: f64, shown: impl Fn(i64) -> String) -> String {
    let value = if q <= 0.5 { s.p50_us } else { s.p95_us };
    match value {
        Some(us) => shown(us),
        None if s.count == 0 => "–".to_owned(),
        None if s.count < fewest_samples(q) => "few".to_owned(),
        None => "∞".to_owned(),
    }
}

/// What "few" means, where it stands.
fn few(counts: impl Iterator<Item = u64>) -> Option<String> {
    let needed = fewest_samples(0.95);
    counts.into_iter().any(|n| n < needed).then(|| format!("few: p95 needs {needed} samples"))
}

fn came_to(n: &FaultNumbers) -> String {
    let mut parts = Vec::new();
    for (k, what) in [
        (n.recovered, "lost the connection and recovered"),
        (n.lived_through, "kept the connection"),
        (n.never, "never came back"),
        (n.unfinished, "unfinished at the end of the run"),
        (n.overtaken, "not followed to the end"),
    ] {
        if k > 0 {
            parts.push(format!("{} {what}", count(k)));
        }
    }
    let mut text = format!("{} began", count(n.began));
    if !parts.is_empty() {
        text = format!("{text}: {}", parts.join(", "));
    }
    let Some(steps) = &n.steps else { return text };
    let mean = |us: f64| time(us.clamp(0.0, 9e15).round() as i64);
    let mut ways =
        vec![format!("waiting {}", mean(steps.back_off_us)), format!("TCP {}", mean(steps.tcp_us))];
    if steps.tls_us > 0.0 {
        ways.push(format!("TLS {}", mean(steps.tls_us)));
    }
    ways.push(format!("upgrade {}", mean(steps.upgrade_us)));
    if let Some(us) = steps.session_us {
        ways.push(format!("session {}", mean(us)));
    }
    let attempts = n.attempts as f64 / n.reconnected.max(1) as f64;
    format!(
        "{text}; {attempts:.1} attempts to connect again: {} (means); {} of {} sessions resumed",
        ways.join(", "),
        count(n.resumed),
        count(n.reconnected)
    )
}

fn storm(s: &StormResult) -> String {
    let back = match (s.until_99_us, s.until_100_us) {
        (Some(most), Some(all)) if most == all => format!("all were connected again after {}", time(all)),
        (Some(most), Some(all)) => {
            format!("99 % were connected again after {}, all after {}", time(most), time(all))
        }
        (Some(most), None) => format!(
            "99 % were connected again after {}, {} never",
            time(most),
            count(s.devices.saturating_sub(s.back))
        ),
        (None, _) => format!("only {} were ever connected again", count(s.back)),
    };
    let mut text = format!(
        "{} of {} connected devices cut ({}); {back}; at most {} reconnects a second",
        count(s.devices),
        count(s.connected),
        one_line(&s.cause),
        rate(s.peak_per_s)
    );
    if s.peak_connect.count > 0 {
        // The 99th percentile where there is one, else the largest.
        let tail = match s.peak_connect.p99_us {
            Some(us) => format!("p99 {}", time(us)),
            None => format!("max {}", largest(&s.peak_connect)),
        };
        let _ = write!(text, " (handshake p50 {}, {tail})", number(&s.peak_connect, 0.5, time));
    }
    let (before, during) = (&s.others_before, &s.others_during);
    let both = |label: &str, q| {
        let enough = before.count.min(during.count) >= fewest_samples(q);
        enough.then(|| format!("{label} {} → {}", number(before, q, time), number(during, q, time)))
    };
    let others: Vec<String> = [both("p50", 0.5), both("p95", 0.95)].into_iter().flatten().collect();
    if !others.is_empty() {
        let _ = write!(text, "; TTFA of devices that were not cut: {}", others.join(", "));
    }
    text
}

/// Per second: whole numbers from ten up.
fn rate(per_s: f64) -> String {
    if per_s >= 10.0 { count(per_s.clamp(0.0, 1e15).round() as u64) } else { format!("{per_s:.1}") }
}

fn multiple(times: f64) -> String {
    if times < 9.95 {
        format!("{times:.1} times")
    } else {
        format!("{} times", count(times.clamp(0.0, 1e15).round() as u64))
    }
}

/// The network's share of a turn's TTFA, for the table of turns.
pub(in crate::report) fn of_ttfa(network_us: Option<i64>, ttfa_us: Option<i64>) -> String {
    match (network_us, ttfa_us) {
        (Some(n), Some(ttfa)) if ttfa > 0 && n >= 0 => {
            format!("{} ({})", Micros(n), percent((n as f64 / ttfa as f64).min(1.0)))
        }
        (Some(n), _) => Micros(n).to_string(),
        _ => "–".to_owned(),
    }
}
