//! What is made from the table of keys: the JSON Schema, the reference in `docs/scenario.md`, the starter file.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Fault;
use super::keys::{Fallback, Key, Kind, SECTIONS, Section};
use super::units::{DURATION_PATTERN, format_duration, format_size};
use crate::fault::{FaultKind, FaultSpec, Phase};
use crate::gate::COUNTERS;
use crate::measure::Metric;

/// The name that the schema goes by.
const SCHEMA_ID: &str = "urn:voxload:scenario";

/// Text that holds a `${VARIABLE}`.
const VARIABLE_PATTERN: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// The JSON Schema pattern of a distribution.
const DIST_PATTERN: &str = r"^ *([0-9][0-9.a-zµ]*|(uniform|exponential|normal|lognormal|mix) *\(.*\)) *$";

/// The JSON Schema of scenario files, draft 2020-12, as pretty-printed text.
pub fn json_schema() -> String {
    let mut root = object("A voxload scenario.", Map::new());
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["$id"] = json!(SCHEMA_ID);
    root["title"] = json!("voxload scenario");
    for section in SECTIONS {
        let mut at = &mut root;
        for part in section.path.split('.').filter(|p| !p.is_empty()) {
            let properties = &mut at["properties"];
            if properties.get(part).is_none() {
                properties[part] = object("", Map::new());
            }
            at = &mut at["properties"][part];
        }
        if !section.path.is_empty() {
            at["description"] = json!(section.doc);
        }
        for key in section.keys {
            at["properties"][key.name()] = key_schema(key);
        }
    }
    // Values of JSON are always printable.
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}

fn object(description: &str, properties: Map<String, Value>) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn key_schema(key: &Key) -> Value {
    let variable = json!({"type": "string", "pattern": VARIABLE_PATTERN});
    let text = |pattern: &str| json!({"type": "string", "pattern": format!("{pattern}|{VARIABLE_PATTERN}")});
    let share = json!({"anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        text(r"^[0-9.]+ *%?$"),
    ]});
    let mut schema = match key.kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int(min, max) => {
            json!({"anyOf": [{"type": "integer", "minimum": min, "maximum": max}, variable]})
        }
        Kind::Float(min, max) => {
            json!({"anyOf": [{"type": "number", "minimum": min, "maximum": max}, variable]})
        }
        Kind::Duration(..) => text(DURATION_PATTERN),
        Kind::DurationOrOff(..) => text(&format!("{DURATION_PATTERN}|^off$")),
        Kind::Choice(choices) => json!({"anyOf": [
            {"oneOf": choices.iter().map(|(name, doc)| json!({"const": name, "description": doc})).collect::<Vec<_>>()},
            variable,
        ]}),
        Kind::Text | Kind::Secret | Kind::File | Kind::Folder => json!({"type": "string"}),
        Kind::Dialect => json!({"anyOf": [
            {"enum": crate::dialect::Dialect::names().collect::<Vec<_>>()},
            text(r"\.toml$"),
        ]}),
        Kind::Url => text("^(wss?://.+)?$"),
        Kind::List => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Thresholds => json!({"type": "array", "items": {"anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["threshold"],
                "properties": {
                    "threshold": {"type": "string"},
                    "abort_on_fail": {"type": "boolean"},
                    "delay": text(DURATION_PATTERN),
                },
            },
        ]}}),
        Kind::Headers | Kind::Values => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::Dist => text(DIST_PATTERN),
        Kind::Share => share,
        Kind::Stages => json!({"type": "array", "items": {"anyOf": [
            text(r"^[0-9.a-zµ]+ *: *[0-9]+$"),
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["duration", "devices"],
                "properties": {
                    "duration": text(DURATION_PATTERN),
                    "devices": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
                },
            },
        ]}}),
        Kind::Bitrate(min, max) => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            text(r"^[0-9.]+ *[kM]?$"),
        ]}),
        Kind::Size(min, max) => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            text(r"^[0-9.]+ *([KMG]iB|B)?$"),
        ]}),
        // Keys with dots are tables in tables where they are not quoted.
        Kind::Axes => json!({"type": "object", "additionalProperties": {"type": ["array", "object"]}}),
        Kind::Faults => json!({
            "type": "object",
            "additionalProperties": false,
            "properties": Fault::ALL.iter().map(|f| (f.name().to_owned(), share.clone())).collect::<Map<_, _>>(),
        }),
        Kind::FaultList => json!({"type": "array", "items": {"anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": FaultKind::ALL.map(FaultKind::name)},
                    "at": text(DURATION_PATTERN),
                    "every": text(DIST_PATTERN),
                    "share": share,
                    "phase": {"enum": Phase::ALL.map(Phase::name).into_iter().chain(["any"]).collect::<Vec<_>>()},
                    "length": text(DIST_PATTERN),
                    "rate": {"anyOf": [{"type": "integer", "minimum": 1}, text(r"^[0-9.]+ *([KMG]iB|B)?$")]},
                },
            },
        ]}}),
    };
    let range = range(key.kind);
    schema["description"] =
        json!(if range.is_empty() { key.doc.to_owned() } else { format!("{} {range}.", key.doc) });
    match key.default {
        Fallback::Unset | Fallback::By(..) => {}
        Fallback::Toml(toml) => {
            if let Some(value) = to_json(toml) {
                schema["default"] = value;
            }
        }
    }
    if let Some(example) = to_json(key.example).filter(|_| !key.example.is_empty()) {
        schema["examples"] = json!([example]);
    }
    schema
}

