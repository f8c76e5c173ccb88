//! A capacity's files: written whole or not at all, and read with an explanation when it is something else.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::document::{CapacityReport, SCHEMA_VERSION};
use super::{html, markdown};
use crate::report::{Written, chart};

/// The name of the document.
pub const FILE: &str = "capacity.json";

/// Writes everything into the folder, the document first. A file that fails is a problem; the others are written all
/// the same.
pub fn write(r: &CapacityReport, dir: &Path) -> Written {
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
    put(FILE, serde_json::to_string_pretty(r).map(|t| t + "\n").map_err(|e| e.to_string()));
    put("capacity.md", Ok(markdown::render(r)));
    let (charts, problem) = match chart::capacity(r) {
        Ok(charts) => (charts, None),
        Err(e) => (Vec::new(), Some(format!("the charts cannot be drawn: {e}"))),
    };
    put("capacity.html", html::render(r, &charts));
    for c in charts {
        put(&format!("{}.svg", c.name), Ok(c.svg));
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
    sentence: Option<String>,
}

/// Reads a capacity, a file or its folder.
pub fn read(path: &Path) -> Result<CapacityReport, String> {
    let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    parse(&text).map_err(|e| format!("{}: {e}", file.display()))
}

fn parse(text: &str) -> Result<CapacityReport, String> {
    let header: Header = serde_json::from_str(text).map_err(|e| format!("not a capacity: {e}"))?;
    match (header.schema_version, header.sentence) {
        (Some(SCHEMA_VERSION), Some(_)) => serde_json::from_str(text).map_err(|e| format!("damaged: {e}")),
        (Some(other), Some(_)) => {
            Err(format!("its layout is version {other}, and this voxload reads version {SCHEMA_VERSION}"))
        }
        _ => Err("not a capacity: it has no schema_version or sentence".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let r = sample::found();
        let written = write(&r, dir.path());
        assert_eq!(written.problems, Vec::<String>::new());
        let names: Vec<_> = written.files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, [FILE, "capacity.md", "capacity.html", "capacity.svg", "throughput.svg"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "nothing temporary is left");
        let json = |r: &CapacityReport| serde_json::to_value(r).unwrap();
        assert_eq!(json(&read(dir.path()).unwrap()), json(&r));
        let page = fs::read_to_string(dir.path().join("capacity.html")).unwrap();
        assert!(page.contains("<svg role=\"img\"") && !page.contains("<script"), "{page}");
        let text = fs::read_to_string(dir.path().join("capacity.md")).unwrap();
        let [load, low, high] = r.answer.map(|a| [a.load, a.low, a.high]).unwrap();
        assert!(
            text.contains(&format!("one server carries {load} devices (95 % interval {low}…{high})")),
            "{text}"
        );
    }

    #[test]
    fn other_files_are_explained() {
        for (text, says) in [
            ("", "not a capacity"),
            ("{\"schema_version\": 1}", "no schema_version or sentence"),
            ("{\"schema_version\": 9, \"sentence\": \"x\"}", "layout is version 9"),
            ("{\"schema_version\": 1, \"sentence\": \"x\"}", "damaged: missing field"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(says), "{text}: {e}");
        }
        let e = read(Path::new("/nowhere/capacity.json")).unwrap_err();
        assert!(e.contains("cannot read /nowhere/capacity.json"), "{e}");
    }
}
