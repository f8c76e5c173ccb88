//! The judgement, on made-up runs.

use super::document::{Answer, Document, Kind};
use super::sample::{run, side};
use super::*;
use crate::report::RunResult;
use crate::report::sample::{Kind as Sample, make};
use crate::report::terminal::Style;
use crate::seed::{Seed, Stream};

fn question() -> Question {
    Question::new(&[], &[], false).unwrap()
}

fn frame() -> Frame {
    Frame { made_at: "2026-01-31T13:00:00Z".to_owned(), command: "voxload compare base new".to_owned() }
}

fn compared(base: Vec<RunResult>, new: Vec<RunResult>, q: &Question) -> Document {
    judge(&side("base", base), &side("new", new), q, frame()).unwrap()
}

/// Five runs a side with these p95s; interleaved in time.
fn runs(p95: [f64; 5], parity: u64) -> Vec<RunResult> {
    p95.iter().zip(0..).map(|(p95, n)| run(*p95, 2 * n + parity)).collect()
}

const BASE: [f64; 5] = [300.0, 301.0, 302.0, 303.0, 304.0];

fn answer(new: [f64; 5]) -> Document {
    compared(runs(BASE, 0), runs(new, 1), &question())
}

#[test]
fn four_answers_and_their_exit_codes() {
    for (by, word, code) in [(0.0, Answer::Same, 0), (40.0, Answer::Worse, 122), (-40.0, Answer::Better, 0)] {
        let d = answer(BASE.map(|ms| ms + by));
        assert_eq!((d.verdict.answer, d.verdict.exit_code), (word, code), "{}", d.verdict.sentence);
        assert!(d.verdict.sentence.contains("96.8 % confidence"), "{}", d.verdict.sentence);
    }
    let d = answer([280.0, 295.0, 312.0, 330.0, 345.0]);
    assert_eq!((d.verdict.answer, d.verdict.exit_code), (Answer::Inconclusive, 123));
    assert!(d.verdict.sentence.starts_with("Not decided"), "{}", d.verdict.sentence);
    let d = answer([250.0, 260.0, 270.0, 290.0, 300.0]);
    assert_eq!((d.verdict.answer, d.verdict.exit_code), (Answer::NoWorse, 0));
}

#[test]
fn ten_per_cent_and_fifteen_milliseconds_are_found() {
    let mut r = Seed(7).stream("found", 0);
    let mut alone = question();
    alone.measures.truncate(1);
    // p95s that spread by 1 % from run to run, and medians of 150 and 300 ms.
    for (median, slower) in [(150.0, 180.0), (300.0, 330.0)] {
        let spread = |r: &mut Stream, m: f64| [0; 5].map(|_| m * (1.0 + 0.01 * r.normal()));
        let found = (0..20)
            .filter(|_| {
                let base = runs(spread(&mut r, median), 0);
                let new = runs(spread(&mut r, slower), 1);
                compared(base, new, &alone).verdict.answer == Answer::Worse
            })
            .count();
        assert!(found >= 18, "{found} of 20 at {median} ms");
    }
}

#[test]
fn the_same_raises_no_alarm() {
    let mut r = Seed(7).stream("same", 0);
    let mut spread = |m: f64| [0; 5].map(|_| m * (1.0 + 0.06 * r.normal()));
    // Only what decides: the others would take most of the time.
    let mut alone = question();
    alone.measures.truncate(1);
    let alarms = (0..100)
        .filter(|_| compared(runs(spread(300.0), 0), runs(spread(300.0), 1), &alone).verdict.exit_code == 122)
        .count();
    assert!(alarms <= 3, "{alarms} of 100, with 6 % spread from run to run");
}

#[test]
fn failures_are_infinitely_slow() {
    let failing = |n: u64| {
        let mut r = make(Sample::Failing, 20 + n, 600).result;
        let good = run(300.0, 2 * n + 1);
        // All but the failures as in the others.
        (r.scenario, r.target, r.host, r.name) = (good.scenario, good.target, good.host, good.name);
        r.started_at = good.started_at;
        r
    };
    let d = compared(runs(BASE, 0), (0..5).map(failing).collect(), &question());
    assert_eq!(d.verdict.answer, Answer::Worse);
    assert!(d.verdict.sentence.contains("to ∞"), "{}", d.verdict.sentence);
    assert!(
        d.metrics[0].advice.contains("so many turns fail") && d.metrics[0].advice.contains('`'),
        "{:?}",
        d.metrics[0]
    );
    assert!(d.verdict.also_worse.iter().any(|t| t.contains("failed turns")), "{:?}", d.verdict.also_worse);
    let json = serde_json::to_string(&d).unwrap();
    assert!(json.contains("\"+inf\""));
    let back: Document = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    // One failed run of five may be chance.
    let mut new = runs(BASE, 1);
    new[2] = failing(2);
    assert_eq!(compared(runs(BASE, 0), new, &question()).verdict.answer, Answer::Inconclusive);
}

