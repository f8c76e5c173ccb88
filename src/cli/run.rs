//! `voxload run`.

use crate::exit::{Exit, Failure};

/// Play a scenario and report.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
