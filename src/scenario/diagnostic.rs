//! What is wrong with a scenario: everything at once, each with the place it points at, shown the way compilers do.

use std::fmt;
use std::io::IsTerminal as _;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::exit::Failure;

/// One thing that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, or `command line`, or `environment`.
    pub origin: String,
    /// Line and column, from 1; `None` when there is no place to point at, as for a key that is missing.
    pub position: Option<(u32, u32)>,
    /// What is wrong.
    pub message: String,
    /// What was expected, or what to try.
    pub help: Option<String>,
    /// What the position is in, for rendering.
    place: Option<Place>,
}

/// A part of one of the texts that a scenario was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the text.
    pub(crate) source: usize,
    /// Its bytes.
    pub(crate) span: Range<usize>,
}

/// A text that a scenario was made from.
#[derive(Clone, Debug)]
struct SourceText {
    origin: String,
    text: String,
    /// Parts that must not be shown.
    masks: Vec<Range<usize>>,
}

impl SourceText {
    /// The text as it may be shown: the same length, so that positions hold.
    fn masked(&self) -> String {
        let mut bytes = self.text.clone().into_bytes();
        for range in &self.masks {
            for byte in bytes.get_mut(range.clone()).into_iter().flatten() {
                if *byte != b'\n' && *byte != b'\r' {
                    *byte = b'*';
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Everything that is wrong with a scenario.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    sources: Vec<SourceText>,
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What is wrong, in the order of the file.
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    pub(crate) fn add_source(&mut self, origin: impl Into<String>, text: impl Into<String>) -> usize {
        self.sources.push(SourceText { origin: origin.into(), text: text.into(), masks: Vec::new() });
        self.sources.len() - 1
    }

    /// The text of a source at a span; empty when out of range.
    pub(super) fn slice(&self, place: &Place) -> &str {
        self.sources.get(place.source).and_then(|s| s.text.get(place.span.clone())).unwrap_or("")
    }

    /// Never show this part.
    pub(super) fn mask(&mut self, place: Place) {
        if let Some(source) = self.sources.get_mut(place.source) {
            source.masks.push(place.span);
        }
    }

    pub(crate) fn push(&mut self, place: Option<Place>, message: impl Into<String>, help: impl Into<String>) {
        let source = place.as_ref().and_then(|p| self.sources.get(p.source));
        let help = help.into();
        let diagnostic = Diagnostic {
            origin: source.map_or_else(String::new, |s| s.origin.clone()),
            position: source.zip(place.as_ref()).map(|(s, p)| line_and_column(&s.text, p.span.start)),
            message: message.into(),
            help: (!help.is_empty()).then_some(help),
            place,
        };
        if !self.items.contains(&diagnostic) {
            self.items.push(diagnostic);
        }
    }

    /// Of a text whose first `n` problems are syntax errors: drops later ones on the same lines.
    pub(super) fn keep_first_of_each_line(&mut self, source: usize, n: usize) {
        let of_source = |d: &Diagnostic| d.place.as_ref().is_some_and(|p| p.source == source);
        let line = |d: &Diagnostic| d.position.map(|(line, _)| line);
        let broken: Vec<_> = self.items.iter().filter(|d| of_source(d)).take(n).map(line).collect();
        let mut seen = 0;
        self.items.retain(|d| {
            seen += usize::from(of_source(d));
            !of_source(d) || seen <= n || !broken.contains(&line(d))
        });
    }

    /// What is wrong with another text that this one names.
    pub(crate) fn absorb(&mut self, other: Self) {
        let by = self.sources.len();
        self.sources.extend(other.sources);
        self.items.extend(other.items.into_iter().map(|mut d| {
            if let Some(place) = &mut d.place {
                place.source += by;
            }
            d
        }));
    }

    /// In the order of the texts; what has no place comes last.
    pub(crate) fn sort(&mut self) {
        self.items.sort_by_key(|d| d.place.as_ref().map_or((usize::MAX, 0), |p| (p.source, p.span.start)));
    }

    /// As text for people, like a compiler's, with colours or without.
    pub fn render(&self, colours: bool) -> String {
        let renderer =
            if colours { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let masked: Vec<_> = self.sources.iter().map(SourceText::masked).collect();
        let mut blocks = Vec::new();
        for d in &self.items {
            let mut group = match &d.place {
                Some(place) => {
                    let text = masked.get(place.source).map_or("", String::as_str);
                    Level::ERROR.primary_title(d.message.as_str()).element(
                        Snippet::source(text)
                            .path(d.origin.as_str())
                            .annotation(AnnotationKind::Primary.span(visible(text, &place.span))),
                    )
                }
                None => annotate_snippets::Group::with_title(Level::ERROR.primary_title(d.message.as_str())),
            };
            if let Some(help) = &d.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            blocks.push(renderer.render(&[group]));
        }
        blocks.join("\n\n")
    }
}

/// The span within the text, on character boundaries and at least one character wide where there is one.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    if end == start {
        end += text[start..].chars().next().map_or(0, char::len_utf8);
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

fn line_and_column(text: &str, at: usize) -> (u32, u32) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(line), narrow(column))
}

/// Without colours.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// Exit code 2, with colours where standard error takes them and `NO_COLOR` does not forbid them.
impl From<Diagnostics> for Failure {
    fn from(d: Diagnostics) -> Self {
        let colours =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let mut origins: Vec<&str> =
            d.items.iter().map(|i| i.origin.as_str()).filter(|o| !o.is_empty()).collect();
        origins.dedup();
        let whose = if origins.is_empty() { "the scenario".to_owned() } else { origins.join(", ") };
        let problems = match d.items.len() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        Self::usage(format!("{problems} in {whose}\n\n{}", d.render(colours)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "a = 1\nµ = \"x\"\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('"').unwrap()), (2, 5));
        assert_eq!(line_and_column(text, text.len()), (3, 1));
    }

    #[test]
    fn masks_keep_positions_and_hide_text() {
        let mut d = Diagnostics::default();
        let source = d.add_source("a.toml", "token = \"hush\"\n");
        d.mask(Place { source, span: 9..13 });
        d.push(Some(Place { source, span: 0..5 }), "no", "");
        let text = d.to_string();
        assert!(text.contains("token = \"****\"") && !text.contains("hush"), "{text}");
    }
}
