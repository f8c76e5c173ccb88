//! The effective scenario: every key with its value and where it comes from, as TOML that can be run again.

use std::fmt::Write as _;

use super::file::{Layer, Settings};
use super::keys::{Key, SECTIONS};
use super::value::{Value, to_toml};

/// Writes it. Secrets are left out: references such as `${TOKEN}` stay, anything else becomes `***`.
pub(super) fn effective(settings: &Settings, name: &str) -> String {
    let mut text = String::from(
        "# The effective scenario: every key, with where its value comes from.\n\
         # Secrets are left out: `***` stands where one was spelled out.\n",
    );
    let staged = matches!(
        settings.get("fleet.stages").and_then(|s| s.value.as_ref()),
        Some(Value::Stages(stages)) if !stages.is_empty()
    );
    let open =
        matches!(settings.get("fleet.arrivals").and_then(|s| s.value.as_ref()), Some(Value::Choice("open")));
    let choice = |path: &str| match settings.get(path).and_then(|s| s.value.as_ref()) {
        Some(Value::Choice(name)) => *name,
        _ => "",
    };
    let (reconnect, offline) = (choice("session.reconnect"), choice("session.offline_speech"));
    // Keys that another key makes meaningless would be refused if they were written.
    let unused = |key: &Key| match key.path {
        "fleet.devices" | "fleet.duration" | "fleet.ramp" if staged => Some("follows from stages"),
        "fleet.ramp" if open => Some("not used with open arrivals"),
        "session.reconnect_cap" if reconnect == "fixed" => Some("not used with a fixed time"),
        "session.reconnect_base" | "session.reconnect_cap" | "session.reconnect_reset"
            if reconnect == "none" =>
        {
            Some("not used without reconnection")
        }
        "session.offline_limit" if offline == "drop" => Some("nothing is kept"),
        "gate.extend_limit" if choice("gate.undecided") != "extend" => Some("not extended"),
        "fleet.rate" | "fleet.spacing" if !open => Some("not used with closed arrivals"),
        _ => None,
    };
    for section in SECTIONS {
        // Writing to a String cannot fail.
        if !section.path.is_empty() {
            let _ = write!(text, "\n[{}]\n", section.path);
        }
        let mut lines = Vec::new();
        for key in section.keys {
            let setting = settings.get(key.path);
            let origin = setting.map_or(Layer::Default, |s| s.layer).name();
            let value = match setting.and_then(|s| s.value.as_ref()) {
                _ if key.path == "name" => Some(toml::Value::String(name.to_owned()).to_string()),
                value => value.map(|v| to_toml(key.kind, v)),
            };
            lines.push(match (unused(key), value) {
                (Some(why), _) => (format!("# {}", key.name()), why),
                (None, Some(value)) => (format!("{} = {value}", key.name()), origin),
                (None, None) => (format!("# {}", key.name()), "not set"),
            });
        }
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(48);
        for (line, comment) in lines {
            let _ = writeln!(text, "{line:width$}  # {comment}");
        }
    }
    text
}
