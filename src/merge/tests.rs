//! A merged result is that of one process that recorded the same events.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::join::{Sums, add_up};
use super::record::Head;
use super::{End, FILE, Record, Start, join, open};
use crate::drive::outcome::{Names, measured};
use crate::drive::run::Sinks;
use crate::event::{Event, FailureClass, Outcome, Sent, TurnRecord};
use crate::fault::{Cause, FaultKind, Phase};
use crate::measure::testing::turn;
use crate::measure::{Groups, Interval, Recorder, Totals};
use crate::network::{LinkStats, WayStats};
use crate::report::result::{RunResult, ShardInfo, Status, ValidityCheck};
use crate::report::sample::{Kind, make};
use crate::report::{HlogWriter, IntervalsCsv, StageTotals, TurnsCsv, json};
use crate::scenario::{Part, Source};
use crate::seed::{Seed, Stream};
use crate::time::Micros;
use crate::transport::ConnectTimes;
use crate::transport::source::Sources;

const S: fn(i64) -> Micros = Micros::from_secs;
const MS: fn(i64) -> Micros = Micros::from_millis;

/// Seconds of a made-up run, and an interval more for what its end says.
const SECONDS: i64 = 8;

fn groups() -> Groups {
    Groups::new(vec!["control".into(), "cat1".into()], |device| u8::from(device % 3 == 1))
}

fn recorder() -> Recorder {
    let mut r = Recorder::new(S(1), true);
    r.of_run(groups(), S(SECONDS), S(2));
    r
}

/// What happens to a device in a second, in no particular order, but at instants of its own.
fn second(device: u32, second: i64, draw: &mut Stream) -> Vec<(Micros, Event)> {
    let at = |us: i64| S(second) + Micros(us * 64 + i64::from(device) % 64);
    // Devices come in even seconds and are cut in odd ones: the most at once is then the same however they are counted.
    let mut all = Vec::new();
    let times = ConnectTimes { tcp: Micros(draw.below(900) as i64), ..ConnectTimes::default() };
    if second % 2 == 0 {
        all.push((at(1), Event::Connecting));
        all.push((
            at(2),
            Event::Connected { times, total: MS(draw.below(90) as i64), reconnect: second > 0 },
        ));
    } else {
        let (cause, phase) = (Cause::Fault(FaultKind::Reset), Phase::Idle);
        if draw.below(3) == 0 {
            all.push((at(9_000), Event::FaultBegan { fault: FaultKind::Reset, phase }));
            all.push((at(9_100), Event::Noticed { cause, phase, after: MS(draw.below(40) as i64) }));
        }
        let class = if draw.below(2) == 0 { FailureClass::Reset } else { FailureClass::Closed(1012) };
        all.push((at(9_200), Event::ConnectionLost { class, detail: "gone".into(), established: true }));
        let way = WayStats {
            bytes: draw.below(9_000),
            longest_stall: MS(draw.below(99) as i64),
            ..WayStats::default()
        };
        all.push((at(9_300), Event::LinkEnded(Box::new(LinkStats { up: way, down: way, syn_lost: 1 }))));
    }
    let answered = (draw.below(5) > 0).then(|| Micros(draw.below(900_000) as i64 - 50_000));
    let start = at(100 + draw.below(4_000) as i64);
    let done = at(5_000 + draw.below(3_000) as i64);
    let mut t = TurnRecord {
        turn: second as u32,
        group: groups().of(device).unwrap_or_default(),
        warmup: second == 0,
        ended: done,
        reply_media: MS(draw.below(3_000) as i64),
        audio_messages: 3,
        network_up: (device % 3 == 1).then(|| MS(draw.below(80) as i64)),
        reconnects: draw.below(2) as u16,
        ..turn(device, start, answered)
    };
    if answered.is_none() && draw.below(2) == 0 {
        t.outcome = Outcome::Failed(FailureClass::Server("busy".to_owned()), "try later".into());
    }
    all.push((start, Event::TurnStarted { warmup: t.warmup }));
    all.push((start, Event::TokenGap(MS(draw.below(60) as i64))));
    all.push((start, Event::Received { bytes: draw.below(2_000) as u32 }));
    if draw.below(9) == 0 {
        all.push((start, Event::Missed { turns: 1 }));
    }
    all.push((done, Event::TurnEnded(Box::new(t))));
    all
}

