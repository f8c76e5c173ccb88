//! From the search to the document, and the document in words. Terminal, Markdown and HTML only lay it out.

use super::document::{
    AnswerResult, AtShare, BudgetResult, CapacityReport, Ended, LoadUnit, ScalabilityResult, TrialResult,
};
use super::fit::Scalability;
use super::fleet::{self, AtCapacity};
use super::judge::Budget;
use super::lab::Stopped;
use super::search::{Above, Answer, Search};
use super::storm;
use crate::report::section::Section;
use crate::report::text::{bytes, chosen, count, counted, millis, percent, share, span};
use crate::time::Micros;

/// Shares of the answer at which latency is shown.
const SHARES: [f64; 4] = [0.1, 0.5, 0.9, 1.0];

/// What the search came to, without what surrounds it.
pub(super) struct Outcome {
    pub(super) ended: Ended,
    pub(super) sentence: String,
    pub(super) answer: Option<AnswerResult>,
    pub(super) held: Option<f64>,
    pub(super) certain: bool,
    pub(super) failed: Option<f64>,
    pub(super) budgets: Vec<BudgetResult>,
    pub(super) at_shares: Vec<AtShare>,
    pub(super) remarks: Vec<String>,
    pub(super) scalability: Option<ScalabilityResult>,
}

impl Outcome {
    pub(super) fn of(
        search: &Search,
        stopped: Option<&Stopped>,
        unit: LoadUnit,
        budgets: &[Budget],
        trials: &[TrialResult],
    ) -> Self {
        let a = search.answer();
        let ended = ended(&a, stopped, trials);
        let budgets: Vec<BudgetResult> = (0..)
            .zip(budgets)
            .map(|(n, b)| BudgetResult {
                expression: b.expression.clone(),
                allowed_share: b.allowed(),
                ttfa_limit_us: b.ttfa_limit().map(|t| t.0),
                binds: a.bound_by == Some(n),
            })
            .collect();
        let answer = a.load().zip(a.interval()).map(|(load, [low, high])| AnswerResult {
            load: unit.value(load),
            low: unit.value(low),
            high: unit.value(high),
            confirmed: a.confirmed,
        });
        let held = a.held.map(|n| unit.value(n));
        let failed =
            search.levels().iter().find(|(_, l)| l.holds() == Some(false)).map(|(n, _)| unit.value(*n));
        let points: Vec<(f64, f64)> = match unit {
            LoadUnit::Devices => good(trials).map(|t| (t.load, t.turn_rate)).collect(),
            LoadUnit::Sessions => Vec::new(),
        };
        let law = Scalability::fit(&points).map(|s| ScalabilityResult {
            lambda: s.lambda,
            sigma: s.sigma,
            kappa: s.kappa,
        });
        Self {
            ended,
            sentence: sentence(&a, ended, answer, unit, &budgets, trials),
            answer,
            held,
            certain: a.certain,
            failed,
            at_shares: answer.map(|a| at_shares(a.load, trials)).unwrap_or_default(),
            remarks: remarks(&a, ended, stopped, unit, &budgets, trials),
            scalability: law,
            budgets,
        }
    }
}

/// Probes whose numbers say something about the server.
pub(super) fn good(trials: &[TrialResult]) -> impl Iterator<Item = &TrialResult> {
    trials.iter().filter(|t| t.verdict != "invalid" && t.turns > 0)
}

fn ended(a: &Answer, stopped: Option<&Stopped>, trials: &[TrialResult]) -> Ended {
    match stopped {
        Some(Stopped::Interrupted) => return Ended::Interrupted,
        Some(Stopped::Lost(_)) => return Ended::Lost,
        Some(Stopped::Time) if !a.confirmed => return Ended::Time,
        Some(Stopped::Time) | None => {}
    }
    match (a.held, a.above) {
        _ if good(trials).next().is_none() && trials.iter().all(|t| t.verdict == "invalid") => Ended::Invalid,
        (Some(_), Above::Fails(_)) => Ended::Answered,
        (Some(_), Above::Ceiling) => Ended::Ceiling,
        (Some(_), Above::Harness(_)) => Ended::Harness,
        (None, Above::Fails(_)) => Ended::NothingHolds,
        (None, Above::Harness(_)) => Ended::Invalid,
        (_, Above::Unknown) | (None, Above::Ceiling) => Ended::Time,
    }
}

