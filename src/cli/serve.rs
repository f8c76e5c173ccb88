//! `voxload serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::console;
use super::scenario_args::key_and_value;
use crate::audio::AudioFormat;
use crate::dialect::Dialect;
use crate::exit::{Exit, Failure};
use crate::measure::health;
use crate::reference::{DEFAULT_DOWN, Options, Server, child, shipped};
use crate::scenario::{self, Override, ReferencePlan, Scenario, Secret, Source};
use crate::time::{Clock, Micros};

/// Run the reference voice server.
///
/// A voice backend with known latencies: it decodes what it hears, finds the end of speech, and answers with real
/// speech through a recogniser, a language model and a synthesiser whose latencies, slots and faults are the
/// `reference.*` keys of a scenario. While it runs, it can be told to misbehave on its standard input, a command per
/// line: `drain 1012 30%`, `freeze 2s`, `refuse 50% for 10s`, `status`, `help`. See docs/reference-server.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload serve
  voxload serve --preset cloud --set reference.llm_slots=8 --truth truth.csv
  voxload serve --tls --ca server.pem
  VOXLOAD_TOKEN=secret voxload serve --listen 0.0.0.0:8765 --set 'reference.faults={ garbage = \"1%\" }'")]
pub(super) struct Args {
    /// Take the `[reference]` section of this scenario: a file, or the name of a shipped one
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,

    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8765")]
    listen: SocketAddr,

    /// Latencies: instant, local or cloud [key: reference.preset]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// What it speaks: a name of `voxload dialect list`, or a file [key: target.dialect]
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,

    /// Seed of its latencies and faults [key: seed]
    #[arg(long, value_name = "N")]
    seed: Option<String>,

    /// Override any key of the scenario; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,

    /// Speak wss, with a certificate made on the spot
    #[arg(long)]
    tls: bool,

    /// Write that certificate here as PEM, for `target.ca`
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,

    /// Log here what was done when: one CSV row per turn, microseconds since the start
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,

    /// Keep the speech of each turn here, as SESSION-TURN.wav: to see whether a client sends what it should
    ///
    /// Files are written by the threads that serve: not for measuring.
    #[arg(long, value_name = "DIR")]
    heard: Option<PathBuf>,

    /// The bearer token that devices must show; better in the environment than on the command line
    #[arg(long, value_name = "TOKEN", env = "VOXLOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Serve as ordered by the parent process on standard input.
    #[arg(long, hide = true)]
    embedded: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.embedded {
        return child::embedded().map(|()| Exit::Good).map_err(Failure::usage);
    }
    let (plan, formats) = args.plan()?;
    let (preset, dialect) = (plan.preset.clone(), plan.dialect.clone());
    let wants_token = plan.token.is_some();
    health::raise_open_files(child::OPEN_FILES);
    let server = Server::start(Options {
        plan,
        replies: shipped().map_err(Failure::usage)?,
        formats,
        listen: args.listen,
        secure: args.tls,
        truth: args.truth.clone(),
        heard: args.heard.clone(),
        clock: Clock::start(),
    })
    .map_err(Failure::usage)?;
    server.set_zero(Micros::ZERO);
    if let (Some(path), Some(pem)) = (&args.ca, server.ca_pem()) {
        std::fs::write(path, pem)
            .map_err(|e| Failure::usage(format!("cannot write the certificate {}: {e}", path.display())))?;
    }
    let url = server.url();
    let name = args.dialect.as_deref().unwrap_or(&dialect.capabilities().name);
    let hint = args.hint(&url, &dialect, name, wants_token);
    super::print(&format!(
        "reference server: {url} (dialect {name}, preset {preset})\npoint a run at it:\n  {hint}\nCtrl-C stops it; `help` lists what it can be told here.\n"
    ))?;
    console::listen(server.control());
    wait_for_a_signal()?;
    let counts = server.stop().map_err(Failure::usage)?;
    let mut did =
        format!("{} connections, {} sessions, {} turns", counts.connections, counts.sessions, counts.turns);
    if counts.resumed + counts.abandoned > 0 {
        did = format!("{did}, {} resumed, {} abandoned", counts.resumed, counts.abandoned);
    }
    super::print(&format!("\n{did}\n"))?;
    if counts.truth_rows_lost > 0 {
        super::say(format_args!(
            "warning: the disk was too slow for the truth log: {} rows are missing",
            counts.truth_rows_lost
        ));
    }
    Ok(Exit::Good)
}

impl Args {
    /// The plan, and the formats in which replies are likely to be asked for.
    fn plan(&self) -> Result<(ReferencePlan, Vec<AudioFormat>), Failure> {
        let source = match &self.scenario {
            Some(name) => Source::find(name)?,
            None => Source::inline("<defaults>", ""),
        };
        let of = |flag, key: &str, value: &str| Override {
            key: key.to_owned(),
            value: value.to_owned(),
            flag,
            append: false,
        };
        let set = self.set.iter().map(|(key, value)| of("--set", key, value));
        let singles = [
            ("--preset", "reference.preset", &self.preset),
            ("--dialect", "target.dialect", &self.dialect),
            ("--seed", "seed", &self.seed),
        ];
        let singles =
            singles.into_iter().filter_map(|(flag, key, value)| value.as_ref().map(|v| of(flag, key, v)));
        let overrides: Vec<_> = set.chain(singles).collect();
        let Scenario { reference: mut plan, audio, .. } = scenario::load(&source, &overrides)?;
        let can = plan.dialect.capabilities();
        let mut formats = can.down_formats.to_vec();
        if formats.is_empty() {
            formats = vec![audio.down, DEFAULT_DOWN];
        }
        if let Some(token) = &self.token {
            plan.token = Some(Secret::new(token));
        }
        Ok((plan, formats))
    }

    /// The command that talks to this server.
    fn hint(&self, url: &str, dialect: &Dialect, name: &str, wants_token: bool) -> String {
        let mut words = vec![format!("voxload run quickstart --url {url}")];
        match dialect {
            Dialect::Envelope => {}
            Dialect::Plain => words
                .push("--set target.dialect=plain --set audio.codec=pcm16 --set audio.rate=16000".to_owned()),
            // A description says what audio it carries.
            Dialect::Described(_) => words.push(format!("--set target.dialect={name}")),
        }
        match &self.ca {
            Some(path) => words.push(format!("--set target.ca={}", path.display())),
            None if self.tls => words.push("--set target.insecure=true".to_owned()),
            None => {}
        }
        let in_values = dialect.described().is_some() && dialect.token_in_opening();
        if wants_token && in_values {
            words.push("--set 'target.token=${VOXLOAD_TOKEN}'".to_owned());
        } else if wants_token {
            words.push("--set 'target.headers.Authorization=Bearer ${VOXLOAD_TOKEN}'".to_owned());
        }
        words.join(" ")
    }
}

/// Returns on Ctrl-C, or when the process is asked to end.
fn wait_for_a_signal() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |e: std::io::Error| Failure::usage(format!("cannot wait for Ctrl-C: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime.block_on(async {
        let mut ended = signal(SignalKind::terminate()).map_err(cannot)?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.map_err(cannot),
            _ = ended.recv() => Ok(()),
        }
    })
}
