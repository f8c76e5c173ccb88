//! What every form of the report says, in the order in which it says it. Terminal, Markdown and HTML only lay it out.

use super::document::{Calibration, Capacity, CapacityPoint, ErrorBars, Floor, Spread, Wakeups};
use crate::report::section::Section;
use crate::report::text::{bytes, chosen, count, counted, percent, span};
use crate::time::Micros;

/// The calibration in a line.
pub(super) fn headline(c: &Calibration) -> String {
    let mut parts = Vec::new();
    if let Some(run) = c.floor.as_ref().and_then(|f| f.runs.first()) {
        parts.push(format!("TTFA floor {}", span(run.ttfa_remaining.p50_us)));
    }
    if let Some(e) = &c.error {
        parts.push(match e.ttfa.p99_us {
            Some(us) => format!("error p99 {}", Micros(us)),
            None => format!("error at most {}", span(e.ttfa.max_us)),
        });
    }
    let sizes = c.capacity.iter().flat_map(|c| &c.points);
    let sizes: Vec<_> = sizes.map(|p| format!("{} at {}", devices(p), chosen(p.chunk_us))).collect();
    if !sizes.is_empty() {
        parts.push(format!("devices: about {}", sizes.join(", ")));
    }
    if let (true, Some(w)) = (parts.is_empty(), &c.wakeups) {
        let p99 = w.rounds.last().and_then(|r| r.timer.p99_us);
        parts.push(format!("timers wake late by {} (p99)", span(p99)));
    }
    if parts.is_empty() { "nothing was measured".to_owned() } else { parts.join(" · ") }
}

/// What was measured where.
pub(super) fn setting(c: &Calibration) -> String {
    let quick = if c.quick { ", quick" } else { "" };
    format!(
        "{} · {} ({}) · {} · voxload {} ({}) · {} · {}{quick}",
        c.host.os,
        c.host.cpu,
        counted(c.host.cores.into(), "core"),
        bytes(c.host.memory_bytes),
        c.voxload_version,
        c.build,
        c.made_at,
        Micros(c.duration_us)
    )
}

/// Whether it is whole; `None` when it is.
pub(super) fn partial(c: &Calibration) -> Option<&'static str> {
    c.partial.then_some("PARTIAL: stopped before its end; this is what was measured until then")
}

/// The steps that were made.
pub(super) fn sections(c: &Calibration) -> Vec<Section> {
    let all = [
        c.wakeups.as_ref().map(wakeups),
        c.floor.as_ref().map(floor),
        c.error.as_ref().map(error),
        c.capacity.as_ref().map(capacity),
    ];
    all.into_iter().flatten().collect()
}

fn wakeups(w: &Wakeups) -> Section {
    let rows = w.rounds.iter().map(|r| {
        let of = match r.devices {
            0 => "idle".to_owned(),
            n => counted(n.into(), "device"),
        };
        let mut row = vec![of, count(r.per_second.round() as u64)];
        for m in [&r.timer, &r.kernel] {
            row.extend([m.p50_us, m.p99_us, m.max_us].map(span));
        }
        row
    });
    Section {
        title: "How late timers wake, planned → awake",
        headings: vec!["", "a second", "p50", "p99", "max", "kernel p50", "p99", "max"],
        rows: rows.collect(),
        notes: vec![format!(
            "on {}; the kernel's own sleep (clock_nanosleep) beside it at the same time, on as many. The harness's timer \
             waits for its grid, so that many devices wake together",
            counted(w.threads.into(), "thread")
        )],
    }
}