/// A threshold for people: `ttfa:p(95)<300ms` is "TTFA p95 < 300 ms".
pub(super) fn spoken(expression: &str) -> String {
    let Some((name, rest)) = expression.split_once(':') else { return expression.to_owned() };
    let at = rest.find(['<', '>', '=', '!']).unwrap_or(rest.len());
    let (statistic, bound) = rest.split_at(at);
    let operator: String = bound.chars().take_while(|c| "<>=!".contains(*c)).collect();
    let limit = bound[operator.len()..].trim();
    let digits = limit.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(limit.len());
    let (number, unit) = limit.split_at(digits);
    let name = match name.trim() {
        "ttfa" => "TTFA".to_owned(),
        "ttft" => "TTFT".to_owned(),
        "turns.failed" => "failed turns".to_owned(),
        other => other.to_owned(),
    };
    let statistic = match statistic.trim() {
        "rate" | "value" => String::new(),
        s => format!(" {}", s.replace(['(', ')'], "")),
    };
    let unit = if unit.is_empty() { String::new() } else { format!(" {}", unit.trim()) };
    format!("{name}{statistic} {operator} {number}{unit}")
}

/// All thresholds, the one that binds first.
fn terms(budgets: &[BudgetResult]) -> String {
    let mut all: Vec<&BudgetResult> = budgets.iter().collect();
    all.sort_by_key(|b| !b.binds);
    let all: Vec<_> = all.iter().map(|b| spoken(&b.expression)).collect();
    all.join(" and ")
}

fn sentence(
    a: &Answer,
    ended: Ended,
    answer: Option<AnswerResult>,
    unit: LoadUnit,
    budgets: &[BudgetResult],
    trials: &[TrialResult],
) -> String {
    let terms = terms(budgets);
    let load = |steps: u64| unit.text(unit.value(steps));
    if let Some(x) = answer {
        let sure = match (ended, a.confirmed) {
            (Ended::Interrupted, false) => ", not confirmed: the search was interrupted",
            (Ended::Lost, false) => ", not confirmed: the server was lost",
            (Ended::Time, false) => ", not confirmed: the time was over",
            (_, false) => ", not confirmed: too many probes were INVALID",
            (_, true) => "",
        };
        return format!(
            "one server carries {} (95 % interval {}…{}) at {terms}{sure}",
            unit.text(x.load),
            unit.number(x.low),
            unit.number(x.high)
        );
    }
    let text = match (a.held, a.above) {
        (Some(n), Above::Ceiling) => {
            format!("one server carries at least {} at {terms}: more was not allowed (--ceiling)", load(n))
        }
        (Some(n), Above::Harness(too_many)) => format!(
            "one server carries at least {} at {terms}: this machine cannot drive more ({} made the harness the bottleneck)",
            load(n),
            load(too_many)
        ),
        (Some(n), _) => format!(
            "one server carries at least {} at {terms}: {}",
            load(n),
            match ended {
                Ended::Interrupted => "the search was interrupted before it knew more",
                Ended::Lost => "then the server could not be reached any more",
                _ => "there was no time to try more (--time)",
            }
        ),
        (None, Above::Fails(n)) if ended == Ended::NothingHolds => {
            format!("the server does not carry even {} at {terms}", load(n))
        }
        (None, Above::Fails(n)) => {
            format!("the server does not carry {} at {terms}; how many it does is not known", load(n))
        }
        (None, Above::Harness(n)) => {
            format!("nothing is known of the server: the harness was the bottleneck even with {}", load(n))
        }
        (None, _) if trials.is_empty() => "nothing was measured".to_owned(),
        (None, _) => "nothing is known of the server: no probe was valid".to_owned(),
    };
    let claims = a.held.is_some() || matches!(a.above, Above::Fails(_));
    if claims && !a.certain {
        return format!(
            "{text}. This is NOT certain, too few turns were seen: give the probes longer with --probe"
        );
    }
    text
}

fn at_shares(load: f64, trials: &[TrialResult]) -> Vec<AtShare> {
    let nearest = |share: f64| {
        let to = load * share;
        let distance = |t: &TrialResult| (t.load / to).ln().abs();
        good(trials).min_by(|a, b| distance(a).total_cmp(&distance(b))).map(|t| AtShare {
            share,
            trial: t.number,
            load: t.load,
            ttfa_p50_us: t.ttfa_p50_us,
            ttfa_p95_us: t.ttfa_p95_us,
            ttfa_p99_us: t.ttfa_p99_us,
        })
    };
    SHARES.into_iter().filter_map(nearest).collect()
}

