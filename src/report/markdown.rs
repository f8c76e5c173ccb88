//! `summary.md`: the summary as GitHub Markdown, for a pull request or a chat.

use std::fmt::Write as _;

use super::result::{Status, ThresholdVerdict};
use super::text::{count, harmless, one_line};
use super::view::{Fact, Grid, View};

/// The summary.
pub(super) fn render(view: &View<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut text, view);
    text
}

fn body(out: &mut String, view: &View<'_>) -> std::fmt::Result {
    let r = view.result;
    let sign = match r.verdict.status {
        Status::Pass => "✅",
        Status::Fail => "❌",
        Status::Invalid => "⚠️",
        Status::Interrupted => "⏹️",
    };
    // The first line says whether the rest is worth reading.
    let word = match r.verdict.status {
        Status::Invalid => String::new(),
        _ => format!(", {}", view.word()),
    };
    writeln!(out, "# {sign} {}{word}: {}\n", view.validity_word(), escape(&r.name))?;
    writeln!(out, "{}: {}\n", view.validity_word(), escape(&view.validity()))?;
    let (loosened, tightened) = view.changed_limits();
    for line in &loosened {
        writeln!(out, "- ⚠️ **{}**", escape(line))?;
    }
    for line in &tightened {
        writeln!(out, "- {}", escape(line))?;
    }
    if !loosened.is_empty() || !tightened.is_empty() {
        writeln!(out)?;
    }
    if r.verdict.status != Status::Invalid {
        writeln!(out, "**{}: {}**\n", view.word(), escape(&view.headline()))?;
    }
    for reason in &r.verdict.reasons {
        writeln!(out, "- {}", escape_all(reason))?;
    }
    if !r.verdict.reasons.is_empty() {
        writeln!(out)?;
    }
    writeln!(out, "{}  ", escape(&view.setting()))?;
    writeln!(out, "{}, seed {}, voxload {}\n", escape(&r.started_at), r.seed, escape(&r.voxload_version))?;

    writeln!(out, "## Thresholds\n")?;
    if r.thresholds.is_empty() {
        writeln!(out, "none\n")?;
    } else {
        writeln!(out, "| | threshold | actual | |\n|---|---|---:|---|")?;
        for t in &r.thresholds {
            let mark = match view.threshold_mark(t).0 {
                ThresholdVerdict::Pass => "✅",
                ThresholdVerdict::Fail => "❌",
                ThresholdVerdict::Undecided => "❔ undecided",
            };
            writeln!(
                out,
                "| {mark} | {} | {} | {} |",
                code(&t.expression),
                escape(&t.actual_text),
                escape(&view.threshold_note(t))
            )?;
        }
        writeln!(out)?;
        if let Some(course) = view.course() {
            writeln!(out, "{}\n", escape(&course))?;
        }
    }

    writeln!(out, "## Latency in ms, from the end of speech\n")?;
    let lines = view.latency();
    if lines.is_empty() {
        writeln!(out, "no turn was counted\n")?;
    } else {
        let headings = View::headings();
        writeln!(out, "| metric | {} |", headings.join(" | "))?;
        writeln!(out, "|---|{}", "---:|".repeat(headings.len()))?;
        for l in lines {
            let cells = l.cells.join(" | ");
            let name = if l.twin { "↳ uncorrected" } else { &l.name };
            writeln!(out, "| {name} | {} | {cells} | {} |", l.count, count(l.infinite))?;
        }
        writeln!(out)?;
        for note in view.latency_notes() {
            writeln!(out, "- {}", escape(&note))?;
        }
        writeln!(out)?;
    }

    writeln!(out, "## Turns and failures\n")?;
    writeln!(out, "- turns: {}", escape(&view.turns()))?;
    writeln!(out, "- connections: {}", escape(&view.connections()))?;
    if let Some(connect) = view.connect() {
        writeln!(out, "- connect: {}", escape(&connect))?;
    }
    writeln!(out)?;
    let failures = view.failures();
    if !failures.is_empty() {
        writeln!(out, "| class | affected | meaning | first one |\n|---|---:|---|---|")?;
        for f in failures {
            writeln!(
                out,
                "| {} | {} | {} | {}: {} |",
                code(&f.class),
                f.affected,
                escape(&f.explanation),
                escape(&f.place),
                code(&f.detail)
            )?;
        }
        writeln!(out)?;
    }

    grid(out, "What the network cost, ms", view.groups())?;
    grid(out, "Links", view.links())?;
    grid(out, "Faults", view.faults())?;
    facts(out, "After faults", &view.recoveries())?;

    let notes = view.notes();
    if !notes.is_empty() {
        writeln!(out, "## Notes\n")?;
        for note in &notes {
            writeln!(out, "- {}", escape_all(note))?;
        }
        writeln!(out)?;
    }

    facts(out, "Audio", &view.audio())?;
    facts(out, "Barge-in", &view.barge_in())?;
    facts(out, "Generator", &view.generator())?;
    if !r.validity.checks.is_empty() {
        writeln!(out, "| | check | seen | limit | likely cause | try |\n|---|---|---:|---:|---|---|")?;
    }
    for c in &r.validity.checks {
        let mark = match (c.ok, View::measured(c)) {
            (false, _) => "❌",
            (true, true) => "✅",
            (true, false) => "–",
        };
        writeln!(
            out,
            "| {mark} | {} | {} | {} | {} | {} |",
            escape(&c.name),
            escape(&c.seen),
            escape(&c.limit),
            escape(&c.cause),
            escape(&c.try_this)
        )?;
    }
    if !r.validity.checks.is_empty() {
        writeln!(out)?;
    }
    facts(out, "Agreement with the reference server's own log", &view.agreement())?;
    writeln!(out, "## Again\n\n{}", code(&r.command))
}

