//! `voxload inspect`.

use crate::exit::{Exit, Failure};

/// Check a scenario and print the plan.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
