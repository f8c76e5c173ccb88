//! One run of a sweep: `voxload run` from this same binary, a process of its own, so that its CPU and memory are counted
//! as those of any run.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::calibrate::Stop;
use crate::exit::{Exit, Failure};
use crate::time::Micros;

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(20);

/// A child that was interrupted writes its report, and gets this long for it.
const FAREWELL: Duration = Duration::from_secs(10);

/// Longer than its plan by this, and a run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `voxload` with these arguments to its end; false: the user has interrupted. What it says on standard error goes
/// to `said`, which is removed when all is well.
pub(super) fn run(args: &[String], said: &Path, length: Micros, stop: &Stop) -> Result<bool, Failure> {
    let program = std::env::current_exe()
        .map_err(|e| Failure::usage(format!("cannot find voxload's own binary: {e}")))?;
    let stderr = fs::File::create(said)
        .map_err(|e| Failure::usage(format!("cannot write {}: {e}", said.display())))?;
    let mut command = Command::new(&program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    // Ctrl-C goes to the whole foreground group, and is ours to deal with.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child =
        command.spawn().map_err(|e| Failure::usage(format!("cannot start {}: {e}", program.display())))?;
    let mut child = Guard(child);
    let end = Instant::now() + length.to_std() + PATIENCE;
    let code = loop {
        match child.0.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if stop.asked() => return Ok(false),
            Ok(None) if Instant::now() > end => {
                return Err(Failure::usage("a run does not end; this machine stands still"));
            }
            Ok(None) => std::thread::sleep(LOOK),
            Err(e) => return Err(Failure::usage(format!("cannot wait for a run: {e}"))),
        }
    };
    match code.and_then(|c| u8::try_from(c).ok()).and_then(Exit::from_code) {
        Some(Exit::Good | Exit::Threshold | Exit::Invalid | Exit::NoTurns) => {
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

/// A child that is interrupted when nobody waits for it any more: once to end, again to end at once.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) else { return };
        for _ in 0..2 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            // Fails only when it has ended meanwhile.
            let _ = kill_process(pid, Signal::INT);
            std::thread::sleep(Duration::from_millis(200));
        }
        let end = Instant::now() + FAREWELL;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.0.kill();
            }
            std::thread::sleep(LOOK);
        }
    }
}
