//! Where the time of a turn goes: means between consecutive milestones, over turns that have the same ones.
//!
//! ```text
//! end of speech ─▶ last send ─▶ final transcript ─▶ first token ─▶ first byte ─▶ audible
//! ```
//!
//! Quantiles of stages do not add up; means over the same turns do. A dialect without transcripts or tokens has fewer
//! milestones, so turns are kept apart by the set they have.

use super::result::{StageMean, TurnRow};

/// The milestones after the end of speech. The last two exist in every turn that counts.
const NAMES: [&str; 5] =
    ["last send", "final transcript", "first token", "first audio byte", "first audible sound"];

/// Sets of milestones: any of the first three, always the last two.
const SETS: usize = 1 << 3;

/// Adds up turns; memory is constant.
#[derive(Clone, Debug, Default)]
pub struct StageTotals {
    sets: [Totals; SETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    turns: u64,
    /// Sum of each milestone's time since the end of speech.
    sums: [i64; NAMES.len()],
}

impl StageTotals {
    /// Adds a turn, if it counts and succeeded.
    pub fn add(&mut self, t: &TurnRow) {
        if t.warmup || t.outcome != "ok" {
            return;
        }
        let (Some(byte), Some(audible)) = (t.ttfa_first_byte_us, t.ttfa_us) else {
            return;
        };
        let optional =
            [t.last_send_done_us.map(|at| at - t.end_of_speech_us), t.final_transcript_us, t.ttft_us];
        let mut set = 0;
        let mut at = [0, 0, 0, byte, audible];
        for (i, milestone) in optional.into_iter().enumerate() {
            if let Some(us) = milestone {
                set |= 1 << i;
                at[i] = us;
            }
        }
        let totals = &mut self.sets[set];
        totals.turns += 1;
        for (sum, us) in totals.sums.iter_mut().zip(at) {
            *sum += us;
        }
    }

    /// Adds the turns of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.sets.iter_mut().zip(&other.sets) {
            mine.turns += theirs.turns;
            for (a, b) in mine.sums.iter_mut().zip(theirs.sums) {
                *a += b;
            }
        }
    }

    /// The stages of the most common set of milestones; empty without turns.
    pub fn to_result(&self) -> Vec<StageMean> {
        let most = self.sets.iter().enumerate().max_by_key(|(_, t)| t.turns);
        let Some((set, totals)) = most.filter(|(_, t)| t.turns > 0) else {
            return Vec::new();
        };
        let (mut from, mut before) = ("end of speech", 0);
        let mut stages = Vec::new();
        for (i, (name, sum)) in NAMES.into_iter().zip(totals.sums).enumerate() {
            if i >= 3 || set & (1 << i) != 0 {
                stages.push(StageMean {
                    name: format!("{from} → {name}"),
                    turns: totals.turns,
                    mean_us: (sum - before) as f64 / totals.turns as f64,
                });
                (from, before) = (name, sum);
            }
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(transcript: Option<i64>, ttfa: i64) -> TurnRow {
        TurnRow {
            outcome: "ok".into(),
            end_of_speech_us: 1_000_000,
            last_send_done_us: Some(1_010_000),
            final_transcript_us: transcript,
            ttft_us: Some(100_000),
            ttfa_first_byte_us: Some(200_000),
            ttfa_us: Some(ttfa),
            ..TurnRow::default()
        }
    }

    #[test]
    fn stages_add_up_to_the_mean_of_the_most_common_turns() {
        let mut a = StageTotals::default();
        a.add(&turn(Some(60_000), 250_000));
        a.add(&turn(None, 900_000));
        a.add(&TurnRow { outcome: "timeout".into(), ..turn(Some(60_000), 250_000) });
        a.add(&TurnRow { warmup: true, ..turn(None, 250_000) });
        let mut b = StageTotals::default();
        b.add(&turn(Some(80_000), 350_000));
        a.merge(&b);
        let stages = a.to_result();
        let named: Vec<_> = stages.iter().map(|s| (s.name.as_str(), s.mean_us)).collect();
        assert_eq!(
            named,
            [
                ("end of speech → last send", 10_000.0),
                ("last send → final transcript", 60_000.0),
                ("final transcript → first token", 30_000.0),
                ("first token → first audio byte", 100_000.0),
                ("first audio byte → first audible sound", 100_000.0),
            ]
        );
        assert!(stages.iter().all(|s| s.turns == 2));
        let sum: f64 = stages.iter().map(|s| s.mean_us).sum();
        assert!((sum - 300_000.0).abs() < 1e-6);
    }

    #[test]
    fn no_turns_no_stages() {
        assert!(StageTotals::default().to_result().is_empty());
    }
}