fn remarks(
    a: &Answer,
    ended: Ended,
    stopped: Option<&Stopped>,
    unit: LoadUnit,
    budgets: &[BudgetResult],
    trials: &[TrialResult],
) -> Vec<String> {
    let mut all = Vec::new();
    if let Some((failed, held)) = a.not_monotonic {
        all.push(format!(
            "not monotonic: {} failed where {} held, both beyond doubt. The server is not the same from run to run: a cache that \
             warms up, another tenant, a limit that comes and goes; search again",
            unit.text(unit.value(failed)),
            unit.text(unit.value(held))
        ));
    }
    if let Some(Stopped::Lost(why)) = stopped {
        all.push(format!("the last probe could not be made: {why}"));
    }
    let invalid: Vec<&TrialResult> = trials.iter().filter(|t| t.verdict == "invalid").collect();
    if let Some(last) = invalid.last() {
        let next = if matches!(ended, Ended::Harness | Ended::Invalid) {
            "; `voxload calibrate` says what this machine can drive, larger chunks or a second machine drive more"
        } else {
            ""
        };
        all.push(format!(
            "{} INVALID and left out: {} at {}{next}",
            match invalid.len() {
                1 => "1 probe was".to_owned(),
                n => format!("{n} probes were"),
            },
            last.reason,
            unit.text(last.load)
        ));
    }
    let aborted: Vec<_> = trials.iter().filter(|t| t.verdict == "aborted").collect();
    if let Some(t) = aborted.first() {
        all.push(format!(
            "{} stopped early to protect the server: {} at {}",
            counted(aborted.len() as u64, "probe"),
            t.reason,
            unit.text(t.load)
        ));
    }
    let off = good(trials).filter(|t| t.little_agrees == Some(false)).count();
    if off > 0 {
        all.push(format!(
            "in {} Little's law is off: devices in a turn are not turn rate × length of a turn, so the load was not steady; longer \
             probes (--probe) settle it",
            counted(off as u64, "probe")
        ));
    }
    let plain: Vec<_> =
        budgets.iter().filter(|b| b.allowed_share.is_none()).map(|b| spoken(&b.expression)).collect();
    if !plain.is_empty() {
        all.push(format!(
            "judged without confidence, as held or not in each run: {}; a quantile or a rate is judged with it",
            plain.join(", ")
        ));
    }
    all
}

/// How servers for a fleet are computed from the answer; `None` without one, and with open arrivals.
pub(super) fn at_capacity(answer: AnswerResult, trials: &[TrialResult]) -> Option<AtCapacity> {
    let near = good(trials)
        .filter(|t| t.verdict != "aborted")
        .min_by(|a, b| (a.load - answer.load).abs().total_cmp(&(b.load - answer.load).abs()))?;
    let turn = Micros(near.turn_us?);
    // Turns per device are those of the nearest probe.
    let turn_rate = near.turn_rate / near.load.max(1.0) * answer.load;
    // What is left of the time between two turns of a device.
    let cycle = Micros::from_secs_f64(answer.load / turn_rate.max(1e-6));
    Some(AtCapacity { devices: answer.load, turn_rate, turn, think: (cycle - turn).max(Micros::ZERO) })
}

/// The verdict in a word, and its colour on the page.
pub(super) fn headline(r: &CapacityReport) -> (&'static str, &'static str) {
    match r.ended {
        Ended::Ceiling | Ended::NothingHolds if !r.certain => ("UNDECIDED", "interrupted"),
        Ended::Answered if r.answer.is_some_and(|a| a.confirmed) => ("FOUND", "pass"),
        Ended::Answered => ("FOUND, NOT CONFIRMED", "interrupted"),
        Ended::Ceiling => ("AT LEAST", "pass"),
        Ended::Harness => ("AT LEAST", "invalid"),
        Ended::Time | Ended::Lost => ("PARTIAL", "interrupted"),
        Ended::Interrupted => ("INTERRUPTED", "interrupted"),
        Ended::NothingHolds => ("NOT EVEN ONE", "fail"),
        Ended::Invalid => ("INVALID", "invalid"),
    }
}

/// The fleet in a sentence.
pub(super) fn fleet_sentence(r: &CapacityReport) -> Option<String> {
    let (f, a) = (r.fleet.as_ref()?, r.answer?);
    let asked = f.asked.map_or_else(String::new, |o| {
        format!(
            ". Quiet for {} instead, they need {}: computed by Little's law, not measured",
            chosen(o.think_us),
            counted(o.servers, "server")
        )
    });
    Some(format!(
        "{} toys need {}: {} toys each, {} of what one carries, and {} server to spare; quiet for {} between two turns, a toy is \
         in a turn {} of the time{asked}",
        count(f.toys),
        counted(f.servers, "server"),
        count((a.load * f.used).floor() as u64),
        whole(f.used),
        f.spare,
        Micros(f.think_us),
        percent(f.in_turn_share)
    ))
}