#[test]
fn too_few_runs_decide_nothing() {
    for n in [1, 3, 4] {
        let d = compared(
            runs(BASE, 0),
            runs(BASE.map(|m| m + 100.0), 1).into_iter().take(n).collect(),
            &question(),
        );
        assert_eq!((d.verdict.answer, d.verdict.exit_code), (Answer::Inconclusive, 123));
        assert!(d.verdict.sentence.contains("too few"), "{}", d.verdict.sentence);
        assert_eq!(d.metrics[0].shift.is_some(), n >= 3, "shown where it exists");
    }
}

#[test]
fn invalid_runs_do_not_count() {
    let mut six = runs(BASE, 1);
    let mut bad = run(900.0, 13);
    bad.validity = make(Sample::Invalid, 1, 10).result.validity;
    six.push(bad.clone());
    let d = compared(runs(BASE, 0), six.clone(), &question());
    assert_eq!((d.verdict.answer, d.new.used, d.new.runs.len()), (Answer::Same, 5, 6));
    assert!(
        d.notes.iter().any(|n| n.contains("1 run of the candidate was not used (INVALID: send lateness")),
        "{:?}",
        d.notes
    );
    // Without it there would be too few: the machine is to blame, and the exit code says so.
    six.remove(0);
    let d = compared(runs(BASE, 0), six, &question());
    assert_eq!((d.verdict.answer, d.verdict.exit_code), (Answer::Inconclusive, 120));
    assert!(d.verdict.sentence.contains("INVALID"), "{}", d.verdict.sentence);
}

#[test]
fn too_few_turns_a_run_do_not_count_either() {
    let few = |n: u64| {
        let mut r = run(300.0, n);
        let d = crate::measure::Distribution::from_result(&r.metrics["connect"]).unwrap();
        assert!(d.count() > 59);
        let mut ttfa = crate::measure::Distribution::default();
        (0..58).for_each(|_| ttfa.record(crate::time::Micros::from_millis(300)));
        r.metrics.insert("ttfa".to_owned(), ttfa.to_result("us"));
        r
    };
    let d = compared((0..5).map(|n| few(2 * n)).collect(), runs(BASE, 1), &question());
    assert_eq!(d.verdict.exit_code, 123);
    assert!(d.base.runs[0].unused.contains("p95 TTFA needs 59"), "{:?}", d.base.runs[0]);
}

#[test]
fn different_loads_are_refused_unless_asked_for() {
    let mut new = runs(BASE, 1);
    for r in &mut new {
        r.scenario = r.scenario.replace("devices = 1000", "devices = 500");
    }
    let (b, n) = (side("base", runs(BASE, 0)), side("new", new));
    let e = judge(&b, &n, &question(), frame()).unwrap_err();
    assert!(e.contains("fleet.devices: 1000 → 500") && e.contains("--allow-different"), "{e}");
    let asked = Question { allow_different: true, ..question() };
    let d = judge(&b, &n, &asked, frame()).unwrap();
    assert!(d.differences.iter().any(|x| x.kind == Kind::Workload) && d.notes[0].contains("fleet.devices"));
    // Of two things on one side.
    let mixed = side("mixed", b.runs.iter().chain(&n.runs).map(|r| r.result.clone()));
    let e = judge(&mixed, &side("new", runs(BASE, 1)), &question(), frame()).unwrap_err();
    assert!(e.contains("the runs in mixed are not of the same thing"), "{e}");
    // A server of another name is what comparisons are for.
    let mut other = runs(BASE, 1);
    other.iter_mut().for_each(|r| (r.target.embedded, r.target.url) = (false, "ws://x/".to_owned()));
    let d = compared(runs(BASE, 0), other, &question());
    assert!(d.verdict.answer == Answer::Same && d.differences[0].kind == Kind::Server, "{:?}", d.differences);
}

#[test]
fn sides_that_were_not_interleaved_are_told() {
    let told = |d: &Document| d.notes.iter().any(|n| n.contains("one after the other"));
    assert!(!told(&answer(BASE)));
    let later = BASE.iter().zip(30..).map(|(p95, n)| run(*p95, n)).collect();
    assert!(told(&compared(runs(BASE, 0), later, &question())));
    let mut again = runs(BASE, 1);
    again.iter_mut().for_each(|r| r.seed = 1);
    let d = compared(runs(BASE, 0), again, &question());
    assert!(d.notes.iter().any(|n| n.contains("share seeds")), "{:?}", d.notes);
}

