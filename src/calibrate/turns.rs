//! What the harness adds to a turn: against a server that answers at once, and against one whose delays are known.

use super::document::{ErrorBars, Floor, FloorRun, KnownDelay, Spread};
use super::subrun::{Ended, SubRun};
use super::{Bench, Step};
use crate::measure::{Distribution, Metric};
use crate::report::result::TurnRow;
use crate::report::text::{chosen, count, counted, span};
use crate::time::Micros;

/// The shortest shipped utterance, interrupted soon: as many turns as possible in little time.
const FIXTURE: &str = "yes";
const LISTENS: Micros = Micros::from_millis(100);
const RAMP: Micros = Micros::from_millis(500);
const CHUNK: Micros = Micros::from_millis(60);

/// Devices of the two runs for the floor.
const FLOOR: [u32; 2] = [5, 100];

/// Known delays, and the devices of each.
const DELAYS: [Micros; 2] = [Micros::from_millis(50), Micros::from_millis(300)];
const DELAYED: u32 = 300;

fn plan(devices: u32, delay: Micros, judged: Micros) -> SubRun {
    SubRun { devices, ramp: RAMP, judged, chunk: CHUNK, fixture: FIXTURE, listens: LISTENS, delay }
}

/// TTFT and TTFA against a server that answers at once.
pub(super) fn floor(bench: &mut Bench<'_>) -> Result<Option<Floor>, String> {
    let judged = Micros::from_millis(if bench.quick { 1_000 } else { 1_800 });
    let mut runs = Vec::new();
    for devices in FLOOR {
        bench.begin(
            Step::Floor,
            &format!("{} against a server that answers at once", counted(devices.into(), "device")),
        );
        let Some((ended, valid)) = quiet_run(bench, &plan(devices, Micros::ZERO, judged))? else { break };
        let run = floor_run(devices, valid, &ended)?;
        bench.result(&format!(
            "TTFA p50 {}, of which {} remain without the last chunk's wait and the reply's silence; connect p50 {}",
            span(run.ttfa.p50_us),
            span(run.ttfa_remaining.p50_us),
            span(run.connect.p50_us)
        ));
        runs.push(run);
    }
    Ok((!runs.is_empty()).then_some(Floor { runs }))
}

fn floor_run(devices: u32, valid: bool, ended: &Ended) -> Result<FloorRun, String> {
    let turns = ended.turns()?;
    let connect = ended.result.metrics.get(Metric::Connect.name()).map(Spread::of_result).unwrap_or_default();
    Ok(remaining(&turns, FloorRun { devices, valid, connect, ..FloorRun::default() }))
}

/// Takes the parts that the definitions ask for off each turn.
fn remaining(turns: &[TurnRow], run: FloorRun) -> FloorRun {
    let last_chunk = |t: &TurnRow| t.last_send_planned_us - t.end_of_speech_us;
    let all = |of: &dyn Fn(&TurnRow) -> Option<i64>| {
        let mut d = Distribution::default();
        turns.iter().filter_map(of).for_each(|us| d.record(Micros(us)));
        Spread::of(&d)
    };
    FloorRun {
        turns: turns.len() as u64,
        ttft: all(&|t| t.ttft_us),
        ttfa: all(&|t| t.ttfa_us),
        last_chunk_us: all(&|t| Some(last_chunk(t))).p50_us,
        lead_silence_us: all(&|t| t.lead_silence_us).p50_us,
        ttft_remaining: all(&|t| Some(t.ttft_us? - last_chunk(t))),
        ttfa_remaining: all(&|t| Some(t.ttfa_us? - last_chunk(t) - t.lead_silence_us?)),
        ..run
    }
}

/// |harness − the server's own log|.
pub(super) fn error(bench: &mut Bench<'_>) -> Result<Option<ErrorBars>, String> {
    let judged = Micros::from_millis(if bench.quick { 1_700 } else { 2_200 });
    let (mut ttft, mut ttfa) = (Distribution::default(), Distribution::default());
    let mut delays = Vec::new();
    for delay in DELAYS {
        let devices = counted(DELAYED.into(), "device");
        bench.begin(Step::Error, &format!("{devices} against a known delay of {}", chosen(delay.0)));
        let Some((ended, valid)) = quiet_run(bench, &plan(DELAYED, delay, judged))? else { break };
        let pairs = ended.pairs()?;
        let one = |differences: &[i64], sum: &mut Distribution| {
            let mut d = Distribution::default();
            differences.iter().for_each(|us| d.record(Micros(us.abs())));
            sum.merge(&d);
            Spread::of(&d)
        };
        let known = KnownDelay {
            delay_us: delay.0,
            devices: DELAYED,
            turns: pairs.matched,
            unmatched: pairs.unmatched,
            valid,
            ttft: one(&pairs.ttft, &mut ttft),
            ttfa: one(&pairs.ttfa, &mut ttfa),
        };
        bench.result(&format!(
            "error of TTFT p50 {}, max {}; of TTFA p50 {}, max {} ({} turns)",
            span(known.ttft.p50_us),
            span(known.ttft.max_us),
            span(known.ttfa.p50_us),
            span(known.ttfa.max_us),
            count(known.turns)
        ));
        delays.push(known);
    }
    Ok((!delays.is_empty()).then(|| ErrorBars { delays, ttft: Spread::of(&ttft), ttfa: Spread::of(&ttfa) }))
}

/// A run that should be VALID on any machine: repeated once when it is not, and then taken with a remark.
fn quiet_run(bench: &mut Bench<'_>, plan: &SubRun) -> Result<Option<(Ended, bool)>, String> {
    let Some(first) = bench.run(plan)? else { return Ok(None) };
    if first.result.validity.valid {
        return Ok(Some((first, true)));
    }
    let Some(second) = bench.run(plan)? else { return Ok(None) };
    let valid = second.result.validity.valid;
    if !valid {
        let checks = second.failed_checks().join(", ");
        let devices = counted(plan.devices.into(), "device");
        bench.remark(&format!(
            "the run with {devices} was INVALID twice: {checks}; other work on this machine disturbed it, and its \
             numbers are the machine's rather than the harness's"
        ));
    }
    Ok(Some((second, valid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_definitions_ask_for_is_taken_off() {
        let turn = |ttft, ttfa| TurnRow {
            end_of_speech_us: 1_000_000,
            last_send_planned_us: 1_018_000,
            ttft_us: Some(ttft),
            ttfa_us: Some(ttfa),
            lead_silence_us: Some(20_000),
            ..TurnRow::default()
        };
        let turns = [turn(18_300, 38_500), turn(18_400, 38_900)];
        let run = remaining(&turns, FloorRun { devices: 3, valid: true, ..FloorRun::default() });
        assert_eq!((run.devices, run.turns), (3, 2));
        assert_eq!((run.last_chunk_us, run.lead_silence_us), (Some(18_000), Some(20_000)));
        assert_eq!((run.ttft.min_us, run.ttfa.max_us), (Some(18_300), Some(38_900)));
        assert_eq!((run.ttft_remaining.min_us, run.ttft_remaining.max_us), (Some(300), Some(400)));
        assert_eq!((run.ttfa_remaining.min_us, run.ttfa_remaining.max_us), (Some(500), Some(900)));
    }
}
