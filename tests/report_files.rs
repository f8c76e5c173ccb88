//! The report files, as their readers find them: written, read back, compared.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use voxload::measure::{Distribution, Metric};
use voxload::report::sample::{self, Kind};
use voxload::report::terminal::{Style, summary};
use voxload::report::{Format, RunResult, json, write_all, write_formats};
use voxload::scenario::ReportPlan;
use voxload::seed::Seed;
use voxload::time::Micros;

const TURNS: u32 = 4_000;

fn plan() -> ReportPlan {
    ReportPlan {
        dir: None,
        html: true,
        png: false,
        histograms: true,
        junit: true,
        interval: Micros::from_secs(1),
        prometheus: None,
    }
}

fn written(kind: Kind) -> (tempfile::TempDir, RunResult) {
    let dir = tempfile::tempdir().unwrap();
    let result = sample::make(kind, 7, TURNS).result;
    let written = write_all(&result, dir.path(), &plan());
    assert_eq!(written.problems, Vec::<String>::new());
    assert!(written.files[0].ends_with("result.json"), "first, in case the disk fills up");
    for file in &written.files {
        assert!(file.is_file(), "{}", file.display());
    }
    (dir, result)
}

fn text(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

fn voxload(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_voxload")).args(args).output().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Pictures take time: where they are looked at, and nowhere else.
fn with_pictures() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let result = sample::make(Kind::Good, 7, TURNS).result;
    let written = write_all(&result, dir.path(), &ReportPlan { png: true, ..plan() });
    assert_eq!(written.problems, Vec::<String>::new());
    dir
}

#[test]
fn the_folder_holds_what_is_promised() {
    let dir = with_pictures();
    assert_eq!(
        names(dir.path()),
        ["charts", "junit.xml", "percentiles", "report.html", "result.json", "scenario.toml", "summary.md"]
    );
    let charts = [
        "latency-by-percentile",
        "load-over-time",
        "stages",
        "stalls",
        "ttfa-over-time",
        "turn-typical",
        "turn-worst-1",
        "turn-worst-2",
        "turn-worst-3",
    ];
    let both = charts.iter().flat_map(|name| [format!("{name}.png"), format!("{name}.svg")]);
    assert_eq!(names(&dir.path().join("charts")), both.collect::<Vec<_>>());
}

#[test]
fn a_plan_can_leave_files_out() {
    let dir = tempfile::tempdir().unwrap();
    let result = sample::make(Kind::Good, 7, 200).result;
    let none = ReportPlan { html: false, histograms: false, junit: false, ..plan() };
    assert_eq!(write_all(&result, dir.path(), &none).problems, Vec::<String>::new());
    assert_eq!(names(dir.path()), ["result.json", "scenario.toml", "summary.md"]);
    assert_eq!(write_all(&result, dir.path(), &plan()).problems, Vec::<String>::new());
    assert!(names(&dir.path().join("charts")).iter().all(|n| n.ends_with(".svg")));
}

#[test]
fn what_cannot_be_written_is_a_problem_and_the_rest_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("report.html")).unwrap();
    fs::write(dir.path().join("charts"), "in the way").unwrap();
    let result = sample::make(Kind::Good, 7, 200).result;
    let written = write_all(&result, dir.path(), &plan());
    assert_eq!(written.problems.len(), 2, "{:?}", written.problems);
    assert!(written.problems[0].contains("report.html: Is a directory"), "{:?}", written.problems);
    assert!(written.problems[1].contains("charts: File exists"), "{:?}", written.problems);
    assert!(dir.path().join("percentiles/ttfa.hgrm").is_file());
}

#[test]
fn a_damaged_histogram_costs_its_chart_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut result = sample::make(Kind::Good, 7, 200).result;
    result.metrics.get_mut("ttft").unwrap().histogram = "?".into();
    let written = write_all(&result, dir.path(), &plan());
    assert_eq!(written.problems.len(), 1);
    assert!(
        written.problems[0].contains("metrics.ttft: its histogram is not base64"),
        "{:?}",
        written.problems
    );
    assert!(dir.path().join("report.html").is_file());
}

