//! What a CI server shows without anybody opening a file: the Markdown of a report as the step's summary, and annotations.
//!
//! GitHub reads both: `$GITHUB_STEP_SUMMARY` names a file to append Markdown to, and lines such as `::error title=…::…`, on
//! standard output or standard error, become annotations. GitLab has neither; there, and for every other CI server,
//! `junit.xml` says the same (docs/ci.md).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

mod annotation;
mod summary;
mod words;

pub use annotation::{Annotation, Level, MOST, lines};
pub use summary::append;
pub use words::{of_capacity, of_comparison, of_run, of_series, of_sweep};

/// The file that GitHub shows as the summary of a step.
pub const SUMMARY: &str = "GITHUB_STEP_SUMMARY";
/// `true` on GitHub.
pub const ACTIONS: &str = "GITHUB_ACTIONS";

/// The CI server that watches, if one does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ci {
    /// Where Markdown goes.
    summary: Option<PathBuf>,
    /// It understands annotations.
    annotations: bool,
}

impl Ci {
    /// By the environment.
    pub fn here() -> Self {
        Self::of(|name| env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let summary = variable(SUMMARY).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { summary, annotations: variable(ACTIONS).is_some_and(|v| v == "true") }
    }

    /// Shows a report: its Markdown, a file that is there, is appended to the step's summary. The error is for the user.
    pub fn summarise(&self, markdown: &Path) -> Result<(), String> {
        let Some(to) = &self.summary else { return Ok(()) };
        let text = std::fs::read_to_string(markdown)
            .map_err(|e| format!("{SUMMARY}: cannot read {}: {e}", markdown.display()))?;
        append(to, &text)
    }

    /// The lines that make annotations of these; nothing where nobody would read them.
    pub fn annotations(&self, all: &[Annotation]) -> String {
        if self.annotations { lines(all) } else { String::new() }
    }
}

/// Runs that are a part of something larger tell the CI server nothing: it is told what came of all of them, once.
pub fn hide_from(command: &mut Command) {
    command.env_remove(SUMMARY).env_remove(ACTIONS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_who_watches() {
        let of = |all: &[(&str, &str)]| {
            Ci::of(|name| all.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into()))
        };
        let note = [Annotation::new(Level::Notice, "a", "b")];
        assert_eq!(of(&[]), Ci::default());
        assert_eq!(of(&[(SUMMARY, ""), (ACTIONS, "false")]), Ci::default());
        assert_eq!(of(&[(ACTIONS, "true")]).annotations(&note), "::notice title=a::b\n");
        assert_eq!(of(&[(SUMMARY, "x.md")]).annotations(&note), "");
        assert_eq!(of(&[(SUMMARY, "x.md")]).summary, Some(PathBuf::from("x.md")));
    }

    #[test]
    fn a_report_is_appended_and_none_is_no_matter_without_a_summary() {
        let dir = tempfile::tempdir().unwrap();
        let (report, summary) = (dir.path().join("summary.md"), dir.path().join("step.md"));
        assert_eq!(Ci::default().summarise(&report), Ok(()), "nobody watches");
        let ci = Ci { summary: Some(summary.clone()), annotations: false };
        assert!(ci.summarise(&report).unwrap_err().contains("cannot read"));
        std::fs::write(&report, "# one\n").unwrap();
        ci.summarise(&report).unwrap();
        ci.summarise(&report).unwrap();
        assert_eq!(std::fs::read_to_string(&summary).unwrap(), "# one\n\n# one\n\n");
    }
}
