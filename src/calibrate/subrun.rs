//! A short run in a process of its own: `voxload run` from this same binary, read back from its report.
//!
//! A process of its own, so that its CPU, memory and descriptors are counted as those of any run, and not with ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::measure::agreement::{self, Pairs};
use crate::report::result::TurnRow;
use crate::report::{RunResult, json};
use crate::scenario::keys::VARIABLE_PREFIX;
use crate::scenario::units::format_duration;
use crate::subprocess::{self, End, Stop, Subprocess};
use crate::time::Micros;

/// Longer than its plan by this, and a run is given up.
const PATIENCE: Duration = Duration::from_secs(40);

/// A folder for sub-runs, removed when dropped.
#[derive(Debug)]
pub(super) struct Workplace {
    dir: PathBuf,
    runs: u32,
}

/// What a sub-run is to do. All of them: Opus, every reply interrupted (many turns in little time), and the embedded
/// server with preset `instant`, its words and sounds without the little time that they take by default.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubRun {
    pub(super) devices: u32,
    /// Everybody comes within this time, and is not counted until then.
    pub(super) ramp: Micros,
    /// How long load is applied after that.
    pub(super) judged: Micros,
    pub(super) chunk: Micros,
    /// A shipped utterance.
    pub(super) fixture: &'static str,
    /// How long a reply is heard before the next utterance.
    pub(super) listens: Micros,
    /// The server's delay before the first token.
    pub(super) delay: Micros,
}

/// A sub-run that has ended.
pub(super) struct Ended {
    pub(super) result: RunResult,
    dir: PathBuf,
}

impl Workplace {
    /// Makes the folder, for this user only.
    pub(super) fn make() -> Result<Self, String> {
        use std::os::unix::fs::DirBuilderExt as _;
        let root = std::env::temp_dir();
        for n in 0..1_000 {
            let dir = root.join(format!("voxload-calibrate-{}-{n}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {
                    // Runs start in it: a relative TMPDIR must not lead elsewhere from there.
                    let dir = dir.canonicalize().unwrap_or(dir);
                    return Ok(Self { dir, runs: 0 });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    return Err(format!("cannot create {}: {e}; choose another TMPDIR", dir.display()));
                }
            }
        }
        Err(format!("{} is full of folders of earlier calibrations; remove them", root.display()))
    }

    /// Runs it to its end; `None` when the user has interrupted.
    pub(super) fn run(&mut self, run: &SubRun, stop: &Stop) -> Result<Option<Ended>, String> {
        self.runs += 1;
        let dir = self.dir.join(self.runs.to_string());
        let scenario = self.dir.join(format!("calibrate-{}.toml", self.runs));
        let cannot = |e: std::io::Error| format!("cannot write {}: {e}", scenario.display());
        fs::write(&scenario, run.scenario()).map_err(cannot)?;
        let said = self.dir.join("stderr");
        let Some(code) = self.start(&scenario, &dir, &said, run, stop)? else { return Ok(None) };
        let expected = [Exit::Good, Exit::Invalid, Exit::NoTurns].map(|e| i32::from(e.code()));
        if !expected.iter().any(|c| code == Some(*c)) {
            let said = fs::read_to_string(&said).unwrap_or_default();
            let code = code.map_or_else(|| "a signal".to_owned(), |c| format!("exit code {c}"));
            return Err(format!("a run with {} devices ended with {code}\n{}", run.devices, said.trim()));
        }
        let (result, _) = json::read(&dir)?;
        Ok(Some(Ended { result, dir }))
    }

    fn start(
        &self,
        scenario: &Path,
        dir: &Path,
        said: &Path,
        run: &SubRun,
        stop: &Stop,
    ) -> Result<Option<Option<i32>>, String> {
        let mut command = subprocess::command().map_err(|e| e.message)?;
        command.arg("run").arg(scenario).arg("--report-dir").arg(dir).args(["--quiet", "--no-calibration"]);
        // What the user sets for runs must not change what is measured here.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with(VARIABLE_PREFIX))
        {
            command.env_remove(name);
        }
        command.current_dir(&self.dir);
        let mut child = Subprocess::start(command, said).map_err(|e| e.message)?;
        let end = Instant::now() + (run.ramp + run.judged).to_std() + PATIENCE;
        match child.wait(stop, Some(end)).map_err(|e| e.message)? {
            End::Exited(status) => Ok(Some(status.code())),
            End::Interrupted => Ok(None),
            End::Stuck => {
                Err(format!("a run with {} devices does not end; this machine stands still", run.devices))
            }
        }
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What cannot be removed is a few files in the folder for temporary ones.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl SubRun {
    fn scenario(&self) -> String {
        let text = format_duration;
        format!(
            "name = \"calibrate\"\n\
             [fleet]\ndevices = {}\nduration = \"{}\"\nramp = \"{ramp}\"\nwarmup = \"{ramp}\"\ngraceful_stop = \"0ms\"\n\
             [audio]\nfixtures = [\"{}\"]\nchunk = \"{}\"\n\
             [turn]\nthink = \"0ms\"\nbarge_in = {{ share = 1.0, after = \"{}\" }}\n\
             [reference]\npreset = \"instant\"\ntoken_rate = 1e6\ntts_speed = 1e5\nllm = \"{}\"\n\
             [report]\nhtml = false\nhistograms = false\njunit = false\n",
            self.devices,
            text(self.ramp + self.judged),
            self.fixture,
            text(self.chunk),
            text(self.listens),
            text(self.delay),
            ramp = text(self.ramp),
        )
    }
}

impl Ended {
    /// The turns that were answered after warm-up.
    pub(super) fn turns(&self) -> Result<Vec<TurnRow>, String> {
        let path = self.dir.join("turns.csv");
        let wrong = |e: csv::Error| format!("cannot read {} back: {e}", path.display());
        let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
        let answered = |t: &TurnRow| !t.warmup && t.ttfa_us.is_some();
        let rows = reader.deserialize().filter(|r| r.as_ref().map_or(true, answered));
        rows.collect::<Result<_, _>>().map_err(wrong)
    }

    /// Harness against the server's own log.
    pub(super) fn pairs(&self) -> Result<Pairs, String> {
        agreement::pairs(&self.dir.join("turns.csv"), &self.dir.join("reference-truth.csv"))
    }

    /// The checks that did not hold, for people.
    pub(super) fn failed_checks(&self) -> Vec<String> {
        let failed = self.result.validity.checks.iter().filter(|c| !c.ok);
        failed.map(|c| format!("{} {} (limit {})", c.name, c.seen, c.limit)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Source};

    #[test]
    fn the_scenario_says_what_the_plan_says() {
        let run = SubRun {
            devices: 120,
            ramp: Micros::from_millis(2_500),
            judged: Micros::from_millis(1_500),
            chunk: Micros::from_millis(20),
            fixture: "knock-knock",
            listens: Micros::from_millis(1_600),
            delay: Micros::from_millis(50),
        };
        let s = scenario::load(&Source::inline("calibrate", run.scenario()), &[]).unwrap();
        assert_eq!((s.fleet.devices, s.fleet.duration), (120, Micros::from_secs(4)));
        assert_eq!((s.fleet.ramp, s.fleet.warmup), (run.ramp, run.ramp));
        assert_eq!(
            (s.audio.settings.chunk, s.audio.fixtures.as_slice()),
            (run.chunk, &["knock-knock".to_owned()][..])
        );
        assert!(s.turn.barge_in.is_some() && s.target.url.is_none() && s.thresholds.is_empty());
        assert_eq!(s.reference.llm, scenario::Dist::Constant(run.delay));
    }
}
