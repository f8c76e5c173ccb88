//! `voxload report`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::exit::{Exit, Failure};
use crate::report::terminal::{Style, summary};
use crate::report::{Format, json, write_formats};

/// Render the reports of a finished run again.
///
/// Prints the summary, and writes every report that can be made from `result.json`. What was streamed during the run
/// (turns.csv, intervals.csv, histograms.hlog) stays as it is. The exit code is about the rendering, not about the run.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The `result.json` of a run, or its folder, for example `reports/latest`.
    #[arg(value_name = "RESULT_JSON_OR_DIR", required_unless_present = "print_schema")]
    result: Option<PathBuf>,

    /// Where to write: the folder of `result.json` by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// What to write: all by default.
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', value_enum)]
    format: Vec<Format>,

    /// Print the JSON Schema of `result.json`, and do nothing else.
    #[arg(long, conflicts_with_all = ["result", "out", "format"])]
    print_schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Some(result) = args.result.as_deref().filter(|_| !args.print_schema) else {
        super::print(&json::schema())?;
        return Ok(Exit::Good);
    };
    let (result, file) = json::read(result).map_err(Failure::usage)?;
    let home = file.parent().map(PathBuf::from).unwrap_or_default();
    let dir = args.out.clone().unwrap_or_else(|| home.clone());
    std::fs::create_dir_all(&dir)
        .map_err(|e| Failure::usage(format!("cannot create {}: {e}; choose another --out", dir.display())))?;
    let mut formats: BTreeSet<Format> = if args.format.is_empty() {
        <Format as clap::ValueEnum>::value_variants().iter().copied().collect()
    } else {
        args.format.iter().copied().collect()
    };
    // The document that everything is made from is copied elsewhere, and never written over.
    if dir.canonicalize().ok() == home.canonicalize().ok() {
        formats.remove(&Format::Json);
    }
    let written = write_formats(&result, &dir, &formats);
    super::print(&summary(&result, &written.files, Style::for_stdout()))?;
    if written.problems.is_empty() {
        Ok(Exit::Good)
    } else {
        Err(Failure::usage(written.problems.join("\n")))
    }
}
