//! What was proven, for people and for programs: a table for the terminal, `proof.md`, `proof.json`, the charts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Check, Made, Outcome, Proof, Proven};

impl Outcome {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "FAILS",
            Self::Undecided => "undecided",
            Self::Broken => "broken",
        }
    }
}

/// The table of one proof, for a terminal.
pub fn table(made: &Made) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<8} {} ({:.0} s): {}",
        made.proof.name(),
        made.outcome.word(),
        made.seconds,
        made.claim
    );
    if !made.why.is_empty() {
        let _ = writeln!(text, "  {}", made.why);
    }
    for Check { what, expected, seen, ok } in &made.finding.checks {
        let mark = if *ok { "ok " } else { "NOT" };
        let _ = writeln!(text, "  {mark} {what}: {seen} (expected: {expected})");
    }
    text
}

/// Writes `proof.json`, `proof.md` and the charts into `dir`; what was written.
pub fn write(proven: &Proven, dir: &Path) -> Result<Vec<PathBuf>, String> {
    let json = serde_json::to_string_pretty(proven).map_err(|e| format!("proof.json: {e}"))? + "\n";
    let mut files = vec![("proof.md".to_owned(), markdown(proven)), ("proof.json".to_owned(), json)];
    let charts = proven.proofs.iter().flat_map(|m| &m.finding.charts);
    files.extend(charts.map(|c| (c.file.clone(), c.svg.clone())));
    files
        .into_iter()
        .map(|(name, text)| {
            let file = dir.join(name);
            fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
            Ok(file)
        })
        .collect()
}

fn markdown(p: &Proven) -> String {
    let mut text = String::new();
    let held = p.proofs.iter().filter(|m| m.outcome == Outcome::Holds).count();
    let _ = writeln!(text, "# {held} of {} proofs hold\n", p.proofs.len());
    let _ = writeln!(
        text,
        "voxload {}, {}, {} cores, {}, {}.{}{}\n",
        p.voxload_version,
        p.started_at,
        p.host.cores,
        p.host.cpu,
        p.host.os,
        if p.quick { " Shortened with `--quick`: fewer turns, less statistical power." } else { "" },
        if p.interrupted { " Interrupted: not all proofs were made." } else { "" },
    );
    let _ = writeln!(text, "| proof | claim | |\n|---|---|---|");
    for m in &p.proofs {
        let _ = writeln!(text, "| [{0}](#{0}) | {1} | {2} |", m.proof.name(), m.claim, m.outcome.word());
    }
    for m in &p.proofs {
        section(&mut text, m);
    }
    let missing: Vec<_> =
        Proof::ALL.iter().filter(|a| p.proofs.iter().all(|m| m.proof != **a)).map(|a| a.name()).collect();
    if !missing.is_empty() {
        let _ = writeln!(text, "\nNot made: {}.", missing.join(", "));
    }
    text
}

fn section(text: &mut String, m: &Made) {
    let _ = writeln!(
        text,
        "\n## {}\n\n{}: {} ({:.0} s).\n",
        m.proof.name(),
        m.claim,
        m.outcome.word(),
        m.seconds
    );
    if !m.why.is_empty() {
        let _ = writeln!(text, "{}\n", m.why);
    }
    if !m.finding.checks.is_empty() {
        let _ = writeln!(text, "| | expected | seen | |\n|---|---|---|---|");
        // Only bars would break a table.
        let cell = |t: &str| t.replace('|', "\\|").replace('\n', " ");
        for c in &m.finding.checks {
            let ok = if c.ok { "ok" } else { "**not**" };
            let _ =
                writeln!(text, "| {} | {} | {} | {ok} |", cell(&c.what), cell(&c.expected), cell(&c.seen));
        }
    }
    for note in &m.finding.notes {
        let _ = writeln!(text, "\n{note}");
    }
    for c in &m.finding.charts {
        let _ = writeln!(text, "\n![{}]({})", c.caption, c.file);
    }
    if !m.runs.is_empty() {
        let runs: Vec<_> = m.runs.iter().map(|r| format!("[{0}]({0})", r)).collect();
        let _ = writeln!(text, "\nRuns: {}.", runs.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Drawing, Finding};
    use super::*;

    fn proven() -> Proven {
        let finding = Finding {
            checks: vec![
                Check::new("|error|", "p50 ≤ 1 ms", "p50 300 µs", true),
                Check::new("lost", "0", "3", false),
            ],
            notes: vec!["A note.".to_owned()],
            charts: vec![Drawing {
                file: "chart.svg".to_owned(),
                caption: "A chart.".to_owned(),
                svg: "<svg/>".to_owned(),
            }],
        };
        let made = |proof: Proof, outcome, why: &str, finding| Made {
            proof,
            claim: proof.claim(),
            outcome,
            why: why.to_owned(),
            seconds: 3.2,
            runs: vec![format!("runs/{}", proof.name())],
            finding,
        };
        Proven {
            schema_version: 1,
            voxload_version: "0.0.0",
            started_at: "2026-01-31T12:00:00Z".to_owned(),
            quick: true,
            interrupted: false,
            host: crate::report::result::HostInfo {
                os: "an OS".to_owned(),
                cpu: "a CPU".to_owned(),
                cores: 2,
                ..Default::default()
            },
            proofs: vec![
                made(Proof::Delays, Outcome::Fails, "", finding),
                made(Proof::Freeze, Outcome::Undecided, "too busy", Finding::default()),
            ],
        }
    }

    #[test]
    fn for_people() {
        let p = proven();
        insta::assert_snapshot!(markdown(&p) + "\n---\n" + &table(&p.proofs[0]) + &table(&p.proofs[1]));
    }

    #[test]
    fn for_programs() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(&proven(), dir.path()).unwrap();
        assert_eq!(files.len(), 3);
        assert_eq!(fs::read_to_string(dir.path().join("chart.svg")).unwrap(), "<svg/>");
        let text = fs::read_to_string(dir.path().join("proof.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let proof = &json["proofs"][0];
        assert_eq!((&proof["proof"], &proof["outcome"]), (&"delays".into(), &"fails".into()));
        assert_eq!(proof["checks"][1]["ok"], false);
        assert!(!text.contains("<svg"), "the drawing is a file of its own");
    }
}
