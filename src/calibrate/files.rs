//! A calibration's files: written whole or not at all, and read with an explanation when it is something else.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::document::{Calibration, SCHEMA_VERSION};
use super::{html, markdown};
use crate::report::{Written, chart};

/// The name of the document.
pub const FILE: &str = "calibration.json";

/// The folder of a calibration, beside those of runs.
pub const FOLDER: &str = "calibration";

/// Writes everything into the folder, the document first. A file that fails is a problem; the others are written all
/// the same.
pub fn write(c: &Calibration, dir: &Path) -> Written {
    let mut written = Written::default();
    let mut put = |name: &str, text: Result<String, String>| {
        let path = dir.join(name);
        let done = text.map_err(|e| format!("{name} cannot be rendered: {e}")).and_then(|text| {
            replace(&path, &text).map_err(|e| format!("cannot write {}: {e}", path.display()))
        });
        match done {
            Ok(()) => written.files.push(path),
            Err(e) => written.problems.push(e),
        }
    };
    put(FILE, serde_json::to_string_pretty(c).map(|t| t + "\n").map_err(|e| e.to_string()));
    put("calibration.md", Ok(markdown::render(c)));
    let (chart, problem) = match chart::calibration(c) {
        Ok(chart) => (chart, None),
        Err(e) => (None, Some(format!("the chart cannot be drawn: {e}"))),
    };
    put("calibration.html", html::render(c, chart.as_ref()));
    if let Some(chart) = chart {
        put("calibration.svg", Ok(chart.svg));
    } else {
        // One of an earlier calibration would be of other numbers than the rest.
        let _ = fs::remove_file(dir.join("calibration.svg"));
    }
    written.problems.extend(problem);
    written
}

/// Who reads it while it is written sees the old one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Just enough of the document to know what it is.
#[derive(Deserialize)]
struct Header {
    schema_version: Option<u32>,
    made_at: Option<String>,
}

/// Reads a calibration, a file or its folder.
pub fn read(path: &Path) -> Result<Calibration, String> {
    let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    parse(&text).map_err(|e| format!("{}: {e}", file.display()))
}

fn parse(text: &str) -> Result<Calibration, String> {
    let header: Header = serde_json::from_str(text).map_err(|e| format!("not a calibration: {e}"))?;
    match (header.schema_version, header.made_at) {
        (Some(SCHEMA_VERSION), Some(_)) => serde_json::from_str(text).map_err(|e| format!("damaged: {e}")),
        (Some(other), Some(_)) => {
            Err(format!("its layout is version {other}, and this voxload reads version {SCHEMA_VERSION}"))
        }
        _ => Err("not a calibration: it has no schema_version or made_at".to_owned()),
    }
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
        assert_eq!(names, [FILE, "calibration.md", "calibration.html", "calibration.svg"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing temporary is left");
        let json = |c: &Calibration| serde_json::to_value(c).unwrap();
        assert_eq!(json(&read(dir.path()).unwrap()), json(&c));
        let page = fs::read_to_string(dir.path().join("calibration.html")).unwrap();
        assert!(page.contains("<svg role=\"img\"") && !page.contains("<script"), "{page}");
    }

    #[test]
    fn a_part_leaves_no_chart_of_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let c = sample::calibration();
        write(&c, dir.path());
        let part = Calibration { wakeups: None, capacity: None, ..c };
        assert_eq!(write(&part, dir.path()).files.len(), 3);
        assert!(!dir.path().join("calibration.svg").exists());
    }

    #[test]
    fn other_files_are_explained() {
        for (text, says) in [
            ("", "not a calibration"),
            ("{\"schema_version\": 1}", "no schema_version or made_at"),
            ("{\"schema_version\": 9, \"made_at\": \"x\"}", "layout is version 9"),
            ("{\"schema_version\": 1, \"made_at\": \"x\"}", "damaged: missing field"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(says), "{text}: {e}");
        }
        let e = read(Path::new("/nowhere/calibration.json")).unwrap_err();
        assert!(e.contains("cannot read /nowhere/calibration.json"), "{e}");
    }
}
