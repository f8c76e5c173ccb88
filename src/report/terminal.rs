//! The summary at the end of a run, as wide as the terminal within 60 to 100 columns.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Color, Style as Ansi};

use super::result::{RunResult, Status, ThresholdVerdict};
use super::text::{harmless, one_line, wrap};
use super::view::{Fact, Grid, MetricLine, View};

/// Narrowest and widest lines. Tables and paths are not broken, and may be wider than a narrow terminal.
const WIDTHS: RangeInclusive<usize> = 60..=100;

/// Width of the labels on the left.
const LABEL: usize = 18;

/// Colours, or none, and the width of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colour: bool,
    width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self::plain()
    }
}

impl Style {
    /// Text only: for files, pipes, and where `NO_COLOR` is set.
    pub const fn plain() -> Self {
        Self { colour: false, width: *WIDTHS.end() }
    }

    /// With ANSI colours.
    pub const fn colour() -> Self {
        Self { colour: true, width: *WIDTHS.end() }
    }

    /// As wide as the terminal, within limits.
    #[must_use]
    pub fn wide(self, columns: usize) -> Self {
        Self { width: columns.clamp(*WIDTHS.start(), *WIDTHS.end()), ..self }
    }

    /// With colours where standard output is a terminal and `NO_COLOR` is not set, and as wide as that terminal.
    pub fn for_stdout() -> Self {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return Self::plain();
        }
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let style = if unwanted { Self::plain() } else { Self::colour() };
        // Terminals that do not know their size say 0.
        match rustix::termios::tcgetwinsize(&out).map(|size| size.ws_col) {
            Ok(columns @ 1..) => style.wide(columns.into()),
            _ => style,
        }
    }

    /// Characters in a line.
    pub(crate) const fn width(self) -> usize {
        self.width
    }

    fn paint(self, text: &str, style: Ansi) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint(text, fg(AnsiColor::Green))
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(text, fg(AnsiColor::Red).bold())
    }

    pub(crate) fn heading(self, text: &str) -> String {
        self.paint(text, Ansi::new().bold())
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.paint(text, Ansi::new().dimmed())
    }
}

const fn fg(colour: AnsiColor) -> Ansi {
    Ansi::new().fg_color(Some(Color::Ansi(colour)))
}

/// The summary of a run; `files` are the report files written, named at its end.
pub fn summary(result: &RunResult, files: &[PathBuf], style: Style) -> String {
    Summary { view: View::new(result), style, text: String::new() }.write(files)
}

struct Summary<'a> {
    view: View<'a>,
    style: Style,
    text: String,
}

