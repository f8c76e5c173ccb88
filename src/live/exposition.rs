//! A snapshot as Prometheus reads it: the text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Written by hand: the counts and distributions are there already, merged from all shards; a metrics library would count
//! once more, on the way of every frame, in histograms of its own. Failed turns are +∞, here too: they are in the bucket
//! `+Inf` and in no other. Sums are of what is finite.

use std::fmt::Write as _;

use super::Snapshot;
use crate::drive::run::Phase;
use crate::measure::{Metric, health};
use crate::time::Micros;

/// What the endpoint says that it sends.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A distribution that is exposed.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// Which.
    pub metric: Metric,
    /// Its name.
    pub name: &'static str,
    /// The upper bounds of its buckets but the last, which is +∞.
    pub bounds: &'static [Micros],
}

/// Around the budget of 300 ms as fine as a quantile needs to be.
const REPLIES: &[Micros] = &[
    Micros::from_millis(50),
    Micros::from_millis(100),
    Micros::from_millis(150),
    Micros::from_millis(200),
    Micros::from_millis(250),
    Micros::from_millis(300),
    Micros::from_millis(350),
    Micros::from_millis(400),
    Micros::from_millis(500),
    Micros::from_millis(600),
    Micros::from_millis(800),
    Micros::from_millis(1_000),
    Micros::from_millis(1_500),
    Micros::from_millis(2_000),
    Micros::from_millis(3_000),
    Micros::from_millis(5_000),
    Micros::from_millis(10_000),
    Micros::from_millis(30_000),
];

/// Around the limits of validity.
const LATENESS: &[Micros] = &[
    Micros(100),
    Micros(250),
    Micros(500),
    Micros(1_000),
    Micros(2_000),
    Micros(5_000),
    Micros(10_000),
    Micros(25_000),
    Micros(50_000),
    Micros(100_000),
    Micros(250_000),
    Micros(1_000_000),
];

const fn replies(metric: Metric, name: &'static str) -> Histogram {
    Histogram { metric, name, bounds: REPLIES }
}

const fn lateness(metric: Metric, name: &'static str) -> Histogram {
    Histogram { metric, name, bounds: LATENESS }
}

/// All distributions that are exposed. Their help is the metric's own sentence.
pub const HISTOGRAMS: &[Histogram] = &[
    replies(Metric::Ttfa, "voxload_ttfa_seconds"),
    replies(Metric::TtfaUncorrected, "voxload_ttfa_uncorrected_seconds"),
    replies(Metric::TtfaFirstByte, "voxload_ttfa_first_byte_seconds"),
    replies(Metric::Ttft, "voxload_ttft_seconds"),
    replies(Metric::EndpointDelay, "voxload_endpoint_delay_seconds"),
    replies(Metric::FinalTranscript, "voxload_final_transcript_seconds"),
    replies(Metric::RequiredPrebuffer, "voxload_required_prebuffer_seconds"),
    replies(Metric::BargeInStop, "voxload_barge_in_stop_seconds"),
    replies(Metric::Connect, "voxload_connect_seconds"),
    replies(Metric::Outage, "voxload_outage_seconds"),
    replies(Metric::Recover, "voxload_recover_seconds"),
    replies(Metric::HeartbeatRtt, "voxload_heartbeat_rtt_seconds"),
    lateness(Metric::OwnLateness, "voxload_generator_lateness_seconds"),
    lateness(Metric::TickerLag, "voxload_generator_ticker_lag_seconds"),
    lateness(Metric::SocketBlocked, "voxload_socket_blocked_seconds"),
];

