//! A sweep's files: written whole or not at all, the document first.

use std::path::Path;

use super::document::Sweep;
use super::{csv, html, markdown};
use crate::report::{Writer, Written, chart};

/// The name of the document.
pub const FILE: &str = "sweep.json";
/// The name of the Markdown.
pub const MARKDOWN: &str = "sweep.md";

/// Writes everything into the folder. A file that fails is a problem; the others are written all the same.
pub fn write(s: &Sweep, dir: &Path) -> Written {
    let mut out = Writer::new(dir);
    out.document(FILE, s);
    out.text(MARKDOWN, &markdown::render(s));
    out.rendered("sweep.csv", csv::render(s));
    let (charts, problems) = chart::sweep(s);
    out.rendered("sweep.html", html::render(s, &charts));
    if !charts.is_empty() && out.folder("charts") {
        out.charts("charts/", &charts);
    }
    problems.into_iter().for_each(|p| out.problem(p));
    out.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            [
                "sweep.json",
                "sweep.md",
                "sweep.csv",
                "sweep.html",
                "charts/pareto.svg",
                "charts/pareto.png",
                "charts/heat.svg",
                "charts/heat.png"
            ]
        );
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let back: Sweep = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), serde_json::to_value(&s).unwrap());
        let page = fs::read_to_string(dir.path().join("sweep.html")).unwrap();
        assert_eq!(page.matches("<svg role=\"img\"").count(), 2);
        assert!(page.matches("<script").count() == 1 && !page.contains("src=") && page.contains(&s.answer));
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
