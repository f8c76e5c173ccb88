//! `calibration.md`: the same as GitHub Markdown.

use std::fmt::Write as _;

use super::document::Calibration;
use super::words;
use crate::report::markdown::escape;

/// The document.
pub(super) fn render(c: &Calibration) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut out, c);
    out
}

fn body(out: &mut String, c: &Calibration) -> std::fmt::Result {
    writeln!(out, "# Calibration\n\n**{}**\n", escape(&words::headline(c)))?;
    writeln!(out, "{}", escape(&words::setting(c)))?;
    if let Some(text) = words::partial(c) {
        writeln!(out, "\n**{}**", escape(text))?;
    }
    for s in words::sections(c) {
        s.markdown(out)?;
    }
    if !c.remarks.is_empty() {
        writeln!(out, "\n## Remarks\n")?;
        for r in &c.remarks {
            writeln!(out, "- {}", escape(r))?;
        }
    }
    Ok(())
}
