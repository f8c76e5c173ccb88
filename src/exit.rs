//! Exit codes: what a script or a CI job can rely on.

/// Why voxload ended. The number is the process's exit code; they are also listed in `voxload --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The run was valid and every threshold held.
    Good = 0,
    /// Wrong usage, a scenario with errors, or a file that cannot be read or written.
    Usage = 2,
    /// A threshold failed, or is undecided where that fails (the number k6 uses).
    Threshold = 99,
    /// The run is invalid: the generator itself was the bottleneck. Outranks a failed threshold.
    Invalid = 120,
    /// Not one turn completed.
    NoTurns = 121,
    /// A regression against a baseline.
    Regression = 122,
    /// A comparison that could not be decided.
    Inconclusive = 123,
    /// The target could not be reached at all.
    Unreachable = 124,
    /// Interrupted by the user; the report covers what was measured until then.
    Interrupted = 130,
}

impl Exit {
    /// The one with that number.
    pub fn from_code(code: u8) -> Option<Self> {
        use Exit::{
            Good, Inconclusive, Interrupted, Invalid, NoTurns, Regression, Threshold, Unreachable, Usage,
        };
        [Good, Usage, Threshold, Invalid, NoTurns, Regression, Inconclusive, Unreachable, Interrupted]
            .into_iter()
            .find(|e| e.code() == code)
    }

    /// The process exit code.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(e: Exit) -> Self {
        Self::from(e.code())
    }
}

/// An error that ends the program: one message for the user, and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was wrong, where, what was expected, what to try. May span several lines.
    pub message: String,
}

impl Failure {
    /// A usage, scenario or file error: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
