//! The `voxload` command: arguments and exit code, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    voxload::cli::main(std::env::args_os())
}
