//! The summary of a step: a file that every command of the step appends to, and that GitHub shows only while it is small.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// GitHub refuses the whole summary of a step that has more bytes.
const LIMIT: u64 = 1 << 20;

/// What stands at the end of a report that was cut.
const CUT: &str =
    "\n\n*Cut here: GitHub shows at most 1 MiB a step. The whole report is among voxload's files.*\n\n";

/// Appends a report to the file, as much of it as there is room for. The error is for the user.
pub fn append(file: &Path, markdown: &str) -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("{}: cannot write {}: {e}", super::SUMMARY, file.display());
    let mut out = OpenOptions::new().create(true).append(true).open(file).map_err(cannot)?;
    let there = out.metadata().map_err(cannot)?.len();
    let room = usize::try_from(LIMIT.saturating_sub(there)).unwrap_or(usize::MAX);
    let Some(text) = fitting(markdown, room) else {
        return Err(format!(
            "{}: the summary of this step is full ({there} of {LIMIT} bytes); give this command a step of its own",
            super::SUMMARY
        ));
    };
    out.write_all(text.as_bytes()).map_err(cannot)
}

/// The report, an empty line after it, within so many bytes; cut between two lines where it is longer. `None`: not even the
/// remark fits.
fn fitting(markdown: &str, room: usize) -> Option<String> {
    let whole = format!("{}\n\n", markdown.trim_end());
    if whole.len() <= room {
        return Some(whole);
    }
    let mut end = room.checked_sub(CUT.len())?.min(markdown.len());
    while !markdown.is_char_boundary(end) {
        end -= 1;
    }
    let kept = markdown.get(..end)?;
    // Half a row of a table would not be one.
    let kept = kept.rfind('\n').map_or("", |newline| &kept[..newline]);
    Some(format!("{kept}{CUT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_is_cut_between_lines() {
        assert_eq!(fitting("# a\n", 100).unwrap(), "# a\n\n");
        assert_eq!(fitting("# a\n", 3), None);
        let rows = "| ö | 1 |\n".repeat(200);
        for room in CUT.len()..rows.len() {
            let text = fitting(&rows, room).unwrap();
            assert!(text.len() <= room && text.ends_with(CUT), "{room}");
            let kept = text.strip_suffix(CUT).unwrap();
            assert!(kept.lines().all(|l| l == "| ö | 1 |"), "{room}: {kept}");
        }
        assert_eq!(fitting(&rows, CUT.len() + 25).unwrap(), format!("| ö | 1 |\n| ö | 1 |{CUT}"));
    }

    #[test]
    fn a_step_never_has_more_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("step.md");
        let report = "a line of a report\n".repeat(20_000);
        let size = || std::fs::metadata(&file).unwrap().len();
        let mut said = Vec::new();
        for _ in 0..4 {
            said.push(append(&file, &report).is_ok());
            assert!(size() <= LIMIT);
        }
        assert_eq!(said, [true, true, true, false]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches("Cut here").count(), 1);
        assert!(append(&file, &report).unwrap_err().contains("full"));
        assert!(append(dir.path(), "x").unwrap_err().contains("cannot write"));
    }
}
