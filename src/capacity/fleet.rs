//! How many servers a fleet needs.
//!
//! A closed fleet of N devices at capacity makes X turns per second, each T long; between two turns a toy is quiet for Z.
//! Little's law ties them: N = X · (T + Z). A server that makes X turns per second for toys that think for Z makes them for
//! more toys that think for longer: X · (T + Z'). That is computed, not measured: it takes for granted that quiet toys cost
//! nothing, which their connections do not quite.

use super::document::{FleetPlan, FleetRow};
use crate::time::Micros;

/// Part of the capacity that is used.
pub const USED: f64 = 0.75;
/// Servers beyond what the load needs.
pub const SPARE: u32 = 1;

/// Times between turns that are computed besides the one seen.
const THINKS: [Micros; 3] = [Micros::from_secs(10), Micros::from_secs(60), Micros::from_secs(600)];

/// One server's load at its capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtCapacity {
    /// Devices.
    pub devices: f64,
    /// Turns per second.
    pub turn_rate: f64,
    /// Mean length of a turn.
    pub turn: Micros,
    /// Mean time between two turns of a device.
    pub think: Micros,
}

/// Servers for `toys` that carry so many each: with headroom, and one to spare.
pub fn servers(toys: u64, per_server: f64) -> u64 {
    let used = (per_server * USED).max(f64::MIN_POSITIVE);
    (toys as f64 / used).ceil() as u64 + u64::from(SPARE)
}

/// The plan, for toys that are quiet as long as those that were measured, and `asked` long, too.
pub fn plan(toys: u64, at: &AtCapacity, asked: Option<Micros>) -> FleetPlan {
    let share = |think: Micros| {
        let cycle = (at.turn + think).0.max(1) as f64;
        (at.turn.0 as f64 / cycle).clamp(0.0, 1.0)
    };
    let row = |think: Micros| {
        let per_server = at.turn_rate * (at.turn + think).as_secs_f64();
        FleetRow {
            think_us: think.0,
            in_turn_share: share(think),
            per_server: per_server.floor() as u64,
            servers: servers(toys, per_server),
        }
    };
    let others = THINKS.into_iter().filter(|z| *z != at.think && Some(*z) != asked).map(row);
    FleetPlan {
        toys,
        used: USED,
        spare: SPARE,
        think_us: at.think.0,
        turn_us: at.turn.0,
        in_turn_share: share(at.think),
        servers: servers(toys, at.devices),
        asked: asked.map(row),
        others: others.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_with_headroom_and_a_spare() {
        assert_eq!(servers(50_000, 400.0), 168, "50,000 / 300, rounded up, and one");
        assert_eq!(servers(1, 400.0), 2);
        let at = AtCapacity {
            devices: 400.0,
            turn_rate: 80.0,
            turn: Micros::from_secs(3),
            think: Micros::from_secs(2),
        };
        let p = plan(50_000, &at, None);
        assert_eq!(p.asked, None);
        let minute = plan(50_000, &at, Some(Micros::from_secs(60)));
        assert_eq!(minute.asked.map(|r| (r.per_server, r.servers)), Some((5_040, 15)));
        assert_eq!(minute.others.len(), 2, "it is not said twice");
        assert_eq!((p.servers, p.in_turn_share), (168, 0.6));
        assert_eq!(p.others.iter().map(|r| r.per_server).collect::<Vec<_>>(), [1_040, 5_040, 48_240]);
        assert_eq!(p.others.iter().map(|r| r.servers).collect::<Vec<_>>(), [66, 15, 3]);
    }
}
