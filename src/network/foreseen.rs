//! What the seed holds in store for a device's link, before anything is sent: for the printed plan.

use super::loss::Chain;
use super::path::chain;
use super::profile::Way;
use super::{Direction, Loss, Profile};
use crate::scenario::units::format_duration;
use crate::seed::Seed;
use crate::time::Micros;

/// Losses that are told.
const TOLD: usize = 6;
/// No further than this many packets.
const FAR: u64 = 100_000;

/// The first losses of a device's first connection, a line for each way that loses anything, by its parameters at the
/// start of the run. Which packets are lost is decided by their number, or by when they are sent; both count from the
/// first packet of the connection.
pub fn foreseen(profile: &Profile, seed: Seed, device: u32) -> Vec<String> {
    let ways = [("up", Direction::Up, &profile.up), ("down", Direction::Down, &profile.down)];
    let told = ways.into_iter().filter_map(|(name, direction, way)| {
        losses(way, chain(direction, seed, device, 0)).map(|losses| format!("{name} loses {losses}"))
    });
    told.collect()
}

fn losses(way: &Way, mut chain: Chain) -> Option<String> {
    match way.loss {
        _ if way.loss.is_none() => None,
        Loss::Independent(_) | Loss::None => {
            let lost = (1..=FAR).filter(|_| chain.lost(way, Micros::ZERO)).take(TOLD);
            let lost: Vec<_> = lost.map(|n| n.to_string()).collect();
            Some(format!("packets {} …", lost.join(", ")))
        }
        Loss::Burst { .. } => {
            let periods = chain.bad_periods(way).take(TOLD);
            let shown = periods.map(|(from, until)| {
                format!("{} for {}", format_duration(from), format_duration(until - from))
            });
            Some(format!("from {} …", shown.collect::<Vec<_>>().join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_foreseen_happens() {
        for (name, step) in [("wifi-home", Micros::ZERO), ("wifi-congested", Micros::from_millis(1))] {
            let profile = Profile::preset(name).unwrap();
            let told = foreseen(&profile, Seed(7), 3);
            assert_eq!((told.len(), foreseen(&profile, Seed(7), 3) == told), (2, true));
            assert_ne!(foreseen(&profile, Seed(8), 3), told);
            assert_ne!(foreseen(&profile, Seed(7), 4), told);
            let mut chain = chain(Direction::Up, Seed(7), 3, 0);
            let lost: Vec<_> = (0..60_000).filter(|n| chain.lost(&profile.up, step * *n)).collect();
            if step == Micros::ZERO {
                let first: Vec<_> = lost.iter().take(TOLD).map(|n| (n + 1).to_string()).collect();
                assert_eq!(told[0], format!("up loses packets {} …", first.join(", ")));
            } else {
                let begins = told[0].trim_start_matches("up loses from ").split(" for").next().unwrap();
                let begins = crate::scenario::units::parse_duration(begins).unwrap();
                assert_eq!(begins.0.div_euclid(1_000), lost[0] - 1 + i64::from(begins.0 % 1_000 == 0));
            }
        }
    }
}