/// The intervals that a process records whose devices are `of` those.
fn recorded(seed: u64, devices: u32, of: impl Fn(u32) -> bool) -> Vec<Interval> {
    let mut recorder = recorder();
    let own: Vec<u32> = (0..devices).filter(|d| of(*d)).collect();
    let mut draws: BTreeMap<u32, Stream> =
        own.iter().map(|d| (*d, Seed(seed).stream("made-up", u64::from(*d)))).collect();
    let mut intervals = Vec::new();
    for number in 0..SECONDS {
        let mut all = Vec::new();
        for (&device, draw) in &mut draws {
            all.extend(second(device, number, draw).into_iter().map(|(at, event)| (at, device, event)));
            // Frequent: enough for histograms, and such that those of the whole grow by other values than those of parts.
            for n in 0..draw.below(200) as i64 {
                let late = Micros(draw.below(1 << (3 + n % 20)) as i64);
                recorder.sent(Sent::Audio, 99, S(number), Micros::ZERO, S(number) + late);
            }
        }
        all.sort_by_key(|(at, device, _)| (*at, *device));
        all.into_iter().for_each(|(at, device, event)| recorder.record(device, at, event));
        intervals.push(recorder.take());
    }
    recorder.finish(S(SECONDS));
    intervals.push(recorder.take());
    intervals
}

fn head(part: Part) -> Head {
    let text = "target.url = \"ws://x/\"\nfleet.devices = 64\nthresholds = [\"turns.failed:count<1\"]";
    let mut scenario = crate::scenario::load(&Source::inline("made-up.toml", text), &[]).unwrap();
    scenario.part = part;
    scenario.fleet.warmup = S(1);
    Head::of(
        &scenario,
        groups().names(),
        &Sources::default(),
        "2026-01-31T12:00:00Z".parse::<Start>().unwrap(),
    )
}

fn sinks(dir: &Path) -> Sinks {
    fs::create_dir_all(dir).unwrap();
    Sinks {
        turns: TurnsCsv::create(dir).unwrap(),
        intervals: IntervalsCsv::create(dir).unwrap(),
        histograms: Some(HlogWriter::create(dir, std::time::SystemTime::UNIX_EPOCH).unwrap()),
        record: None,
        fixtures: vec!["yes".to_owned()],
        problems: Vec::new(),
    }
}

/// What one process makes of them, with all its files; the way of a run.
fn alone(dir: &Path, intervals: &[Interval]) -> String {
    let head = head(Part::WHOLE);
    let mut sinks = sinks(dir);
    let mut totals = Totals::new(head.interval).looking_for_storms(head.warmup, head.storms);
    let mut stages = StageTotals::default();
    for (number, interval) in intervals.iter().enumerate() {
        let all = Interval::joined([interval.clone()]);
        let row = totals.add(S(number as i64), head.interval, &all);
        sinks.write(&row, &all, &mut stages, (&|_| None, &head.groups));
    }
    totals.finish();
    sinks.flush();
    assert_eq!(sinks.problems, Vec::<String>::new());
    document(&totals, &stages)
}

fn document(totals: &Totals, stages: &StageTotals) -> String {
    let (fixtures, groups) = (["yes".to_owned()], groups());
    let names = Names { fixtures: &fixtures, groups: groups.names(), source: &|_| None };
    serde_json::to_string_pretty(&measured(totals, stages, &names)).unwrap()
}

/// The folder that a process leaves, as far as a merge looks at it.
fn folder(
    root: &Path,
    part: Part,
    intervals: &[Interval],
    change: impl FnOnce(&mut RunResult, &mut Head),
) -> PathBuf {
    let dir = root.join(format!("part-{}", part.number()));
    fs::create_dir_all(&dir).unwrap();
    let mut head = head(part);
    let mut result = make(Kind::Good, 7, 100).result;
    result.voxload_version = env!("CARGO_PKG_VERSION").to_owned();
    let machine = format!("machine-{}", part.number());
    result.shard =
        Some(ShardInfo { number: part.number(), of: part.of(), start_at: head.start.to_string(), machine });
    change(&mut result, &mut head);
    let mut record = Record::create(&dir, &head).unwrap();
    intervals.iter().for_each(|i| record.interval(i).unwrap());
    let end = End { intervals: record.intervals(), ..End::default() };
    record.finish(&end).unwrap();
    fs::write(dir.join(json::FILE), serde_json::to_string(&result).unwrap()).unwrap();
    dir
}