/// The page.
pub fn page(s: &Snapshot) -> String {
    let mut page = Page { text: String::with_capacity(24 * 1024) };
    page.run(s);
    page.load(s);
    page.generator(s);
    for (h, seen) in HISTOGRAMS.iter().zip(&s.histograms) {
        page.family(h.name, "histogram", h.metric.doc());
        let bucket = format!("{}_bucket", h.name);
        for (bound, n) in h.bounds.iter().zip(&seen.up_to) {
            page.sample(&bucket, &[("le", &bound.as_secs_f64().to_string())], *n as f64);
        }
        page.sample(&bucket, &[("le", "+Inf")], seen.count as f64);
        page.sample(&format!("{}_sum", h.name), &[], seen.sum);
        page.sample(&format!("{}_count", h.name), &[], seen.count as f64);
    }
    page.text
}

struct Page {
    text: String,
}

impl Page {
    /// What is running.
    fn run(&mut self, s: &Snapshot) {
        let about = &s.about;
        self.family("voxload_build_info", "gauge", "The version of voxload, as a label; always 1.");
        self.sample("voxload_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let seed = about.seed.to_string();
        let labels = [
            ("scenario", about.name.as_str()),
            ("seed", &seed),
            ("target", &about.target),
            ("dialect", &about.dialect),
        ];
        self.family("voxload_run_info", "gauge", "The run, as labels; always 1.");
        self.sample("voxload_run_info", &labels, 1.0);
        self.gauge("voxload_run_start_time_seconds", "When the run began, since 1970.", about.started);
        self.gauge(
            "voxload_run_elapsed_seconds",
            "How long it had lasted at its latest interval.",
            s.now.as_secs_f64(),
        );
        self.gauge(
            "voxload_run_warmup_seconds",
            "The part of it that is not counted.",
            about.warmup.as_secs_f64(),
        );
        self.gauge("voxload_run_load_seconds", "When load ends, since its start.", about.end.as_secs_f64());
        self.family("voxload_run_phase", "gauge", "1 for what is going on, 0 for the rest.");
        for phase in Phase::ALL {
            let on = if *phase == s.phase { 1.0 } else { 0.0 };
            self.sample("voxload_run_phase", &[("phase", phase.name())], on);
        }
        self.family(
            "voxload_threshold_passed",
            "gauge",
            "1 when the threshold would hold if the run ended now; without a sample it does not.",
        );
        for t in &s.thresholds {
            self.sample("voxload_threshold_passed", &[("threshold", &t.expression)], flag(t.passed));
        }
    }

    /// What devices did.
    fn load(&mut self, s: &Snapshot) {
        let c = &s.counts;
        self.gauge("voxload_devices", "Devices with a connection.", s.connected as f64);
        self.gauge("voxload_devices_in_turn", "Devices in a turn.", s.in_turn as f64);
        self.gauge("voxload_devices_planned", "Most devices at once.", f64::from(s.about.devices));
        self.counter("voxload_turns_started_total", "Turns begun after warm-up.", c.started);
        self.counter(
            "voxload_turns_warmup_total",
            "Turns begun during warm-up, which are not counted.",
            c.started_warmup,
        );
        self.counter("voxload_turns_missed_total", "Turns planned and never begun.", c.missed);
        self.counters(
            "voxload_turns_total",
            "Turns that ended, by outcome. Failed and timed_out are +Inf in the latencies; cancelled ones are in none.",
            "outcome",
            &[
                ("succeeded", c.succeeded),
                ("interrupted", c.interrupted),
                ("failed", c.failed),
                ("timed_out", c.timed_out),
                ("cancelled", c.cancelled),
            ],
        );
        self.family("voxload_failures_total", "counter", "Failed turns and connections, by class.");
        for f in &s.failures {
            for (of, n) in [("turn", f.turns), ("connection", f.connections)] {
                self.sample("voxload_failures_total", &[("class", &f.class), ("of", of)], n as f64);
            }
        }
        self.counter("voxload_connections_attempted_total", "Attempts to connect.", c.connects);
        self.counter("voxload_connections_opened_total", "Connections opened.", c.connected_total);
        self.counter("voxload_connections_failed_total", "Attempts that failed.", c.connect_failures);
        self.counter("voxload_connections_lost_total", "Open connections that ended unasked.", c.lost);
        self.counter(
            "voxload_connections_reconnected_total",
            "Connections opened again after a loss.",
            c.reconnected,
        );
        let directions = |sent, received| [("sent", sent), ("received", received)];
        let messages = directions(c.messages_sent, c.messages_received);
        self.counters("voxload_messages_total", "WebSocket messages.", "direction", &messages);
        let bytes = directions(c.bytes_sent, c.bytes_received);
        self.counters("voxload_message_bytes_total", "Payload of the messages.", "direction", &bytes);
        self.counter("voxload_replies_total", "Replies with audio.", c.replies);
        self.counter(
            "voxload_stalls_total",
            "How often playback ran dry, at the scenario's prebuffer.",
            c.stalls,
        );
        self.counter("voxload_barge_ins_total", "Interruptions made.", c.barge_ins);
        self.counter("voxload_faults_total", "Faults that struck devices.", c.faults);
    }

    /// How the harness is doing.
    fn generator(&mut self, s: &Snapshot) {
        let g = &s.generator;
        self.gauge("voxload_valid", "1 when the run would be VALID if it ended now.", flag(s.validity.valid));
        self.family(
            "voxload_validity_check_passed",
            "gauge",
            "1 for each check of validity that holds so far.",
        );
        for c in &s.validity.checks {
            self.sample("voxload_validity_check_passed", &[("check", &c.name)], flag(c.ok));
        }
        self.gauge(
            "voxload_generator_cores",
            "Cores that the generator may use.",
            f64::from(health::cores()),
        );
        self.family(
            "voxload_generator_cpu_seconds_total",
            "counter",
            "CPU time of the generator since the first device.",
        );
        self.sample("voxload_generator_cpu_seconds_total", &[], g.cpu_us as f64 / 1e6);
        self.gauge("voxload_generator_cpu_ratio", "CPU time under load, of all its cores.", g.cpu_share);
        self.gauge("voxload_generator_resident_memory_bytes", "Resident memory.", s.rss as f64);
        for (name, help, value) in [
            ("voxload_generator_steal_ratio", "CPU time that other guests took under load.", g.steal_share),
            (
                "voxload_generator_pressure_ratio",
                "Time under load in which something on this machine waited for a CPU.",
                g.pressure_share,
            ),
            (
                "voxload_generator_open_files",
                "Most open descriptors so far.",
                g.open_files_peak.map(|n| n as f64),
            ),
        ] {
            // What cannot be measured is left out.
            if let Some(value) = value {
                self.gauge(name, help, value);
            }
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value as f64);
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family(name, "counter", help);
        for (of, n) in values {
            self.sample(name, &[(label, of)], *n as f64);
        }
    }

    /// Writing to a `String` cannot fail, here and below.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (i, (label, of)) in labels.iter().enumerate() {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{of}\"", if i == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::live::{About, sample};
    use crate::measure::Distribution;
    use crate::report::result::ThresholdResult;
    use crate::report::sample::Kind;

    /// Series by name and labels.
    fn read(page: &str) -> BTreeMap<String, f64> {
        let lines = page.lines().filter(|l| !l.starts_with('#'));
        lines
            .map(|l| {
                let (series, value) = l.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Names of the families, each with its type.
    fn families(page: &str) -> BTreeMap<&str, &str> {
        let types: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        let map: BTreeMap<_, _> = types.iter().copied().collect();
        assert_eq!(map.len(), types.len(), "a family twice");
        map
    }

    #[test]
    fn every_sample_belongs_to_the_family_above_it() {
        let page = page(&sample::make(Kind::Failing, 3, 4_000));
        let (mut name, mut kind) = ("", "");
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (of, text) = help.split_once(' ').unwrap();
                assert!(of.starts_with("voxload_") && !text.is_empty(), "{line}");
                (name, kind) = (of, "");
            } else if let Some(of) = line.strip_prefix("# TYPE ") {
                kind = of.strip_prefix(name).unwrap().trim();
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            } else {
                let series = line.split(['{', ' ']).next().unwrap();
                let stem = if kind == "histogram" { series.rsplit_once('_').unwrap().0 } else { series };
                assert_eq!(stem, name, "{line}");
            }
        }
    }

    #[test]
    fn failures_are_in_the_last_bucket_only() {
        let mut d = Distribution::default();
        [200_000, 300_000, 300_900, 40_000_000].iter().for_each(|&us| d.record(Micros(us)));
        d.record_infinite();
        let mut s = Snapshot { histograms: vec![Exposed::of(&d, REPLIES)], ..Snapshot::default() };
        let series = read(&page(&s));
        let le = |bound: &str| series[&format!("voxload_ttfa_seconds_bucket{{le=\"{bound}\"}}")];
        assert_eq!(
            (le("0.15"), le("0.2"), le("0.3"), le("0.35"), le("30"), le("+Inf")),
            (0.0, 1.0, 2.0, 3.0, 3.0, 5.0)
        );
        assert_eq!(series["voxload_ttfa_seconds_count"], 5.0);
        assert!((series["voxload_ttfa_seconds_sum"] - 40.8009).abs() < 1e-9);
        s.histograms.clear();
        assert!(!page(&s).contains("_bucket"), "what is not there is not made up");
    }

    use crate::live::Exposed;

    #[test]
    fn buckets_ascend_and_hold_the_budget() {
        for h in HISTOGRAMS {
            assert!(h.bounds.windows(2).all(|w| w[0] < w[1]), "{}", h.name);
            assert_eq!(h.metric.unit(), crate::measure::Unit::Micros);
        }
        assert!(REPLIES.contains(&crate::report::BUDGET));
    }

    #[test]
    fn labels_and_help_are_escaped() {
        let about = About { name: "a\"b\\c\nd".to_owned(), ..About::default() };
        let mut s = Snapshot::first(about.into());
        s.thresholds.push(ThresholdResult {
            expression: "ttfa:p(95)<300ms".to_owned(),
            actual: None,
            actual_text: String::new(),
            passed: false,
            verdict: None,
            share: None,
            note: String::new(),
        });
        let page = page(&s);
        assert!(page.contains(r#"voxload_run_info{scenario="a\"b\\c\nd",seed="0""#), "{page}");
        assert!(page.contains("voxload_threshold_passed{threshold=\"ttfa:p(95)<300ms\"} 0\n"), "{page}");
        assert!(page.contains("voxload_run_phase{phase=\"warm-up\"} 1\n"), "{page}");
    }

    /// Every name that the dashboard asks for is exported, and every label by which it sums.
    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/grafana/voxload.json")).unwrap();
        let mut queries = Vec::new();
        fn collect(v: &serde_json::Value, queries: &mut Vec<String>) {
            match v {
                serde_json::Value::Object(map) => {
                    for (key, v) in map {
                        if let (true, Some(text)) =
                            (matches!(key.as_str(), "expr" | "query" | "definition"), v.as_str())
                        {
                            queries.push(text.to_owned());
                        }
                        collect(v, queries);
                    }
                }
                serde_json::Value::Array(all) => all.iter().for_each(|v| collect(v, queries)),
                _ => {}
            }
        }
        collect(&dashboard, &mut queries);
        let page = page(&sample::make(Kind::Networks, 3, 4_000));
        let families = families(&page);
        let mut asked = BTreeSet::new();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for query in &queries {
            for name in query.split(|c| !is_name(c)).filter(|w| w.starts_with("voxload_")) {
                let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let known = match stem {
                    Some(stem) => families.get(stem) == Some(&"histogram"),
                    None => families.get(name).is_some_and(|kind| *kind != "histogram"),
                };
                assert!(known, "{name} in {query}");
                asked.insert(name);
            }
        }
        assert!(asked.len() > 15, "{asked:?}");
        for name in
            ["voxload_ttfa_seconds_bucket", "voxload_valid", "voxload_generator_lateness_seconds_bucket"]
        {
            assert!(asked.contains(name), "{name}");
        }
    }
}
