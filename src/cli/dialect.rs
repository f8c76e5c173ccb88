//! `voxload dialect`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::dialect::describe::tally::{Tally, Unmatched};
use crate::dialect::describe::{Choice, Described, UNKNOWN};
use crate::dialect::{Dialect, TextGranularity};
use crate::exit::{Exit, Failure};
use crate::report::text::counted;
use crate::scenario::units::nearest;
use crate::scenario::{self, Mask, Override, Source};

use super::scenario_args::key_and_value;

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
    Learn(Learn),
}

/// Connect one device, print every frame, and say what the rules have seen
///
/// Without `--dialect`, nothing is taken for known: the device sends PCM in binary frames, and each shape of message that
/// comes back becomes an event of the file that is written.
#[derive(clap::Args)]
struct Learn {
    /// The server, ws:// or wss://
    url: String,

    /// The dialect to begin with: a name, or a file
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<String>,

    /// What the device shows; better in the environment than on the command line [key: target.token]
    #[arg(long, value_name = "TOKEN", env = "VOXLOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Override any key of the scenario; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,

    /// How many turns [key: turn.count]
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,

    /// Write the file to go on from here
    #[arg(long, value_name = "FILE", default_value = "learned.toml")]
    out: PathBuf,

    /// Replace that file if there is one
    #[arg(long)]
    force: bool,
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

impl Learn {
    fn run(&self) -> Result<Exit, Failure> {
        if self.out.exists() && !self.force {
            return Err(Failure::usage(format!(
                "{} exists: --force replaces it, --out FILE writes another",
                self.out.display()
            )));
        }
        // What is not a file yet becomes one for the time that it is read.
        let start = match &self.dialect {
            Some(name) if Dialect::native(name).is_some() => {
                return Err(Failure::usage(format!(
                    "`{name}` is written in Rust; `voxload debug` shows what it understands"
                )));
            }
            Some(name) => text_of(name)?,
            None => UNKNOWN.to_owned(),
        };
        let kept = match &self.dialect {
            Some(name) => name.clone(),
            None => {
                write(&self.out, UNKNOWN)?;
                self.out.display().to_string()
            }
        };
        let of = |flag, key: &str, value: &str| Override {
            key: key.to_owned(),
            value: value.to_owned(),
            flag,
            append: false,
        };
        let mut overrides =
            vec![of("URL", "target.url", &self.url), of("--dialect", "target.dialect", &kept)];
        overrides.extend(self.token.as_deref().map(|t| of("--token", "target.token", t)));
        overrides.extend(self.set.iter().map(|(k, v)| of("--set", k, v)));
        let mut scenario =
            scenario::load(&Source::inline("learn", "[turn]\ntimeout = \"10s\"\n"), &overrides)?;
        scenario.turn.count = Some(self.turns);
        (scenario.fleet.devices, scenario.fleet.stages) = (1, Vec::new());
        let mask = Mask::new(&scenario.secrets().of(0));
        let dialect = scenario.target.dialect.clone();
        let played = super::debug::play(&scenario)?;
        let interrupted = played.interrupted;
        let connected = played.watch.connected();
        let turns = played.watch.turns().len();
        drop(played);
        let Some(described) = dialect.described() else {
            return Err(Failure::usage("nothing was described"));
        };
        super::print(&told(&described.tally, &mask, turns))?;
        let file = starting_file(&start, &described.tally.shapes(), &mask);
        write(&self.out, &file)?;
        super::say(format_args!("wrote {}", self.out.display()));
        Ok(match (interrupted, connected) {
            (true, _) => Exit::Interrupted,
            (_, false) => Exit::Unreachable,
            _ => Exit::Good,
        })
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::usage(format!("cannot write {}: {e}", path.display())))
}

/// What the rules have seen.
fn told(tally: &Tally, mask: &Mask, turns: usize) -> String {
    let mut text =
        format!("\n{}, {}\n", counted(tally.connections(), "connection"), counted(turns as u64, "turn"));
    for (name, meaning, fired) in tally.rules() {
        let fired = if fired == 0 { "never".to_owned() } else { counted(fired, "time") };
        let _ = writeln!(text, "  rule {name:<20} {meaning:<15} {fired}");
    }
    if tally.unmatched() == 0 {
        text.push_str("every frame was matched by a rule\n");
        return text;
    }
    let _ = writeln!(text, "no rule matched {}:", counted(tally.unmatched(), "frame"));
    for u in tally.shapes() {
        let _ = writeln!(text, "  {} × {}\n      {}", u.count, mask.text(&u.shape), mask.text(&u.example));
    }
    text
}

/// The description, with an event for each shape that it did not know.
fn starting_file(start: &str, shapes: &[Unmatched], mask: &Mask) -> String {
    let mut file = start.trim_end().to_owned();
    file.push('\n');
    if !shapes.is_empty() {
        file.push_str(
            "\n# What the server said besides. `is` says what it means: ready, speech_stopped, partial, final, token, audio, done,\n# interrupted, error, pong or ignore (docs/dialect-format.md).\n",
        );
    }
    let quoted = |t: &str| toml::Value::String(t.to_owned()).to_string();
    let mut names: Vec<String> = Vec::new();
    for u in shapes {
        let condition = match &u.key {
            Some((pointer, text)) => format!("{{ {} = {} }}", quoted(pointer), quoted(&mask.text(text))),
            None if u.shape == "a binary frame" => "{ frame = \"binary\" }".to_owned(),
            None if u.shape.starts_with("a text") => "{ text = { nonempty = true } }".to_owned(),
            None => match serde_json::from_str::<serde_json::Value>(&u.example) {
                Ok(serde_json::Value::Object(fields)) if !fields.is_empty() => {
                    let each: Vec<_> = fields
                        .keys()
                        .map(|k| {
                            format!(
                                "{} = {{ exists = true }}",
                                quoted(&format!("/{}", k.replace('~', "~0").replace('/', "~1")))
                            )
                        })
                        .collect();
                    format!("{{ {} }}", each.join(", "))
                }
                _ => "{ frame = \"text\" }".to_owned(),
            },
        };
        let word = u.key.as_ref().map_or("message", |(_, text)| text.as_str());
        let plain: String = word
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let mut name = plain.clone();
        let mut n = 1;
        while names.contains(&name) || file.contains(&format!("[event.{name}]")) {
            n += 1;
            name = format!("{plain}_{n}");
        }
        let example: String =
            mask.text(&u.example).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = write!(file, "\n# {example}\n[event.{name}]\nis = \"ignore\"\nwhen = {condition}\n");
        names.push(name);
    }
    file
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

    #[test]
    fn a_starting_file_is_a_description() {
        let shape = |shape: &str, key: Option<(&str, &str)>, example: &str| Unmatched {
            shape: shape.into(),
            key: key.map(|(a, b)| (a.into(), b.into())),
            count: 3,
            example: example.into(),
            device: 0,
        };
        let shapes = [
            shape("x", Some(("/type", "reply \"1\"")), "{\"type\": …"),
            shape("{a/b}", None, "{\"a/b\":1}"),
            shape("y", Some(("/type", "reply \"2\"")), "two\nlines"),
            shape("a text that is not JSON", None, "hello"),
        ];
        let file = starting_file(UNKNOWN, &shapes, &Mask::new(&[]));
        let read = Described::load("learned.toml", &file, Choice::default());
        assert!(read.is_ok(), "{file}\n{}", read.unwrap_err());
    }
}
