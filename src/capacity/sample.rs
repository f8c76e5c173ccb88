//! A made-up search: for tests and for looking at pages. No number in here was measured.

use super::binomial::Share;
use super::document::{
    CapacityReport, LoadUnit, SCHEMA_VERSION, SearchSettings, StormResult, TrialBudget, TrialResult,
};
use super::judge::Budget;
use super::search::{Ask, Limits, Purpose, Search, Seen, Tally};
use super::words::{self, Outcome};
use crate::report::result::{HostInfo, TargetInfo};

const THRESHOLDS: [&str; 2] = ["ttfa:p(95)<600ms", "turns.failed:rate<1%"];
const LIMITS: Limits = Limits { from: 50, ceiling: 10_000, factor: 2.0, precision: 0.05, rounds: 3 };

/// An answer.
pub fn found() -> CapacityReport {
    let mut search = Search::new(LIMITS);
    let mut trials = Vec::new();
    for (load, purpose, over) in [
        (50, Purpose::Bracket, 2),
        (100, Purpose::Bracket, 3),
        (200, Purpose::Bracket, 4),
        (400, Purpose::Bracket, 39),
        (565, Purpose::Bracket, 475),
        (475, Purpose::Bisect, 160),
        (436, Purpose::Bisect, 81),
        (418, Purpose::Bisect, 57),
        (329, Purpose::Confirm, 7),
        (454, Purpose::Confirm, 112),
        (412, Purpose::Confirm, 50),
    ] {
        let ask = Ask { load, purpose };
        let share = Share { over, of: 1_000, allowed: 0.05, effect: 2.0 };
        let failed = Share { over: 0, of: 1_000, allowed: 0.01, effect: 1.0 };
        let tallies = vec![Tally::Share(share), Tally::Share(failed)];
        trials.push(trial(trials.len() as u32 + 1, ask, &tallies));
        search.tell(ask, Seen::Judged(tallies));
    }
    report(&search, trials)
}

/// As far as the harness went.
pub fn harness() -> CapacityReport {
    let mut search = Search::new(LIMITS);
    let mut trials = Vec::new();
    for (load, valid) in [(160, true), (320, true), (380, false), (380, false)] {
        let ask = Ask { load, purpose: Purpose::Bracket };
        let tallies =
            THRESHOLDS.map(|_| Tally::Share(Share { over: 0, of: 600, allowed: 0.05, effect: 1.0 }));
        let mut t = trial(trials.len() as u32 + 1, ask, &tallies);
        if !valid {
            (t.verdict, t.reason) = ("invalid".to_owned(), "CPU of the harness 97 % (limit 85 %)".to_owned());
        }
        trials.push(t);
        search.tell(ask, if valid { Seen::Judged(tallies.into()) } else { Seen::Invalid });
    }
    report(&search, trials)
}

fn trial(number: u32, ask: Ask, tallies: &[Tally]) -> TrialResult {
    let load = ask.load as f64;
    let (rate, busy) = (78.0 * (load / 440.0).min(1.0), (load / 420.0).powi(6));
    let ms = |base: f64| Some((base * 1_000.0 * (1.0 + busy)) as i64);
    let budgets = tallies.iter().map(|t| {
        let Tally::Share(s) = t else { return TrialBudget::default() };
        TrialBudget {
            verdict: format!("{:?}", t.verdict()).to_lowercase(),
            over: Some(s.over),
            of: Some(s.of),
            design_effect: Some(s.effect),
        }
    });
    let level = super::search::Level { tallies: tallies.to_vec(), rounds: 1, ..Default::default() };
    TrialResult {
        number,
        load,
        purpose: ask.purpose.name().to_owned(),
        verdict: level.verdict().map_or_else(String::new, |v| format!("{v:?}").to_lowercase()),
        dir: format!("probes/{number:02}-{load}"),
        budgets: budgets.collect(),
        turns: 1_000,
        failed: 0,
        connected: ask.load as u32,
        ttfa_p50_us: ms(140.0),
        ttfa_p95_us: ms(360.0),
        ttfa_p99_us: ms(520.0),
        connect_p95_us: Some(1_800),
        turn_rate: rate,
        turn_us: Some(3_200_000),
        in_turn: Some(rate * 3.21),
        in_turn_by_little: Some(rate * 3.2),
        little_agrees: Some(true),
        kbps_up: load * 12.0,
        kbps_down: load * 21.0,
        harness_cpu_share: 0.12,
        server_cpu_cores: Some(rate / 40.0),
        server_rss_bytes: Some((180.0 * 1_048_576.0 + load * 310_000.0) as u64),
        took_us: 21_000_000,
        ..TrialResult::default()
    }
}

fn report(search: &Search, trials: Vec<TrialResult>) -> CapacityReport {
    let budgets: Vec<Budget> = THRESHOLDS.iter().filter_map(|e| Budget::parse(e).ok()).collect();
    let o = Outcome::of(search, None, LoadUnit::Devices, &budgets, &trials);
    let fleet = words::fleet_plan((50_000, None), LoadUnit::Devices, o.answer, &trials);
    CapacityReport {
        schema_version: SCHEMA_VERSION,
        voxload_version: "0.1.0".to_owned(),
        name: "sample".to_owned(),
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        duration_us: 241_000_000,
        unit: LoadUnit::Devices,
        ended: o.ended,
        sentence: o.sentence,
        answer: o.answer,
        held: o.held,
        certain: o.certain,
        failed: o.failed,
        budgets: o.budgets,
        trials,
        at_shares: o.at_shares,
        remarks: o.remarks,
        fleet,
        storm: Some(StormResult {
            devices: 411,
            within_us: 1_000_000,
            connected: 411,
            connect_p50_us: Some(9_000),
            connect_p95_us: Some(38_000),
            connect_max_us: Some(61_000),
            ttfa_p95_us: Some(588_000),
            survived: Some(true),
            dir: "storm".to_owned(),
            ..StormResult::default()
        }),
        scalability: o.scalability,
        search: SearchSettings {
            from: 50.0,
            ceiling: 10_000.0,
            factor: 2.0,
            precision: 0.05,
            probe_us: 12_000_000,
            abort_share: 0.1,
            cool_down_us: 2_000_000,
        },
        target: Some(TargetInfo {
            url: "wss://voice.example.com/talk".to_owned(),
            dialect: "envelope".to_owned(),
            text_granularity: "token".to_owned(),
            embedded: false,
            tls: true,
            insecure: false,
        }),
        host: HostInfo {
            os: "Linux 6.1 x86_64".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            open_files: 20_000,
        },
        command: "voxload capacity my-server.toml --fleet 50000".to_owned(),
        scenario: "name = \"sample\"\n".to_owned(),
    }
}
