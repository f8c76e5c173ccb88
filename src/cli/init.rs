//! `voxload init`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use crate::dialect::Dialect;
use crate::exit::{Exit, Failure};
use crate::scenario::{Environment, Source, load_in, reference};

/// Write a commented starter scenario.
///
/// Every key is explained; those that matter first are set. For example:
///   voxload init --url wss://voice.example.com/v1/talk my-server.toml
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The file to write; `-` for standard output.
    #[arg(value_name = "FILE", default_value = "scenario.toml")]
    file: PathBuf,

    /// The server under test, ws:// or wss://; without it, the embedded reference server.
    ///
    /// Write tokens as `${TOKEN}`: they come from the environment and never reach a report.
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// What the server speaks: a name of `voxload dialect list`, or the path of a file that describes it.
    #[arg(long, value_name = "DIALECT", default_value = "envelope", value_parser = dialect)]
    dialect: String,

    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

fn dialect(name: &str) -> Result<String, String> {
    if name.ends_with(".toml") || Dialect::names().any(|n| n == name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "expected one of {}, or the path of a .toml file",
        Dialect::names().collect::<Vec<_>>().join(", ")
    ))
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let to_stdout = args.file.as_os_str() == "-";
    let name = args.file.file_stem().and_then(|s| s.to_str()).filter(|_| !to_stdout).unwrap_or("scenario");
    let text = reference::starter(args.url.as_deref(), &args.dialect, name);
    // A URL that cannot be used is refused now. One that waits for variables or columns is checked by `inspect`.
    let waits = args.url.as_ref().is_some_and(|url| url.contains('{'));
    if !waits {
        load_in(&Source::inline("the starter file", &*text), &[], &Environment::default())?;
    }
    if to_stdout {
        super::print(&text)?;
        return Ok(Exit::Good);
    }
    let shown = args.file.display();
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(&args.file).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{shown} exists already; `--force` replaces it"))
        }
        _ => Failure::usage(format!("{shown} cannot be written: {e}")),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| Failure::usage(format!("{shown} cannot be written: {e}")))?;
    super::say(format_args!("wrote {shown}; next: voxload inspect {shown}, then voxload debug {shown}"));
    Ok(Exit::Good)
}
