//! A sweep's files: written whole or not at all, the document first.

use std::fs;
use std::path::{Path, PathBuf};

use super::document::Sweep;
use super::{csv, html, markdown};
use crate::report::{Written, chart};

/// The name of the document.
pub const FILE: &str = "sweep.json";

/// Writes everything into the folder. A file that fails is a problem; the others are written all the same.
pub fn write(s: &Sweep, dir: &Path) -> Written {
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
    put(FILE, serde_json::to_string_pretty(s).map(|t| t + "\n").map_err(|e| e.to_string()));
    put("sweep.md", Ok(markdown::render(s)));
    put("sweep.csv", csv::render(s));
    let (charts, problems) = chart::sweep(s);
    put("sweep.html", html::render(s, &charts));
    for c in &charts {
        put(&format!("charts/{}.svg", c.name), Ok(c.svg.clone()));
    }
    written.problems.extend(problems);
    written
}

/// Who reads it while it is written sees the old one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::sample;

    #[test]
    fn every_form_is_written_and_the_document_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let s = sample::judged();
        let written = write(&s, dir.path());
        assert_eq!(written.problems, Vec::<String>::new());
        let names: Vec<_> =
            written.files.iter().map(|f| f.strip_prefix(dir.path()).unwrap().display().to_string()).collect();
        assert_eq!(
            names,
            ["sweep.json", "sweep.md", "sweep.csv", "sweep.html", "charts/pareto.svg", "charts/heat.svg"]
        );
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let back: Sweep = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), serde_json::to_value(&s).unwrap());
        let page = fs::read_to_string(dir.path().join("sweep.html")).unwrap();
        assert_eq!(page.matches("<svg role=\"img\"").count(), 2);
        assert!(!page.contains("<script") && !page.contains("src=") && page.contains(&s.answer));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "nothing temporary is left");
    }

    #[test]
    fn a_sweep_without_numbers_is_written_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut s = sample::sweep();
        s.cells.iter_mut().for_each(|c| c.measured = None);
        super::super::judge::judge(&mut s);
        let written = write(&s, dir.path());
        assert_eq!(written.problems, Vec::<String>::new());
    }

    #[test]
    fn markdown_is_a_table_that_github_reads() {
        insta::assert_snapshot!(markdown::render(&sample::judged()));
    }
}
