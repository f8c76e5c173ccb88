//! `capacity.md`: the same as GitHub Markdown.

use std::fmt::Write as _;

use super::document::CapacityReport;
use super::words;
use crate::report::markdown::escape;

/// The document.
pub(super) fn render(r: &CapacityReport) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut out, r);
    out
}

fn body(out: &mut String, r: &CapacityReport) -> std::fmt::Result {
    writeln!(
        out,
        "# Capacity: {}\n\n**{}**: {}\n",
        escape(&r.name),
        words::headline(r).0,
        escape(&r.sentence)
    )?;
    if let Some(text) = words::fleet_sentence(r) {
        writeln!(out, "{}\n", escape(&text))?;
    }
    writeln!(out, "{}", escape(&words::setting(r)))?;
    if !r.remarks.is_empty() {
        writeln!(out, "\n## Remarks\n")?;
        for remark in &r.remarks {
            writeln!(out, "- {}", escape(remark))?;
        }
    }
    for s in words::sections(r) {
        s.markdown(out)?;
    }
    writeln!(out, "\n`{}`", escape(&r.command))
}
