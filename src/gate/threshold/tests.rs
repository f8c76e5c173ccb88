//! Thresholds read, and judged on made-up runs.

use proptest::prelude::*;

use super::*;
use crate::measure::testing::turn;
use crate::measure::{Distribution, Groups, Metric, Recorder, Totals};
use crate::report::RunResult;
use crate::report::result::{BargeInCounts, ConnectionCounts, PlaybackResult, ThresholdVerdict, TurnCounts};
use crate::time::Micros;

#[test]
fn errors_say_where_and_what() {
    let report = [
        "ttfa<300ms",
        "tffa:p(95)<300ms",
        "ttfa:p95<300ms",
        "ttfa:p(100)<300ms",
        "ttfa:rate<1%",
        "ttfa:p(95)300ms",
        "ttfa:p(95)=300ms",
        "ttfa:p(95)<300",
        "turns.failed:p(95)<1%",
        "turns.failed:rate<10",
        "turns.failed:count<1%",
        "stalled_share@50ms:value<1%",
        "ttfa{group:}:p(95)<1s",
        "ttfa{device:7}:p(95)<1s",
        "ttfa{group:cat1:p(95)<1s",
        "connect{group:cat1}:p(95)<1s",
        "stall_ratio@0ms{group:cat1}:rate<1%",
        "",
    ]
    .map(|text| format!("{text:30} {}", Threshold::parse(text).unwrap_err()))
    .join("\n");
    insta::assert_snapshot!(report, @r"
    ttfa<300ms                     column 1: `ttfa<300ms` is not a threshold; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
    tffa:p(95)<300ms               column 1: there is no metric `tffa`; did you mean `ttfa`?
    ttfa:p95<300ms                 column 6: `ttfa` has no statistic `p95`; `ttfa` has `p(95)`, `med`, `min`, `max`, `avg` and `count`
    ttfa:p(100)<300ms              column 6: `p(100)` is not a percentile; expected a number between 0 and 100, such as `p(95)` or `p(99.9)`; `max` is the largest
    ttfa:rate<1%                   column 6: `ttfa` has no statistic `rate`; `ttfa` has `p(95)`, `med`, `min`, `max`, `avg` and `count`
    ttfa:p(95)300ms                column 6: `ttfa:p(95)300ms` compares with nothing; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
    ttfa:p(95)=300ms               column 11: not an operator; expected `<`, `<=`, `>`, `>=`, `==` or `!=`
    ttfa:p(95)<300                 column 12: `300` is not a duration; expected a duration such as `300ms`, `2s`, `1m30s`
    turns.failed:p(95)<1%          column 14: `turns.failed` has no statistic `p(95)`; `turns.failed` has `count` and `rate`
    turns.failed:rate<10           column 19: `10` is not a limit for this; expected a share, such as `1%` or `0.01`
    turns.failed:count<1%          column 20: `1%` is not a limit for this; expected a whole number
    stalled_share@50ms:value<1%    column 1: there is no metric `stalled_share@50ms`; did you mean `stalled_share@0ms`?
    ttfa{group:}:p(95)<1s          column 5: `{group:}` names no group; a group of devices is named as in `ttfa{group:cat1}:p(95)<1s`
    ttfa{device:7}:p(95)<1s        column 5: `{device:7}` names no group; a group of devices is named as in `ttfa{group:cat1}:p(95)<1s`
    ttfa{group:cat1:p(95)<1s       column 1: `ttfa{group:cat1:p(95)<1s` is not a threshold; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
    connect{group:cat1}:p(95)<1s   column 1: `connect` is not known by group; of groups the metrics of turns are known, such as `ttfa`, `ttft`, `stall_ratio@60ms`, `network`, and `turns.failed` and what else is counted at the end of a turn
    stall_ratio@0ms{group:cat1}:rate<1% column 1: `stall_ratio@0ms` is not known by group; ask for a percentile: `stall_ratio@0ms{group:…}:p(98)<=0%` allows 2 % of the replies to stall
                                   column 1: `` is not a threshold; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
    ");
}

#[test]
fn budgets_are_shares_of_samples() {
    let of = |text| Threshold::parse(text).unwrap().allowance();
    let a = of("ttfa:p(95)<300ms").unwrap();
    assert!(
        matches!(a.of, AllowedOf::Above(Metric::Ttfa, Micros(300_000))) && (a.share - 0.05).abs() < 1e-12
    );
    let a = of("stall_ratio@60ms:p(99)<=2%").unwrap();
    assert!(matches!(a.of, AllowedOf::Above(Metric::StallRatio60, Micros(20_000))));
    let a = of("turns.failed:rate<1%").unwrap();
    assert!(matches!(a.of, AllowedOf::Counted(c) if c.name == "turns.failed") && a.share == 0.01);
    let a = of("ttft:p(40)>1ms").unwrap();
    assert!(matches!(a.of, AllowedOf::UpTo(Metric::Ttft, Micros(1_000))) && (a.share - 0.4).abs() < 1e-12);
    let a = of("turns.succeeded:rate>99%").unwrap();
    assert!(matches!(a.of, AllowedOf::NotCounted(_)) && (a.share - 0.01).abs() < 1e-12);
    assert!(matches!(of("stall_ratio@60ms:rate<2%").unwrap().of, AllowedOf::Stalled(Micros(60_000))));
    for none in [
        "ttfa:max<2s",
        "ttfa:avg<1s",
        "turns.failed:count==0",
        "turns.failed:rate==1%",
        "turns.failed:rate<=0%",
        "turns.succeeded:rate>=100%",
        "turns.missed:rate<1%",
    ] {
        assert!(of(none).is_none(), "{none}");
    }
}

fn run() -> RunResult {
    let mut ttfa = Distribution::default();
    for i in 1..=100 {
        ttfa.record(Micros::from_millis(i));
    }
    let mut failing = Distribution::default();
    for _ in 0..90 {
        failing.record(Micros::from_millis(100));
    }
    (0..10).for_each(|_| failing.record_infinite());
    let mut ttft = Distribution::default();
    ttft.record(Micros::from_millis(-20));
    let mut stalls = Distribution::default();
    stalls.record(Micros(20_000));
    let metrics =
        [("ttfa", &ttfa), ("ttfa_first_byte", &failing), ("ttft", &ttft), ("stall_ratio@60ms", &stalls)]
            .map(|(name, d)| (name.to_owned(), d.to_result("us")));
    RunResult {
        turns: TurnCounts {
            planned: 105,
            started: 104,
            succeeded: 96,
            failed: 1,
            timed_out: 3,
            cancelled: 4,
            missed: 1,
            ..TurnCounts::default()
        },
        connections: ConnectionCounts { attempted: 10, opened: 10, ..ConnectionCounts::default() },
        metrics: metrics.into(),
        playback: vec![PlaybackResult {
            prebuffer_us: 60_000,
            replies: 50,
            stalled_replies: 1,
            stalls: 2,
            stalled_us: 100_000,
            media_us: 9_900_000,
            ttfa_p50_us: None,
            ttfa_p95_us: None,
            ttfa_uncorrected_p50_us: None,
            ttfa_uncorrected_p95_us: None,
        }],
        barge_in: BargeInCounts::default(),
        ..empty_run()
    }
}

fn empty_run() -> RunResult {
    serde_json::from_value(serde_json::json!({
        "schema_version": 1, "voxload_version": "", "name": "", "seed": 1, "started_at": "",
        "duration_us": 0, "warmup_us": 0,
        "verdict": {"status": "pass", "exit_code": 0, "reasons": []},
        "validity": {"valid": true, "checks": []},
        "thresholds": [], "stages": [],
        "target": {"url": "", "dialect": "", "text_granularity": "", "embedded": true, "tls": false, "insecure": false},
        "turns": TurnCounts::default(), "connections": ConnectionCounts::default(), "metrics": {}, "failures": [],
        "playback": [], "barge_in": BargeInCounts::default(),
        "generator": crate::report::result::Generator::default(), "intervals": [], "worst_turns": [], "fixtures": [],
        "audio": crate::report::result::AudioInfo::default(), "host": crate::report::result::HostInfo::default(),
        "scenario": "", "command": "", "agreement": null,
    }))
    .unwrap()
}

#[test]
fn judges_a_run() {
    let run = run();
    let report = [
        "ttfa:p(95)<300ms",
        "ttfa:med <= 50ms",
        "ttfa:p(97.5)<0.05s",
        "ttfa:p(99)<300ms",
        "ttfa:count>=100",
        "ttfa:max<100ms",
        "ttfa_first_byte:p(90)<300ms",
        "ttfa_first_byte:p(91)<300ms",
        "ttfa_first_byte:max<1h",
        "ttfa_first_byte:avg<1h",
        "ttft:med<-10ms",
        "endpoint_delay:med<1s",
        "turns.failed:rate<5%",
        "turns.failed:count==4",
        "turns.missed:rate<0.001",
        "connections.failed:rate<1%",
        "connections.reconnected:rate>50%",
        "barge_in.false_stops:count==0",
        "stall_ratio@60ms:rate<2%",
        "stall_ratio@60ms:max<2.5%",
        "stalled_share@60ms:value<2%",
        "stalled_share@0ms:value<2%",
    ]
    .map(|text| {
        let r = Threshold::parse(text).unwrap().evaluate(&run);
        let actual = r.actual.map_or_else(|| "null".to_owned(), |x| x.to_string());
        assert_eq!(r.passed, r.verdict() == ThresholdVerdict::Pass);
        let verdict = match r.verdict() {
            ThresholdVerdict::Pass => "✓",
            ThresholdVerdict::Fail => "✗",
            ThresholdVerdict::Undecided => "?",
        };
        format!("{verdict} {text:32} {:12} {actual:12} {}", r.actual_text, r.note).trim_end().to_owned()
    })
    .join("\n");
    insta::assert_snapshot!(report, @r"
    ✓ ttfa:p(95)<300ms                 95.0 ms      95.039       0 of 100 over 300 ms: at most 2.95 % with 95 % confidence, 5 % may be
    ? ttfa:med <= 50ms                 50.0 ms      50.015       undecided: 50 of 100 over 50.0 ms: between 41.4 and 58.6 % with 95 % confidence, 50 % may be; the share is too near to what may be for more turns to decide it soon
    ✗ ttfa:p(97.5)<0.05s               98.0 ms      0.098047     50 of 100 over 50.0 ms: at least 41.4 % with 95 % confidence, 2.5 % may be
    ? ttfa:p(99)<300ms                 99.0 ms      99.007       undecided: 0 of 100 over 300 ms: between 0 and 2.95 % with 95 % confidence, 1 % may be; fewer than 299 turns cannot show it; 199 more would, if it stays at none
    ✓ ttfa:count>=100                  100          100
    ✗ ttfa:max<100ms                   100 ms       100
    ? ttfa_first_byte:p(90)<300ms      100 ms       100          undecided: 10 of 100 over 300 ms: between 5.53 and 16.4 % with 95 % confidence, 10 % may be; the share is too near to what may be for more turns to decide it soon
    ? ttfa_first_byte:p(91)<300ms      ∞            null         so many turns failed that the statistic is one of them; undecided: 10 of 100 over 300 ms: between 5.53 and 16.4 % with 95 % confidence, 9 % may be; about 2300 more turns would decide it, if the share stays
    ✗ ttfa_first_byte:max<1h           ∞            null         so many turns failed that the statistic is one of them
    ✗ ttfa_first_byte:avg<1h           ∞            null         so many turns failed that the statistic is one of them
    ? ttft:med<-10ms                   -20.0 ms     -20          undecided: 0 of 1 over -10.0 ms: between 0 and 95 % with 95 % confidence, 50 % may be; fewer than 5 turns cannot show it; 4 more would, if it stays at none
    ✗ endpoint_delay:med<1s            no samples   null         `endpoint_delay` has no sample in this run: what is not measured does not pass
    ? turns.failed:rate<5%             4 %          4            undecided: 4 of 100: between 1.38 and 8.92 % with 95 % confidence, 5 % may be; about 1300 more turns would decide it, if the share stays
    ✓ turns.failed:count==4            4            4
    ✗ turns.missed:rate<0.001          0.952 %      0.009523809523809525 1 of 105
    ? connections.failed:rate<1%       0 %          0            undecided: 0 of 10: between 0 and 25.9 % with 95 % confidence, 1 % may be; fewer than 299 connections cannot show it; 289 more would, if it stays at none
    ✗ connections.reconnected:rate>50% no samples   null         there was nothing that it could be a share of
    ✓ barge_in.false_stops:count==0    0            0
    ? stall_ratio@60ms:rate<2%         2 %          2            undecided: 1 of 50 stalled: between 0.103 and 9.14 % with 95 % confidence, 2 % may be; the share is too near to what may be for more turns to decide it soon
    ✓ stall_ratio@60ms:max<2.5%        2 %          2
    ✓ stalled_share@60ms:value<2%      1 %          1
    ✗ stalled_share@0ms:value<2%       no samples   null         no playback at a prebuffer of 0ms in this run
    ");
}

#[test]
fn every_subject_is_understood() {
    for name in Metric::ALL.iter().map(|m| m.name()).chain(COUNTERS.iter().map(|c| c.name)) {
        Threshold::parse(&format!("{name}:count>=0")).unwrap();
    }
}

#[test]
fn undecided_can_be_let_pass() {
    let rule = Rule { undecided_passes: true, ..Rule::default() };
    let t = Threshold::parse("ttfa:p(99)<300ms").unwrap().judge(&run(), rule);
    assert_eq!((t.verdict(), t.passed), (ThresholdVerdict::Undecided, true));
    let share = t.share.unwrap();
    assert_eq!((share.over, share.n, share.needed), (0, 100, Some(299)));
    assert!((share.allowed - 0.01).abs() < 1e-12 && share.high > 0.01 && share.low == 0.0);
    let t = Threshold::parse("ttfa:p(50)<10ms").unwrap().judge(&run(), rule);
    assert_eq!((t.verdict(), t.passed), (ThresholdVerdict::Fail, false), "only what is undecided");
}

/// Even devices are on `wifi`, odd ones on `cat1`: slower, and every tenth turn of theirs times out.
fn by_group() -> RunResult {
    let names = vec!["wifi".to_owned(), "cat1".to_owned()];
    let groups = Groups::new(names, |device| u8::from(device % 2 == 1)).judging(&["cat1"]);
    let mut recorders = [0, 1].map(|_| {
        let mut r = Recorder::new(Micros::ZERO, true);
        r.of_run(groups.clone(), Micros::NEVER, Micros::ZERO);
        r
    });
    let mut totals = Totals::new(Micros::from_secs(1));
    for n in 0..1_000_u32 {
        let on_cat1 = n % 2 == 1;
        let ttfa = (n % 20 != 19).then(|| Micros::from_millis(if on_cat1 { 700 } else { 100 }));
        let mut t = turn(n, Micros::from_secs(2), ttfa);
        t.group = u8::from(on_cat1);
        let r = &mut recorders[n as usize / 2 % 2];
        r.record(n, Micros::from_secs(3), crate::event::Event::TurnEnded(Box::new(t)));
        if n % 100 == 99 {
            for r in &mut recorders {
                totals.add(Micros::from_secs(i64::from(n)), Micros::from_secs(1), &r.take());
            }
        }
    }
    RunResult { network: totals.network(groups.names()), turns: totals.all.counts.turns(), ..run() }
}

#[test]
fn groups_are_judged_on_their_own() {
    let run = by_group();
    let report = [
        "ttfa{group:wifi}:p(95)<300ms",
        "ttfa{group:cat1}:p(95)<1s",
        "ttfa{group:cat1}:p(80)<1s",
        "ttfa_first_byte{group:cat1}:med<1s",
        "turns.failed{group:cat1}:rate<1%",
        "turns.failed{ group: cat1 }:count==50",
        "ttfa_first_byte{group:wifi}:med<1s",
        "ttfa{group:cat2}:med<1s",
        "ttfa{group:satellite}:med<1s",
    ]
    .map(|text| {
        let r = Threshold::parse(text).unwrap().evaluate(&run);
        format!("{:10} {text:38} {:12} {}", format!("{:?}", r.verdict()), r.actual_text, r.note)
            .trim_end()
            .to_owned()
    })
    .join("\n");
    insta::assert_snapshot!(report, @r"
    Pass       ttfa{group:wifi}:p(95)<300ms           100 ms       0 of 500 over 300 ms: at most 0.597 % with 95 % confidence, 5 % may be
    Fail       ttfa{group:cat1}:p(95)<1s              ∞            so many turns failed that the statistic is one of them; 50 of 500 over 1.00 s: at least 7.87 % with 95 % confidence, 5 % may be
    Pass       ttfa{group:cat1}:p(80)<1s              700 ms       50 of 500 over 1.00 s: at most 12.5 % with 95 % confidence, 20 % may be
    Pass       ttfa_first_byte{group:cat1}:med<1s     700 ms       50 of 500 over 1.00 s: at most 12.5 % with 95 % confidence, 50 % may be
    Fail       turns.failed{group:cat1}:rate<1%       10 %         50 of 500: at least 7.87 % with 95 % confidence, 1 % may be
    Pass       turns.failed{ group: cat1 }:count==50  50
    Fail       ttfa_first_byte{group:wifi}:med<1s     no samples   `ttfa_first_byte` of the group `wifi` has no sample in this run: what is not measured does not pass
    Fail       ttfa{group:cat2}:med<1s                no samples   there is no group `cat2` of devices: did you mean `cat1`?
    Fail       ttfa{group:satellite}:med<1s           no samples   there is no group `satellite` of devices: there are `wifi`, `cat1`
    ");
    let judged = run.network.unwrap().groups[1].judged.clone().unwrap();
    assert_eq!((judged.turns.started, judged.turns.timed_out, judged.turns.succeeded), (500, 50, 450));
    assert!(
        Threshold::parse("ttfa{group:cat1}:med<1s").unwrap().evaluate(&self::run()).note.contains("[link]")
    );
}

#[test]
fn an_entry_says_what_a_threshold_does() {
    let entry =
        |text: &str| Threshold::parse_entry(text).map(|(t, delay)| (t.expression().to_owned(), delay));
    let ttfa = "ttfa:p(95)<300ms".to_owned();
    assert_eq!(entry(&ttfa), Ok((ttfa.clone(), None)));
    assert_eq!(entry("ttfa:p(95)<300ms abort_on_fail"), Ok((ttfa.clone(), Some(Micros::ZERO))));
    let delayed = Threshold::entry(&ttfa, true, "30s");
    assert_eq!(entry(&delayed), Ok((ttfa.clone(), Some(Micros::from_secs(30)))));
    assert_eq!(Threshold::entry(&ttfa, false, ""), ttfa);
    assert!(entry("ttfa:avg<1s abort_on_fail delay=5s").is_ok());
    let wrong = [
        "ttfa:p(95)<300ms abort_on_fail delay=30",
        "ttfa:p(95)<300ms abort_on_fail at=30s",
        "ttfa:avg<1s abort_on_fail",
    ];
    let report = wrong.map(|text| Threshold::parse_entry(text).unwrap_err().to_string()).join("\n");
    insta::assert_snapshot!(report, @r"
    column 38: a duration without a unit: `30`; expected a duration such as `300ms`, `2s`, `1m30s`
    column 32: `at=30s` is not understood; after `abort_on_fail` there may be a delay, such as `delay=30s`
    column 13: the first turn alone could stop the run: this statistic is no share that could be judged with confidence; give it time, for example `abort_on_fail delay=30s`
    ");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z.@0-9]{0,12}:?[a-z()0-9.]{0,8}[<>=! ]{0,3}[0-9a-z%.µ-]{0,8}") {
        let _ = Threshold::parse(&text);
    }

    #[test]
    fn an_unknown_name_never_passes(name in "[a-z_]{1,12}") {
        prop_assume!(Metric::from_name(&name).is_none());
        let results = judge_all(&[format!("{name}:p(95)<1h")], &run(), Rule::default());
        prop_assert!(!results[0].passed);
    }

    /// Nothing gets better by being slower, or by failing.
    #[test]
    fn a_slower_or_a_failed_turn_never_helps(quick in 0..400_u64, slow in 1..60_u64, fail in proptest::bool::ANY) {
        let judge = |quick: u64, slow: u64, failed: u64| {
            let mut d = Distribution::default();
            (0..quick).for_each(|_| d.record(Micros::from_millis(100)));
            (0..slow).for_each(|_| d.record(Micros::from_millis(900)));
            (0..failed).for_each(|_| d.record_infinite());
            let run = RunResult { metrics: [("ttfa".to_owned(), d.to_result("us"))].into(), ..empty_run() };
            match Threshold::parse("ttfa:p(95)<300ms").unwrap().evaluate(&run).verdict() {
                ThresholdVerdict::Pass => 0,
                ThresholdVerdict::Undecided => 1,
                ThresholdVerdict::Fail => 2,
            }
        };
        let (before, worse) = (judge(quick + 1, slow, 0), judge(quick, slow + u64::from(!fail), u64::from(fail)));
        prop_assert!(before <= worse);
        prop_assert_eq!(judge(quick, slow, 0), judge(quick, 0, slow));
    }
}
