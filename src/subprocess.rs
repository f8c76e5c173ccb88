//! Runs of this same binary in processes of their own: their CPU, memory and descriptors are counted as those of any run,
//! and not with ours.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ci;
use crate::exit::Failure;

/// Between two looks at a process.
pub const LOOK: Duration = Duration::from_millis(20);

/// A run that was interrupted writes its report, and gets this long for it.
const FAREWELL: Duration = Duration::from_secs(10);

/// Whether the user wants it to end; shared with whoever hears that.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on: yes.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Does he?
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How waiting for a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has ended.
    Exited(ExitStatus),
    /// The user wants everything to end.
    Interrupted,
    /// It should have ended long ago.
    Stuck,
}

/// A process under way. Dropped, it is asked to end, then to end at once, and killed when it does neither.
#[derive(Debug)]
pub struct Subprocess(Child);

/// The command that starts this same binary, without arguments: out of reach of the terminal's Ctrl-C, which is ours to
/// deal with.
pub fn command() -> Result<Command, Failure> {
    use std::os::unix::process::CommandExt as _;
    let program = std::env::current_exe()
        .map_err(|e| Failure::usage(format!("cannot find voxload's own binary: {e}")))?;
    let mut command = Command::new(program);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    ci::hide_from(&mut command);
    Ok(command)
}

impl Subprocess {
    /// Starts it; what it says on standard error goes into the file `said`.
    pub fn start(mut command: Command, said: &Path) -> Result<Self, Failure> {
        let stderr = File::create(said)
            .map_err(|e| Failure::usage(format!("cannot write {}: {e}", said.display())))?;
        let child = command.stderr(stderr).spawn();
        child.map(Self).map_err(|e| Failure::usage(format!("cannot start a run: {e}")))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, once it has; looks at most once in [`LOOK`], and not after `end`.
    pub fn look(&mut self, stop: &Stop, end: Option<Instant>) -> Result<Option<End>, Failure> {
        match self.0.try_wait() {
            Ok(Some(status)) => Ok(Some(End::Exited(status))),
            Ok(None) if stop.asked() => Ok(Some(End::Interrupted)),
            Ok(None) if end.is_some_and(|end| Instant::now() > end) => Ok(Some(End::Stuck)),
            Ok(None) => {
                std::thread::sleep(LOOK);
                Ok(None)
            }
            Err(e) => Err(Failure::usage(format!("cannot wait for a run: {e}"))),
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self, stop: &Stop, end: Option<Instant>) -> Result<End, Failure> {
        loop {
            if let Some(ended) = self.look(stop, end)? {
                return Ok(ended);
            }
        }
    }

    /// Asks it to end, as Ctrl-C would.
    pub fn interrupt(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)
            && matches!(self.0.try_wait(), Ok(None))
        {
            // Fails only when it has ended meanwhile.
            let _ = kill_process(pid, Signal::INT);
        }
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        for _ in 0..2 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            self.interrupt();
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