#[test]
fn the_result_is_read_back_without_loss() {
    let (dir, result) = written(Kind::Failing);
    let (back, file) = json::read(dir.path()).unwrap();
    assert_eq!(file, dir.path().join("result.json"));
    assert_eq!(serde_json::to_value(&back).unwrap(), serde_json::to_value(&result).unwrap());
    let d = Distribution::from_result(&back.metrics["ttfa"]).unwrap();
    assert_eq!(d.infinite_count(), back.turns.failed + back.turns.timed_out);
    assert_eq!(d.to_result("us").p50_us, back.metrics["ttfa"].p50_us);
}

#[test]
fn results_hold_to_the_published_schema() {
    let schema: serde_json::Value = serde_json::from_str(&json::schema()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).unwrap();
    for kind in [Kind::Good, Kind::Failing, Kind::Invalid, Kind::Empty, Kind::Networks] {
        let value = serde_json::to_value(sample::make(kind, 7, 500).result).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{kind:?}");
    }
    let mut wrong = serde_json::to_value(sample::make(Kind::Good, 7, 10).result).unwrap();
    wrong["verdict"]["status"] = "splendid".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn the_schema_in_docs_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/result.json");
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == json::schema(),
        "docs/schema/result.json is out of date: cargo run -- report --print-schema > docs/schema/result.json"
    );
}

#[test]
fn the_page_stands_alone_and_keeps_foreign_text_in_its_place() {
    for kind in [Kind::Good, Kind::Failing, Kind::Invalid, Kind::Empty, Kind::Networks] {
        let (dir, result) = written(kind);
        let page = text(dir.path(), "report.html");
        assert!(page.len() < 2_000_000, "{} bytes", page.len());
        assert_eq!(page.matches("<script").count(), 1, "{kind:?}: ours, allowed by its hash");
        for outside in ["src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "{kind:?} loads something: {outside}");
        }
        for must in
            ["<meta name=\"viewport\"", "prefers-color-scheme: dark", "Thresholds", "How to repeat it"]
        {
            assert!(page.contains(must), "{kind:?} lacks {must}");
        }
        assert!(page.contains(&result.command));
    }
    let (dir, _) = written(Kind::Failing);
    let page = text(dir.path(), "report.html");
    assert!(page.contains("alert(&#39;overloaded&#39;)"), "the message itself is shown, escaped");
}

#[test]
fn junit_has_a_case_for_each_judgement() {
    let count = |xml: &str, what: &str| xml.matches(what).count();
    let (dir, result) = written(Kind::Failing);
    let xml = text(dir.path(), "junit.xml");
    assert_eq!(count(&xml, "<testcase "), result.thresholds.len() + 2);
    assert_eq!((count(&xml, "<failure "), count(&xml, "<error ")), (3, 0), "{xml}");
    let (dir, result) = written(Kind::Invalid);
    let xml = text(dir.path(), "junit.xml");
    assert_eq!((count(&xml, "<failure "), count(&xml, "<error ")), (0, 2), "{xml}");
    assert!(count(&xml, "<skipped ") == result.thresholds.len() && !result.thresholds.is_empty(), "{xml}");
    let (dir, _) = written(Kind::Good);
    let xml = text(dir.path(), "junit.xml");
    assert_eq!((count(&xml, "<failure "), count(&xml, "<error ")), (0, 0), "{xml}");
}

