//! The command line: one file per verb.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::ci::{Annotation, Ci};
use crate::exit::{Exit, Failure};

mod baseline;
mod calibrate;
mod capacity;
mod compare;
mod console;
mod debug;
mod dialect;
mod fixtures;
mod init;
mod inspect;
mod merge;
mod network;
mod progress;
mod prove;
mod report;
mod run;
mod scenario_args;
mod serve;
mod sweep;

/// Where reports go, unless somebody says otherwise.
const REPORTS: &str = "reports";

const EXIT_CODES: &str = "\
Exit codes:
    0  good
    2  usage, scenario or file error
   99  a threshold failed, or is undecided and that fails (gate.undecided)
  120  run invalid: the generator itself was the bottleneck (outranks 99)
  121  no turn completed
  122  regression against a baseline
  123  comparison inconclusive, or capacity known only from below
  124  target unreachable
  130  interrupted; the report covers what was measured until then";

/// Load testing and latency benchmarks for real-time voice backends.
///
/// Plays thousands of talking devices against a voice server and measures, from the end of each utterance, when the
/// first token and the first audible sound come back, and whether the reply then plays without gaps.
#[derive(Parser)]
#[command(name = "voxload", version, after_help = EXIT_CODES, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Compare(compare::Args),
    Baseline(baseline::Args),
    Calibrate(calibrate::Args),
    Capacity(capacity::Args),
    Inspect(inspect::Args),
    Sweep(sweep::Args),
    Merge(merge::Args),
    Serve(serve::Args),
    Debug(debug::Args),
    Dialect(dialect::Args),
    Init(init::Args),
    Network(network::Args),
    Report(report::Args),
    Prove(prove::Args),
    Fixtures(fixtures::Args),
}

/// Runs the command line and returns the process's exit code; every error has been printed.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // clap's own exit codes are ours: 0 for help and version, 2 for usage errors.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    let result = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::Baseline(args) => baseline::run(&args),
        Verb::Calibrate(args) => calibrate::run(&args),
        Verb::Capacity(args) => capacity::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Sweep(args) => sweep::run(&args),
        Verb::Merge(args) => merge::run(&args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Debug(args) => debug::run(&args),
        Verb::Dialect(args) => dialect::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Network(args) => network::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Prove(args) => prove::run(&args),
        Verb::Fixtures(args) => fixtures::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            say(format_args!("error: {message}"));
            exit.into()
        }
    }
}

/// Prints to standard output, where results go. A reader who has left (`voxload … | head -1`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Shows a result to the CI server, where there is one: its Markdown as the summary of the step, and annotations. They go to
/// standard error where standard output is a document of its own; GitHub reads both.
fn tell_ci(markdown: &Path, annotations: &[Annotation], stdout_is_taken: bool) -> Result<(), String> {
    annotate(annotations, stdout_is_taken)?;
    Ci::here().summarise(markdown)
}

/// The annotations alone.
fn annotate(annotations: &[Annotation], stdout_is_taken: bool) -> Result<(), String> {
    let lines = Ci::here().annotations(annotations);
    if stdout_is_taken {
        let _ = stderr().write_all(lines.as_bytes());
        return Ok(());
    }
    print(&lines).map_err(|e| e.message)
}

/// Says a line on standard error; when nobody listens there, there is nobody to be told.
fn say(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}