/// What was measured where.
pub(super) fn setting(r: &CapacityReport) -> String {
    let target = r.target.as_ref().map_or_else(String::new, |t| {
        let embedded = if t.embedded { ", embedded reference server" } else { "" };
        format!(" · {} ({}{embedded})", t.url, t.dialect)
    });
    format!(
        "{} · {} in {}{target} · voxload {} · {} ({})",
        r.name,
        counted(r.trials.len() as u64, "probe"),
        Micros(r.duration_us),
        r.voxload_version,
        r.host.cpu,
        counted(r.host.cores.into(), "core")
    )
}

/// A share that somebody chose: `75 %`.
pub(super) fn whole(share: f64) -> String {
    format!("{} %", (share * 1_000.0).round() / 10.0)
}

fn ms(us: Option<i64>) -> String {
    us.map_or_else(|| "–".to_owned(), millis)
}

/// The tables.
pub(super) fn sections(r: &CapacityReport) -> Vec<Section> {
    let mut all = vec![trials(r)];
    if !r.at_shares.is_empty() {
        all.push(Section {
            title: "Latency on the way there, TTFA in ms",
            headings: vec!["of the answer", "nearest probe", "p50", "p95", "p99"],
            rows: r
                .at_shares
                .iter()
                .map(|s| {
                    let mut row = vec![whole(s.share), format!("{}: {}", s.trial, r.unit.text(s.load))];
                    row.extend([s.ttfa_p50_us, s.ttfa_p95_us, s.ttfa_p99_us].map(ms));
                    row
                })
                .collect(),
            notes: vec!["a p99 needs 1,000 turns in one probe".to_owned()],
        });
    }
    if let Some(near) = r.answer.and_then(|a| nearest(r, a.load)) {
        all.push(costs(r, near));
    }
    all.extend(r.storm.as_ref().map(storm::section));
    all.extend(fleet_section(r));
    all
}

fn nearest(r: &CapacityReport, load: f64) -> Option<&TrialResult> {
    good(&r.trials).min_by(|a, b| (a.load - load).abs().total_cmp(&(b.load - load).abs()))
}

fn trials(r: &CapacityReport) -> Section {
    let over = |t: &TrialResult| {
        let budgets = t.budgets.iter().zip(&r.budgets);
        let binding = budgets.clone().find(|(_, b)| b.binds).or_else(|| budgets.clone().next());
        match binding.and_then(|(b, _)| b.over.zip(b.of)) {
            Some((over, of)) => share(over, of),
            None => "–".to_owned(),
        }
    };
    let seen = r.trials.iter().any(|t| t.server_cpu_cores.is_some());
    let rows = r.trials.iter().map(|t| {
        let mut row = vec![
            format!("{} {}", t.number, t.purpose),
            r.unit.number(t.load),
            t.verdict.clone(),
            count(t.turns),
            ms(t.ttfa_p50_us),
            ms(t.ttfa_p95_us),
            ms(t.ttfa_p99_us),
            over(t),
            count(t.failed),
            format!("{:.1}", t.turn_rate),
        ];
        if seen {
            row.push(t.server_cpu_cores.map_or_else(|| "–".to_owned(), |c| format!("{c:.2}")));
        }
        row
    });
    let settings = &r.search;
    let mut notes = vec![
        "a share of turns over the budget passes or fails with 95 % confidence (binomial, each run counting for as many turns as \
         independent ones would be worth), or stays undecided"
            .to_owned(),
        format!(
            "each probe is a fresh run, up to {} that count, ended early when it left no doubt or {} of its turns and connections \
             failed{}",
            chosen(settings.probe_us),
            whole(settings.abort_share),
            if settings.cool_down_us > 0 {
                format!("; {} of rest in between, longer after a load that was too much", chosen(settings.cool_down_us))
            } else {
                String::new()
            }
        ),
    ];
    if let Some(b) = r.budgets.iter().find(|b| b.binds) {
        notes.insert(0, format!("the budget that ends it: {}", spoken(&b.expression)));
    }
    let mut headings = vec![
        "probe",
        r.unit.heading(),
        "verdict",
        "turns",
        "p50",
        "p95",
        "p99",
        "over budget",
        "failed",
        "turns/s",
    ];
    if seen {
        headings.push("server cores");
    }
    Section { title: "Probes, TTFA in ms", headings, rows: rows.collect(), notes }
}

