//! Turns as OpenTelemetry traces: OTLP in its JSON form, a request a line, as the Collector's `otlpjsonfile` receiver reads
//! it (<https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>).
//!
//! Made of `turns.csv` when the run is over: nothing of it happens while something is measured. The exporter crate
//! would bring a hundred others, an HTTP client of its own into the process that measures, and a queue that drops spans
//! without a word when it is full.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::report::result::TurnRow;
use crate::seed::{Seed, Stream};

/// Turns in a line.
const BATCH: usize = 100;

/// OTLP's `SPAN_KIND_CLIENT` and `SPAN_KIND_INTERNAL`.
const CLIENT: u8 = 3;
const INTERNAL: u8 = 1;

/// OTLP's `STATUS_CODE_OK` and `STATUS_CODE_ERROR`.
const OK: u8 = 1;
const ERROR: u8 = 2;

/// The run that turns belong to.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The scenario's name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// The server under test, without secrets.
    pub target: String,
    /// The wall clock at time zero.
    pub started: SystemTime,
}

/// Writes the turns of a `turns.csv` as traces into `to`; how many there were.
pub fn write(turns: &Path, to: &Path, origin: &Origin) -> Result<u64, String> {
    let cannot_read = |e: csv::Error| format!("cannot read {}: {e}", turns.display());
    let cannot_write = |e: std::io::Error| format!("cannot write {}: {e}", to.display());
    let mut rows = csv::Reader::from_path(turns).map_err(cannot_read)?;
    let mut file = BufWriter::new(File::create(to).map_err(cannot_write)?);
    let (mut spans, mut n) = (Vec::new(), 0_u64);
    let mut line = |spans: &mut Vec<Value>| {
        let line = request(origin, std::mem::take(spans));
        serde_json::to_writer(&mut file, &line).map_err(std::io::Error::from)?;
        file.write_all(b"\n")
    };
    for row in rows.deserialize() {
        let row: TurnRow = row.map_err(cannot_read)?;
        spans.extend(of_turn(&row, origin));
        n += 1;
        if n.is_multiple_of(BATCH as u64) {
            line(&mut spans).map_err(cannot_write)?;
        }
    }
    if !spans.is_empty() {
        line(&mut spans).map_err(cannot_write)?;
    }
    file.flush().map_err(cannot_write)?;
    Ok(n)
}

/// An `ExportTraceServiceRequest`.
fn request(origin: &Origin, spans: Vec<Value>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            text("service.name", "voxload"),
            text("service.version", version),
            text("voxload.scenario", &origin.name),
            number("voxload.seed", i64::try_from(origin.seed).unwrap_or(i64::MAX)),
        ]},
        "scopeSpans": [{"scope": {"name": "voxload", "version": version}, "spans": spans}],
    }]})
}

/// The spans of a turn: the whole of it, and its stages.
fn of_turn(t: &TurnRow, origin: &Origin) -> Vec<Value> {
    let mut maker = Maker::new(t, origin);
    let eos = t.end_of_speech_us;
    let failed = !matches!(t.outcome.as_str(), "ok" | "interrupted" | "cancelled");
    let mut attributes = vec![
        number("voxload.device", t.device.into()),
        number("voxload.turn", t.turn.into()),
        text("voxload.fixture", &t.fixture),
        text("voxload.outcome", &t.outcome),
        flag("voxload.warmup", t.warmup),
        text("url.full", &origin.target),
        number("network.local.port", t.local_port.into()),
        number("voxload.stalls", t.stalls.into()),
        number("voxload.stalled_us", t.stalled_us),
        number("voxload.reconnects", t.reconnects.into()),
    ];
    // What did not happen has no attribute.
    for (key, us) in [("voxload.ttfa_us", t.ttfa_us), ("voxload.ttft_us", t.ttft_us)] {
        attributes.extend(us.map(|us| number(key, us)));
    }
    if !t.group.is_empty() {
        attributes.push(text("voxload.group", &t.group));
    }
    let status = match (failed, t.outcome.as_str()) {
        (true, class) => json!({"code": ERROR, "message": format!("{class}: {}", t.detail)}),
        (false, "ok") => json!({"code": OK}),
        _ => json!({}),
    };
    let mut spans = vec![maker.span("turn", CLIENT, [t.planned_start_us, t.ended_us], attributes, status)];
    spans.push(maker.stage("speech", [t.planned_start_us, eos]));
    for (name, after) in [
        ("endpoint", t.endpoint_delay_us),
        ("transcript", t.final_transcript_us),
        ("first token", t.ttft_us),
        ("first audio", t.ttfa_us),
    ] {
        spans.extend(after.map(|after| maker.stage(name, [eos, eos + after])));
    }
    if let (Some(from), Some(to)) = (t.ttfa_first_byte_us, t.last_byte_us) {
        spans.push(maker.stage("reply", [eos + from, eos + to]));
    }
    spans
}

