//! `voxload dialect`.

use std::fmt::Write as _;
use std::path::Path;

use clap::Subcommand;

use crate::dialect::describe::{Choice, Described};
use crate::dialect::{Dialect, TextGranularity};
use crate::exit::{Exit, Failure};
use crate::scenario::units::nearest;

use self::learn::Learn;

mod learn;

/// Show, check and find out how servers talk.
///
/// A dialect is native, or described in a TOML file: docs/dialect-format.md. `target.dialect` takes the name of one that is
/// built in, or the path of a file.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload dialect list
  voxload dialect show xiaozhi > mine.toml
  voxload dialect check mine.toml
  voxload dialect learn ws://localhost:8000/ --dialect mine.toml")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Name the dialects that are built in, with what they can do
    List,
    /// Print the description of one
    Show {
        /// Its name
        name: String,
    },
    /// Say everything that is wrong with a file, or what it has understood
    Check {
        /// The file, or the name of one that is built in
        file: String,
    },
    Learn(Box<Learn>),
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.what {
        What::List => list(),
        What::Show { name } => show(name),
        What::Check { file } => check(file),
        What::Learn(learn) => learn.run(),
    }
}

fn list() -> Result<Exit, Failure> {
    let mut rows =
        vec![["name", "first text", "audio up", "end of speech", "interrupt", "about"].map(str::to_owned)];
    for name in Dialect::names() {
        let (dialect, about) = match Described::built_in(name) {
            Some(text) => {
                let d = Described::load(name, text, Choice::default())?;
                let about = d.about().to_owned();
                (Dialect::from(d), about)
            }
            None => {
                let about = match name {
                    "plain" => "raw PCM16, `end_stream`, one message back",
                    _ => "voxload's own: JSON, and binary frames for audio",
                };
                (Dialect::native(name).unwrap_or(Dialect::Envelope), about.to_owned())
            }
        };
        let can = dialect.capabilities();
        let text = match can.text {
            TextGranularity::Token => "token",
            TextGranularity::Sentence => "sentence",
            TextGranularity::Reply => "reply",
            TextGranularity::None => "none",
        };
        let formats: Vec<_> =
            can.formats.iter().map(|f| format!("{}/{}", f.codec.name(), f.sample_rate)).collect();
        let ends: Vec<_> =
            [(can.signal, "signal"), (can.vad, "vad")].into_iter().filter(|e| e.0).map(|e| e.1).collect();
        rows.push([
            name.to_owned(),
            text.to_owned(),
            if formats.is_empty() { "any".to_owned() } else { formats.join(" ") },
            ends.join(" "),
            if can.interrupt { "yes" } else { "no" }.to_owned(),
            about,
        ]);
    }
    let mut text = String::new();
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    super::print(&text)?;
    Ok(Exit::Good)
}

fn unknown(name: &str) -> Failure {
    let names: Vec<_> = Dialect::names().collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    Failure::usage(format!("no dialect `{name}`: {help}"))
}

fn show(name: &str) -> Result<Exit, Failure> {
    match Described::built_in(name) {
        Some(text) => super::print(text)?,
        None if Dialect::native(name).is_some() => {
            super::print(&format!(
                "# `{name}` is written in Rust and has no description: see docs/PROTOCOL.md and src/dialect/{name}.rs\n"
            ))?;
        }
        None => return Err(unknown(name)),
    }
    Ok(Exit::Good)
}

/// The text of a name or a file.
fn text_of(file: &str) -> Result<String, Failure> {
    match Described::built_in(file) {
        Some(text) => Ok(text.to_owned()),
        None if !file.ends_with(".toml") && !Path::new(file).exists() => Err(unknown(file)),
        None => {
            std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("{file} cannot be read: {e}")))
        }
    }
}

fn check(file: &str) -> Result<Exit, Failure> {
    if Dialect::native(file).is_some() {
        super::print(&format!("`{file}` is written in Rust: there is nothing to check\n"))?;
        return Ok(Exit::Good);
    }
    let text = text_of(file)?;
    let described = Described::load(file, &text, Choice::default())?;
    let mut lines = described.summary();
    // In the other mode something else may be sent.
    let can = described.capabilities();
    if can.vad && can.signal {
        let vad = described.choose(Choice { vad: true, ..Choice::default() })?;
        lines.extend(
            vad.summary()
                .into_iter()
                .filter(|l| !lines.contains(l))
                .map(|l| format!("with `vad`: {l}"))
                .collect::<Vec<_>>(),
        );
    }
    super::print(&(lines.join("\n") + "\n"))?;
    Ok(Exit::Good)
}

/// Every name that is built in is described by a file that can be read.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::describe::BUILT_IN;

    #[test]
    fn what_is_built_in_can_be_read() {
        for (name, text) in BUILT_IN {
            for vad in [false, true] {
                if let Err(wrong) = Described::load(name, text, Choice { vad, ..Choice::default() }) {
                    panic!("{name}: {wrong}");
                }
            }
        }
    }
}
