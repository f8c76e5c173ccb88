//! Runs that go well: every file of the report is there, is read back, and says the same as the others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use voxload::report::RunResult;
use voxload::report::result::{MetricResult, Status, TurnRow};
use voxload::time::Micros;

mod common;

use common::rogue::Rogue;
use common::{Ran, Run, SMALL, VOXLOAD, each, failure};

/// A histogram as it travels in text.
fn decode(text: &str) -> Histogram<u64> {
    let bytes = BASE64.decode(text).unwrap();
    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

/// The histograms of `histograms.hlog`, all intervals of a metric added up.
fn hlog(ran: &Ran) -> HashMap<String, Histogram<u64>> {
    let text = ran.text("histograms.hlog");
    // The crate's reader takes the legend for an interval.
    let body: String = text.lines().filter(|l| !l.starts_with('"')).map(|l| format!("{l}\n")).collect();
    let mut sums: HashMap<String, Histogram<u64>> = HashMap::new();
    for entry in IntervalLogIterator::new(body.as_bytes()) {
        if let LogEntry::Interval(line) = entry.unwrap() {
            let h = decode(line.encoded_histogram());
            let sum = sums.entry(line.tag().unwrap().as_str().to_owned());
            sum.or_insert_with(|| Histogram::new(3).unwrap()).add(h).unwrap();
        }
    }
    sums
}

/// `turns.csv` alone gives the quantile that `result.json` has: failures are +∞.
fn quantile(turns: &[TurnRow], q: f64) -> f64 {
    let counted = turns.iter().filter(|r| !r.warmup && r.outcome != "cancelled");
    let mut ttfa: Vec<f64> = counted
        .map(|r| match r.outcome.as_str() {
            "ok" | "interrupted" => r.ttfa_us.unwrap() as f64,
            _ => f64::INFINITY,
        })
        .collect();
    ttfa.sort_by(f64::total_cmp);
    ttfa[((q * ttfa.len() as f64).ceil() as usize).max(1) - 1]
}

#[track_caller]
fn same(claimed: Option<i64>, recomputed: f64) {
    match claimed {
        // A histogram keeps three digits.
        Some(us) => {
            assert!((us as f64 - recomputed).abs() <= recomputed.abs() / 500.0 + 1.0, "{us} {recomputed}")
        }
        None => assert_eq!(recomputed, f64::INFINITY),
    }
}

/// The log and the result hold the same samples.
fn compare_histograms(ran: &Ran, result: &RunResult) {
    let mut log = hlog(ran);
    for (name, metric) in &result.metrics {
        let finite = metric.count - metric.infinite - metric.negative;
        match log.remove(name) {
            Some(sum) => {
                assert_eq!(sum.len(), finite, "{name}");
                assert!(sum == decode(&metric.histogram), "{name}");
            }
            None => assert_eq!(finite, 0, "{name} is not in the log"),
        }
    }
    assert!(log.is_empty(), "not in the result: {:?}", log.keys());
}

/// Element names with their counts, and the names of the test cases; fails when it is not well-formed.
fn elements(xml: &str) -> (BTreeMap<String, u32>, Vec<String>) {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut counts, mut cases) = (BTreeMap::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return (counts, cases),
            Event::Start(e) | Event::Empty(e) => {
                let name = String::from_utf8(e.name().as_ref().to_vec()).unwrap();
                if name == "testcase" {
                    let attribute = e.try_get_attribute("name").unwrap().unwrap();
                    cases.push(
                        attribute
                            .decoded_and_normalized_value(XmlVersion::Explicit1_0, reader.decoder())
                            .unwrap()
                            .into_owned(),
                    );
                }
                *counts.entry(name).or_insert(0) += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn every_file_of_the_report() {
    let thresholds = ["ttfa:med<5s", "turns.failed:count==0"];
    let toml =
        SMALL.replace("name = \"small\"", &format!("name = \"all files\"\nthresholds = {thresholds:?}"));
    let run = Run::new(&toml)
        .args("-u 12 -d 3s")
        .set("reference.partials", "100ms")
        .set("report.interval", "200ms");
    let ran = run.go().expect(0);
    let result = ran.result();

    let mut names: Vec<_> =
        fs::read_dir(ran.report()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let promised = [
        "charts",
        "histograms.hlog",
        "intervals.csv",
        "junit.xml",
        "percentiles",
        "reference-truth.csv",
        "reference-usage.json",
        "report.html",
        "result.json",
        "scenario.toml",
        "summary.md",
        "turns.csv",
    ];
    assert_eq!(names, promised);
    let link = fs::read_link(ran.report()).unwrap();
    assert!(link.to_str().unwrap().starts_with("all-files-2"), "{link:?}");
    assert!(ran.stdout.contains(&format!("reports/{}/", link.display())), "{}", ran.stdout);

    // result.json: its schema, and what programs rely on.
    let schema = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/result.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let document: serde_json::Value = serde_json::from_str(&ran.text("result.json")).unwrap();
    let errors: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!((result.verdict.status, result.verdict.reasons.len()), (Status::Pass, 0));
    assert!(result.thresholds.iter().map(|t| t.expression.as_str()).eq(thresholds));
    assert!(result.turns.succeeded >= 12 && result.turns.failed == 0, "{:?}", result.turns);
    for name in [
        "ttft",
        "ttfa",
        "ttfa_first_byte",
        "ttfa_from_last_send",
        "final_transcript",
        "first_partial",
        "connect",
        "session_ready",
    ] {
        let m = &result.metrics[name];
        assert!(
            m.count > 0 && m.infinite == 0 && m.min_us <= m.p50_us && m.p50_us <= m.max_us,
            "{name}: {m:?}"
        );
    }
    let g = &result.generator;
    assert!(
        g.devices == 12
            && g.cpu_us > 0
            && g.rss_peak_bytes >= g.rss_base_bytes
            && g.rss_base_bytes > 1_000_000
            && g.messages_sent > 12 * 10,
        "{g:?}"
    );
    assert!(
        result.command.starts_with("voxload run scenario.toml")
            && result.command.contains("fleet.devices=12")
    );
    let seconds: f64 = result.stages.iter().map(|s| s.mean_us).sum::<f64>();
    assert!((seconds - result.metrics["ttfa"].mean_us.unwrap()).abs() < 1_000.0, "{:?}", result.stages);

    // The streamed files.
    let turns = ran.turns();
    same(result.metrics["ttfa"].p50_us, quantile(&turns, 0.5));
    for t in &turns {
        assert!(t.fixture == "yes" && t.local_port > 0 && t.tokens > 0 && t.audio_messages > 0, "{t:?}");
        assert!(
            t.planned_start_us < t.end_of_speech_us && t.last_send_done_us >= Some(t.last_send_planned_us),
            "{t:?}"
        );
        assert!(
            t.ttfa_first_byte_us <= t.ttfa_us && t.ttft_us <= t.ttfa_us && t.last_byte_us <= t.reply_done_us,
            "{t:?}"
        );
    }
    let intervals = ran.intervals();
    assert!(intervals.windows(2).all(|w| w[0].start_us + w[0].width_us == w[1].start_us));
    assert!(intervals.iter().any(|i| i.connected == 12 && i.in_turn > 0));
    compare_histograms(&ran, &result);

    // What is rendered.
    let (counts, cases) = elements(&ran.text("junit.xml"));
    assert_eq!(
        (counts["testcase"], counts.get("failure"), counts.get("error")),
        (4, None, None),
        "{counts:?}"
    );
    assert!(thresholds.iter().all(|t| cases.iter().any(|c| c.contains(t))), "{cases:?}");
    let page = ran.text("report.html").replace("http://www.w3.org/2000/svg", "");
    assert_eq!(page.matches("<script").count(), 1, "the one for values under the pointer");
    for outside in ["http://", "https://", "src=", "@import", "<link"] {
        assert!(!page.contains(outside), "the page is not self-contained: {outside}");
    }
    for chart in fs::read_dir(ran.report().join("charts")).unwrap().map(|entry| entry.unwrap().path()) {
        match chart.extension().and_then(|e| e.to_str()) {
            Some("svg") => drop(elements(&fs::read_to_string(chart).unwrap())),
            other => assert!(other == Some("png") && fs::read(&chart).unwrap().starts_with(b"\x89PNG")),
        }
    }
    assert!(ran.text("summary.md").contains("PASS"));

    agrees(&ran, &result, &turns);
    renders_again(&ran);
    runs_again(&ran);
}

/// Harness and reference server speak of the same turns, and of nearly the same instants.
fn agrees(ran: &Ran, result: &RunResult, turns: &[TurnRow]) {
    let truth = ran.truth();
    let mut answered = 0;
    for t in turns.iter().filter(|t| t.ttfa_first_byte_us.is_some()) {
        let theirs: Vec<_> = truth
            .iter()
            .filter(|r| (r.peer_port, r.session_turn) == (t.local_port, t.session_turn))
            .collect();
        let [theirs] = theirs[..] else { panic!("{} rows for {t:?}", theirs.len()) };
        let out = theirs.first_audio_out_us.unwrap();
        assert!(
            (theirs.turn_end_in_us.0 >= t.end_of_speech_us) && out >= theirs.turn_end_in_us,
            "{t:?} {theirs:?}"
        );
        answered += 1;
    }
    let a = result.agreement.as_ref().unwrap();
    assert_eq!((a.turns, a.unmatched), (answered, 0));
    for d in [&a.ttft, &a.ttfa] {
        assert!(d.count == answered && d.p50_us.unwrap().abs() < 20_000, "{d:?}");
    }
}

/// `voxload report` makes the same of the result as the run did.
fn renders_again(ran: &Ran) {
    let again = ran.home().join("again");
    let out = Command::new(VOXLOAD)
        .args(["report", "reports/latest", "--out", "again"])
        .current_dir(ran.home())
        .output();
    let out = out.unwrap();
    assert!(out.status.success(), "{out:?}");
    let summary = |text: &str| text.split("\nFiles\n").next().unwrap().to_owned();
    assert_eq!(summary(&String::from_utf8(out.stdout).unwrap()), summary(&ran.stdout));
    for (path, content) in common::files(&again) {
        let name = path.strip_prefix(&again).unwrap();
        assert!(fs::read(ran.report().join(name)).unwrap() == content, "{} differs", name.display());
    }
}

/// The effective scenario is a scenario: it runs, and is its own effective scenario.
fn runs_again(ran: &Ran) {
    let effective = ran.text("scenario.toml");
    let again = Run::new(&effective).go().expect(0);
    let values = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(values(&again.text("scenario.toml")), values(&effective));
    assert_eq!(again.result().name, ran.result().name);
}

/// Enough turns for the quantiles that reports claim, some of them failures.
#[test]
fn quantiles_from_rows() {
    let server = Rogue::for_toys(|toy| {
        loop {
            let turn = toy.turn()?;
            if toy.device % 10 == 1 { toy.done(turn)? } else { toy.reply(turn)? }
        }
    });
    each(
        [("lax", ("turns.failed:rate<50%", 0)), ("strict", ("turns.failed:rate<1%", 99))],
        |(threshold, code)| {
            let run = Run::new(SMALL)
                .arg("--url")
                .arg(server.url())
                .args("-u 30 -d 4s")
                .set("audio.codec", "pcm16");
            let ran = run.arg("--threshold").arg(threshold).go().expect(code);
            let (result, turns) = (ran.result(), ran.turns());
            let ttfa: &MetricResult = &result.metrics["ttfa"];
            assert!(ttfa.count >= 59 && ttfa.infinite > 0, "{ttfa:?}");
            same(ttfa.p50_us, quantile(&turns, 0.5));
            same(ttfa.p95_us, quantile(&turns, 0.95));
            assert!(ttfa.p95_us.is_none(), "three devices of thirty fail: {ttfa:?}");
            assert!(ttfa.finite.p95_us.is_some() && ttfa.max_us.is_none() && ttfa.p999_us.is_none());
            compare_histograms(&ran, &result);
            assert!(failure(&result, "silent").turns > 0);
            let (counts, _) = elements(&ran.text("junit.xml"));
            assert_eq!(counts.contains_key("failure"), code == 99, "{counts:?}");
        },
    );
}

/// Users who speak over the reply stop it, users who cough do not.
fn interrupted_and_coughed_at(r: &RunResult) {
    let (b, stop) = (&r.barge_in, &r.metrics["barge_in_stop"]);
    // A reply that is nearly over may end before the server has heard enough.
    assert!(b.stopped > 0 && b.stopped + 1 >= b.made, "{b:?}");
    assert!(b.backchannels > 0 && b.false_stops == 0, "{b:?}");
    assert_eq!((r.turns.interrupted, stop.count), (b.stopped, b.made), "{b:?}");
    assert!(stop.min_us >= Some(0), "{stop:?}");
}

/// Every shipped scenario, smaller.
#[test]
fn shipped_scenarios() {
    let quick = "--set fleet.ramp=0ms --set fleet.warmup=0ms --set turn.think=100ms --set thresholds=";
    let whole = "-u 4 -d 2s --set reference.burst=1m";
    let long = "-u 8 -d 6s --set turn.barge_in.share=0.5 --set turn.backchannel.share=0.5";
    let talkative = "-u 8 -d 6s --set turn.barge_in.share=0.5 --set turn.backchannel.share=0.5 \
        --set audio.fixtures=hello,dragon-story,sing,dinosaur";
    type Check = fn(&RunResult);
    let cases: [(&str, &str, Check); 11] = [
        ("quickstart", whole, |_| {}),
        ("ci-gate", whole, |r| assert!(r.generator.devices == 4)),
        ("conversation", whole, |r| {
            assert!(r.metrics["first_partial"].min_us < Some(0), "transcripts while the user still speaks");
            assert!(r.metrics["ttfa"].p50_us > Some(300_000), "the cloud is slow");
        }),
        ("push-to-talk", whole, |r| {
            assert_eq!((r.connections.opened, r.connections.lost), (r.turns.succeeded, 0));
        }),
        ("secure", whole, |r| {
            assert!(
                r.target.tls && r.target.url.starts_with("wss://") && !r.target.insecure,
                "{:?}",
                r.target
            );
            assert_eq!(r.metrics["connect_tls"].count, r.connections.opened);
        }),
        ("server-vad", whole, |r| {
            let delay = &r.metrics["endpoint_delay"];
            assert!(
                delay.count == r.turns.succeeded && delay.min_us > Some(300_000),
                "400 ms of silence: {delay:?}"
            );
        }),
        ("barge-in", long, interrupted_and_coughed_at),
        // The same without a scenario made for it: utterances that are long enough to be heard over a reply.
        ("server-vad", talkative, interrupted_and_coughed_at),
        ("soak", whole, |r| assert!(r.intervals.len() <= 2, "ten seconds each")),
        ("own-server", whole, |r| assert!(r.target.embedded)),
        // With a talk button, the device says that it was interrupted.
        ("quickstart", "-u 6 -d 5s --set turn.barge_in.share=0.7", |r| {
            let b = &r.barge_in;
            assert!(b.made > 0 && b.stopped == b.made && r.turns.interrupted == b.made, "{b:?}");
        }),
    ];
    each(cases.map(|case| (case.0, case)), |(name, args, check)| {
        let ran = Run::shipped(name).args(quick).args(args).go().expect(0);
        let result = ran.result();
        assert_eq!(
            (result.name.as_str(), result.turns.failed + result.turns.timed_out),
            (name, 0),
            "{:?}",
            result.failures
        );
        assert!(result.turns.succeeded >= 4 && result.turns.missed == 0, "{:?}", result.turns);
        let a = result.agreement.as_ref().unwrap();
        assert!(a.turns > 0 && a.unmatched == 0, "{a:?}");
        check(&result);
    });
}

/// Every codec, frame and encoding: the server hears what was said, to the frame.
#[test]
fn codecs_and_chunks() {
    let mut cases = Vec::new();
    for (codec, frame, chunk) in [
        ("opus", 2_500, 20_000),
        ("opus", 5_000, 60_000),
        ("opus", 10_000, 60_000),
        ("opus", 20_000, 100_000),
        ("opus", 40_000, 40_000),
        ("opus", 60_000, 120_000),
        ("pcm16", 20_000, 60_000),
        ("mulaw", 20_000, 40_000),
    ] {
        for encoding in ["binary", "base64"] {
            cases.push((codec, (codec, frame, chunk, encoding, "envelope")));
        }
    }
    cases.push(("plain", ("pcm16", 20_000, 60_000, "binary", "plain")));
    each(cases, |(codec, frame, chunk, encoding, dialect)| {
        let mut run = Run::new(SMALL).args("-d 1s");
        for (key, value) in [
            ("target.dialect", dialect),
            ("audio.codec", codec),
            ("audio.encoding", encoding),
            ("turn.count", "1"),
            ("report.html", "false"),
        ] {
            run = run.set(key, value);
        }
        let run = run.set("audio.frame", format!("{frame}us")).set("audio.chunk", format!("{chunk}us"));
        let ran = run.go().expect(0);
        let result = ran.result();
        assert_eq!(
            (result.turns.succeeded, result.failures.len()),
            (3, 0),
            "{codec} {frame} {encoding}: {:?}",
            result.failures
        );
        assert_eq!(
            (&*result.audio.codec, result.audio.frame_us, result.audio.chunk_us),
            (codec, frame, chunk)
        );
        let said = result.fixtures[0].speech_end_us;
        let sent = said.div_euclid(frame) * frame + if said % frame > 0 { frame } else { 0 };
        for row in ran.truth() {
            let (Micros(heard), off) = (row.speech_us, frame.max(1_000));
            assert!(
                (heard - sent).abs() <= off,
                "{codec} {frame} {chunk} {encoding}: heard {heard} µs of {sent}"
            );
        }
        assert_eq!(ran.truth().len(), 3);
        let messages = (sent + chunk - 1) / chunk;
        // Also: the opening, the end of the turn, a heartbeat perhaps.
        let per_device = result.generator.messages_sent as i64 / 3;
        assert!(
            (messages..=messages + 3).contains(&per_device),
            "{per_device} messages for {messages} chunks"
        );
    });
}
