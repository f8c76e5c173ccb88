//! `voxload debug`.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;
use tokio::task::LocalSet;

use self::record::Recording;
use self::show::Show;
use super::scenario_args::key_and_value;
use crate::device::conversation::LONGEST;
use crate::device::moment::{Moment, What};
use crate::drive::debug::{self, Played};
use crate::drive::prepare;
use crate::event::{Outcome, TurnRecord};
use crate::exit::{Exit, Failure};
use crate::report::result::TurnRow;
use crate::report::terminal::Style;
use crate::report::text::counted;
use crate::scenario::{self, Mask, Override, Scenario, Source};
use crate::time::{Clock, Micros};

mod record;
mod show;

/// The device that is played: what the seed decides for it, it also does in a run.
const DEVICE: u32 = 0;

/// Play one device and print every frame.
///
/// Each frame is shown as it happens, with its time since the start of the run (and, for ours, the time for which it was
/// planned), size and meaning; milestones have lines of their own. Without `target.url` in the scenario (or `--url`), the
/// device talks to the embedded reference server. Secrets of the scenario are never shown. How to read it:
/// docs/DEBUG.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload debug
  voxload debug my-server.toml --url ws://localhost:8765/ --turns 3
  voxload debug barge-in --set turn.barge_in.share=1 --turns 2 --record conversation
  voxload debug --json | jq 'select(.event == \"first_audible\")'

Exit codes: 0 a turn completed, 121 none did, 124 the target could not be reached, 130 interrupted.")]
pub(super) struct Args {
    /// A scenario file, or the name of a shipped scenario [default: quickstart]
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,

    /// Override any key of the scenario; repeatable
    ///
    /// For example `--set audio.chunk=20ms --set reference.preset=cloud`. Keys: docs/scenario.md. How many devices there
    /// are, for how long, and thresholds have no meaning here.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,

    /// Seed: decides think times, fixtures and interruptions [key: seed]
    #[arg(long, value_name = "N")]
    seed: Option<String>,

    /// The server under test, ws:// or wss:// [key: target.url]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// How many turns [key: turn.count]
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,

    /// Write both sides as one stereo WAV, and the milestones, into this folder
    ///
    /// Left is what the device said, each sample at the instant at which it was planned to be spoken; right is what its
    /// loudspeaker played, each sample when it was heard. `conversation.json` has the milestones.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,

    /// Show frames in full: text unshortened, binary as hexadecimal
    #[arg(long)]
    raw: bool,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Played when no scenario is named.
const DEFAULT: &str = "quickstart";

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let scenario = load(args)?;
    super::say(format_args!(
        "voxload {} · {} · seed {}",
        env!("CARGO_PKG_VERSION"),
        scenario.name,
        scenario.seed
    ));
    if scenario.target.insecure {
        super::say(format_args!(
            "warning: target.insecure is set: certificates are NOT checked; anybody could be answering"
        ));
    }
    let recording = args.record.as_deref().map(Recording::create).transpose()?;
    let speech = prepare::speech(&scenario)?;
    let fixtures: Vec<String> = speech.fixtures.into_iter().map(|f| f.id).collect();
    let server = prepare::embedded_server(&scenario, None)?;
    let target = match &server {
        Some(server) => {
            format!("the embedded reference server ({}), {}", scenario.reference.preset, server.url())
        }
        None => scenario.target.shown.clone(),
    };
    super::say(format_args!("one device, {}, against {target}", counted(args.turns.into(), "turn")));

    let show =
        Show { mask: Mask::new(&scenario.secrets().of(DEVICE)), style: Style::for_stdout(), raw: args.raw };
    let output = Rc::new(RefCell::new(Output { show, json: args.json, recording }));
    if !args.json {
        let heading = show::heading(output.borrow().show.style);
        super::print(&(heading + "\n"))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::usage(format!("cannot start: {e}")))?;
    let teller = Rc::clone(&output);
    let played = LocalSet::new().block_on(&runtime, async {
        let endpoint = Arc::new(prepare::endpoint(&scenario, server.as_ref()).await?);
        let tell = move |moment: Moment| teller.borrow_mut().tell(&moment);
        debug::play(DEVICE, speech.plan, endpoint, Clock::start(), args.record.is_some(), tell)
            .await
            .map_err(|e| Failure::usage(format!("cannot start: {e}")))
    })?;
    let exit = exit(&played);
    output.borrow_mut().finish(&scenario, &fixtures, &played, exit)?;
    // A reader that goes away, as `head` does, has seen what it wanted.
    if let Some(e) = played.unheard.filter(|e| e.kind() != io::ErrorKind::BrokenPipe) {
        return Err(Failure::usage(format!("cannot write to standard output: {e}")));
    }
    if exit == Exit::Unreachable {
        super::say(format_args!("error: cannot reach {target}: what was tried is shown above"));
    }
    Ok(exit)
}

