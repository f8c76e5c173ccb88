//! `sweep.md`: the same as GitHub Markdown.

use std::fmt::Write as _;

use super::document::Sweep;
use super::words;
use crate::report::markdown::escape;

/// The document.
pub(super) fn render(s: &Sweep) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut out, s);
    out
}

fn body(out: &mut String, s: &Sweep) -> std::fmt::Result {
    writeln!(out, "# Sweep: {}\n\n**{}: {}**\n", escape(&s.name), words::word(s), escape(&s.answer))?;
    for reason in &s.reasons {
        writeln!(out, "- {}", escape(reason))?;
    }
    writeln!(out, "\n{}", escape(&words::setting(s)))?;
    for t in words::tables(s) {
        writeln!(out, "\n## {}\n", t.title)?;
        let headings: Vec<_> = t.headings.iter().map(|h| escape(h)).collect();
        writeln!(out, "| {} |", headings.join(" | "))?;
        writeln!(out, "|{}{}", "---|".repeat(t.texts), "---:|".repeat(t.headings.len() - t.texts))?;
        for row in &t.rows {
            let cells: Vec<_> = row.columns.iter().map(|c| escape(c)).collect();
            let cells: Vec<_> =
                cells.into_iter().map(|c| if row.best { format!("**{c}**") } else { c }).collect();
            writeln!(out, "| {} |", cells.join(" | "))?;
        }
        writeln!(out)?;
        for note in &t.notes {
            writeln!(out, "- {}", escape(note))?;
        }
    }
    for (title, lines) in
        [("Failures", words::failures(s)), ("Skipped", words::skipped(s)), ("Notes", s.notes.clone())]
    {
        if !lines.is_empty() {
            writeln!(out, "\n## {title}\n")?;
            for line in lines {
                writeln!(out, "- {}", escape(&line))?;
            }
        }
    }
    writeln!(out, "\n## How to repeat it\n\n    {}", s.command.replace('\n', " "))
}