fn floor(f: &Floor) -> Section {
    let rows = f.runs.iter().map(|r| {
        let devices = counted(r.devices.into(), "device");
        let mut row = vec![marked(devices, r.valid), count(r.turns)];
        row.extend([r.connect.p50_us, r.ttft.p50_us, r.ttft_remaining.p50_us].map(span));
        row.extend([r.ttfa.p50_us, r.ttfa_remaining.p50_us, r.ttfa_remaining.max_us].map(span));
        row
    });
    let mut notes = Vec::new();
    if let Some(r) = f.runs.first() {
        notes.push(format!(
            "TTFT and TTFA as defined hold the wait for the last chunk after the end of speech (codec frame and look-ahead, \
             {} here), and TTFA the reply's own leading silence ({}); without them remain harness, loopback and a server \
             that answers at once",
            span(r.last_chunk_us),
            span(r.lead_silence_us)
        ));
    }
    notes.extend(invalid(f.runs.iter().all(|r| r.valid)));
    Section {
        title: "Floor against a server that answers at once",
        headings: vec!["", "turns", "connect", "TTFT", "remains", "TTFA", "remains", "remains max"],
        rows: rows.collect(),
        notes,
    }
}

fn error(e: &ErrorBars) -> Section {
    let row = |label, ttft: &Spread, ttfa: &Spread| {
        let mut row = vec![label, count(ttft.count)];
        for s in [ttft, ttfa] {
            row.extend([s.p50_us, s.p99_us, s.max_us].map(span));
        }
        row
    };
    let delays = e.delays.iter().map(|d| row(marked(chosen(d.delay_us), d.valid), &d.ttft, &d.ttfa));
    let mut rows: Vec<_> = delays.collect();
    rows.push(row("all".to_owned(), &e.ttft, &e.ttfa));
    let mut notes = vec![format!(
        "|harness − the server's own log| of the same turns, {}; p99 needs 1,000 turns",
        e.delays.first().map_or_else(String::new, |d| counted(d.devices.into(), "device"))
    )];
    notes.extend(invalid(e.delays.iter().all(|d| d.valid)));
    Section {
        title: "Error against known delays",
        headings: vec!["delay", "turns", "TTFT p50", "p99", "max", "TTFA p50", "p99", "max"],
        rows,
        notes,
    }
}

fn capacity(c: &Capacity) -> Section {
    let rows = c.points.iter().map(|p| {
        vec![
            chosen(p.chunk_us),
            devices(p),
            p.devices_per_core.map_or_else(|| "–".to_owned(), |n| count(n as u64)),
            p.too_many.map_or_else(|| "–".to_owned(), |n| count(n.into())),
            p.cpu_us_per_message_sent.map_or_else(|| "–".to_owned(), |us| format!("{us:.1} µs")),
            p.cpu_share.map_or_else(|| "–".to_owned(), percent),
            span(p.own_lateness_p99_us),
        ]
    });
    let mut notes: Vec<_> =
        c.points.iter().map(|p| format!("bound at {} by: {}", chosen(p.chunk_us), p.bound_by)).collect();
    if let (true, Some(share)) = (c.is_busy(), c.others_share) {
        notes.push(format!(
            "other programs used {} of this machine's CPU meanwhile: an idle machine drives more",
            percent(share)
        ));
    }
    notes.push(format!(
        "an estimate, by runs of {} of which {} were judged, with {} of the time speaking (Opus at 24 kbit/s, ws); the \
         embedded server shares the cores, so it is a lower bound",
        Micros(c.probe_us),
        Micros(c.judged_us),
        percent(c.speaking_share)
    ));
    Section {
        title: "Devices before the harness would call itself invalid",
        headings: vec!["chunk", "devices", "a core", "too many", "CPU/message sent", "CPU", "lateness p99"],
        rows: rows.collect(),
        notes,
    }
}

/// The estimate, or what is known of it.
fn devices(p: &CapacityPoint) -> String {
    match (p.devices, p.too_many) {
        (Some(n), _) => count(n.into()),
        (None, Some(n)) => format!("fewer than {}", count(n.into())),
        (None, None) => "–".to_owned(),
    }
}

fn marked(label: String, valid: bool) -> String {
    if valid { label } else { format!("{label} *") }
}

fn invalid(all_valid: bool) -> Option<String> {
    (!all_valid).then(|| "* this run was INVALID, twice: other work disturbed it".to_owned())
}
