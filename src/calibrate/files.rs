//! A calibration's files: written whole or not at all, and read with an explanation when it is something else.

use std::fs;
use std::path::Path;

use super::document::{Calibration, SCHEMA_VERSION};
use super::{html, markdown};
use crate::report::{Writer, Written, chart, json};

/// The name of the document.
pub const FILE: &str = "calibration.json";

/// The folder of a calibration, beside those of runs.
pub const FOLDER: &str = "calibration";

/// Writes everything into the folder, the document first. A file that fails is a problem; the others are written all
/// the same.
pub fn write(c: &Calibration, dir: &Path) -> Written {
    let mut out = Writer::new(dir);
    out.document(FILE, c);
    out.text("calibration.md", &markdown::render(c));
    let (chart, problem) = match chart::calibration(c) {
        Ok(chart) => (chart, None),
        Err(e) => (None, Some(format!("the chart cannot be drawn: {e}"))),
    };
    out.rendered("calibration.html", html::render(c, chart.as_ref()));
    if let Some(chart) = chart {
        out.charts("", std::slice::from_ref(&chart));
    } else {
        // One of an earlier calibration would be of other numbers than the rest.
        for name in ["calibration.svg", "calibration.png"] {
            let _ = fs::remove_file(dir.join(name));
        }
    }
    problem.into_iter().for_each(|p| out.problem(p));
    out.finish()
}

/// Reads a calibration, a file or its folder.
pub fn read(path: &Path) -> Result<Calibration, String> {
    json::read_other(path, FILE, ("calibration", SCHEMA_VERSION, "made_at"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::sample;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let c = sample::calibration();
        let written = write(&c, dir.path());
        assert_eq!(written.problems, Vec::<String>::new());
        let names: Vec<_> = written.files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, [FILE, "calibration.md", "calibration.html", "calibration.svg", "calibration.png"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "nothing temporary is left");
        let json = |c: &Calibration| serde_json::to_value(c).unwrap();
        assert_eq!(json(&read(dir.path()).unwrap()), json(&c));
        let page = fs::read_to_string(dir.path().join("calibration.html")).unwrap();
        assert!(page.contains("<svg role=\"img\"") && page.contains("script-src 'sha256-"), "{page}");
    }

    #[test]
    fn a_part_leaves_no_chart_of_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let c = sample::calibration();
        write(&c, dir.path());
        let part = Calibration { wakeups: None, capacity: None, ..c };
        assert_eq!(write(&part, dir.path()).files.len(), 3);
        assert!(!dir.path().join("calibration.svg").exists() && !dir.path().join("calibration.png").exists());
    }
}
