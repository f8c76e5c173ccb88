//! `voxload serve`.

use crate::exit::{Exit, Failure};
use crate::reference::child;

/// Run the reference voice server.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Serve as ordered by the parent process on standard input.
    #[arg(long, hide = true)]
    embedded: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.embedded {
        return child::embedded().map(|()| Exit::Good).map_err(Failure::usage);
    }
    Err(Failure::usage("not built yet"))
}
