//! Files of a report: each written whole or not at all; one that fails does not keep the others from being written.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Written;
use super::chart::Chart;

/// Writes files into a folder.
pub(crate) struct Writer<'a> {
    dir: &'a Path,
    written: Written,
}

impl<'a> Writer<'a> {
    /// Into this folder, which exists.
    pub(crate) fn new(dir: &'a Path) -> Self {
        Self { dir, written: Written::default() }
    }

    /// What was written, and what could not be.
    pub(crate) fn finish(self) -> Written {
        self.written
    }

    /// Something that is missing, for a reason of its own.
    pub(crate) fn problem(&mut self, problem: String) {
        self.written.problems.push(problem);
    }

    /// A file was written by somebody else, or was not.
    pub(super) fn done(&mut self, path: PathBuf, done: Result<(), String>) {
        match done {
            Ok(()) => self.written.files.push(path),
            Err(e) => self.written.problems.push(e),
        }
    }

    /// A document, as JSON that people can read.
    pub(crate) fn document(&mut self, name: &str, document: &impl Serialize) {
        let text = serde_json::to_string_pretty(document).map(|t| t + "\n");
        self.rendered(name, text.map_err(|e| e.to_string()));
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let path = self.dir.join(name);
        let done = replace(&path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()));
        self.done(path, done);
    }

    /// A text, if it could be made.
    pub(crate) fn rendered(&mut self, name: &str, text: Result<String, String>) {
        match text {
            Ok(text) => self.text(name, &text),
            Err(e) => self.problem(format!("{name} cannot be rendered: {e}")),
        }
    }

    /// Charts as drawings and as pictures; `folder` is empty, or ends with a slash.
    pub(crate) fn charts(&mut self, folder: &str, charts: &[Chart]) {
        for c in charts {
            self.svg(folder, c);
            self.png(folder, c);
        }
    }

    pub(super) fn svg(&mut self, folder: &str, chart: &Chart) {
        self.text(&format!("{folder}{}.svg", chart.name), &chart.svg);
    }

    pub(super) fn png(&mut self, folder: &str, chart: &Chart) {
        match chart.png() {
            Ok(png) => self.bytes(&format!("{folder}{}.png", chart.name), &png),
            Err(e) => self.problem(e),
        }
    }

    /// A folder in the folder; false when it cannot be made.
    pub(crate) fn folder(&mut self, name: &str) -> bool {
        let path = self.dir.join(name);
        match fs::create_dir_all(&path) {
            Ok(()) => true,
            Err(e) => {
                self.problem(format!("cannot create {}: {e}", path.display()));
                false
            }
        }
    }
}

/// Who reads it while it is written sees the old one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}
