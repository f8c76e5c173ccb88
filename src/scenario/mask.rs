//! Takes secrets out of whatever is shown: frames, and what servers repeat of what they were told.

use super::Secret;

/// What stands in their place.
const HIDDEN: &str = "***";

/// Secrets shorter than this would be found everywhere: they are hidden where they are a whole JSON text.
const SHORT: usize = 4;

/// Knows the secrets of a scenario.
#[derive(Debug, Default)]
pub struct Mask {
    /// What to hide and what to show instead, longest first.
    pairs: Vec<(String, &'static str)>,
}

impl Mask {
    /// For these secrets, as they are, as JSON writes them, and as they are without the escapes of a URL.
    pub fn new(secrets: &[Secret]) -> Self {
        let mut pairs = Vec::new();
        for secret in secrets.iter().map(Secret::reveal).filter(|s| !s.is_empty()) {
            let json = serde_json::to_string(secret).unwrap_or_default();
            let plain = unescape(secret);
            if secret.chars().count() < SHORT {
                pairs.push((json, "\"***\""));
                continue;
            }
            let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
            let dresses = [secret.to_owned(), inner, plain].into_iter();
            pairs.extend(dresses.filter(|s| s.chars().count() >= SHORT).map(|s| (s, HIDDEN)));
        }
        pairs.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        pairs.dedup();
        Self { pairs }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for (secret, instead) in self.pairs.iter().filter(|(s, _)| text.contains(s.as_str())) {
            shown = shown.replace(secret.as_str(), instead);
        }
        shown
    }

    /// Which of these bytes are part of a secret.
    pub fn hidden(&self, bytes: &[u8]) -> Vec<bool> {
        let mut hidden = vec![false; bytes.len()];
        for secret in self.pairs.iter().map(|(s, _)| s.as_bytes()) {
            for (at, window) in bytes.windows(secret.len()).enumerate() {
                if window == secret {
                    hidden[at..at + secret.len()].fill(true);
                }
            }
        }
        hidden
    }
}

/// A text with its `%41` replaced by what they stand for; a text without any, or with broken ones, as it is.
fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(&secrets.iter().map(|s| Secret::new(*s)).collect::<Vec<_>>())
    }

    #[test]
    fn secrets_are_hidden_in_every_dress() {
        let m = mask(&["Bearer abc123", "abc123", "p\"w\n", "a%2Fb%2Fc", "x7", ""]);
        for (text, shown) in [
            ("no secret", "no secret"),
            ("Bearer abc123, abc123!", "***, ***!"),
            (r#"{"pw":"p\"w\n"}"#, r#"{"pw":"***"}"#),
            ("/a%2Fb%2Fc or a/b/c", "/*** or ***"),
            // Short ones only where they stand alone.
            (r#"{"x7":"x70","k":"x7"}"#, r#"{"***":"x70","k":"***"}"#),
        ] {
            assert_eq!(m.text(text), shown);
        }
        assert_eq!(m.hidden(b"..abc123."), [false, false, true, true, true, true, true, true, false]);
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%e2%82"), "%zz%e2%82", "not UTF-8");
    }

    proptest! {
        #[test]
        fn no_secret_survives(secret in "[a-z%\"\\\\]{4,8}", before in "[A-Z]{0,5}", after in "[A-Z]{0,5}") {
            let m = mask(&[&secret]);
            let text = format!("{before}{secret}{after}");
            let shown = m.text(&text);
            prop_assert!(!shown.contains(&secret), "{}", shown);
            let json = serde_json::json!({ "k": secret }).to_string();
            let back: serde_json::Value = serde_json::from_str(&m.text(&json)).unwrap();
            prop_assert_eq!(&back["k"], "***");
            prop_assert!(m.hidden(text.as_bytes()).iter().filter(|h| **h).count() >= secret.len());
        }
    }
}
