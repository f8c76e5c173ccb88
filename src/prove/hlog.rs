//! Histogram logs are read back: by a reader of our own that shares no code with the one that wrote them, and by
//! HdrHistogram's Python and JavaScript ports where they are installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::hlog_reader::{self, Samples};
use super::lab::{Lab, Order};
use super::{Check, Finding, Trouble};
use crate::report::json;
use crate::report::result::RunResult;

/// Slots are 0.1 % wide.
const RESOLUTION: f64 = 0.001;

/// The scripts of `tests/readback`, which use the ports.
const SCRIPTS: [(&str, &str); 3] = [
    ("common.py", include_str!("../../tests/readback/common.py")),
    ("hlog.py", include_str!("../../tests/readback/hlog.py")),
    ("hlog.mjs", include_str!("../../tests/readback/hlog.mjs")),
];

/// A port: how it is called, which script runs it, and what asks whether it is there.
const PORTS: [(&str, &str, &str, [&str; 2]); 2] = [
    ("Python port (hdrhistogram)", "python3", "hlog.py", ["-c", "import hdrh.log"]),
    ("JavaScript port (hdr-histogram-js)", "node", "hlog.mjs", ["-e", "require('hdr-histogram-js')"]),
];

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    if lab.all_runs().is_empty() || !lab.quick {
        lab.step("a run with failures");
        lab.valid(&Order::new(
            "",
            "[fleet]\narrivals = \"open\"\nrate = 30.0\ndevices = 500\nduration = \"3s\"\n\
             [reference]\nllm = \"lognormal(60ms, 200ms)\"\nfaults = { error = \"5%\", silent_reply = \"5%\" }",
        ))?;
    }
    let runs = lab.all_runs().to_vec();
    lab.step(&format!("reading back: {} logs", runs.len()));
    let mut finding = Finding::default();
    let (mut compared, mut wrong) = (0, Vec::new());
    for dir in &runs {
        let file = dir.join("histograms.hlog");
        let text = fs::read_to_string(&file)
            .map_err(|e| Trouble::Broken(format!("cannot read {}: {e}", file.display())))?;
        let (result, _) = json::read(dir).map_err(Trouble::Broken)?;
        let (n, bad) = judge(&result, &text);
        compared += n;
        wrong.extend(bad.into_iter().map(|b| format!("{}: {b}", dir.display())));
    }
    finding.checks.push(verdict("own reader of the format", runs.len(), compared, &wrong));
    let scripts = lab.dir().join("readback");
    write_scripts(&scripts).map_err(|e| Trouble::Broken(format!("{}: {e}", scripts.display())))?;
    for (name, program, script, ask) in PORTS {
        if !silent(Command::new(program).args(ask)) {
            finding.notes.push(format!(
                "Not read by HdrHistogram's {name}: it is not installed here (see tests/readback)."
            ));
            continue;
        }
        lab.step(&format!("{name}: {} logs", runs.len()));
        finding.checks.push(port(name, program, &scripts.join(script), &runs));
    }
    Ok(finding)
}

fn verdict(reader: &str, runs: usize, compared: usize, wrong: &[String]) -> Check {
    let first = wrong.first().map_or_else(String::new, |w| format!("; {w}"));
    Check::new(
        format!("counts and quantiles in {runs} logs, by {reader}"),
        "as in result.json, to 0.1 %",
        format!("{} of {compared} differ{first}", wrong.len()),
        wrong.is_empty() && compared > 0,
    )
}