fn grid(out: &mut String, title: &str, grid: Option<Grid>) -> std::fmt::Result {
    let Some(grid) = grid else { return Ok(()) };
    writeln!(out, "## {title}\n\n| {} |", grid.headings.join(" | "))?;
    writeln!(out, "|---|{}", "---:|".repeat(grid.headings.len().saturating_sub(1)))?;
    for row in &grid.rows {
        let cells: Vec<_> = row.cells.iter().map(|c| escape(c)).collect();
        writeln!(out, "| {}{} |", if row.part { "↳ " } else { "" }, cells.join(" | "))?;
    }
    writeln!(out)?;
    for note in &grid.notes {
        writeln!(out, "- {}", escape(note))?;
    }
    if grid.notes.is_empty() { Ok(()) } else { writeln!(out) }
}

fn facts(out: &mut String, title: &str, facts: &[Fact]) -> std::fmt::Result {
    if facts.is_empty() {
        return Ok(());
    }
    writeln!(out, "## {title}\n\n| | |\n|---|---|")?;
    for f in facts {
        writeln!(out, "| {} | {} |", escape(&f.label), escape(&f.value))?;
    }
    writeln!(out)
}

/// Text that Markdown must not read as its own, on one line and fit for a cell.
pub(crate) fn escape(text: &str) -> String {
    escape_all(&one_line(text))
}

/// The same in full.
fn escape_all(text: &str) -> String {
    let mut escaped = String::new();
    for c in harmless(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as it is, in a code span that it cannot leave.
fn code(text: &str) -> String {
    let text = one_line(text).replace('`', "'").replace('|', "\\|");
    if text.is_empty() {
        return String::new();
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_stays_text() {
        assert_eq!(escape("<img src=x> [a](b) | @all *b*"), "&lt;img src=x> \\[a\\](b) \\| &#64;all \\*b\\*");
        assert_eq!(code("a`b|c\nd"), "`a'b\\|c d`");
    }
}