fn parts(of: u32) -> Vec<Part> {
    format!("1/{of}").parse::<Part>().unwrap().all().collect()
}

/// Two processes without an event.
fn two(root: &Path, change: impl Fn(u32, &mut RunResult, &mut Head)) -> Vec<PathBuf> {
    let of = |p: &Part| folder(root, *p, &recorded(1, 4, |d| p.has(d)), |r, h| change(p.number(), r, h));
    parts(2).iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn merged_is_what_one_process_would_have_recorded(seed in any::<u64>(), devices in 1_u32..40, of in 1_u32..6) {
        let root = tempfile::tempdir().unwrap();
        let expected = alone(&root.path().join("one"), &recorded(seed, devices, |_| true));
        let dirs: Vec<PathBuf> = parts(of)
            .into_iter()
            .map(|p| folder(root.path(), p, &recorded(seed, devices, |d| p.has(d)), |_, _| ()))
            .collect();
        let mut shards = open(&dirs, false).unwrap();
        let mut sinks = sinks(&root.path().join("merged"));
        let Sums { totals, stages, .. } = add_up(&mut shards, &mut sinks).unwrap();
        prop_assert_eq!(document(&totals, &stages), expected);
        for file in ["turns.csv", "intervals.csv", "histograms.hlog"] {
            let read = |of: &str| fs::read_to_string(root.path().join(of).join(file)).unwrap();
            prop_assert_eq!(read("merged"), read("one"), "{}", file);
        }
    }
}

#[test]
fn the_whole_is_judged_anew_and_as_strictly_as_its_parts() {
    let root = tempfile::tempdir().unwrap();
    let bad = |name: &str| ValidityCheck {
        name: name.to_owned(),
        seen: "12.0 ms".to_owned(),
        limit: "≤ 5 ms".to_owned(),
        ok: false,
        cause: "busy".to_owned(),
        try_this: "less".to_owned(),
    };
    let dirs = two(root.path(), |number, result, _| {
        result.validity.checks = vec![];
        result.thresholds.clear();
        result.generator.open_files_peak = Some(10 * u64::from(number));
        if number == 2 {
            (result.validity.valid, result.validity.checks) = (false, vec![bad("ticker lag p99")]);
        }
    });
    let to = root.path().join("merged");
    fs::create_dir(&to).unwrap();
    let merged = join(open(&dirs, false).unwrap(), &to, "voxload merge a b".to_owned()).unwrap();
    let r = merged.result;
    assert_eq!((r.verdict.status, r.verdict.exit_code), (Status::Invalid, 120));
    let check = r.validity.checks.iter().find(|c| c.name == "ticker lag p99").unwrap();
    assert_eq!((check.ok, check.seen.as_str()), (false, "12.0 ms in shard 2/2 on machine-2"));
    assert!(r.validity.checks.iter().any(|c| c.name == "shards complete" && c.ok && c.seen == "2 of 2"));
    assert_eq!(
        r.processes.iter().map(|p| (p.shard.number, p.valid)).collect::<Vec<_>>(),
        [(1, true), (2, false)]
    );
    assert_eq!(
        r.thresholds.iter().map(|t| t.expression.as_str()).collect::<Vec<_>>(),
        ["turns.failed:count<1"]
    );
    assert_eq!(r.generator.open_files_peak, Some(20));
    assert_eq!(r.generator.messages_sent, 2 * r.processes[0].generator.messages_sent);
    assert_eq!((r.started_at.as_str(), r.shard), ("2026-01-31T12:00:00Z", None));
    // The counts are those of the record, not those of the documents.
    assert_eq!(r.turns.started + r.turns.warmup, 4 * SECONDS as u64);
}