/// Makes the spans of one turn.
struct Maker {
    ids: Stream,
    trace: String,
    /// The first span: the parent of the others.
    root: Option<String>,
    /// Nanoseconds since 1970 at time zero.
    zero: i128,
}

impl Maker {
    fn new(t: &TurnRow, origin: &Origin) -> Self {
        let zero = origin.started.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
        // The same turn of the same run has the same ids, whenever it is written; that of another run has others.
        let run = Seed(origin.seed ^ (zero as u64).rotate_left(32));
        let mut ids = run.stream("trace", u64::from(t.device) << 32 | u64::from(t.turn));
        let trace = format!("{:016x}{:016x}", ids.bits(), ids.bits());
        Self { ids, trace, root: None, zero: i128::try_from(zero).unwrap_or(0) }
    }

    fn stage(&mut self, name: &str, ends: [i64; 2]) -> Value {
        self.span(name, INTERNAL, ends, Vec::new(), json!({}))
    }

    /// `ends` in µs since the start of the run. What happened before the end of speech (a token of a streaming recogniser)
    /// ends there.
    fn span(&mut self, name: &str, kind: u8, ends: [i64; 2], attributes: Vec<Value>, status: Value) -> Value {
        let id = format!("{:016x}", self.ids.bits());
        // 64-bit integers are text in OTLP's JSON.
        let at = |us: i64| (self.zero + i128::from(us) * 1_000).max(0).to_string();
        let span = json!({
            "traceId": self.trace,
            "spanId": id,
            "parentSpanId": self.root.as_deref().unwrap_or_default(),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": at(ends[0].min(ends[1])),
            "endTimeUnixNano": at(ends[0].max(ends[1])),
            "attributes": attributes,
            "status": status,
        });
        self.root.get_or_insert(id);
        span
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: i64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn flag(key: &str, value: bool) -> Value {
    json!({"key": key, "value": {"boolValue": value}})
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::report::TurnsCsv;
    use crate::report::sample::{self, Kind};

    fn origin() -> Origin {
        Origin {
            name: "a".to_owned(),
            seed: 7,
            target: "ws://a/".to_owned(),
            started: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }
    }

    fn nanos(span: &Value, key: &str) -> u64 {
        span[key].as_str().unwrap().parse().unwrap()
    }

    #[test]
    fn every_turn_is_a_trace_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let turns = sample::make(Kind::Failing, 7, 250).turns;
        let mut file = TurnsCsv::create(dir.path()).unwrap();
        turns.iter().for_each(|t| file.write(t).unwrap());
        file.finish().unwrap();
        let to = dir.path().join("traces.jsonl");
        assert_eq!(write(&dir.path().join("turns.csv"), &to, &origin()), Ok(250));
        let written = std::fs::read_to_string(&to).unwrap();
        assert_eq!(written.lines().count(), 3);
        let (mut ids, mut traces, mut failed) = (HashSet::new(), HashSet::new(), 0);
        for line in written.lines() {
            let request: Value = serde_json::from_str(line).unwrap();
            let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
            let mut root = Value::Null;
            for span in &spans {
                assert!(ids.insert(span["spanId"].to_string()), "an id twice");
                if span["name"] == "turn" {
                    assert!(traces.insert(span["traceId"].to_string()) && span["parentSpanId"] == "");
                    failed += usize::from(span["status"]["code"] == ERROR);
                    root = span.clone();
                }
                assert_eq!(span["traceId"], root["traceId"]);
                assert!(span["name"] == "turn" || span["parentSpanId"] == root["spanId"]);
                assert!(nanos(span, "startTimeUnixNano") <= nanos(span, "endTimeUnixNano"), "{span}");
            }
        }
        assert_eq!(traces.len(), 250);
        let ok = |t: &&TurnRow| !matches!(t.outcome.as_str(), "ok" | "interrupted" | "cancelled");
        assert_eq!(failed, turns.iter().filter(ok).count());
    }

    #[test]
    fn a_token_before_the_end_of_speech_keeps_its_time() {
        let mut turn = sample::make(Kind::Good, 7, 1).turns.remove(0);
        turn.ttft_us = Some(-40_000);
        let spans = of_turn(&turn, &origin());
        let token = spans.iter().find(|s| s["name"] == "first token").unwrap();
        let eos = 1_700_000_000_000_000_000 + turn.end_of_speech_us.unsigned_abs() * 1_000;
        assert_eq!(nanos(token, "startTimeUnixNano"), eos - 40_000_000);
        assert_eq!(nanos(token, "endTimeUnixNano"), eos);
        let again = of_turn(&turn, &origin());
        assert_eq!(spans, again, "the same run, the same ids");
        let later = Origin { started: UNIX_EPOCH, ..origin() };
        assert_ne!(spans[0]["traceId"], of_turn(&turn, &later)[0]["traceId"]);
    }
}