impl Summary<'_> {
    fn write(mut self, files: &[PathBuf]) -> String {
        self.verdict();
        self.thresholds();
        self.latency();
        self.failures();
        let (groups, links, faults) = (self.view.groups(), self.view.links(), self.view.faults());
        self.grid("What the network cost, ms", groups);
        self.grid("Links", links);
        self.grid("Faults", faults);
        let recoveries = self.view.recoveries();
        self.facts("After faults", &recoveries);
        self.notes();
        self.facts("Audio", &self.view.audio());
        self.facts("Barge-in", &self.view.barge_in());
        self.facts("Generator", &self.view.generator());
        self.checks();
        let agreement = self.view.agreement();
        self.facts("Agreement with the reference server's own log", &agreement);
        self.files(files);
        self.text
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn section(&mut self, title: &str) {
        let title = self.style.heading(title);
        self.text.push('\n');
        self.line(&title);
    }

    /// `head` and the text beside it, broken into lines that begin below each other. `width`: of the head on screen.
    fn beside(&mut self, head: &str, width: usize, text: &str) {
        for (i, part) in wrap(text, self.style.width.saturating_sub(width)).into_iter().enumerate() {
            if i == 0 {
                self.line(&format!("{head}{part}"));
            } else {
                self.line(&format!("{:width$}{part}", ""));
            }
        }
    }

    /// `  label   text`.
    fn item(&mut self, label: &str, text: &str) {
        self.beside(&format!("  {label:<LABEL$}  "), LABEL + 4, text);
    }

    fn facts(&mut self, title: &str, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        self.section(title);
        for f in facts {
            self.item(&f.label, &f.value);
        }
    }

    fn grid(&mut self, title: &str, grid: Option<Grid>) {
        let Some(grid) = grid else { return };
        self.section(title);
        let mut rows = vec![grid.headings.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()];
        rows.extend(grid.rows.into_iter().map(|mut row| {
            if row.part {
                row.cells[0].insert_str(0, "  ");
            }
            row.cells
        }));
        for line in aligned(&rows, self.style.width) {
            self.line(&line);
        }
        for note in grid.notes {
            for part in wrap(&note, self.style.width - 2) {
                let part = self.style.faint(&part);
                self.line(&format!("  {part}"));
            }
        }
    }

    fn verdict(&mut self) {
        let (validity, word) = (self.view.validity_word(), self.view.word());
        let good = self.style.paint(validity, fg(AnsiColor::Green).bold());
        let painted = if self.view.result.validity.valid { good } else { self.style.bad(validity) };
        // Both words in one column.
        let indent = validity.len().max(word.len()) + 2;
        let gap = |word: &str| " ".repeat(indent - word.len());
        let headline = format!("{}: {}", one_line(&self.view.result.name), self.view.validity());
        self.beside(&format!("{painted}{}", gap(validity)), indent, &headline);
        let (loosened, tightened) = self.view.changed_limits();
        for line in loosened {
            let head = self.style.paint("! ", fg(AnsiColor::Yellow).bold());
            self.beside(&format!("{:indent$}{head}", ""), indent + 2, &line);
        }
        for line in tightened {
            for part in wrap(&line, self.style.width - indent) {
                let part = self.style.faint(&part);
                self.line(&format!("{:indent$}{part}", ""));
            }
        }
        let painted = match self.view.result.verdict.status {
            Status::Pass => Some(self.style.paint(word, fg(AnsiColor::Green).bold())),
            Status::Fail => Some(self.style.bad(word)),
            // Said already.
            Status::Invalid => None,
            Status::Interrupted => Some(self.style.paint(word, fg(AnsiColor::Yellow).bold())),
        };
        if let Some(painted) = painted {
            let headline = self.view.headline();
            self.beside(&format!("{painted}{}", gap(word)), indent, &headline);
        }
        for reason in &self.view.result.verdict.reasons {
            self.beside(&format!("{:indent$}- ", ""), indent + 2, &harmless(reason));
        }
        let setting = self.view.setting();
        self.beside(&" ".repeat(indent), indent, &setting);
    }

    fn notes(&mut self) {
        let notes = self.view.notes();
        if !notes.is_empty() {
            self.section("Notes");
        }
        for note in notes {
            self.beside("  - ", 4, &note);
        }
    }

    fn thresholds(&mut self) {
        let thresholds = &self.view.result.thresholds;
        let width = thresholds.iter().map(|t| t.expression.chars().count()).max().unwrap_or(0).min(44);
        self.section("Thresholds");
        if thresholds.is_empty() {
            self.line("  none");
        }
        for t in thresholds {
            let (verdict, _) = self.view.threshold_mark(t);
            let mark = match verdict {
                ThresholdVerdict::Pass => self.style.good("✓"),
                ThresholdVerdict::Fail => self.style.bad("✗"),
                ThresholdVerdict::Undecided => self.style.paint("?", fg(AnsiColor::Yellow).bold()),
            };
            let mut text = t.actual_text.clone();
            let note = self.view.threshold_note(t);
            if !note.is_empty() {
                let _ = write!(text, "  ({})", one_line(&note));
            }
            let head = format!("  {mark} {:<width$}  ", one_line(&t.expression));
            self.beside(&head, width + 6, &text);
        }
        if let Some(course) = self.view.course() {
            self.beside("  ", 2, &course);
        }
    }

    fn latency(&mut self) {
        let lines = self.view.latency();
        self.section("Latency in ms, from the end of speech");
        if lines.is_empty() {
            self.line("  no turn was counted");
            return;
        }
        for line in table(&lines, self.style.width) {
            self.line(&line);
        }
        for note in self.view.latency_notes() {
            for part in wrap(&note, self.style.width - 2) {
                let part = self.style.faint(&part);
                self.line(&format!("  {part}"));
            }
        }
    }

    fn failures(&mut self) {
        self.section("Turns and failures");
        let (turns, connections) = (self.view.turns(), self.view.connections());
        self.item("turns", &turns);
        self.item("connections", &connections);
        if let Some(connect) = self.view.connect() {
            self.item("connect", &connect);
        }
        for f in self.view.failures() {
            let class = self.style.bad(&f.class);
            self.beside(&format!("  {class}  "), f.class.chars().count() + 4, &f.affected);
            for text in [f.explanation, format!("first: {}: {}", f.place, f.detail)] {
                self.beside("      ", 6, &text);
            }
        }
    }

    /// The checks that did not hold, with what to try.
    fn checks(&mut self) {
        for c in self.view.result.validity.checks.iter().filter(|c| !c.ok) {
            let head = self.style.bad(&format!("✗ {}", c.name));
            self.line(&format!("  {head}: {}, limit {}", c.seen, c.limit));
            self.beside("      cause  ", 13, &c.cause);
            self.beside("      try    ", 13, &c.try_this);
        }
    }

    /// The folder that all are in, and its folders and files: one word for all charts, not one each.
    fn files(&mut self, files: &[PathBuf]) {
        let mut parents = files.iter().filter_map(|f| f.parent());
        let Some(mut dir) = parents.next() else { return };
        for parent in parents {
            while !parent.starts_with(dir) {
                dir = dir.parent().unwrap_or_else(|| Path::new(""));
            }
        }
        self.section("Files");
        let mut names: Vec<String> = Vec::new();
        for file in files {
            let name = match file.strip_prefix(dir) {
                Ok(relative) => match relative.parent().filter(|p| !p.as_os_str().is_empty()) {
                    Some(sub) => format!("{}/", sub.display()),
                    None => relative.display().to_string(),
                },
                Err(_) => file.display().to_string(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // A path is not wrapped: it is there to be copied.
        self.line(&format!("  {}/", dir.display()));
        self.beside("    ", 4, &names.join(" "));
    }
}

/// The table as lines; columns as wide as their widest cell, two spaces apart, or one when that is too wide.
fn table(lines: &[MetricLine], width: usize) -> Vec<String> {
    let mut rows = vec![
        std::iter::once(String::new())
            .chain(View::headings().into_iter().map(str::to_owned))
            .collect::<Vec<_>>(),
    ];
    rows.extend(lines.iter().map(|l| {
        let name = if l.twin { "  uncorrected".to_owned() } else { l.name.clone() };
        let mut row = vec![name, l.count.clone()];
        row.extend(l.cells.iter().cloned());
        row.push(super::text::count(l.infinite));
        row
    }));
    aligned(&rows, width)
}

/// The first column on the left, the others on the right.
fn aligned(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    let gap = if 2 + widths.iter().sum::<usize>() + 2 * (columns - 1) <= width { 2 } else { 1 };
    rows.iter()
        .map(|row| {
            let mut line = format!("  {:<w$}", row[0], w = widths[0]);
            for (cell, w) in row.iter().zip(&widths).skip(1) {
                let _ = write!(line, "{:gap$}{cell:>w$}", "");
            }
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn text_is_as_wide_as_the_terminal_within_limits() {
        let result = sample::make(sample::Kind::Failing, 7, 300).result;
        let widest = |columns| {
            let text = summary(&result, &[], Style::plain().wide(columns));
            let after = text.split_once("Turns and failures").unwrap().1.to_owned();
            after.lines().map(|l| l.chars().count()).max().unwrap()
        };
        assert!(widest(10) <= 60 && widest(80) <= 80 && widest(300) <= 100);
        assert!(widest(80) > 60 && widest(300) > 80);
    }
}
