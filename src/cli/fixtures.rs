//! `voxload fixtures`.

use crate::exit::{Exit, Failure};

/// List, check and describe speech fixtures.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
