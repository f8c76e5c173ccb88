//! `voxload report`.

use crate::exit::{Exit, Failure};

/// Render the reports of a finished run again.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
