//! `voxload init`.

use crate::exit::{Exit, Failure};

/// Write a commented starter scenario.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