fn costs(r: &CapacityReport, near: &TrialResult) -> Section {
    let row = |label: &str, value: String| vec![label.to_owned(), value];
    let mut rows = vec![
        row("turns per second", format!("{:.1}", near.turn_rate)),
        row("length of a turn, mean", span(near.turn_us)),
    ];
    if let Some((counted, computed)) = near.in_turn.zip(near.in_turn_by_little) {
        let agree = if near.little_agrees == Some(true) { "agree" } else { "do NOT agree" };
        rows.push(row(
            "in a turn at once",
            format!("{counted:.1} counted, {computed:.1} by Little's law: they {agree}"),
        ));
    }
    rows.extend([
        row("payload up, down", format!("{:.0}, {:.0} kbit/s", near.kbps_up, near.kbps_down)),
        row(
            "connecting, p95",
            format!("{}, {} failed", span(near.connect_p95_us), counted(near.connect_failures, "attempt")),
        ),
        row("the server's own CPU", cores(near.server_cpu_cores)),
        row("the server's memory", memory(near.server_rss_bytes)),
        row("the harness's own CPU", percent(near.harness_cpu_share)),
    ]);
    let mut notes = vec![format!("probe {}, {}", near.number, r.unit.text(near.load))];
    notes.push(if near.server_cpu_cores.is_some() {
        "the server's CPU and memory are those of its process and what it has started, while the load counted; 1.00 cores: one core \
         is busy"
            .to_owned()
    } else {
        "the server's CPU and memory are not seen from here; on the server's machine, --server-pid PID shows them".to_owned()
    });
    if r.unit == LoadUnit::Devices && r.storm.is_none() {
        notes.push(
            "whether the server lets all of them in at once was not tried; --storm 1s tries it, in the time there is (--time)".to_owned(),
        );
    }
    Section {
        title: "What that load is",
        headings: vec!["", "at the probe nearest to the answer"],
        rows,
        notes,
    }
}

/// `1.87 cores`, or a dash.
pub(super) fn cores(cores: Option<f64>) -> String {
    cores.map_or_else(|| "–".to_owned(), |c| format!("{c:.2} cores"))
}

/// `312.4 MiB`, or a dash.
pub(super) fn memory(rss: Option<u64>) -> String {
    rss.map_or_else(|| "–".to_owned(), bytes)
}

fn fleet_section(r: &CapacityReport) -> Option<Section> {
    let f = r.fleet.as_ref()?;
    let a = r.answer?;
    let mut rows = vec![vec![
        format!("{} (as measured)", Micros(f.think_us)),
        percent(f.in_turn_share),
        count(a.load as u64),
        count(f.servers),
    ]];
    rows.extend(
        f.asked.iter().chain(&f.others).map(|o| {
            vec![chosen(o.think_us), percent(o.in_turn_share), count(o.per_server), count(o.servers)]
        }),
    );
    Some(Section {
        title: "Servers for a fleet",
        headings: vec!["quiet between turns", "in a turn", "toys a server", "servers"],
        rows,
        notes: vec![
            format!(
                "{} toys at {} of a server's capacity, rounded up, and {} to spare",
                count(f.toys),
                whole(f.used),
                f.spare
            ),
            "other times between turns are computed by Little's law from the turns per second at the capacity; the connections of quiet \
             toys are taken to cost nothing: search with that think time (turn.think) before buying servers"
                .to_owned(),
        ],
    })
}

/// The plan for a fleet, when the answer allows one.
pub(super) fn fleet_plan(
    (toys, think): (u64, Option<Micros>),
    unit: LoadUnit,
    answer: Option<AnswerResult>,
    trials: &[TrialResult],
) -> Option<super::document::FleetPlan> {
    if unit != LoadUnit::Devices {
        return None;
    }
    Some(fleet::plan(toys, &at_capacity(answer?, trials)?, think))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_for_people() {
        let all = [
            "ttfa:p(95)<300ms",
            "turns.failed:rate<1%",
            "stall_ratio@60ms:p(99)<=2%",
            "ttft:avg < 1.5s",
            "turns.failed:count==0",
        ]
        .map(spoken);
        assert_eq!(
            all,
            [
                "TTFA p95 < 300 ms",
                "failed turns < 1 %",
                "stall_ratio@60ms p99 <= 2 %",
                "TTFT avg < 1.5 s",
                "failed turns count == 0"
            ]
        );
    }
}
