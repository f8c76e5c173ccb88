//! Made-up runs for tests and for looking at pages. No number in here was measured.

use std::path::Path;
use std::sync::LazyLock;

use super::collect::{Found, Run};
use crate::measure::Distribution;
use crate::report::RunResult;
use crate::report::sample::{Kind, make};
use crate::seed::Seed;
use crate::time::Micros;

/// A run whose TTFA is around so many ms (p95 that much), with a seed.
pub fn run(p95: f64, seed: u64) -> RunResult {
    static TEMPLATE: LazyLock<RunResult> = LazyLock::new(|| make(Kind::Good, 1, 600).result);
    let mut r = RunResult { seed, ..TEMPLATE.clone() };
    let mut draws = Seed(seed).stream("compared", 0);
    // The median lies 40 ms below the p95.
    let mut d = Distribution::default();
    (0..600).for_each(|_| d.record(Micros(((p95 - 40.0 + 24.3 * draws.normal()) * 1e3) as i64)));
    r.metrics.insert("ttfa".to_owned(), d.to_result("us"));
    "sample".clone_into(&mut r.name);
    r.started_at = format!("2026-01-31T12:{:02}:00Z", seed % 60);
    r
}

/// A side of such runs; `path` is where they would be.
pub fn side(path: &str, runs: impl IntoIterator<Item = RunResult>) -> Found {
    let place = |(n, result): (usize, RunResult)| Run {
        file: Path::new(path).join(format!("run-{:02}", n + 1)).join("result.json"),
        result,
    };
    Found { path: path.into(), runs: runs.into_iter().enumerate().map(place).collect() }
}

/// The comparison of five such runs a side, interleaved in time.
#[cfg(test)]
pub(crate) fn document(base_p95: f64, new_p95: f64) -> super::Document {
    let runs = |p95: f64, parity: u64| (0..5).map(move |n| run(p95 + n as f64, 2 * n + parity));
    let (base, new) = (side("base", runs(base_p95, 0)), side("new", runs(new_p95, 1)));
    let frame = super::Frame {
        made_at: "2026-01-31T13:00:00Z".to_owned(),
        command: "voxload compare base new".to_owned(),
    };
    super::judge(&base, &new, &super::Question::new(&[], &[], false).unwrap(), frame).unwrap()
}

/// Writes such a run into a folder.
#[cfg(test)]
pub(super) fn write_run(dir: &Path, p95: f64, seed: u64) {
    std::fs::create_dir_all(dir).unwrap();
    let text = serde_json::to_string(&run(p95, seed)).unwrap();
    std::fs::write(dir.join("result.json"), text).unwrap();
}