/// A TOML value as JSON.
fn to_json(toml: &str) -> Option<Value> {
    let table: toml::Table = format!("v = {toml}").parse().ok()?;
    serde_json::to_value(table.get("v")?).ok()
}

/// What a kind of value is called, and how it is written.
fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Int(..) => "whole number".to_owned(),
        Kind::Float(..) => "number".to_owned(),
        Kind::Duration(..) => "duration".to_owned(),
        Kind::DurationOrOff(..) => "duration or `\"off\"`".to_owned(),
        Kind::Choice(choices) => {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("`\"{name}\"`")).collect();
            names.join(", ")
        }
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret text".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::File => "path of a file".to_owned(),
        Kind::Folder => "path of a folder".to_owned(),
        Kind::List => "list of texts".to_owned(),
        Kind::Thresholds => "list of thresholds".to_owned(),
        Kind::Headers | Kind::Values => "table of texts".to_owned(),
        Kind::Dialect => "name, or path of a file".to_owned(),
        Kind::Dist => "distribution".to_owned(),
        Kind::Share => "share".to_owned(),
        Kind::Stages => "list of stages".to_owned(),
        Kind::Bitrate(..) => "bit rate".to_owned(),
        Kind::Size(..) => "bytes".to_owned(),
        Kind::Faults => "table of shares".to_owned(),
        Kind::FaultList => "list of faults".to_owned(),
        Kind::Axes => "table of lists of values".to_owned(),
    }
}

/// The allowed range, for people; empty when there is none to speak of.
fn range(kind: Kind) -> String {
    match kind {
        Kind::Int(min, i64::MAX) => format!("At least {min}"),
        Kind::Int(min, max) => format!("{min} to {max}"),
        Kind::Float(min, max) => format!("{min} to {max}"),
        Kind::Duration(min, max) => format!("{} to {}", format_duration(min), format_duration(max)),
        Kind::DurationOrOff(min, max) => {
            format!("{} to {}, or off", format_duration(min), format_duration(max))
        }
        Kind::Bitrate(min, max) => format!("{min} to {max}"),
        Kind::Size(min, max) => format!("{} to {}", format_size(min), format_size(max)),
        _ => String::new(),
    }
}

/// What a key is when nobody says, for people.
fn default_text(key: &Key) -> String {
    match key.default {
        Fallback::Unset => "not set".to_owned(),
        Fallback::Toml(toml) => format!("`{toml}`"),
        Fallback::By(on, values) => {
            let by: Vec<_> = values.iter().map(|(name, toml)| format!("`{toml}` ({name})")).collect();
            format!("by `{on}`: {}", by.join(", "))
        }
    }
}

