//! What a run was of, besides its measurements: load, server, machine. What differs between two sides is said, and
//! different loads are refused.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Difference, Kind};
use crate::report::RunResult;

/// What is not set.
const NOTHING: &str = "–";

/// What a run was of: names and values.
pub type Fingerprint = BTreeMap<String, String>;

/// Of a run that has been made.
pub fn of(run: &RunResult) -> Fingerprint {
    let mut all = of_scenario(&run.scenario);
    let mut put = |what: &str, value: String| drop(all.insert(what.to_owned(), value));
    let t = &run.target;
    put("target", if t.embedded { "the embedded reference server".to_owned() } else { t.url.clone() });
    put("TLS", if t.tls { "yes" } else { "no" }.to_owned());
    put("dialect", t.dialect.clone());
    put("first text", t.text_granularity.clone());
    put("voxload", run.voxload_version.clone());
    put("processor", run.host.cpu.clone());
    put("cores", run.host.cores.to_string());
    put("system", run.host.os.clone());
    let fixtures =
        run.fixtures.iter().map(|f| format!("{} {}", f.id, f.sha256.get(..8).unwrap_or(&f.sha256)));
    put("fixtures", fixtures.collect::<Vec<_>>().join(", "));
    all
}

/// Of an effective scenario: its keys, but for those that say nothing of the load or the server.
pub fn of_scenario(toml: &str) -> Fingerprint {
    let mut all = Fingerprint::new();
    // One that cannot be read has no keys to compare; the rest of the fingerprint still counts.
    let table: toml::Table = toml.parse().unwrap_or_default();
    flatten("", &toml::Value::Table(table), &mut all);
    all.retain(|key, _| !matches!(key.as_str(), "seed" | "target.url") && !key.starts_with("report."));
    all
}

fn flatten(prefix: &str, value: &toml::Value, to: &mut Fingerprint) {
    let toml::Value::Table(table) = value else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        to.insert(prefix.to_owned(), text);
        return;
    };
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        flatten(&path, value, to);
    }
}

/// What a difference in this means.
fn kind(what: &str) -> Kind {
    match what {
        "target" | "TLS" => Kind::Server,
        _ if what.starts_with("target.") || what.starts_with("reference.") => Kind::Server,
        "name" | "voxload" | "system" | "thresholds" => Kind::Measurement,
        _ if what.starts_with("validity.") || what.starts_with("gate.") => Kind::Measurement,
        _ => Kind::Workload,
    }
}

/// What differs between two sides, the gravest first. Keys that one side's voxload did not know yet do not count: a
/// new key's default is what was done before.
pub fn differences(base: &[Fingerprint], new: &[Fingerprint]) -> Vec<Difference> {
    let versions =
        |side: &[Fingerprint]| side.iter().filter_map(|f| f.get("voxload").cloned()).collect::<BTreeSet<_>>();
    let same_version = versions(base) == versions(new);
    let names: BTreeSet<&String> = base.iter().chain(new).flat_map(BTreeMap::keys).collect();
    let mut all: Vec<Difference> = names
        .into_iter()
        .filter_map(|what| {
            let (b, n) = (values(base, what), values(new, what));
            let unknown = |v: &BTreeSet<&str>| v.len() == 1 && v.contains(NOTHING);
            let differs = b != n && (same_version || !(unknown(&b) || unknown(&n)));
            let join = |v: BTreeSet<&str>| v.into_iter().collect::<Vec<_>>().join(" / ");
            differs.then(|| Difference { what: what.clone(), base: join(b), new: join(n), kind: kind(what) })
        })
        .collect();
    all.sort_by_key(|d| d.kind);
    all
}

/// Of the runs of one side: what is not the same in all of them, though it should be.
pub fn mixed(side: &[Fingerprint]) -> Vec<String> {
    let names: BTreeSet<&String> = side.iter().flat_map(BTreeMap::keys).collect();
    names
        .into_iter()
        .filter(|what| kind(what) != Kind::Measurement)
        .filter_map(|what| {
            let v = values(side, what);
            (v.len() > 1).then(|| format!("{what} is {}", v.into_iter().collect::<Vec<_>>().join(" and ")))
        })
        .collect()
}

fn values<'a>(side: &'a [Fingerprint], what: &str) -> BTreeSet<&'a str> {
    side.iter().map(|f| f.get(what).map_or(NOTHING, String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Kind as Sample, make};

    fn run() -> RunResult {
        make(Sample::Good, 7, 100).result
    }

    #[test]
    fn runs_of_the_same_do_not_differ() {
        let (a, mut b) = (run(), run());
        b.seed = 8;
        b.started_at = "2026-02-01T00:00:00Z".to_owned();
        b.host.memory_bytes = 1;
        assert_eq!(differences(&[of(&a)], &[of(&b)]), []);
        assert!(mixed(&[of(&a), of(&b)]).is_empty());
    }

    #[test]
    fn what_differs_is_named_and_weighed() {
        let (a, mut b) = (run(), run());
        b.scenario = "seed = 9\n[fleet]\ndevices = 500\nduration = \"60s\"\n[reference]\nllm = \"330ms\"\n[report]\nhtml = false\n".into();
        b.host.cores = 4;
        b.host.os = "Linux 6.2".to_owned();
        b.target.embedded = false;
        let found = differences(&[of(&a)], &[of(&b)]);
        let of_kind =
            |kind| found.iter().filter(|d| d.kind == kind).map(|d| d.what.as_str()).collect::<Vec<_>>();
        assert_eq!(of_kind(Kind::Workload), ["cores", "fleet.devices"]);
        assert_eq!(of_kind(Kind::Server), ["reference.llm", "target"]);
        assert_eq!(of_kind(Kind::Measurement), ["name", "system"]);
        let devices = found.iter().find(|d| d.what == "fleet.devices").unwrap();
        assert_eq!((devices.base.as_str(), devices.new.as_str()), ("1000", "500"));
        assert_eq!(mixed(&[of(&a), of(&b)]).len(), 4);
    }

    #[test]
    fn a_newer_version_may_know_more_keys() {
        let (a, mut b) = (run(), run());
        b.scenario += "brand_new = 1\n";
        assert_eq!(differences(&[of(&a)], &[of(&b)]).len(), 1);
        b.voxload_version = "99.0.0".to_owned();
        let found = differences(&[of(&a)], &[of(&b)]);
        assert_eq!(found.iter().map(|d| d.what.as_str()).collect::<Vec<_>>(), ["voxload"]);
    }
}
