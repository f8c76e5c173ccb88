//! Wire times: when chunks arrive at a sink, against the plan.
//!
//! Chunk k of length c is planned at t₀ + (k+1)·c: it exists when its last sample has been spoken. The server logs when
//! it read each message, on the same clock.

use std::collections::{BTreeMap, HashMap};

use super::lab::{Lab, Order, SPEECH};
use super::stats::Sizes;
use super::{Check, Finding, Trouble};
use crate::reference::truth::{CHUNKS, ChunkRow};
use crate::report::result::TurnRow;
use crate::time::Micros;

/// The chunk length of all proofs.
const CHUNK: Micros = Micros::from_millis(60);

/// Arrival after plan; the tail is the server's as well.
const P50: Micros = Micros::from_millis(1);
const P99: Micros = Micros::from_millis(10);

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    let seconds = lab.pick(10, 3);
    lab.step(&format!("{seconds} s of speech into a sink"));
    let ran = lab.valid(&Order::new(
        "",
        format!(
            "[fleet]\narrivals = \"open\"\nrate = 30.0\ndevices = 1000\nduration = \"{seconds}s\"\n\
             graceful_stop = \"2s\"\n[reference]\nlog_chunks = true"
        ),
    ))?;
    Ok(judge(&ran.turns()?, &ran.beside(CHUNKS)?))
}

/// Chunks of one session, in the order of their arrival: which, and when.
type Arrived = Vec<(u32, Micros)>;

fn judge(turns: &[TurnRow], chunks: &[ChunkRow]) -> Finding {
    let mut sessions: HashMap<(u16, u32), BTreeMap<u64, Arrived>> = HashMap::new();
    for c in chunks {
        let of_port = sessions.entry((c.peer_port, c.session_turn)).or_default();
        of_port.entry(c.session).or_default().push((c.chunk, c.in_us));
    }
    // Ports are used again, but not at the same time: the session nearest to the turn is the turn's.
    let arrivals = |turn: &TurnRow| {
        let of_port = sessions.get(&(turn.local_port, turn.session_turn))?;
        let distance = |all: &&Arrived| all.first().map(|(_, at)| (at.0 - turn.planned_start_us).abs());
        of_port.values().min_by_key(distance)
    };
    let expected = SPEECH.0 / CHUNK.0;
    let (mut late, mut spacing, mut incomplete) = (Vec::new(), Vec::new(), 0);
    for turn in turns {
        let arrived = arrivals(turn).map_or(&[][..], Vec::as_slice);
        if arrived.len() as i64 != expected {
            incomplete += 1;
        }
        late.extend(
            arrived.iter().map(|(k, at)| at.0 - (turn.planned_start_us + (i64::from(*k) + 1) * CHUNK.0)),
        );
        let neighbours = arrived.iter().zip(arrived.iter().skip(1));
        spacing.extend(neighbours.map(|((_, a), (_, b))| (*b - *a - CHUNK).0));
    }
    let early = late.iter().copied().min().unwrap_or(0).min(0);
    let within = |what: &str, values: Vec<i64>| {
        let sizes = Sizes::of(values);
        let ok = sizes.is_some_and(|s| s.p50 <= P50 && s.p99 <= P99);
        let seen = sizes.map_or_else(|| "nothing".to_owned(), |s| format!("{s} ({} chunks)", s.count));
        Check::new(what, format!("p50 ≤ {P50}, p99 ≤ {P99}"), seen, ok)
    };
    Finding {
        checks: vec![
            within("arrival − plan", late),
            within("|spacing − 60 ms|", spacing),
            Check::new(
                "earliest chunk",
                "none before its last sample was spoken",
                shown_early(early),
                early >= 0,
            ),
            Check::new(
                "turns with a chunk too many or too few",
                format!("0 (each has {expected})"),
                format!("{incomplete} of {}", turns.len()),
                incomplete == 0 && !turns.is_empty(),
            ),
        ],
        notes: vec![
            "The instants are those at which the server read each message: its own wake-up is in them."
                .to_owned(),
        ],
        charts: Vec::new(),
    }
}

fn shown_early(early: i64) -> String {
    if early < 0 { format!("{} early", Micros(-early)) } else { "none early".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two turns, whose chunk k arrives `late(k)` after it is planned.
    fn finding(late: impl Fn(u32) -> i64, count: u32) -> Finding {
        let turn =
            |port, planned_start_us| TurnRow { local_port: port, planned_start_us, ..TurnRow::default() };
        let turns = [turn(1, 0), turn(2, 777_000)];
        let chunk = |t: &TurnRow, k| ChunkRow {
            peer_port: t.local_port,
            chunk: k,
            in_us: Micros(t.planned_start_us + (i64::from(k) + 1) * 60_000 + late(k)),
            ..ChunkRow::default()
        };
        let chunks: Vec<_> = turns.iter().flat_map(|t| (0..count).map(|k| chunk(t, k))).collect();
        judge(&turns, &chunks)
    }

    fn failing(f: &Finding) -> Vec<&str> {
        f.checks.iter().filter(|c| !c.ok).map(|c| c.what.as_str()).collect()
    }

    #[test]
    fn on_time_holds() {
        assert_eq!(failing(&finding(|k| 200 + i64::from(k) * 10, 8)), Vec::<&str>::new());
    }

    #[test]
    fn a_port_that_is_used_again_is_two_sessions() {
        let turn = |planned_start_us| TurnRow { local_port: 1, planned_start_us, ..TurnRow::default() };
        let turns = [turn(0), turn(5_000_000)];
        let chunk = |session, k: u32| ChunkRow {
            peer_port: 1,
            session,
            chunk: k,
            in_us: Micros(session as i64 * 5_000_000 + (i64::from(k) + 1) * 60_000),
            ..ChunkRow::default()
        };
        let chunks: Vec<_> = (0..2).flat_map(|session| (0..8).map(move |k| chunk(session, k))).collect();
        assert_eq!(failing(&judge(&turns, &chunks)), Vec::<&str>::new());
    }

    #[test]
    fn what_is_not_on_time_is_found() {
        assert_eq!(failing(&finding(|_| 3_000, 8)), ["arrival − plan"], "all late by the same");
        assert_eq!(failing(&finding(|_| -10, 8)), ["earliest chunk"]);
        assert_eq!(failing(&finding(|_| 200, 7)), ["turns with a chunk too many or too few"]);
        // A clock that is re-anchored after each send drifts.
        assert_eq!(failing(&finding(|k| i64::from(k) * 2_500, 8)), ["arrival − plan", "|spacing − 60 ms|"]);
        assert!(!judge(&[], &[]).checks.iter().all(|c| c.ok), "unmeasured is not OK");
    }
}
