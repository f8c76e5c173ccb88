//! `voxload prove`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indicatif::ProgressBar;

use super::REPORTS;
use crate::exit::{Exit, Failure};
use crate::prove::{self, Made, Outcome, Progress, Proof, Proven};
use crate::report;

/// Prove on this machine that the numbers are true.
///
/// Each proof plays short runs against the embedded reference server, which behaves in a way that is known on paper, and
/// compares what was measured with that. See docs/ACCURACY.md. All of them take about five minutes, with --quick about
/// one and a half. The machine should be idle: a proof whose runs come out INVALID is undecided.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload prove
  voxload prove --quick
  voxload prove freeze delays --report-dir proof

Exit codes:
    0  every proof holds
    2  usage or file error, or a proof could not be carried out
   99  a proof fails
  120  no proof fails, but one is undecided: the machine was too busy
  130  interrupted; what was proven until then is written")]
pub(super) struct Args {
    /// Which proofs: all by default
    #[arg(value_name = "PROOF", value_enum)]
    proofs: Vec<Proof>,

    /// Shorter runs and fewer repetitions, with less statistical power
    #[arg(long)]
    quick: bool,

    /// Write into this folder instead of `reports/proof-<UTC time>`
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let proofs = if args.proofs.is_empty() { &Proof::ALL[..] } else { &args.proofs };
    let dir = folder(args.report_dir.as_deref())?;
    let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
    if let Some(bar) = &bar {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    let told = bar.clone();
    let progress: Progress = Box::new(move |step| match &told {
        Some(bar) => bar.set_message(step.to_owned()),
        None => super::say(step),
    });
    let mut unprinted = None;
    let made = |made: &Made| {
        let print = || super::print(&(prove::table(made) + "\n"));
        let printed = match &bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
        unprinted = printed.err();
    };
    let proven = prove::prove(proofs, args.quick, &dir, progress, made).map_err(Failure::usage)?;
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let files = prove::write(&proven, &dir).map_err(Failure::usage)?;
    unprinted.map_or(Ok(()), Err)?;
    super::print(&conclusion(&proven, &files))?;
    Ok(exit(&proven))
}

/// The folder to write into. One that holds earlier proofs would mix them with these.
fn folder(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = asked
        && dir.join("runs").exists()
    {
        return Err(Failure::usage(format!(
            "{} holds the runs of earlier proofs; choose another folder with --report-dir, or remove it",
            dir.display()
        )));
    }
    report::create_dir(asked, Path::new(REPORTS), "proof", SystemTime::now()).map_err(Failure::usage)
}

fn conclusion(p: &Proven, files: &[PathBuf]) -> String {
    let of = |outcome: Outcome| {
        p.proofs.iter().filter(|m| m.outcome == outcome).map(|m| m.proof.name()).collect::<Vec<_>>()
    };
    let others = [Outcome::Fails, Outcome::Undecided, Outcome::Broken].map(|o| (o.word(), of(o)));
    let others = others.into_iter().filter(|(_, which)| !which.is_empty());
    let others: String = others.map(|(word, which)| format!("; {word}: {}", which.join(", "))).collect();
    let end = if p.interrupted { "; interrupted before the rest" } else { "" };
    let files: String = files.iter().map(|f| format!("  {}\n", f.display())).collect();
    format!("{} of {} proofs hold{others}{end}\n{files}", of(Outcome::Holds).len(), p.proofs.len())
}

/// A proof that fails is the worst that can be said of the numbers; one that could not be made says nothing.
fn exit(p: &Proven) -> Exit {
    let any = |outcome| p.proofs.iter().any(|m| m.outcome == outcome);
    if p.interrupted {
        Exit::Interrupted
    } else if any(Outcome::Fails) {
        Exit::Threshold
    } else if any(Outcome::Broken) {
        Exit::Usage
    } else if any(Outcome::Undecided) {
        Exit::Invalid
    } else {
        Exit::Good
    }
}
