//! The floor: what voxload and loopback themselves add, against a server that answers at once.

use super::lab::{Lab, Order, Pair};
use super::stats::Sizes;
use super::{Check, Finding, Trouble};
use crate::time::Micros;

/// Half of the turns must be answered within this, …
const P50: Micros = Micros::from_millis(2);
/// … and nearly all within that, neighbours included: a quiet machine needs a tenth of it.
const P99: Micros = Micros::from_millis(20);

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    let seconds = lab.pick(10, 3);
    lab.step(&format!("{seconds} s of turns against a server that answers at once"));
    let ran = lab.valid(&Order::new(
        "",
        format!("[fleet]\narrivals = \"open\"\nrate = 20.0\ndevices = 500\nduration = \"{seconds}s\""),
    ))?;
    let (pairs, _) = ran.pairs()?;
    let failed = ran.result.turns.started - ran.result.turns.succeeded;
    Ok(judge(&pairs, failed))
}

/// From the end of speech to the first token and the first byte of audio, of a server without latency.
fn judge(pairs: &[Pair], failed: u64) -> Finding {
    let of = |value: fn(&Pair) -> Option<i64>| Sizes::of(pairs.iter().filter_map(value));
    let check = |what, sizes: Option<Sizes>| {
        let ok = sizes.is_some_and(|s| s.p50 <= P50 && s.p99 <= P99);
        let seen = sizes.map_or_else(|| "nothing".to_owned(), |s| s.to_string());
        Check::new(what, format!("p50 ≤ {P50}, p99 ≤ {P99}"), seen, ok)
    };
    Finding {
        checks: vec![
            check("TTFT", of(|(us, _)| us.ttft_us)),
            check("TTFA, first byte", of(|(us, _)| us.ttfa_first_byte_us)),
            Check::new("turns that failed", "0", failed.to_string(), failed == 0),
        ],
        notes: vec![format!(
            "{} turns. It holds the way of the last chunk to the server, the server's own work, the way back and voxload's \
             own work: no measurement with this machine can be finer.",
            pairs.len()
        )],
        charts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::truth;
    use crate::report::result::TurnRow;

    #[test]
    fn slow_is_not_a_floor() {
        let turn = |us| {
            let row = TurnRow { ttft_us: Some(us), ttfa_first_byte_us: Some(us), ..TurnRow::default() };
            (row, truth::Row::default())
        };
        let holds = |pairs: &[Pair], failed| judge(pairs, failed).checks.iter().all(|c| c.ok);
        assert!(holds(&[turn(400), turn(700)], 0));
        assert!(!holds(&[turn(400), turn(700)], 1));
        assert!(!holds(&[turn(2_500), turn(2_600)], 0));
        assert!(!holds(&[], 0), "unmeasured is not OK");
    }
}
