//! `voxload dialect learn`.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::audio::AudioFormat;
use crate::device::moment::{Moment, What};
use crate::dialect::Dialect;
use crate::dialect::describe::tally::Tally;
use crate::dialect::describe::{Choice, Described};
use crate::dialect::learn::{self, Guess, Heard, Kind, Known, Message, Speech};
use crate::exit::{Exit, Failure};
use crate::report::section::Section;
use crate::report::terminal::Style;
use crate::report::text::counted;
use crate::scenario::{self, Mask, Override, Scenario, Source};
use crate::transport::Frame;

use super::super::scenario_args::key_and_value;
use super::text_of;

/// Frames that are remembered.
const MEMORY: usize = 5_000;

/// What is played, unless `--set` says otherwise: a short utterance, so that there is little to read.
const SCENARIO: &str =
    "[audio]\nfixtures = [\"knock-knock\"]\n[turn]\ntimeout = \"10s\"\nthink = \"200ms\"\n";

/// Connect one device, print every frame, and write a description to start from
///
/// The device connects, says `--open`, speaks in binary frames of `--up` (or in `--audio`), says `--end`, and listens for ten
/// seconds. What comes back is sorted into kinds of messages; what each means is guessed from its words and from when it
/// came, and written as an event that says why. Look at the guesses: they are yours to correct.
///
/// A MESSAGE is JSON ('{"type":"stop"}'), a bare text (END_OF_AUDIO), or bytes of a binary frame (hex:02; `hex:` is the
/// empty frame). `{token}` in it stands for VOXLOAD_TOKEN, which is never shown and never written.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload dialect learn ws://localhost:9000/ --end END_OF_AUDIO
  voxload dialect learn ws://localhost:9000/talk --open '{\"cmd\":\"hello\"}' --end '{\"cmd\":\"stop\"}' --out mine.toml
  voxload dialect learn wss://voice.example.com/ --header 'X-Api-Key={token}' --audio '{\"pcm\":\"{audio}\"}' --vad
  voxload dialect learn ws://localhost:9000/ --dialect mine.toml --out more.toml

Certificates of your own: --set target.ca=ca.pem. Longer speech: --set audio.fixtures=ask-dinosaur (voxload fixtures list).

Exit codes: 0 the server said something, 121 it said nothing, 124 it could not be reached, 130 interrupted.")]
pub(super) struct Learn {
    /// The server, ws:// or wss://
    url: String,

    /// Said when connected; repeatable
    #[arg(long, value_name = "MESSAGE", value_parser = Message::parse)]
    open: Vec<Message>,

    /// Said before each utterance; repeatable
    #[arg(long, value_name = "MESSAGE", value_parser = Message::parse)]
    start: Vec<Message>,

    /// Said when the user has stopped speaking; repeatable
    #[arg(long, value_name = "MESSAGE", value_parser = Message::parse)]
    end: Vec<Message>,

    /// The server finds the end of speech itself: silence is streamed after the utterance
    #[arg(long, conflicts_with = "end")]
    vad: bool,

    /// The message that carries audio, with `{audio}` for its base64; without it, binary frames
    #[arg(long, value_name = "MESSAGE", value_parser = Message::parse)]
    audio: Option<Message>,

    /// What the device sends: opus, pcm16, mulaw or alaw, and samples per second
    #[arg(long, value_name = "FORMAT", default_value = "pcm16/16000", value_parser = format)]
    up: AudioFormat,

    /// What the reply is taken for
    #[arg(long, value_name = "FORMAT", default_value = "pcm16/16000", value_parser = format)]
    down: AudioFormat,

    /// A header of the upgrade; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_and_value)]
    headers: Vec<(String, String)>,

    /// What `{token}` stands for; better in the environment than on the command line [key: target.token]
    #[arg(long, value_name = "TOKEN", env = "VOXLOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Go on from this dialect, a name or a file: only what its rules do not know is added
    #[arg(long, value_name = "DIALECT", conflicts_with_all = ["open", "start", "end", "vad", "audio", "up", "down", "headers"])]
    dialect: Option<String>,

    /// Override any key of the scenario; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,

    /// How many turns [key: turn.count]
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,

    /// Write the description here
    #[arg(long, value_name = "FILE", default_value = "learned.toml")]
    out: PathBuf,

    /// Replace that file if there is one
    #[arg(long)]
    force: bool,
}

fn format(text: &str) -> Result<AudioFormat, String> {
    AudioFormat::parse(text).ok_or_else(|| format!("expected {}", AudioFormat::WRITTEN))
}

/// What was heard of the server while the device was played.
#[derive(Default)]
struct Notebook {
    heard: Vec<Heard>,
    speech: Vec<Speech>,
    /// Frames of the server, remembered or not.
    frames: u64,
}

