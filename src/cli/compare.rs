//! `voxload compare`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::REPORTS;
use crate::ci;
use crate::compare::record::{AGAINST, BASE, MANIFEST};
use crate::compare::{self, Document, Found, Frame, Question, document, terminal};
use crate::exit::{Exit, Failure};
use crate::measure::agreement;
use crate::report::terminal::Style;
use crate::report::{self, Written};

/// What is compared, and by which margins: shared with `run --baseline` and `baseline record --against`.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Comparison")]
pub(super) struct QuestionArgs {
    /// Compare this, as in a threshold: ttfa:p(95), turns.failed:rate; repeatable. The first decides [default: ttfa:p(95)]
    #[arg(long = "metric", value_name = "METRIC")]
    metrics: Vec<String>,

    /// Shifts up to this do not matter, [METRIC=]AMOUNT: 15ms, 5%, '10ms,5%' (the larger), turns.failed=1%; repeatable
    #[arg(long = "margin", value_name = "MARGIN")]
    margins: Vec<String>,

    /// Compare different loads and machines too; what differs is still said
    #[arg(long)]
    allow_different: bool,
}

impl QuestionArgs {
    /// Read and checked.
    pub(super) fn question(&self) -> Result<Question, Failure> {
        Question::new(&self.metrics, &self.margins, self.allow_different).map_err(Failure::usage)
    }

    /// Refuses them where nothing is compared: an option that does nothing misleads.
    pub(super) fn unused(&self, needs: &str) -> Result<(), Failure> {
        if self.metrics.is_empty() && self.margins.is_empty() && !self.allow_different {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "--metric, --margin and --allow-different are about a comparison: give {needs} too"
        )))
    }

    /// The same as words of a command line.
    fn words(&self) -> String {
        let of =
            |flag: &str, all: &[String]| all.iter().map(|v| format!(" {flag} '{v}'")).collect::<String>();
        let different = if self.allow_different { " --allow-different" } else { "" };
        format!("{}{}{different}", of("--metric", &self.metrics), of("--margin", &self.margins))
    }
}

/// Compare runs with runs: did it become slower?
///
/// BASE and NEW are folders that hold the runs of a side, at least five each (`voxload baseline record` makes them). The first
/// metric decides, the others advise. Different loads, or loads from different machines, are refused. See docs/COMPARE.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload compare baselines/main baselines/my-branch
  voxload compare baselines/two-targets              # recorded with --against
  voxload compare old new --metric 'ttft:p(95)' --margin 20ms

Exit codes:
    0  better, same, or no worse
    2  usage or file error, or the two sides are not comparable
  120  nothing decided, because runs are INVALID
  122  worse
  123  inconclusive")]
pub(super) struct Args {
    /// The runs of the baseline: a folder that holds several, the folder of one, or a result.json
    #[arg(value_name = "BASE", required_unless_present = "print_schema")]
    base: Option<PathBuf>,

    /// The runs of the candidate; not needed when BASE was recorded with --against
    #[arg(value_name = "NEW")]
    new: Option<PathBuf>,

    #[command(flatten)]
    question: QuestionArgs,

    /// Write compare.json, compare.md, compare.html and charts into this folder [default: reports/compare-<UTC time>]
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,

    /// Print the comparison as JSON instead of the table
    #[arg(long)]
    json: bool,

    /// Print the JSON Schema of compare.json, and do nothing else
    #[arg(long, conflicts_with_all = ["base", "new", "report_dir", "json"])]
    print_schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Some(base) = args.base.as_deref().filter(|_| !args.print_schema) else {
        super::print(&document::schema())?;
        return Ok(Exit::Good);
    };
    let question = args.question.question()?;
    let (base, new) = match &args.new {
        Some(new) => (base.to_owned(), new.clone()),
        None if base.join(MANIFEST).is_file() && base.join(AGAINST).is_dir() => {
            (base.join(BASE), base.join(AGAINST))
        }
        None => {
            return Err(Failure::usage(format!(
                "what is {} to be compared with? Give the folder of the candidate's runs too: voxload compare BASE NEW",
                base.display()
            )));
        }
    };
    let command = format!("voxload compare {} {}{}", base.display(), new.display(), args.question.words());
    let (base, new) = (collect(&base)?, collect(&new)?);
    let document = judged(&base, &new, &question, command)?;
    let dir =
        report::create_dir(args.report_dir.as_deref(), Path::new(REPORTS), "compare", SystemTime::now())
            .map_err(Failure::usage)?;
    publish(&document, &base, &new, &dir, Output { json: args.json, quiet: false })
}

/// The runs of a side.
pub(super) fn collect(path: &Path) -> Result<Found, Failure> {
    compare::collect(path).map_err(Failure::usage)
}

/// The comparison; one run a side is also compared within itself.
pub(super) fn judged(
    base: &Found,
    new: &Found,
    question: &Question,
    command: String,
) -> Result<Document, Failure> {
    let frame = Frame { made_at: report::rfc3339(SystemTime::now()), command };
    let mut document = compare::judge(base, new, question, frame).map_err(Failure::usage)?;
    if let ((1, 1), Some(b), Some(n)) =
        ((document.base.used, document.new.used), turns(&document.base), turns(&document.new))
    {
        compare::within_run(&mut document, b, n);
    }
    Ok(document)
}

/// The turns of the one run that counts; none when its `turns.csv` is not there.
fn turns(side: &document::Side) -> Option<Vec<report::result::TurnRow>> {
    let run = side.runs.iter().find(|r| r.unused.is_empty())?;
    let file = Path::new(&run.file).with_file_name("turns.csv");
    let mut turns = Vec::new();
    agreement::for_each_turn(&file, |t| turns.push(t)).ok().map(|_| turns)
}

/// What is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

/// Writes the files and prints the answer.
pub(super) fn publish(
    d: &Document,
    base: &Found,
    new: &Found,
    dir: &Path,
    out: Output,
) -> Result<Exit, Failure> {
    let Written { files, mut problems } = compare::write(d, base, new, dir);
    let text = match out {
        Output { json: true, .. } => serde_json::to_string_pretty(d).map(|t| t + "\n").unwrap_or_else(|e| {
            problems.push(format!("the comparison as JSON: {e}"));
            String::new()
        }),
        Output { quiet: true, .. } => String::new(),
        _ => terminal::table(d, &files, Style::for_stdout()),
    };
    problems.extend(super::print(&text).err().map(|e| e.message));
    problems.extend(super::tell_ci(&dir.join(compare::MARKDOWN), &ci::of_comparison(d), out.json).err());
    for p in &problems {
        super::say(format_args!("error: {p}"));
    }
    let exit = Exit::from_code(d.verdict.exit_code).unwrap_or(Exit::Usage);
    Ok(if exit == Exit::Good && !problems.is_empty() { Exit::Usage } else { exit })
}
