//! What must never be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Scenario, Target, template};

/// Values of dialects that are shorter are no secrets: a `1` hidden everywhere would make a report unreadable.
const SHORTEST: usize = 8;

/// The secrets of a scenario.
#[derive(Clone, Debug)]
pub struct Secrets {
    target: Target,
    token: Option<Secret>,
}

impl Secrets {
    /// Those of a scenario, for every device.
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { target: scenario.target.clone(), token: scenario.reference.token.clone() }
    }

    /// Everything secret that device `device` uses.
    pub fn of(&self, device: u32) -> Vec<Secret> {
        let target = &self.target;
        let mut all: Vec<String> = self.token.iter().map(|t| t.reveal().to_owned()).collect();
        for (_, value) in &target.headers {
            let value = target.values.fill(value.reveal(), device);
            // `Bearer abc`: the token on its own is as secret.
            all.extend(value.split_whitespace().last().map(str::to_owned));
            all.push(value);
        }
        let own = target.token.iter().chain(target.dialect.described().into_iter().flat_map(|d| {
            d.choice.values.iter().map(|(_, value)| value).filter(|v| v.reveal().len() >= SHORTEST)
        }));
        all.extend(own.map(|v| target.values.fill(v.reveal(), device)));
        let row = target.values.rows.get(device as usize % target.values.rows.len().max(1));
        all.extend(row.into_iter().flatten().map(|v| v.reveal().to_owned()));
        if let Some(url) = &target.url {
            all.extend(template::secret_pieces(&target.values.fill(url.reveal(), device), &target.shown));
        }
        all.retain(|s| !s.is_empty());
        all.into_iter().map(Secret::new).collect()
    }
}

/// A value that must never be printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself: for the wire only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