#[test]
fn charts_are_drawings_with_a_ground_of_their_own() {
    let dir = with_pictures();
    for name in names(&dir.path().join("charts")) {
        if name.ends_with(".png") {
            let png = fs::read(dir.path().join("charts").join(&name)).unwrap();
            assert!(png.starts_with(b"\x89PNG") && png.len() > 5_000, "{name}: {} bytes", png.len());
            continue;
        }
        let svg = text(dir.path(), &format!("charts/{name}"));
        assert!(svg.starts_with("<svg width=\"960\""), "{name}");
        assert!(svg.contains("fill=\"#FFFFFF\""), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
        assert!(svg.len() < 100_000, "{name}: {} bytes", svg.len());
    }
}

#[test]
fn percentile_files_end_with_the_largest_sample() {
    let (dir, result) = written(Kind::Good);
    let hgrm = text(dir.path(), "percentiles/ttfa.hgrm");
    let last = hgrm.lines().rfind(|l| l.contains(" 1.000000000000 ")).unwrap();
    let ms: f64 = last.split_whitespace().next().unwrap().parse().unwrap();
    let max = result.metrics["ttfa"].max_us.unwrap() as f64 / 1e3;
    assert!((ms - max).abs() <= max / 1_000.0 + 0.001, "{ms} {max}");
}

#[test]
fn every_metric_of_a_sample_is_known() {
    let result = sample::make(Kind::Failing, 7, 500).result;
    for name in result.metrics.keys() {
        assert!(Metric::from_name(name).is_some(), "{name}");
    }
}

/// Numbers of a result, as paths into the document.
fn numbers(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Number(_) => found.push(path.to_owned()),
        serde_json::Value::Array(items) => {
            for (i, item) in items.iter().enumerate().take(2) {
                numbers(item, &format!("{path}/{i}"), found);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, item) in fields {
                numbers(item, &format!("{path}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// A result may have been edited, or made by another program: whatever it says, the reports are written.
#[test]
fn nonsense_in_a_result_does_not_stop_its_reports() {
    let dir = tempfile::tempdir().unwrap();
    let mut result = sample::make(Kind::Networks, 7, 30).result;
    result.metrics.retain(|name, _| ["ttfa", "rtf"].contains(&name.as_str()));
    let good = serde_json::to_value(&result).unwrap();
    let mut paths = Vec::new();
    numbers(&good, "", &mut paths);
    assert!(paths.len() > 100, "{paths:?}");
    // All but the document itself, which is flushed to disk each time.
    let formats = Format::of_plan(&plan()).into_iter().filter(|f| *f != Format::Json).collect();
    let allowed: Vec<(String, i64)> = paths
        .into_iter()
        .flat_map(|path| [i64::MIN, -1, 0, i64::MAX].map(|nonsense| (path.clone(), nonsense)))
        .filter(|(path, nonsense)| {
            let mut value = good.clone();
            *value.pointer_mut(path).unwrap() = (*nonsense).into();
            serde_json::from_value::<RunResult>(value).is_ok()
        })
        .collect();
    assert!(allowed.len() > 200, "{}", allowed.len());
    for round in 0..50 {
        let mut random = Seed(7).stream("nonsense", round);
        let mut value = good.clone();
        for (path, nonsense) in &allowed {
            if random.chance(0.1) {
                *value.pointer_mut(path).unwrap() = (*nonsense).into();
            }
        }
        let result: RunResult = serde_json::from_value(value).unwrap();
        write_formats(&result, dir.path(), &formats);
        let page = text(dir.path(), "report.html");
        assert!(page.len() < 2_000_000 && !page.contains("NaN"), "round {round}: {} bytes", page.len());
        summary(&result, &[], Style::plain());
        if round == 0 {
            write_formats(&result, dir.path(), &[Format::Png].into());
        }
    }
}

#[test]
fn report_renders_again_and_prints_the_summary() {
    let (dir, _) = written(Kind::Failing);
    let page = text(dir.path(), "report.html");
    let before = text(dir.path(), "result.json");
    fs::remove_file(dir.path().join("report.html")).unwrap();
    let out = voxload(&["report", dir.path().to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("VALID  sample-failing: "));
    assert_eq!(text(dir.path(), "report.html"), page);
    assert_eq!(text(dir.path(), "result.json"), before);

    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("new");
    let file = dir.path().join("result.json");
    let args = ["report", file.to_str().unwrap(), "--out", to.to_str().unwrap(), "--format", "json,md"];
    assert!(voxload(&args).status.success());
    assert_eq!(names(&to), ["result.json", "summary.md"]);
    assert_eq!(text(&to, "result.json"), before);
}

#[test]
fn report_explains_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("other.json"), "{\"name\": \"package\"}").unwrap();
    for (arg, says) in [
        (path("gone"), "No such file or directory"),
        (dir.path().to_str().unwrap().to_owned(), "result.json: No such file"),
        (path("other.json"), "other.json: not the result of a run: it has no schema_version"),
    ] {
        let out = voxload(&["report", &arg]);
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2));
        assert!(err.starts_with("error: ") && err.contains(says), "{err}");
    }
}

#[test]
fn print_schema_prints_the_schema() {
    let out = voxload(&["report", "--print-schema"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), json::schema());
}

#[test]
fn summaries() {
    for (name, kind, turns) in [
        ("good", Kind::Good, TURNS),
        ("failing", Kind::Failing, TURNS),
        ("invalid", Kind::Invalid, TURNS),
        ("empty", Kind::Empty, 0),
        ("few_turns", Kind::Good, 50),
        ("networks", Kind::Networks, TURNS),
    ] {
        let result = sample::make(kind, 7, turns).result;
        let files: Vec<PathBuf> = ["result.json", "summary.md", "charts/stages.svg", "charts/stalls.svg"]
            .map(|f| Path::new("reports/sample").join(f))
            .into();
        let text = summary(&result, &files, Style::plain());
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "too wide: {line}");
        }
        insta::assert_snapshot!(name, text);
        let coloured = summary(&result, &files, Style::colour());
        assert!(coloured.contains("\u{1b}["));
        let mut stripped = coloured.clone();
        while let Some((from, to)) =
            stripped.find('\u{1b}').and_then(|i| Some((i, i + stripped[i..].find('m')?)))
        {
            stripped.replace_range(from..=to, "");
        }
        assert_eq!(stripped, text, "colour changes nothing else");
    }
}

#[test]
fn markdown_summary() {
    let (dir, _) = written(Kind::Failing);
    insta::assert_snapshot!("summary_md", text(dir.path(), "summary.md"));
    let (dir, _) = written(Kind::Networks);
    insta::assert_snapshot!("summary_md_networks", text(dir.path(), "summary.md"));
}

/// What networks and faults did is said in every format, and nowhere in a run without them.
#[test]
fn networks_and_faults_are_shown_where_there_are_any() {
    let said = ["wifi-congested", "closed_1012", "storm at 25.0 s", "what the network cost", "cat1"];
    for (kind, any) in [(Kind::Networks, true), (Kind::Good, false), (Kind::Failing, false)] {
        let (dir, result) = written(kind);
        let terminal = summary(&result, &[], Style::plain());
        for (name, text) in [
            ("terminal", terminal),
            ("summary.md", text(dir.path(), "summary.md").replace('\\', "")),
            ("report.html", text(dir.path(), "report.html")),
        ] {
            let text = text.to_lowercase();
            for what in said {
                assert_eq!(text.contains(what), any, "{kind:?}, {name}: {what}");
            }
        }
        for chart in ["ttfa-over-time", "load-over-time"] {
            let svg = text(dir.path(), &format!("charts/{chart}.svg"));
            assert_eq!(svg.contains("faults that began"), any, "{kind:?}, {chart}");
            assert_eq!(svg.contains("black_hole"), any, "{kind:?}, {chart}");
        }
        assert_eq!(dir.path().join("charts/ttfa-by-group.svg").is_file(), any, "{kind:?}");
        let page = text(dir.path(), "report.html");
        assert_eq!(page.contains("<th class=\"n\">network</th>"), any, "{kind:?}: the worst turns");
    }
}

/// What the network cost by difference is what its links say that they took: here nothing else is different.
#[test]
fn both_ways_of_asking_what_the_network_cost_agree() {
    let result = sample::make(Kind::Networks, 7, TURNS).result;
    let network = result.network.unwrap();
    for g in network.groups.iter().filter(|g| !g.control) {
        let (by_difference, by_links) =
            (g.against_control.unwrap().ttfa_p50_us.unwrap(), g.network.p50_us.unwrap());
        assert!((by_difference - by_links).abs() * 4 < by_links, "{}: {by_difference} {by_links}", g.name);
    }
}

/// Whatever a reader opens first, the first thing it says is whether the numbers can be trusted.
#[test]
fn the_verdict_of_validity_comes_first() {
    for (kind, word) in [
        (Kind::Good, "VALID"),
        (Kind::Failing, "VALID"),
        (Kind::Invalid, "INVALID"),
        (Kind::Empty, "VALID"),
        (Kind::Networks, "VALID"),
    ] {
        let (dir, result) = written(kind);
        let terminal = summary(&result, &[], Style::plain());
        assert!(terminal.starts_with(&format!("{word}  {}: ", result.name)), "{terminal}");
        let md = text(dir.path(), "summary.md");
        let first: Vec<_> = md.lines().next().unwrap().split(&[' ', ',', ':']).collect();
        assert_eq!((first[0], first[2]), ("#", word), "{md}");
        let html = text(dir.path(), "report.html");
        let body = html.split_once("<body>").unwrap().1;
        let mut said = body.split('<').filter_map(|tag| Some(tag.split_once('>')?.1.trim()));
        assert_eq!(said.find(|t| !t.is_empty()), Some(word));
        let junit = text(dir.path(), "junit.xml");
        let case = junit.split("<testcase ").nth(1).unwrap();
        assert!(case.starts_with("name=\"validity\"") && case.contains(&format!("{word}: ")), "{case}");
        let json = text(dir.path(), "result.json");
        let keys: Vec<_> = json.lines().filter(|l| l.starts_with("  \"")).take(3).collect();
        assert_eq!(keys, ["  \"schema_version\": 1,", "  \"validity\": {", "  \"verdict\": {"]);
    }
}

/// A run that the user stopped can be invalid as well: the first word says so.
#[test]
fn an_interrupted_run_can_be_invalid() {
    let mut result = sample::make(Kind::Invalid, 7, 300).result;
    result.verdict.status = voxload::report::result::Status::Interrupted;
    let text = summary(&result, &[], Style::plain());
    assert!(
        text.starts_with("INVALID      sample-invalid: ") && text.contains("\nINTERRUPTED  stopped"),
        "{text}"
    );
}

/// Each reason of an invalid run: what was seen, the likely cause, what to try. In every format for people.
#[test]
fn what_is_loosened_and_why_it_is_invalid_is_everywhere() {
    let looser = "CPU of the generator ≤ 98 % (default ≤ 90 %)";
    let (dir, result) = written(Kind::Failing);
    let everywhere = |dir: &Path, result: &RunResult, what: &str| {
        let flat = |t: String| t.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut all = vec![("terminal", flat(summary(result, &[], Style::plain())))];
        for file in ["summary.md", "report.html", "junit.xml", "result.json"] {
            let plain = text(dir, file).replace("&#39;", "'").replace("&apos;", "'").replace('\\', "");
            all.push((file, flat(plain)));
        }
        for (name, text) in all {
            assert!(text.contains(what), "{name} lacks {what}");
        }
    };
    everywhere(dir.path(), &result, looser);
    let note = "waited 1 or 3 s for a repeated SYN";
    for file in ["summary.md", "report.html", "result.json"] {
        assert!(text(dir.path(), file).contains(note), "{file}");
    }
    let (dir, result) = written(Kind::Invalid);
    for part in ["13.8 ms", "more devices than this machine's cores can drive", "fewer devices (-u 400)"] {
        everywhere(dir.path(), &result, part);
    }
}

/// Wherever a latency from the end of speech is shown, what a naive tool would have printed stands beside it.
#[test]
fn both_views_are_side_by_side() {
    let (dir, result) = written(Kind::Failing);
    let terminal = summary(&result, &[], Style::plain());
    let after = |line: &str| {
        let mut lines = terminal.lines().skip_while(|l| !l.starts_with(line));
        lines.nth(1).unwrap_or_default().trim_start().to_owned()
    };
    for metric in ["  ttfa ", "  ttfa_first_byte ", "  ttft "] {
        assert!(after(metric).starts_with("uncorrected "), "{metric}: {terminal}");
    }
    assert_eq!(terminal.matches("what a naive tool").count(), 1, "explained once: {terminal}");
    let flowing = terminal.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowing.contains("ttfa:p(95)<300ms ∞") && flowing.contains("; uncorrected "), "{terminal}");
    assert!(text(dir.path(), "junit.xml").contains("uncorrected"));
    let page = text(dir.path(), "report.html");
    assert!(page.matches("class=\"twin\"").count() == 3 && page.matches("class=\"naive\"").count() >= 2);
    for metric in ["ttfa", "ttft", "ttfa_first_byte", "connect"] {
        for name in [metric.to_owned(), format!("{metric}_uncorrected")] {
            assert!(dir.path().join(format!("percentiles/{name}.hgrm")).is_file(), "{name}");
        }
    }
}
