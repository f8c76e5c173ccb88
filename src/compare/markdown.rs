//! `compare.md`: the comparison as GitHub Markdown, for a pull request or a chat.

use std::fmt::Write as _;

use super::document::{Answer, Document};
use super::terminal::{HEADINGS, RUN_HEADINGS, also_worse, cells, difference, run_cells, within_run};
use crate::exit::Exit;
use crate::report::markdown::escape;

/// The document.
pub(super) fn render(d: &Document) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut out, d);
    out
}

fn body(out: &mut String, d: &Document) -> std::fmt::Result {
    let sign = match Exit::from_code(d.verdict.exit_code) {
        Some(Exit::Good) => "✅",
        Some(Exit::Regression) => "❌",
        _ => "⚠️",
    };
    writeln!(out, "# {sign} {}: {}\n", super::terminal::word(d), escape(&d.new.name))?;
    writeln!(out, "**{}**\n", escape(&d.verdict.sentence))?;
    if let Some(text) = also_worse(d) {
        writeln!(out, "- ⚠️ {}", escape(&text))?;
    }
    for text in &d.notes {
        writeln!(out, "- {}", escape(text))?;
    }
    if let Some(text) = within_run(d) {
        writeln!(out, "- {}", escape(&text))?;
    }
    writeln!(out, "\n## Metrics\n")?;
    writeln!(out, "| | {} | |", HEADINGS.join(" | "))?;
    writeln!(out, "|---|{}---|", "---|".to_owned() + &"---:|".repeat(HEADINGS.len() - 1))?;
    for c in &d.metrics {
        let mark = match c.answer {
            Answer::Worse => "❌",
            Answer::Inconclusive => "–",
            _ => "✅",
        };
        let row: Vec<String> = cells(c).iter().map(|c| escape(c)).collect();
        writeln!(out, "| {mark} | {} | {} |", row.join(" | "), escape(&c.advice))?;
    }
    writeln!(out, "\nThe first decides; the others advise.\n")?;
    if !d.differences.is_empty() {
        writeln!(out, "## What differs besides\n")?;
        for x in &d.differences {
            writeln!(out, "- {}", escape(&difference(x)))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "## Runs\n\n| {} |\n|{}", RUN_HEADINGS.join(" | "), "---|".repeat(RUN_HEADINGS.len()))?;
    for row in run_cells(d) {
        let row: Vec<String> = row.iter().map(|c| escape(c)).collect();
        writeln!(out, "| {} |", row.join(" | "))?;
    }
    writeln!(out, "\n## Again\n\n`{}`", d.command.replace('`', "'"))
}