/// `docs/scenario.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        let title =
            if section.path.is_empty() { "At the top".to_owned() } else { format!("`[{}]`", section.path) };
        let _ = write!(text, "\n### {title}\n\n{}\n\n", section.doc);
        for key in section.keys {
            let range = range(key.kind);
            let range = if range.is_empty() { range } else { format!(", {}", range.to_lowercase()) };
            let _ = writeln!(
                text,
                "- **`{}`** · {}{range} · default {}  \n  {}",
                key.path,
                kind_name(key.kind),
                default_text(key),
                key.doc
            );
            if !key.example.is_empty() {
                let _ = writeln!(text, "  Example: `{} = {}`", key.name(), key.example);
            }
            if let Kind::Choice(choices) = key.kind {
                for (name, doc) in choices {
                    let _ = writeln!(text, "  - `\"{name}\"`: {doc}");
                }
            }
            if key.kind == Kind::Faults {
                let names: Vec<_> = Fault::ALL.iter().map(|f| format!("`{}`", f.name())).collect();
                let _ = writeln!(text, "  Faults: {}.", names.join(", "));
            }
            if key.kind == Kind::FaultList {
                fault_kinds(&mut text);
            }
        }
    }
    text.push_str(THRESHOLDS);
    for metric in Metric::ALL {
        let _ = writeln!(text, "| `{}` | {} |", metric.name(), metric.doc().trim());
    }
    text.push_str(COUNTED);
    for counter in COUNTERS {
        let _ = writeln!(text, "| `{}` | {} |", counter.name, counter.doc);
    }
    text
}

/// The kinds of faults, for people.
fn fault_kinds(text: &mut String) {
    for kind in FaultKind::ALL {
        let length =
            if FaultSpec::has_length(kind) { format!("; {}", length_doc(kind)) } else { String::new() };
        let _ = writeln!(text, "  - `{}`: {}{length}", kind.name(), kind.doc());
    }
    let phases: Vec<_> = Phase::ALL.map(|p| format!("`{}`", p.name())).into();
    let _ = writeln!(text, "\n  Phases: {}.", phases.join(", "));
}

/// The default length of a fault, as text.
fn length_doc(kind: FaultKind) -> String {
    let spec: Result<FaultSpec, _> = format!("{} at=1s", kind.name()).parse();
    let length = spec.ok().and_then(|s| s.length).map(|l| l.to_string()).unwrap_or_default();
    format!("`length` default `{length}`")
}

const INTRODUCTION: &str = "\
# Scenario files

<!-- Made from src/scenario/keys.rs by `voxload inspect --print-reference`; a test compares. -->

A scenario says what a run does: TOML, every key optional. `voxload init FILE` writes one with every key explained,
`voxload inspect FILE` checks it and prints the plan, and `docs/schema/scenario.json` lets editors complete it: put
`#:schema …/docs/schema/scenario.json` into the first line.

Everything that is wrong is reported at once, with line and column.

## How values are written

| kind | examples |
|---|---|
| duration | `\"300ms\"`, `\"1.5s\"`, `\"2m\"`, `\"1h30m\"`, `\"250us\"`, `\"7d\"`; a number without a unit is an error |
| share | `0.2`, `\"20%\"` |
| bit rate | `24000`, `\"24k\"` |
| bytes | `65536`, `\"64 KiB\"`, `\"4 MiB\"` |
| distribution | `\"2s\"` (always), `\"uniform(1s, 3s)\"`, `\"exponential(2s)\"` (mean), `\"normal(288ms, 28ms)\"` (mean, standard deviation), `\"lognormal(250ms, 300ms)\"` (p50, p95), `\"mix(97: 250ms, 3: 2s)\"` (weights) |
| stage | `\"30s:500\"` or `{ duration = \"30s\", devices = 500 }` |

In every text, `${NAME}` is replaced by an environment variable and `${NAME:-text}` has a default; `$${` stands for
`${` itself. In `target.url` and `target.headers`, `{column}` is the device's value from `target.data`, and `{device}`
its number. Values of headers, `reference.token`, and user info and query values of URLs never reach a report, a log or
an error message.

## What outranks what

1. flags: `--set fleet.devices=500` (any key), `-u`, `-d`, `--stage`, `--threshold`, …;
   `--set target.headers.X-Device=7` sets one entry of a table;
2. environment: `VOXLOAD_FLEET_DEVICES=500`, the path in capitals with `_` for `.`;
3. the file;
4. the defaults below.

