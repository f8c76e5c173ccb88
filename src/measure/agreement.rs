//! Harness against reference server: the same turns, seen from both sides, on the same clock.
//!
//! The server logs when it wrote the first token and the first audio of every turn. What the harness measured for the
//! same turn can only be later, by what network and harness add: that difference is the harness's error bar. Turns over an
//! imitated network are not compared: it lies between the two.

use std::collections::HashMap;
use std::path::Path;

use crate::reference::truth;
use crate::report::result::{Agreement, Difference, TurnRow};

/// Within this, the two sides agree.
const CLOSE: i64 = 5_000;

/// Both sides' instants of the same turns, subtracted: harness − server, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// Turns found in both logs.
    pub matched: u64,
    /// Turns of the harness (with a first audio) that the server's log does not have.
    pub unmatched: u64,
    /// Turns that an imitated network delayed: not compared.
    pub delayed: u64,
    /// First tokens.
    pub ttft: Vec<i64>,
    /// First audible samples.
    pub ttfa: Vec<i64>,
}

/// Compares `turns.csv` with `reference-truth.csv`. Turns during warm-up are compared, too.
pub fn compare(turns: &Path, truth: &Path) -> Result<Agreement, String> {
    let Pairs { matched, unmatched, delayed, ttft, ttfa } = pairs(turns, truth)?;
    Ok(Agreement { turns: matched, unmatched, delayed, ttft: difference(ttft), ttfa: difference(ttfa) })
}

/// The turns that both files have, each with its difference.
pub fn pairs(turns: &Path, truth: &Path) -> Result<Pairs, String> {
    let log = Log::new(truth::read(truth)?);
    let mut pairs = Pairs::default();
    for_each_turn(turns, |us| {
        if us.ttfa_first_byte_us.is_none() {
            return;
        }
        let Some(them) = log.find(&us) else {
            pairs.unmatched += 1;
            return;
        };
        if us.network_us.is_some() {
            pairs.delayed += 1;
            return; // the difference would be the network's
        }
        if them.resumed {
            return; // what was written may have been lost: there is nothing to compare
        }
        pairs.matched += 1;
        pairs.ttft.extend(ttft_error(&us, them));
        pairs.ttfa.extend(ttfa_error(&us, them));
    })?;
    Ok(pairs)
}

/// Reads `turns.csv` back, row by row.
pub fn for_each_turn(turns: &Path, mut each: impl FnMut(TurnRow)) -> Result<(), String> {
    let wrong = |e: &dyn std::fmt::Display| format!("cannot read {} back: {e}", turns.display());
    let mut reader = csv::Reader::from_path(turns).map_err(|e| wrong(&e))?;
    for row in reader.deserialize() {
        each(row.map_err(|e| wrong(&e))?);
    }
    Ok(())
}

/// The server's log, to look turns up in.
pub struct Log(HashMap<(u16, u32), Vec<truth::Row>>);

impl Log {
    /// Of these rows.
    pub fn new(rows: Vec<truth::Row>) -> Self {
        let mut log = HashMap::<_, Vec<truth::Row>>::new();
        for row in rows {
            log.entry((row.peer_port, row.session_turn)).or_default().push(row);
        }
        Self(log)
    }

    /// The server's row of a turn. A port is used again by a later connection: the turn of the server that began last
    /// before ours ended is ours.
    pub fn find(&self, us: &TurnRow) -> Option<&truth::Row> {
        let candidates = self.0.get(&(us.local_port, us.session_turn))?;
        let ours = |t: &&truth::Row| {
            // Devices on several addresses use the same ports.
            us.source_ip.is_none_or(|ip| t.peer_ip == Some(ip))
                && (us.planned_start_us..=us.ended_us).contains(&t.turn_end_in_us.0)
        };
        candidates.iter().rev().find(ours)
    }
}

/// First token: harness − server, µs.
pub fn ttft_error(us: &TurnRow, them: &truth::Row) -> Option<i64> {
    Some(us.end_of_speech_us + us.ttft_us? - them.first_token_out_us?.0)
}

/// First audible sample: harness − server, µs. First bytes on both sides, and the leading silence on both sides.
pub fn ttfa_error(us: &TurnRow, them: &truth::Row) -> Option<i64> {
    let ours = us.end_of_speech_us + us.ttfa_first_byte_us? + us.lead_silence_us?;
    Some(ours - (them.first_audio_out_us? + them.first_audible_offset_us?).0)
}

fn difference(mut all: Vec<i64>) -> Difference {
    all.sort_unstable();
    let mut sizes: Vec<i64> = all.iter().map(|d| d.abs()).collect();
    sizes.sort_unstable();
    let at = |v: &[i64], q: f64| {
        let rank = (q * v.len() as f64).ceil().max(1.0) as usize;
        v.get(rank - 1).copied()
    };
    let close = sizes.partition_point(|&d| d <= CLOSE);
    Difference {
        count: all.len() as u64,
        p50_us: at(&all, 0.5),
        p99_abs_us: at(&sizes, 0.99),
        max_abs_us: sizes.last().copied(),
        within_5ms: (!all.is_empty()).then(|| close as f64 / sizes.len() as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_summed_up() {
        let d = difference((1..=100).map(|n| if n == 100 { -9_000 } else { n * 10 }).collect());
        assert_eq!((d.count, d.p50_us, d.p99_abs_us, d.max_abs_us), (100, Some(490), Some(990), Some(9_000)));
        assert_eq!(d.within_5ms, Some(0.99));
        assert_eq!(difference(Vec::new()).within_5ms, None);
    }
}