/// Plays the scenario's first device and prints every frame; `before` sees each moment before it is printed.
pub(super) fn play(
    scenario: &Scenario,
    mut before: impl FnMut(&mut Moment) + 'static,
) -> Result<Played, Failure> {
    let speech = prepare::speech(scenario)?;
    let show =
        Show { mask: Mask::new(&scenario.secrets().of(DEVICE)), style: Style::for_stdout(), raw: false };
    super::print(&(show::heading(show.style) + "\n"))?;
    let mut output = Output { show, json: false, recording: None };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::usage(format!("cannot start: {e}")))?;
    LocalSet::new().block_on(&runtime, async {
        let endpoint = Arc::new(prepare::endpoint(scenario, None).await?);
        let tell = move |mut moment: Moment| {
            before(&mut moment);
            output.tell(&moment)
        };
        debug::play(DEVICE, speech.plan, endpoint, Clock::start(), false, tell)
            .await
            .map_err(|e| Failure::usage(format!("cannot start: {e}")))
    })
}

fn load(args: &Args) -> Result<Scenario, Failure> {
    let of = |flag, key: &str, value: &str| Override {
        key: key.to_owned(),
        value: value.to_owned(),
        flag,
        append: false,
    };
    let mut overrides: Vec<_> = args.set.iter().map(|(key, value)| of("--set", key, value)).collect();
    overrides.extend(args.seed.as_deref().map(|value| of("--seed", "seed", value)));
    overrides.extend(args.url.as_deref().map(|value| of("--url", "target.url", value)));
    // One device is no sample: thresholds are not looked at, and need not fit what was changed.
    overrides.push(of("debug", "thresholds", ""));
    let source = Source::find(args.scenario.as_deref().unwrap_or(DEFAULT))?;
    let mut scenario = scenario::load(&source, &overrides)?;
    scenario.turn.count = Some(args.turns);
    // Every turn is shown, so none is for warming up.
    scenario.fleet.warmup = Micros::ZERO;
    // One device needs one port, however many the scenario has.
    (scenario.fleet.devices, scenario.fleet.stages) = (1, Vec::new());
    Ok(scenario)
}

/// An interruption outranks what it cut short.
fn exit(played: &Played) -> Exit {
    let completed = |t: &TurnRecord| matches!(t.outcome, Outcome::Succeeded | Outcome::Interrupted);
    if played.interrupted {
        Exit::Interrupted
    } else if !played.watch.connected() {
        Exit::Unreachable
    } else if !played.watch.turns().iter().any(completed) {
        Exit::NoTurns
    } else {
        Exit::Good
    }
}

/// Where moments go.
struct Output {
    show: Show,
    json: bool,
    recording: Option<Recording>,
}

impl Output {
    fn tell(&mut self, moment: &Moment) -> io::Result<()> {
        if let (Some(recording), What::Step(_)) = (&mut self.recording, &moment.what) {
            recording.note(self.show.json(moment));
        }
        let line = if self.json { self.show.json(moment).to_string() } else { self.show.text(moment) };
        writeln!(io::stdout(), "{line}")
    }

    /// The numbers of the turns, and the recording.
    fn finish(
        &mut self,
        scenario: &Scenario,
        fixtures: &[String],
        played: &Played,
        exit: Exit,
    ) -> Result<(), Failure> {
        let turns = played.watch.turns();
        let rows: Vec<TurnRow> = turns.iter().map(|t| self.show.row(t, fixtures)).collect();
        let written = self.recording.take().map(|recording| {
            let about = json!({
                "voxload_version": env!("CARGO_PKG_VERSION"),
                "scenario": scenario.name,
                "seed": scenario.seed,
                "target": scenario.target.shown,
                "dialect": scenario.target.dialect.capabilities().name,
                "prebuffer_us": scenario.playback.prebuffer.0,
                "turns": rows,
            });
            recording.write(played.watch.conversation(), about)
        });
        let text = if self.json {
            json!({ "event": "summary", "exit_code": exit.code(), "turns": rows }).to_string() + "\n"
        } else if turns.is_empty() {
            String::new()
        } else {
            format!("\n{}", self.show.table(turns, fixtures))
        };
        super::print(&text)?;
        for file in written.transpose()?.into_iter().flatten() {
            super::say(format_args!("wrote {}", file.display()));
        }
        if played.watch.conversation().cut_short() {
            super::say(format_args!("warning: the recording ends after {LONGEST}; the conversation went on"));
        }
        Ok(())
    }
}
