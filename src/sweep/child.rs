//! One run of a sweep, or one search: `voxload run` or `voxload capacity` from this same binary, a process of its own, so that its CPU and memory are counted
//! as those of any run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::exit::{Exit, Failure};
use crate::subprocess::{self, End, Stop, Subprocess};
use crate::time::Micros;

/// Longer than its plan by this, and a run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `voxload` with these arguments to its end; false: the user has interrupted. What it says on standard error goes
/// to `said`, which is removed when all is well.
pub(super) fn run(args: &[String], said: &Path, length: Micros, stop: &Stop) -> Result<bool, Failure> {
    let mut command = subprocess::command()?;
    command.args(args);
    let mut child = Subprocess::start(command, said)?;
    let code = match child.wait(stop, Some(Instant::now() + length.to_std() + PATIENCE))? {
        End::Exited(status) => status.code(),
        End::Interrupted => return Ok(false),
        End::Stuck => return Err(Failure::usage("a run does not end; this machine stands still")),
    };
    match code.and_then(|c| u8::try_from(c).ok()).and_then(Exit::from_code) {
        // Inconclusive: a search of the capacity that knows it only from below.
        Some(Exit::Good | Exit::Threshold | Exit::Invalid | Exit::NoTurns | Exit::Inconclusive) => {
            // A line that stays costs nothing.
            let _ = fs::remove_file(said);
            Ok(true)
        }
        // Somebody interrupted the run and not us.
        Some(Exit::Interrupted) => Ok(false),
        exit => {
            let text = fs::read_to_string(said).unwrap_or_default();
            let text = text.trim().trim_start_matches("error: ").to_owned();
            let how = code.map_or_else(|| "a signal".to_owned(), |c| format!("exit code {c}"));
            let message = format!("a run ended with {how}: {text}");
            Err(Failure { exit: exit.unwrap_or(Exit::Usage), message })
        }
    }
}