impl Notebook {
    /// `all`: nothing is known, so every frame is new, and there is no need to say so.
    fn note(&mut self, moment: &mut Moment, all: bool) {
        match &mut moment.what {
            What::Frame(seen) if !seen.ours => {
                let Some(frame @ (Frame::Text(_) | Frame::Binary(_))) = &seen.frame else { return };
                self.frames += 1;
                let unmatched = seen.meanings.contains(&"unmatched");
                if (all || unmatched) && self.heard.len() < MEMORY {
                    self.heard.push(Heard { at: moment.at, frame: frame.clone() });
                }
                if all && unmatched {
                    seen.note.clear();
                }
            }
            What::Step(step) if step.name == "speech_starts" => {
                self.speech.push(Speech { from: moment.at, to: moment.at });
            }
            What::Step(step) if step.name == "end_of_speech" => {
                if let Some(last) = self.speech.last_mut() {
                    last.to = moment.at;
                }
            }
            _ => {}
        }
    }
}

/// A file that is there while it is read.
struct Passing(PathBuf);

impl Passing {
    /// Beside `out`, so that paths in it mean the same.
    fn write(out: &Path, text: &str) -> Result<Self, Failure> {
        let path = out.with_file_name(format!(".learn-{}.toml", std::process::id()));
        write(&path, text).map(|()| Self(path))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Learn {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        if self.out.exists() && !self.force {
            return Err(Failure::usage(format!(
                "{} exists: --force replaces it, --out FILE writes another",
                self.out.display()
            )));
        }
        let known = self.known();
        let start = match &self.dialect {
            Some(name) if Dialect::native(name).is_some() => {
                return Err(Failure::usage(format!(
                    "`{name}` is written in Rust; `voxload debug` shows what it understands"
                )));
            }
            Some(name) => text_of(name)?,
            None => learn::description(&known, &[], &[], &str::to_owned),
        };
        let scenario = self.scenario(&start)?;
        let mask = Mask::new(&scenario.secrets().of(0));
        let notebook = Rc::new(RefCell::new(Notebook::default()));
        let (pupil, all) = (Rc::clone(&notebook), self.dialect.is_none());
        let played = super::super::debug::play(&scenario, move |m| pupil.borrow_mut().note(m, all))?;
        let (interrupted, connected) = (played.interrupted, played.watch.connected());
        if let Some(e) = &played.unheard
            && e.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(Failure::usage(format!("cannot write to standard output: {e}")));
        }
        if !connected {
            super::super::say(format_args!(
                "error: cannot reach {}: what was tried is shown above; nothing was written",
                scenario.target.shown
            ));
            return Ok(if interrupted { Exit::Interrupted } else { Exit::Unreachable });
        }
        let turns = played.watch.turns().len() as u64;
        drop(played);
        let notebook = notebook.take();
        let kinds = learn::kinds(&notebook.heard);
        let guesses = learn::guesses(&kinds, &notebook.heard, &notebook.speech);
        let hide = |text: &str| mask.text(text);
        let mut text =
            format!("\n{}, {} of the server\n", counted(turns, "turn"), counted(notebook.frames, "frame"));
        let file = match (&self.dialect, scenario.target.dialect.described()) {
            (Some(_), Some(described)) => {
                text.push_str(&fired(&described.tally));
                learn::appended(&start, &kinds, &guesses, &hide)
            }
            _ => learn::description(&known, &kinds, &guesses, &hide),
        };
        let names = learn::names(if self.dialect.is_some() { &start } else { "" }, &kinds);
        text.push_str(&self.told(&notebook, &names, &kinds, &guesses));
        super::super::print(&hide(&text))?;
        // What was guessed may not fit together; then the reader is told, and has the file.
        let wrong = Described::load(&self.out.display().to_string(), &file, Choice::default()).err();
        write(&self.out, &file)?;
        match wrong {
            Some(wrong) => super::super::say(format_args!(
                "{wrong}\nwrote {}: it is to be corrected as above",
                self.out.display()
            )),
            None => self.next(&scenario, notebook.frames),
        }
        Ok(match (interrupted, notebook.frames) {
            (true, _) => Exit::Interrupted,
            (false, 0) => Exit::NoTurns,
            _ => Exit::Good,
        })
    }

    fn known(&self) -> Known {
        let said = self.open.iter().chain(&self.start).chain(&self.end).chain(&self.audio);
        let mut headers = self.headers.clone();
        let mut texts = said.map(Message::as_toml).chain(headers.iter().map(|(_, v)| v.as_str()));
        // A token that stands nowhere goes where most servers look for it.
        if self.token.is_some() && !texts.any(|t| t.contains("{token")) {
            headers.push(("Authorization".to_owned(), "Bearer {token}".to_owned()));
        }
        let stem = self.out.file_stem().map(|s| s.to_string_lossy()).unwrap_or_default();
        let name: String = stem.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        Known {
            name: if name.is_empty() { "learned".to_owned() } else { name },
            headers,
            open: self.open.clone(),
            start: self.start.clone(),
            end: self.end.clone(),
            vad: self.vad,
            audio: self.audio.clone(),
            up: self.up,
            down: self.down,
        }
    }

