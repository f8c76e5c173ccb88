//! What the rules of a described dialect have seen in a run: a rule that never fired explains more than a time-out.

use super::hearsay;
use crate::device::plan::Plan;
use crate::report::result::{DialectResult, Note, RuleResult, UnmatchedResult};
use crate::report::text::counted;
use crate::scenario::Secrets;

/// Meanings without which something is not measured.
const MEASURED: [&str; 5] = ["audio", "final", "token", "done", "ready"];

/// For `result.json`; `None` where the dialect has no description.
pub(super) fn result(plan: &Plan, secrets: &Secrets) -> Option<DialectResult> {
    let tally = &plan.dialect.described()?.tally;
    let rules = tally
        .rules()
        .map(|(name, meaning, fired)| RuleResult {
            name: name.to_owned(),
            meaning: meaning.to_owned(),
            fired,
        })
        .collect();
    let examples = tally
        .shapes()
        .into_iter()
        .map(|u| UnmatchedResult {
            shape: hearsay::text(secrets, u.device, &u.shape),
            count: u.count,
            example: hearsay::text(secrets, u.device, &u.example),
        })
        .collect();
    let (connections, unmatched) = (tally.connections(), tally.unmatched());
    Some(DialectResult { connections, rules, unmatched, examples })
}

/// What is worth a remark.
pub fn notes(d: &DialectResult) -> Vec<Note> {
    let mut notes = Vec::new();
    let note = |name: &str, text: String| Note { name: name.to_owned(), text };
    let never: Vec<String> = d
        .rules
        .iter()
        .filter(|r| r.fired == 0 && MEASURED.contains(&r.meaning.as_str()))
        // Another rule with the same meaning may have fired instead.
        .filter(|r| !d.rules.iter().any(|other| other.meaning == r.meaning && other.fired > 0))
        .map(|r| format!("`{}` ({})", r.name, r.meaning))
        .collect();
    if !never.is_empty() && d.connections > 0 {
        let all = never.join(", ");
        let connections = counted(d.connections, "connection");
        let heard: Vec<String> =
            d.rules.iter().filter(|r| r.fired > 0).map(|r| format!("`{}`", r.name)).collect();
        // Of a server that says nothing, what is said to it is more likely wrong than what is expected of it.
        let answered =
            d.rules.iter().any(|r| r.fired > 0 && !["ready", "pong", "ignore"].contains(&r.meaning.as_str()));
        let why = if answered || d.unmatched > 0 {
            "Either the server never said it, or `when` does not fit what it says".to_owned()
        } else {
            let but = if heard.is_empty() { String::new() } else { format!(" but {}", heard.join(", ")) };
            format!(
                "The server said nothing{but}: look at what is said to it (`[[open]]`, `start` and `end` under `[turn]`, the format \
                 under `[audio.up]`)"
            )
        };
        notes.push(note(
            "dialect_rules",
            format!(
                "of the dialect's rules, these never fired on {connections}: {all}. {why}: `voxload debug` shows every frame with what \
                 it means"
            ),
        ));
    }
    if d.unmatched > 0 {
        let example = d.examples.first().map(|e| format!(", for example {}", e.example)).unwrap_or_default();
        notes.push(note(
            "dialect_unmatched",
            format!("no rule of the dialect matched {}{example}", counted(d.unmatched, "message")),
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_never_fired_are_named_and_unmatched_frames_shown() {
        let rule = |name: &str, meaning: &str, fired| RuleResult {
            name: name.into(),
            meaning: meaning.into(),
            fired,
        };
        let d = DialectResult {
            connections: 3,
            rules: vec![
                rule("sound", "audio", 0),
                rule("a", "token", 0),
                rule("b", "token", 7),
                rule("x", "ignore", 0),
            ],
            unmatched: 12,
            examples: vec![UnmatchedResult {
                shape: "s".into(),
                count: 12,
                example: "{\"type\":\"odd\"}".into(),
            }],
        };
        let text: Vec<_> = notes(&d).into_iter().map(|n| n.text).collect();
        assert!(
            text[0].contains("`sound` (audio)") && !text[0].contains("`a`") && !text[0].contains("`x`"),
            "{text:?}"
        );
        assert!(text[1].contains("12 messages, for example {\"type\":\"odd\"}"), "{text:?}");
        let silent = vec![rule("sound", "audio", 0), rule("welcome", "ready", 3)];
        let silent = notes(&DialectResult { rules: silent, unmatched: 0, ..d.clone() });
        assert!(
            silent[0].text.contains("The server said nothing but `welcome`: look at what is said to it"),
            "{silent:?}"
        );
        assert!(
            notes(&DialectResult { rules: vec![rule("sound", "audio", 1)], unmatched: 0, ..d }).is_empty()
        );
    }
}
