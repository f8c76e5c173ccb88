//! What every form of the report says, in the order in which it says it. Terminal, Markdown and HTML only lay it out.

use super::document::{Cell, CellCapacity, Measured, Sweep};
use super::plan::axis_names;
use crate::capacity::document::LoadUnit;
use crate::report::text::{bytes, chosen, counted, percent, span};
use crate::time::Micros;

/// A table: the first columns are text, the others numbers.
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) headings: Vec<String>,
    /// So many columns hold text.
    pub(super) texts: usize,
    pub(super) rows: Vec<Row>,
    pub(super) notes: Vec<String>,
}

/// A row: a cell of the sweep.
pub(super) struct Row {
    pub(super) columns: Vec<String>,
    /// It is the one to choose.
    pub(super) best: bool,
}

/// What was swept where.
pub(super) fn setting(s: &Sweep) -> String {
    let axes: Vec<_> = s.axes.iter().map(|a| format!("{} ({})", a.key, a.values.join(", "))).collect();
    format!(
        "{} · {} × {}, {} · {} of {} VALID · {} ({}), {} · voxload {} · {}",
        axes.join(" × "),
        counted(s.cells.len() as u64, "cell"),
        counted(s.repeat.into(), "round"),
        s.order,
        s.valid_runs,
        counted(s.planned_runs.into(), "run"),
        s.host.cpu,
        counted(s.host.cores.into(), "core"),
        bytes(s.host.memory_bytes),
        s.voxload_version,
        s.started_at
    )
}

/// One word for the state of the sweep.
pub(super) fn word(s: &Sweep) -> &'static str {
    match (s.complete, s.recommendation) {
        (false, _) => "PARTIAL",
        (true, Some(_)) => "ANSWERED",
        (true, None) => "NO ANSWER",
    }
}

/// Both tables.
pub(super) fn tables(s: &Sweep) -> Vec<Table> {
    vec![latency(s), speech(s)]
}

fn table(
    s: &Sweep,
    title: &'static str,
    headings: &[&str],
    columns: impl Fn(&Cell, Option<&Measured>) -> Vec<String>,
) -> Table {
    let keys: Vec<_> = s.axes.iter().map(|a| a.key.as_str()).collect();
    let names = axis_names(&keys);
    let best = s.recommendation.map(|r| r.cell);
    let row = |cell: &Cell| Row {
        columns: std::iter::once(mark(s, cell))
            .chain(cell.values.iter().cloned())
            .chain(columns(cell, cell.measured.as_ref()))
            .collect(),
        best: best == Some(cell.number),
    };
    Table {
        title,
        texts: 1 + names.len(),
        headings: std::iter::once("cell".to_owned())
            .chain(names)
            .chain(headings.iter().map(|h| (*h).to_owned()))
            .collect(),
        rows: s.cells.iter().map(row).collect(),
        notes: Vec::new(),
    }
}

/// The number of a cell, with a star when it is the one to choose and a dot when no other beats it.
fn mark(s: &Sweep, cell: &Cell) -> String {
    let sign = match s.recommendation {
        Some(r) if r.cell == cell.number => " ★",
        _ if s.front.contains(&cell.number) => " ·",
        _ => "",
    };
    format!("{}{sign}", cell.number)
}

const NONE: &str = "–";

fn or_none(m: Option<&Measured>, text: impl Fn(&Measured) -> String) -> String {
    m.map_or_else(|| NONE.to_owned(), text)
}

fn latency(s: &Sweep) -> Table {
    let headings = [
        "kbit/s up",
        "kbit/s down",
        "messages/s up",
        "chunk delay",
        "worst",
        "TTFA mean",
        "p50",
        "p95",
        "change ms",
        "turns",
        "failed",
        "stalled",
    ];
    let mut t = table(s, "Latency and bandwidth", &headings, |cell, m| {
        let number = |of: fn(&Measured) -> f64| or_none(m, |m| format!("{:.1}", of(m)));
        vec![
            number(|m| m.up.kbps),
            number(|m| m.down.kbps),
            number(|m| m.up.messages_per_s),
            Micros(cell.speech.packetisation_mean_us.round() as i64).to_string(),
            Micros(cell.speech.packetisation_worst_us).to_string(),
            or_none(m, |m| latency_of(m.ttfa_mean_us.map(|us| us.round() as i64), m, 1)),
            or_none(m, |m| latency_of(m.ttfa_p50_us, m, 1)),
            or_none(m, |m| latency_of(m.ttfa_p95_us, m, crate::measure::fewest_samples(0.95))),
            change(s, cell),
            or_none(m, |m| m.turns.to_string()),
            or_none(m, |m| {
                if m.turns == 0 { NONE.to_owned() } else { percent(m.failed as f64 / m.turns as f64) }
            }),
            or_none(m, |m| m.stalled_share.map_or_else(|| NONE.to_owned(), percent)),
        ]
    });
    let baseline = s.cells.iter().find(|c| c.number == s.baseline).map_or("", |c| c.label.as_str());
    t.notes = vec![
        "★: recommended; ·: no other cell beats it in latency and bandwidth both".to_owned(),
        "kbit/s: on the wire with all headers, up while a device speaks, down per second of reply".to_owned(),
        "chunk delay: from the last word to the instant at which the chunk that carries it can be sent, by the plan; TTFA \
         contains it. Of p50 and p95, \
         failed turns count as infinitely late; the mean is of those that were answered"
            .to_owned(),
        format!(
            "change: mean TTFA against the baseline ({baseline}), in pairs of runs of the same round: median (least … \
             most)"
        ),
    ];
    t
}

