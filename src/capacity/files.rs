//! A capacity's files: written whole or not at all, and read with an explanation when it is something else.

use std::path::Path;

use super::document::{CapacityReport, SCHEMA_VERSION};
use super::{html, markdown};
use crate::report::{Writer, Written, chart, json};

/// The name of the document.
pub const FILE: &str = "capacity.json";
/// The name of the Markdown.
pub const MARKDOWN: &str = "capacity.md";

/// Writes everything into the folder, the document first. A file that fails is a problem; the others are written all
/// the same.
pub fn write(r: &CapacityReport, dir: &Path) -> Written {
    let mut out = Writer::new(dir);
    out.document(FILE, r);
    out.text(MARKDOWN, &markdown::render(r));
    let (charts, problem) = match chart::capacity(r) {
        Ok(charts) => (charts, None),
        Err(e) => (Vec::new(), Some(format!("the charts cannot be drawn: {e}"))),
    };
    out.rendered("capacity.html", html::render(r, &charts));
    out.charts("", &charts);
    problem.into_iter().for_each(|p| out.problem(p));
    out.finish()
}

/// Reads a capacity, a file or its folder.
pub fn read(path: &Path) -> Result<CapacityReport, String> {
    json::read_other(path, FILE, ("capacity", SCHEMA_VERSION, "sentence"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::sample;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let r = sample::found();
        let written = write(&r, dir.path());
        assert_eq!(written.problems, Vec::<String>::new());
        let names: Vec<_> = written.files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                FILE,
                "capacity.md",
                "capacity.html",
                "capacity.svg",
                "capacity.png",
                "throughput.svg",
                "throughput.png"
            ]
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 7, "nothing temporary is left");
        let json = |r: &CapacityReport| serde_json::to_value(r).unwrap();
        assert_eq!(json(&read(dir.path()).unwrap()), json(&r));
        let page = fs::read_to_string(dir.path().join("capacity.html")).unwrap();
        assert!(page.contains("<svg role=\"img\"") && page.contains("script-src 'sha256-"), "{page}");
        let text = fs::read_to_string(dir.path().join("capacity.md")).unwrap();
        let [load, low, high] = r.answer.map(|a| [a.load, a.low, a.high]).unwrap();
        assert!(
            text.contains(&format!("one server carries {load} devices (95 % interval {low}…{high})")),
            "{text}"
        );
    }
}