#[test]
fn what_is_not_of_the_same_run_is_refused() {
    let refused = |change: &dyn Fn(u32, &mut RunResult, &mut Head)| {
        let root = tempfile::tempdir().unwrap();
        let e = open(&two(root.path(), change), true).err().unwrap();
        e.replace(root.path().to_str().unwrap(), "ROOT")
    };
    let e = refused(&|n, r, h| {
        r.seed += u64::from(n);
        h.start = format!("{}", 1_769_860_800 + n).parse().unwrap();
        r.scenario = r.scenario.replace("1000", &format!("{n}000"));
        r.fixtures[0].sha256 = n.to_string();
    });
    assert!(
        e.starts_with("shard 1/2 (ROOT/part-1) and shard 2/2 (ROOT/part-2) are not of the same run"),
        "{e}"
    );
    for what in [
        "--start-at: 2026-01-31T12:00:01Z against",
        "seed: ",
        "fleet.devices: 1000 against 2000",
        "fixtures: ",
    ] {
        assert!(e.contains(what), "{e}");
    }
    let e = refused(&|_, r, _| r.voxload_version = "0.0.1".to_owned());
    assert!(e.contains("written by voxload 0.0.1"), "{e}");
    let e = refused(&|_, _, h| h.part = parts(2)[0]);
    assert!(e.contains("are the same part of the fleet, 1/2"), "{e}");
    let e = refused(&|n, _, h| h.interval = S(n.into()));
    assert!(e.contains("report.interval"), "{e}");
    let e = refused(&|n, _, h| h.most = n);
    assert!(e.contains("the heads of their"), "{e}");
    let e = refused(&|_, r, _| r.processes.push(crate::report::result::ProcessResult::default()));
    assert!(e.contains("merged result already"), "{e}");
}

#[test]
fn what_is_missing_is_said_and_needs_an_order() {
    let root = tempfile::tempdir().unwrap();
    let dirs = two(root.path(), |n, r, _| {
        if n == 1 {
            r.verdict.status = Status::Interrupted;
        }
    });
    let e = open(&dirs[1..], false).err().unwrap();
    assert!(e.starts_with("missing: shard 1/2") && e.contains("--partial"), "{e}");
    let e = open(&dirs, false).err().unwrap();
    assert!(e.contains("was interrupted") && e.contains("part-1"), "{e}");
    for (given, seen) in [(&dirs[..], "1 of 2"), (&dirs[1..], "1 of 2")] {
        let to = root.path().join("merged");
        fs::create_dir_all(&to).unwrap();
        let r = join(open(given, true).unwrap(), &to, String::new()).unwrap().result;
        let check = r.validity.checks.iter().find(|c| c.name == "shards complete").unwrap();
        assert_eq!(
            (check.ok, check.seen.as_str(), r.verdict.status),
            (false, seen, Status::Invalid),
            "{check:?}"
        );
    }
}

#[test]
fn a_folder_that_is_no_whole_shard_is_explained() {
    let root = tempfile::tempdir().unwrap();
    let dirs = two(root.path(), |_, _, _| ());
    let refused = || open(&dirs, true).err().unwrap();
    let (record, document) = (dirs[1].join(FILE), dirs[1].join(json::FILE));
    let whole = fs::read(&record).unwrap();
    fs::write(&record, &whole[..whole.len() / 2]).unwrap();
    let e = refused();
    assert!(e.contains("part-2/shard.jsonl.gz, line") && e.contains("ends in the middle"), "{e}");
    let mut bent = whole.clone();
    bent[whole.len() / 2] ^= 0x55;
    fs::write(&record, &bent).unwrap();
    assert!(refused().contains("part-2/shard.jsonl.gz, line"));
    fs::write(&record, "not compressed").unwrap();
    assert!(refused().contains("line 1: "));
    fs::remove_file(&record).unwrap();
    assert!(refused().contains("not the folder of a process that was started with --shard"));
    fs::write(&record, &whole).unwrap();
    fs::write(&document, "{}").unwrap();
    assert!(refused().contains("no schema_version"));
    fs::remove_file(&document).unwrap();
    assert!(refused().contains("still runs, or died"));
    let e = open(&[root.path().join("nowhere")], true).err().unwrap();
    assert!(e.contains("is no folder"), "{e}");
}