/// A quantile; the document says `null` where it is infinite or the turns are too few.
fn latency_of(us: Option<i64>, m: &Measured, fewest: u64) -> String {
    match us {
        Some(us) => Micros(us).to_string(),
        None if m.turns < fewest => "insufficient".to_owned(),
        None => "∞".to_owned(),
    }
}

fn change(s: &Sweep, cell: &Cell) -> String {
    if cell.number == s.baseline {
        return "baseline".to_owned();
    }
    match cell.measured.as_ref().and_then(|m| m.change) {
        Some(c) if c.pairs == 1 => signed_ms(c.median_us),
        Some(c) => {
            let [median, least, most] = [c.median_us, c.least_us, c.most_us].map(signed_ms);
            format!("{median} ({least} … {most})")
        }
        None => NONE.to_owned(),
    }
}

/// `+12.3`.
fn signed_ms(us: i64) -> String {
    let sign = if us < 0 { "−" } else { "+" };
    format!("{sign}{:.1}", us.unsigned_abs() as f64 / 1e3)
}

fn speech(s: &Sweep) -> Table {
    let searched = s.cells.iter().find_map(|c| c.capacity.as_ref());
    let mut headings = vec![
        "SNR dB",
        "distance dB",
        "encode",
        "decode",
        "MB/hour",
        "lost per cut",
        "server CPU",
        "harness CPU",
        "VALID runs",
    ];
    headings.extend(searched.map(|c| match c.unit {
        LoadUnit::Devices => "devices per server",
        LoadUnit::Sessions => "sessions/s per server",
    }));
    let mut t = table(s, "Speech and cost", &headings, |cell, m| {
        let q = cell.speech.quality;
        let cost = |us: Option<f64>| us.map_or_else(|| NONE.to_owned(), |us| span(Some(us.round() as i64)));
        let valid = cell.runs.iter().filter(|r| r.state == "valid").count();
        let mut row = vec![
            q.map_or_else(|| NONE.to_owned(), |q| format!("{:.1}", q.segmental_snr_db)),
            q.map_or_else(|| NONE.to_owned(), |q| format!("{:.1}", q.spectral_distance_db)),
            cost(cell.speech.encode_us_per_s),
            cost(cell.speech.decode_us_per_s),
            or_none(m, |m| format!("{:.1}", m.mb_per_hour)),
            chosen(cell.speech.lost_per_cut_us),
            or_none(m, |m| m.server_cpu_per_device.map_or_else(|| NONE.to_owned(), percent)),
            or_none(m, |m| format!("{:.1} µs", m.harness_cpu_us_per_message)),
            format!("{valid}/{}", cell.runs.len()),
        ];
        if searched.is_some() {
            row.push(cell.capacity.as_ref().map_or_else(|| NONE.to_owned(), per_server));
        }
        row
    });
    t.notes = vec![
        "SNR, distance: speech after decoding against the fixtures, up to 8 kHz. Segmental signal-to-noise ratio (35: the \
         same) and log-spectral distance over 40 mel bands (0: the same); SNR alone punishes codecs that keep the sound \
         and not the waveform"
            .to_owned(),
        "encode, decode: of one second of speech, on this machine".to_owned(),
        "MB/hour: of an hour that is half speech and half replies · lost per cut: most speech that is gone with a connection"
            .to_owned(),
        "server CPU: of the embedded server per device, share of a core · harness CPU: per message".to_owned(),
        if searched.is_some() {
            "per server: the largest load at which the scenario's thresholds hold, found by a search in each cell, with its 95 % interval; \
             ≥: not known any further, <: not even the smallest load; ?: not certain"
                .to_owned()
        } else {
            "how many devices one server carries was not measured; --capacity 3m searches it in every cell".to_owned()
        },
    ];
    t
}

/// `412 (390…432)`, `≥ 320`, `< 20`; with a question mark where it is not certain.
fn per_server(c: &CellCapacity) -> String {
    let n = |load: f64| c.unit.number(load);
    let text = match (c.load.zip(c.low).zip(c.high), c.at_least, c.less_than) {
        (Some(((load, low), high)), _, _) => format!("{} ({}…{})", n(load), n(low), n(high)),
        (None, Some(least), _) => format!("≥ {}", n(least)),
        (None, None, Some(less)) => format!("< {}", n(less)),
        (None, None, None) => return NONE.to_owned(),
    };
    if c.certain { text } else { format!("{text} ?") }
}

/// Runs of every cell, for those who want to look at one.
pub(super) fn failures(s: &Sweep) -> Vec<String> {
    let of = |c: &Cell| {
        let m = c.measured.as_ref().filter(|m| !m.failures.is_empty())?;
        let classes: Vec<_> = m.failures.iter().map(|(class, n)| format!("{class} {n}")).collect();
        Some(format!(
            "cell {} ({}): {} of {} turns failed: {}",
            c.number,
            c.label,
            m.failed,
            m.turns,
            classes.join(", ")
        ))
    };
    s.cells.iter().filter_map(of).collect()
}

/// Combinations that were not measured.
pub(super) fn skipped(s: &Sweep) -> Vec<String> {
    s.skipped.iter().map(|k| format!("{}: {}", k.values.join(", "), k.reason)).collect()
}