#[test]
fn metrics_and_margins_of_choice() {
    let q = |metrics: &[&str], margins: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Question::new(&own(metrics), &own(margins), false)
    };
    let d = compared(runs(BASE, 0), runs(BASE.map(|m| m + 40.0), 1), &q(&["turns.failed"], &[]).unwrap());
    assert_eq!((d.metrics[0].metric.as_str(), d.verdict.exit_code), ("turns.failed:rate", 0));
    assert!(d.verdict.also_worse[0].contains("p95 TTFA"), "{:?}", d.verdict.also_worse);
    let d = compared(
        runs(BASE, 0),
        runs(BASE.map(|m| m + 40.0), 1),
        &q(&[], &["50ms", "ttfa:p(50)=5ms"]).unwrap(),
    );
    assert_eq!(d.verdict.answer, Answer::Same);
    let margin = |name: &str| d.metrics.iter().find(|c| c.metric == name).unwrap().margin;
    assert_eq!((margin("ttfa:p(95)"), margin("ttft:p(95)"), margin("ttfa:p(50)")), (50e3, 50e3, 5e3));
    assert_eq!(margin("turns.failed:rate"), 0.005);
    assert!(q(&["tfa"], &[]).unwrap_err().contains("--metric tfa"));
    assert!(q(&[], &["5"]).unwrap_err().contains("--margin 5"));
    assert!(q(&[], &["turns.failed=5ms"]).unwrap_err().contains("points of a hundred"));
}

#[test]
fn more_is_better_for_some() {
    let q = Question::new(&["turns.succeeded:rate".to_owned()], &[], false).unwrap();
    let mut fewer = runs(BASE, 1);
    for r in &mut fewer {
        r.turns.failed += r.turns.succeeded / 4;
        r.turns.succeeded -= r.turns.succeeded / 4;
    }
    assert_eq!(compared(runs(BASE, 0), fewer.clone(), &q).verdict.answer, Answer::Worse);
    let mut base = runs(BASE, 0);
    for (b, f) in base.iter_mut().zip(&fewer) {
        b.turns = f.turns;
    }
    assert_eq!(compared(base, runs(BASE, 1), &q).verdict.answer, Answer::Better);
}

#[test]
fn a_run_with_itself_says_nothing() {
    let home = tempfile::tempdir().unwrap();
    sample::write_run(&home.path().join("a"), 300.0, 1);
    let found = collect(home.path()).unwrap();
    let e = judge(&found, &found, &question(), frame()).unwrap_err();
    assert!(e.contains("on both sides"), "{e}");
}

#[test]
fn the_table_and_the_document() {
    let mut new = runs(BASE.map(|m| m + 40.0), 1);
    // The synthesis is slower: a stage says so.
    for r in &mut new {
        if let Some(stage) = r.stages.iter_mut().find(|s| s.name.starts_with("first token")) {
            stage.mean_us += 38_000.0;
        }
        r.voxload_version = "9.9.9".to_owned();
    }
    for r in &mut new {
        r.scenario += "[reference]\nllm = \"330ms\"\n";
    }
    let mut base = runs(BASE, 0);
    for r in &mut base {
        r.scenario += "[reference]\nllm = \"290ms\"\n";
        r.voxload_version = "0.0.0".to_owned();
    }
    let mut d = compared(base, new, &question());
    d.voxload_version = "0.0.0".to_owned();
    insta::assert_snapshot!("table", terminal::table(&d, &[], Style::plain()));
    insta::assert_snapshot!("markdown", markdown::render(&d));
}

#[test]
fn files_are_written_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (b, n) = (side("base", runs(BASE, 0)), side("new", runs(BASE.map(|m| m + 40.0), 1)));
    let mut d = judge(&b, &n, &question(), frame()).unwrap();
    d.new.name = "<b>&".to_owned();
    let written = write(&d, &b, &n, dir.path());
    assert_eq!(written.problems, Vec::<String>::new());
    let names: Vec<_> = written.files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "compare.json",
            "compare.md",
            "junit.xml",
            "compare.html",
            "compare-shifts.svg",
            "compare-shifts.png",
            "compare-percentiles.svg",
            "compare-percentiles.png",
            "compare-runs.svg",
            "compare-runs.png"
        ]
    );
    let page = std::fs::read_to_string(dir.path().join("compare.html")).unwrap();
    assert_eq!(page.matches("<svg role=\"img\"").count(), 3);
    assert!(
        !page.contains("<b>&<") && page.matches("<script").count() == 1 && !page.contains("src="),
        "escaped, alone"
    );
    let first = page.find("WORSE").unwrap();
    assert!(first < page.find("Metrics").unwrap() && page.contains("NEW is slower"));
    let text = std::fs::read_to_string(dir.path().join("compare.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&document::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(json["verdict"]["answer"], "worse");
}
