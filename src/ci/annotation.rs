//! Annotations: `::error title=…::…` in the words of GitHub's workflow commands.

use std::fmt::Write as _;

use crate::report::text::harmless;

/// GitHub shows so many annotations of each level a step, and drops the rest.
pub const MOST: usize = 10;

/// How grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The step fails because of it.
    Error,
    /// To be looked at.
    Warning,
    /// Good to know.
    Notice,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// A remark at the top of the run's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// How grave.
    pub level: Level,
    /// Its heading.
    pub title: String,
    /// What to know.
    pub message: String,
}

impl Annotation {
    /// One.
    pub fn new(level: Level, title: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level, title: title.into(), message: message.into() }
    }
}

/// The lines that GitHub makes annotations of. What it would drop without a word is counted in the last of its level.
pub fn lines(all: &[Annotation]) -> String {
    let mut out = String::new();
    for level in [Level::Error, Level::Warning, Level::Notice] {
        let these: Vec<&Annotation> = all.iter().filter(|a| a.level == level).collect();
        let shown = if these.len() > MOST { MOST - 1 } else { these.len() };
        for a in these.iter().take(shown) {
            line(&mut out, a);
        }
        let more = these.len() - shown;
        if more > 0 {
            let message = format!("{more} more of this kind: see the report");
            line(&mut out, &Annotation::new(level, "voxload", message));
        }
    }
    out
}

fn line(out: &mut String, a: &Annotation) {
    // Messages may hold what a server has said: it must neither end the line nor steer a terminal that reads the log.
    let message: Vec<String> = a.message.lines().map(harmless).collect();
    let (title, message) = (property(&harmless(&a.title)), data(&message.join("\n")));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "::{} title={title}::{message}", a.level.word());
}

/// Escaped as GitHub's toolkit escapes messages.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Likewise for properties, in which `:` ends them all and `,` one.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_a_line() {
        let a = Annotation::new(
            Level::Error,
            "gate: 95 %, p(95)\n::error::x",
            "50 % of\r\n::warning::turns, a:b\u{1b}[31m",
        );
        assert_eq!(
            lines(&[a]),
            "::error title=gate%3A 95 %25%2C p(95) %3A%3Aerror%3A%3Ax::50 %25 of%0A::warning::turns, a:b\u{fffd}[31m\n"
        );
    }

    #[test]
    fn what_would_be_dropped_is_counted() {
        let many: Vec<_> = (0..13).map(|n| Annotation::new(Level::Warning, "w", n.to_string())).collect();
        let text = lines(&[many, vec![Annotation::new(Level::Error, "e", "first")]].concat());
        let all: Vec<_> = text.lines().collect();
        assert_eq!(all.len(), 1 + MOST);
        assert_eq!(all[0], "::error title=e::first");
        assert_eq!(all[10], "::warning title=voxload::4 more of this kind: see the report");
        assert_eq!(lines(&[]), "");
    }
}