    /// One device that speaks as the text describes it.
    fn scenario(&self, start: &str) -> Result<Scenario, Failure> {
        // What is wrong with the messages is said of them, not of a file that nobody has seen.
        let origin = self.dialect.as_deref().unwrap_or("what the options describe");
        Described::load(origin, start, Choice::default())?;
        let passing;
        let dialect = match &self.dialect {
            Some(name) => name.clone(),
            None => {
                passing = Passing::write(&self.out, start)?;
                passing.0.display().to_string()
            }
        };
        let of = |flag, key: &str, value: &str| Override {
            key: key.to_owned(),
            value: value.to_owned(),
            flag,
            append: false,
        };
        let mut overrides =
            vec![of("URL", "target.url", &self.url), of("--dialect", "target.dialect", &dialect)];
        overrides.extend(self.token.as_deref().map(|t| of("--token", "target.token", t)));
        overrides.extend(self.set.iter().map(|(k, v)| of("--set", k, v)));
        let mut scenario = scenario::load(&Source::inline("learn", SCENARIO), &overrides)?;
        scenario.turn.count = Some(self.turns);
        (scenario.fleet.devices, scenario.fleet.stages) = (1, Vec::new());
        Ok(scenario)
    }

    /// What came, and what it is taken for.
    fn told(&self, notebook: &Notebook, names: &[String], kinds: &[Kind], guesses: &[Guess]) -> String {
        if notebook.frames == 0 {
            return self.silence();
        }
        if kinds.is_empty() {
            return "every frame was matched by a rule\n".to_owned();
        }
        let rows = names.iter().zip(kinds).zip(guesses).map(|((name, kind), guess)| {
            let why = if guess.why.is_empty() { "–" } else { &guess.why };
            vec![name.clone(), counted(kind.at.len() as u64, "time"), guess.is.to_owned(), why.to_owned()]
        });
        let section = Section {
            title: match self.dialect {
                Some(_) => "What no rule matched, and what it is taken for",
                None => "What the server said, and what it is taken for",
            },
            headings: vec!["event", "came", "taken for", "because"],
            rows: rows.collect(),
            notes: remarks(guesses, self.dialect.is_some()),
        };
        let mut text = String::new();
        section.terminal(&mut text, Style::for_stdout());
        text
    }

    /// Nothing came at all.
    fn silence(&self) -> String {
        let mut text = "The server said nothing. It may be waiting for\n".to_owned();
        let mut hint = |what: &str, how: &str| {
            let _ = writeln!(text, "  {what:<42}{how}");
        };
        if self.open.is_empty() {
            hint("a message when a device connects", r#"--open '{"type":"hello"}'"#);
        }
        if self.end.is_empty() && !self.vad {
            hint(
                "word that the user has stopped speaking",
                r#"--end '{"type":"stop"}', --end END_OF_AUDIO, --end hex:"#,
            );
            hint("silence after the speech", "--vad");
        }
        if self.audio.is_none() {
            hint("audio in JSON", r#"--audio '{"audio":"{audio}"}'"#);
        }
        hint("audio of another format", "--up opus/16000");
        hint("more than ten seconds", "--set turn.timeout=30s");
        text
    }

    /// What to do with the file.
    fn next(&self, scenario: &Scenario, frames: u64) {
        let out = self.out.display();
        if frames == 0 {
            return super::super::say(format_args!("wrote {out}: what was said to the server"));
        }
        super::super::say(format_args!(
            "wrote {out}; look at its guesses, then:\n  voxload dialect check {out}\n  \
             voxload init --url {} --dialect {out} my-server.toml\n  voxload debug my-server.toml",
            scenario.target.shown
        ));
    }
}

/// What is worth a remark about the guesses.
fn remarks(guesses: &[Guess], goes_on: bool) -> Vec<String> {
    let is = |what: &str| guesses.iter().any(|g| g.is == what);
    let mut remarks = Vec::new();
    if goes_on {
        return remarks;
    }
    if !is("audio") && is("final") {
        remarks.push(
            "no audio came: taken for a service that only recognises speech; if it answers with speech, what it was sent may not be what \
             it understands (--up, --audio)"
                .to_owned(),
        );
    } else if !is("audio") {
        remarks.push("neither audio nor a transcript came: nothing could be measured yet".to_owned());
    } else if !is("done") {
        remarks
            .push("no message ends a reply: it is over when nothing comes for a second (`quiet`)".to_owned());
    }
    remarks
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::usage(format!("cannot write {}: {e}", path.display())))
}

/// What the rules have seen.
fn fired(tally: &Tally) -> String {
    let mut text = String::new();
    for (name, meaning, fired) in tally.rules() {
        let fired = if fired == 0 { "never".to_owned() } else { counted(fired, "time") };
        let _ = writeln!(text, "  rule {name:<20} {meaning:<15} {fired}");
    }
    text
}
