//! `${ENV}` in values, `{placeholders}` for values per device, and what of a text may be printed.

use std::ops::Range;

/// A text as it was written and as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// With `${ENV}` filled in.
    pub(super) value: String,
    /// As written.
    pub(super) written: String,
}

impl Text {
    /// A text without `${ENV}`.
    pub(super) fn literal(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { written: value.clone(), value }
    }

    /// True when a part comes from the environment: then `value` must not be printed.
    pub(super) fn has_variables(&self) -> bool {
        self.value != self.written
    }
}

/// What is wrong with a `${…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpandError {
    /// Where in the text.
    pub(super) span: Range<usize>,
    /// What, for people; names the variable, never its value.
    pub(super) message: String,
    /// What to try.
    pub(super) help: String,
}

/// Fills in `${NAME}` and `${NAME:-default}`; `$${` stands for `${`. Every error at once.
pub(super) fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Text, Vec<ExpandError>> {
    let mut value = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        if text[at..start].ends_with('$') {
            value.push_str(&text[at..start - 1]);
            value.push_str("${");
            at = start + 2;
            continue;
        }
        value.push_str(&text[at..start]);
        let Some(len) = text[start..].find('}') else {
            errors.push(ExpandError {
                span: start..text.len(),
                message: "`${` without `}`".to_owned(),
                help: "write `${NAME}`, or `$${` for the characters themselves".to_owned(),
            });
            at = text.len();
            break;
        };
        let end = start + len + 1;
        let inner = &text[start + 2..end - 1];
        let (name, default) =
            inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        if !is_name(name) {
            errors.push(ExpandError {
                span: start..end,
                message: format!("`{name}` is not the name of an environment variable"),
                help: "write `${NAME}` or `${NAME:-default}`".to_owned(),
            });
        } else if let Some(found) = variable(name).filter(|v| default.is_none() || !v.is_empty()) {
            value.push_str(&found);
        } else if let Some(default) = default {
            value.push_str(default);
        } else {
            errors.push(ExpandError {
                span: start..end,
                message: format!("the environment variable `{name}` is not set"),
                help: format!("set it (`export {name}=…`), or give a default: `${{{name}:-default}}`"),
            });
        }
        at = end;
    }
    value.push_str(&text[at..]);
    if errors.is_empty() { Ok(Text { value, written: text.to_owned() }) } else { Err(errors) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The `{placeholders}` of a text, with where they are; `${ENV}` is not one.
pub(super) fn placeholders(written: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = written[at..].find('{').map(|i| at + i) {
        let Some(close) = written[open..].find('}').map(|i| open + i) else {
            break;
        };
        if !written[..open].ends_with('$') {
            found.push((&written[open + 1..close], open..close + 1));
        }
        at = close + 1;
    }
    found
}

/// The parts of a URL that may carry secrets: user info, query values, fragment.
pub(super) fn secret_parts(url: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    // `//` only opens the authority when nothing but the scheme stands before it.
    let authority = match url.find(['/', '?', '#']) {
        Some(i) if url[..i].ends_with(':') && url[i..].starts_with("//") => i + 2,
        _ => 0,
    };
    let path = url[authority..].find(['/', '?', '#']).map_or(url.len(), |i| authority + i);
    if let Some(at) = url[authority..path].rfind('@') {
        parts.push(authority..authority + at);
    }
    let fragment = url[path..].find('#').map_or(url.len(), |i| path + i);
    if let Some(query) = url[path..fragment].find('?') {
        let mut at = path + query + 1;
        for pair in url[at..fragment].split('&') {
            if let Some(equals) = pair.find('=') {
                parts.push(at + equals + 1..at + pair.len());
            } else if !pair.is_empty() {
                parts.push(at..at + pair.len());
            }
            at += pair.len() + 1;
        }
    }
    if fragment + 1 < url.len() {
        parts.push(fragment + 1..url.len());
    }
    parts.retain(|p| !p.is_empty());
    parts
}

/// A URL as it may be printed: what [`secret_parts`] finds is replaced, but for pure references such as `${TOKEN}`.
pub(super) fn redact_url(url: &str) -> String {
    let mut text = url.to_owned();
    for part in secret_parts(url).into_iter().rev() {
        let shown = redact_value(&url[part.clone()]);
        text.replace_range(part, &shown);
    }
    hide_defaults(&text)
}

/// The pieces of a URL that [`shown_url`] does not show: whole ones, and what stands in the place of a `${…}` or `{…}`.
pub(super) fn secret_pieces(url: &str, shown: &str) -> Vec<String> {
    let cut = |c: char| "/?&=#@:".contains(c);
    let known: Vec<&str> = shown.split(cut).collect();
    let mut pieces = Vec::new();
    for piece in url.split(cut).filter(|p| !p.is_empty() && !known.contains(p)) {
        pieces.push(piece.to_owned());
        for part in &known {
            let Some((before, after)) = part.find(['$', '{']).zip(part.rfind('}')) else {
                continue;
            };
            let inner = piece.strip_prefix(&part[..before]).and_then(|p| p.strip_suffix(&part[after + 1..]));
            pieces.extend(inner.filter(|p| !p.is_empty() && *p != piece).map(str::to_owned));
        }
    }
    pieces
}

/// Words that may stand before a reference in a header.
const SCHEMES: [&str; 4] = ["Bearer", "Basic", "Token", "ApiKey"];

/// A secret as it may be printed: references such as `Bearer ${TOKEN}` stay, anything else becomes `***`.
pub(super) fn redact_value(written: &str) -> String {
    let mut rest = hide_defaults(written);
    let shown = rest.clone();
    while let Some(start) = rest.find('{') {
        let Some(len) = rest[start..].find('}') else { break };
        let from = start - usize::from(rest[..start].ends_with('$'));
        rest.replace_range(from..start + len + 1, "");
    }
    let plain = rest.trim();
    let only_references =
        plain.is_empty() || (SCHEMES.contains(&plain) && plain.len() < written.trim().len());
    if only_references { shown } else { "***".to_owned() }
}

/// `${NAME:-default}` without its default, which may be as secret as what it stands for.
fn hide_defaults(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(start) = rest.find("${") {
        let end = rest[start..].find('}').map_or(rest.len(), |i| start + i + 1);
        let inner = &rest[start..end];
        text.push_str(&rest[..start]);
        match inner.find(":-") {
            Some(colon) if inner.len() > colon + 3 => {
                text.push_str(&inner[..colon + 2]);
                text.push_str("***}");
            }
            _ => text.push_str(inner),
        }
        rest = &rest[end..];
    }
    text.push_str(rest);
    text
}

/// The URL as it may be printed: where host and path are spelled out, with the host's variables filled in; a path or
/// query that comes from the environment stays as it was written.
pub(super) fn shown_url(url: &Text, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let written = &url.written;
    let Some(authority) =
        ["ws://", "wss://"].iter().find_map(|scheme| written.starts_with(scheme).then_some(scheme.len()))
    else {
        // Scheme and host come from the environment: show what they are, without what may be secret.
        return redact_url(&url.value);
    };
    // The first `/`, `?` or `#` outside of `${…}`.
    let mut depth = 0;
    let end = written[authority..]
        .char_indices()
        .find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth <= 0 && matches!(c, '/' | '?' | '#')
        })
        .map_or(written.len(), |(i, _)| authority + i);
    let host = expand(&written[..end], variable).map_or_else(|_| written[..end].to_owned(), |t| t.value);
    redact_url(&format!("{host}{}", &written[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cret".to_owned()),
            "HOST" => Some("voice.example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in() {
        for (text, value) in [
            ("plain", "plain"),
            ("Bearer ${TOKEN}", "Bearer s3cret"),
            ("${NOPE:-fallback}", "fallback"),
            ("${EMPTY:-fallback}", "fallback"),
            ("${EMPTY}", ""),
            ("$${TOKEN} $5 {token}", "${TOKEN} $5 {token}"),
        ] {
            assert_eq!(expand(text, &variable).map(|t| t.value), Ok(value.to_owned()));
        }
        let errors = expand("${A} ${B-} ${C", &variable).unwrap_err();
        assert_eq!(
            errors.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(),
            [
                "the environment variable `A` is not set",
                "`B-` is not the name of an environment variable",
                "`${` without `}`",
            ]
        );
    }

    #[test]
    fn what_may_be_printed() {
        for (written, shown) in [
            ("wss://h/p", "wss://h/p"),
            ("wss://me:pw@h/p?token=abc&x=${TOKEN}#f", "wss://***@h/p?token=***&x=${TOKEN}#***"),
            ("wss://${HOST}/v1/${TOKEN}/talk", "wss://voice.example.com/v1/${TOKEN}/talk"),
            ("wss://h/?device={device}&k=${K:-abc}&flag", "wss://h/?device={device}&k=${K:-***}&***"),
        ] {
            let url = expand(written, &variable).unwrap_or_else(|_| Text::literal(written));
            assert_eq!(shown_url(&url, &variable), shown);
        }
        for (written, shown) in [
            ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
            ("Bearer {token}", "Bearer {token}"),
            ("abc${TOKEN}", "***"),
            ("Bearer abc", "***"),
            ("Bearer", "***"),
            ("${TOKEN:-abc}", "${TOKEN:-***}"),
        ] {
            assert_eq!(redact_value(written), shown);
        }
    }

    #[test]
    fn what_is_not_shown_is_secret() {
        for (written, pieces) in [
            ("wss://h/p", vec![]),
            ("wss://me:pw@h/p?token=abc#f", vec!["me", "pw", "abc", "f"]),
            ("wss://${HOST}/v1/${TOKEN}/talk", vec!["s3cret"]),
            ("wss://${HOST}/v1-${TOKEN}.x", vec!["v1-s3cret.x", "s3cret"]),
        ] {
            let url = expand(written, &variable).unwrap();
            assert_eq!(secret_pieces(&url.value, &shown_url(&url, &variable)), pieces, "{written}");
        }
    }

    #[test]
    fn placeholders_are_found() {
        let names: Vec<_> = placeholders("/${ENV}/{device}?t={token}").into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["device", "token"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z:/?&=#@${}\\-µ ]{0,32}") {
            let _ = (expand(&text, &variable), placeholders(&text), redact_url(&text), redact_value(&text));
            let _ = shown_url(&Text::literal(text.clone()), &variable);
        }

        #[test]
        fn a_query_value_is_never_shown(secret in "[A-Z]{8}") {
            let shown = redact_url(&format!("wss://u:{secret}@host/path?a=1&token={secret}&b=2#{secret}"));
            prop_assert!(!shown.contains(&secret), "{}", shown);
        }
    }
}
