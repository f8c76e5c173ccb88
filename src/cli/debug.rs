//! `voxload debug`.

use crate::exit::{Exit, Failure};

/// Play one device and print every frame.
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet"))
}
