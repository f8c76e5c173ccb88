//! Where scenarios come from: files, and the shipped ones that the binary carries.

use std::path::{Path, PathBuf};

use super::units::nearest;
use crate::exit::Failure;

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// The scenarios that the binary carries: name and text.
        pub const SHIPPED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../scenarios/", $name, ".toml"))),)+
        ];
    };
}

shipped![
    "quickstart",
    "ci-gate",
    "conversation",
    "push-to-talk",
    "server-vad",
    "barge-in",
    "secure",
    "soak",
    "ten-thousand",
    "mixed-homes",
    "flaky-wifi",
    "walk-away",
    "rural-cat1",
    "slow-clients",
    "reconnect-storm",
    "proxy-idle",
    "chunk-codec-sweep",
    "capacity",
    "own-server",
];

/// What the origin of a shipped scenario is called.
pub const BUILT_IN: &str = "<built-in>";

/// The text of a scenario, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it was given, or [`BUILT_IN`].
    pub origin: String,
    /// The TOML.
    pub text: String,
    /// The name of a scenario that does not say its own.
    pub name: String,
    /// The folder that relative paths in it start from.
    pub base: PathBuf,
}

impl Source {
    /// A text that is in no file: relative paths start from the current folder.
    pub fn inline(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), text: text.into(), name: "scenario".to_owned(), base: PathBuf::new() }
    }

    /// The scenario that a name or a path stands for: a file, else a shipped scenario.
    pub fn find(name_or_path: &str) -> Result<Self, Failure> {
        let path = Path::new(name_or_path);
        if path.is_file() {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::usage(format!("the scenario {name_or_path} cannot be read: {e}")))?;
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("scenario");
            return Ok(Self {
                origin: name_or_path.to_owned(),
                text,
                name: stem.to_owned(),
                base: path.parent().map(Path::to_owned).unwrap_or_default(),
            });
        }
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Ok(Self { name: (*name).to_owned(), ..Self::inline(BUILT_IN, *text) });
        }
        if path.is_dir() {
            return Err(Failure::usage(format!(
                "the scenario {name_or_path} is a folder, expected a file or the name of a shipped scenario\n  \
                 name one of its files: {}",
                path.join("NAME.toml").display()
            )));
        }
        let names: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or(name_or_path);
        let hint = nearest(stem, names.iter().copied())
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        Err(Failure::usage(format!(
            "no scenario `{name_or_path}`: neither a file nor a shipped scenario\n  {hint}shipped: {}\n  \
             `voxload init FILE` writes a new one",
            names.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_shipped() {
        let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
            .unwrap()
            .map(|f| f.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "toml"))
            .map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        let mut shipped: Vec<_> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
        shipped.sort();
        assert_eq!(files, shipped);
    }

    #[test]
    fn unknown_names_list_what_there_is() {
        insta::assert_snapshot!(Source::find("scenarios/quikstart.toml").unwrap_err(), @r"
    no scenario `scenarios/quikstart.toml`: neither a file nor a shipped scenario
      did you mean `quickstart`? shipped: quickstart, ci-gate, conversation, push-to-talk, server-vad, barge-in, secure, soak, ten-thousand, mixed-homes, flaky-wifi, walk-away, rural-cat1, slow-clients, reconnect-storm, proxy-idle, chunk-codec-sweep, capacity, own-server
      `voxload init FILE` writes a new one
");
    }

    #[test]
    fn a_folder_is_called_one() {
        insta::assert_snapshot!(Source::find("src/scenario/").unwrap_err(), @r"
        the scenario src/scenario/ is a folder, expected a file or the name of a shipped scenario
          name one of its files: src/scenario/NAME.toml
        ");
    }
}