/// Compares a log with a result: how many numbers, and which differ.
fn judge(result: &RunResult, log: &str) -> (usize, Vec<String>) {
    let mut tags = match hlog_reader::read(log) {
        Ok(tags) => tags,
        Err(e) => return (0, vec![e]),
    };
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, metric) in &result.metrics {
        // Samples below zero and failures are in no histogram.
        let expected = metric.count - metric.infinite - metric.negative;
        let samples = tags.remove(name).unwrap_or_default();
        compared += 1;
        if samples.count() != expected {
            wrong.push(format!("{name}: {} samples, result.json has {expected}", samples.count()));
        }
        if metric.negative > 0 {
            continue;
        }
        let f = &metric.finite;
        let all = [
            (0.5, f.p50_us),
            (0.9, f.p90_us),
            (0.95, f.p95_us),
            (0.99, f.p99_us),
            (0.999, f.p999_us),
            (1.0, f.max_us),
        ];
        for (q, expected) in all.into_iter().filter_map(|(q, us)| Some((q, us?))) {
            compared += 1;
            if !same(&samples, q, expected) {
                wrong.push(format!(
                    "{name}: p{} is {:?} µs, result.json has {expected}",
                    q * 100.0,
                    samples.quantile(q)
                ));
            }
        }
    }
    wrong.extend(tags.keys().map(|tag| format!("{tag}: in the log and not in result.json")));
    (compared, wrong)
}

fn same(samples: &Samples, q: f64, expected: i64) -> bool {
    let Some(found) = samples.quantile(q).filter(|_| samples.count() > 0) else { return false };
    (found as f64 - expected as f64).abs() <= expected.abs() as f64 * RESOLUTION + 1.0
}

fn write_scripts(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    SCRIPTS.iter().try_for_each(|(name, text)| fs::write(dir.join(name), text))
}

/// True when it runs and succeeds.
fn silent(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|s| s.success())
}

/// Runs a script on every run.
fn port(name: &str, program: &str, script: &Path, runs: &[PathBuf]) -> Check {
    let mut wrong = Vec::new();
    for dir in runs {
        match Command::new(program).arg(script).arg(dir).stdin(Stdio::null()).output() {
            Ok(o) if o.status.success() => {}
            Ok(o) => {
                let said = String::from_utf8_lossy(&o.stderr).lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{}: {said}", dir.display()));
            }
            Err(e) => wrong.push(format!("{program}: {e}")),
        }
    }
    Check::new(
        format!("counts and quantiles in {} logs, by HdrHistogram's {name}", runs.len()),
        "as in result.json, to 0.1 %",
        format!(
            "{} logs differ{}",
            wrong.len(),
            wrong.first().map_or_else(String::new, |w| format!("; {w}"))
        ),
        wrong.is_empty(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::HlogWriter;
    use crate::report::sample::{self, Kind};
    use crate::time::Micros;

    fn log(sample: &sample::Sample) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut log = HlogWriter::create(dir.path(), std::time::SystemTime::now()).unwrap();
        for (point, samples) in sample.result.intervals.iter().zip(&sample.intervals) {
            for (metric, d) in samples {
                if let Some(h) = d.positive() {
                    log.write(metric.name(), Micros(point.start_us), Micros(point.width_us), &h).unwrap();
                }
            }
        }
        log.finish().unwrap();
        fs::read_to_string(dir.path().join("histograms.hlog")).unwrap()
    }

    #[test]
    fn a_true_log_agrees_and_a_changed_one_does_not() {
        let sample = sample::make(Kind::Failing, 3, 2_000);
        let text = log(&sample);
        let (compared, wrong) = judge(&sample.result, &text);
        assert!(wrong.is_empty() && compared > 20, "{compared}: {wrong:?}");
        let shorter = text.lines().filter(|l| !l.starts_with("Tag=ttfa,1")).map(|l| format!("{l}\n"));
        assert!(!judge(&sample.result, &shorter.collect::<String>()).1.is_empty(), "an interval is missing");
        let mut other = sample.result.clone();
        if let Some(p95) = other.metrics.get_mut("ttfa").and_then(|m| m.finite.p95_us.as_mut()) {
            *p95 += *p95 / 100;
        }
        assert_eq!(judge(&other, &text).1.len(), 1, "one per cent is seen");
        assert!(!judge(&sample.result, "Tag=ttfa,0.0,1.0,1.0,garbage").1.is_empty());
    }
}