An empty text takes a value away: `--set target.url=` runs against the embedded server.

## Keys
";

const THRESHOLDS: &str = "
## Thresholds

`metric:statistic operator limit`, for example `ttfa:p(95)<300ms`. Operators: `<` `<=` `>` `>=` `==` `!=`. A run whose
threshold does not hold ends with exit code 99. What is not measured does not pass: a metric without a sample fails.
Percentiles and rates are judged with 95 % confidence, and may be undecided; `abort_on_fail` stops a run:
[THRESHOLDS.md](THRESHOLDS.md). `metric{group:name}:…` looks at one group of devices.

Metrics with a distribution have `p(95)` (any percentile), `med`, `min`, `max`, `avg` and `count`. Failed turns count
as infinitely slow in `ttfa`, `ttft` and their like. `stall_ratio@…` also has `rate`: the share of replies that stalled.

| metric | meaning |
|---|---|
";

const COUNTED: &str = "
Counters have `count` and `rate`; `stalled_share@0ms`, `@60ms`, `@120ms` and `@200ms` have `value`, the stalled time as
a share of the playing time of all replies.

| counter | what is counted; of what its rate is a share |
|---|---|
";

/// The starter file of `voxload init`: every key explained, those that differ from the default set.
pub fn starter(url: Option<&str>, dialect: &str, name: &str) -> String {
    let quoted = |t: &str| toml::Value::String(t.to_owned()).to_string();
    let mut set = vec![
        ("name", quoted(name)),
        ("thresholds", "[\n    \"ttfa:p(95)<300ms\",\n    \"turns.failed:rate<5%\",  # 59 turns can show it; 1% takes 299\n]".to_owned()),
        ("target.dialect", quoted(dialect)),
        ("fleet.devices", "20".to_owned()),
        ("fleet.duration", "\"1m\"".to_owned()),
        ("fleet.ramp", "\"2s\"".to_owned()),
        ("fleet.warmup", "\"5s\"".to_owned()),
    ];
    if let Some(url) = url {
        set.push(("target.url", quoted(url)));
    }
    let mut text = format!(
        "# A voxload scenario. Lines that begin with `# key = ` show the default (or an example); uncomment to change.\n\
         #\n\
         #     voxload inspect {name}.toml   checks it and prints the plan\n\
         #     voxload debug {name}.toml     plays one device and prints every frame\n\
         #     voxload run {name}.toml       the run\n\n"
    );
    for section in SECTIONS {
        if !section.path.is_empty() {
            let _ = write!(text, "# {}\n[{}]\n\n", wrapped(section.doc), section.path);
        }
        starter_section(&mut text, section, &set);
    }
    text
}

fn starter_section(text: &mut String, section: &Section, set: &[(&str, String)]) {
    for key in section.keys {
        let _ = writeln!(text, "# {}", wrapped(key.doc));
        if let Kind::Choice(choices) = key.kind {
            for (name, doc) in choices {
                let _ = writeln!(text, "#   \"{name}\": {doc}");
            }
        }
        let value = set.iter().find(|(path, _)| *path == key.path).map(|(_, value)| value);
        let _ = match (value, key.default) {
            (Some(value), _) => writeln!(text, "{} = {value}\n", key.name()),
            (None, Fallback::Toml(toml)) if key.example.is_empty() => {
                writeln!(text, "# {} = {toml}\n", key.name())
            }
            (None, Fallback::By(on, values)) => {
                let by: Vec<_> = values.iter().map(|(name, toml)| format!("{toml} with {name}")).collect();
                let first = values.first().map_or("", |(_, toml)| toml);
                writeln!(text, "# By {on}: {}.\n# {} = {first}\n", by.join(", "), key.name())
            }
            (None, _) => writeln!(text, "# {} = {}\n", key.name(), key.example),
        };
    }
}

/// Breaks a paragraph into comment lines of at most 110 characters; the first mark is the caller's.
fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut column = 2;
    for word in paragraph.split_whitespace() {
        let width = word.chars().count();
        if column > 2 && column + width + 1 > 110 {
            text.push_str("\n# ");
            column = 2;
        } else if column > 2 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}
