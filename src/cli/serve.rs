//! `voxload serve`.

use crate::exit::{Exit, Failure};

/// Run the reference voice server.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
