//! Who drives which device: shards take turns, and a few devices of a large fleet go to the probe.
//!
//! The probe is a thread with so little to do that it is never late of itself. Its devices belong to the fleet and have
//! the same conversations; if the fleet's replies seem slower than the probe's, it is the harness that is slow.

use crate::scenario::{Arrivals, Part, Scenario};

/// Fleets smaller than this have no probe: their shards are as quiet.
const LARGE: u32 = 200;

/// Of sessions that come and go, every so many-th is the probe's.
const OF_SESSIONS: u32 = 500;

/// The division of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    shards: u32,
    /// Every so many-th device is the probe's.
    stride: Option<u32>,
    /// The devices that this process plays: they are counted without the others.
    part: Part,
}

impl Division {
    /// One shard per core (but none without devices), and the probe that the scenario asks for.
    pub fn new(scenario: &Scenario, cores: u32) -> Self {
        let most = scenario.most().max(1);
        let shards = cores.min(most).max(1);
        let stride = match (scenario.validity.probe, &scenario.fleet.arrivals) {
            (0, _) => None,
            _ if most < LARGE => None,
            (_, Arrivals::Open { .. }) => Some(OF_SESSIONS),
            (devices, _) => Some(most.div_ceil(devices)),
        };
        Self { shards, stride, part: scenario.part }
    }

    /// Threads that share the load.
    pub const fn shards(self) -> u32 {
        self.shards
    }

    /// The thread that is the probe, counted after the shards.
    pub const fn probe(self) -> Option<usize> {
        match self.stride {
            Some(_) => Some(self.shards as usize),
            None => None,
        }
    }

    /// All threads that drive devices.
    pub const fn threads(self) -> usize {
        self.shards as usize + self.stride.is_some() as usize
    }

    /// What a thread is called.
    pub fn name_of(self, index: usize) -> String {
        if self.probe() == Some(index) { "probe".to_owned() } else { format!("shard-{index}") }
    }

    /// The thread that drives a device.
    pub const fn thread_of(self, device: u32) -> usize {
        let device = self.part.local(device);
        match self.stride {
            // From the middle of the stride: neither the first to come nor the last.
            Some(stride) if device % stride == stride / 2 => self.shards as usize,
            _ => (device % self.shards) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_has_its_few_and_the_shards_share_the_rest() {
        for (most, devices) in [(200_u32, 5_u32), (1_000, 5), (1_003, 3), (20_000, 1)] {
            let division = Division { shards: 3, stride: Some(most.div_ceil(devices)), part: Part::WHOLE };
            let mut count = vec![0_u32; division.threads()];
            (0..most).for_each(|d| count[division.thread_of(d)] += 1);
            let probe = division.probe().map(|p| count[p]).unwrap();
            assert!(probe <= devices && probe + 1 >= devices, "{most} {devices}: {count:?}");
            assert!(count[..3].iter().all(|n| n.abs_diff((most - probe) / 3) <= devices + 1), "{count:?}");
        }
    }

    #[test]
    fn every_thread_of_every_process_has_its_devices() {
        let first: Part = "1/2".parse().unwrap();
        for part in first.all() {
            let division = Division { shards: 2, stride: None, part };
            let mut count = [0_u32; 2];
            (0..100).filter(|d| part.has(*d)).for_each(|d| count[division.thread_of(d)] += 1);
            assert_eq!(count, [25, 25], "{part}");
        }
    }

    #[test]
    fn without_a_probe_every_thread_is_a_shard() {
        let division = Division { shards: 2, stride: None, part: Part::WHOLE };
        assert_eq!((division.threads(), division.probe()), (2, None));
        assert_eq!([0, 1, 2, 3].map(|d| division.thread_of(d)), [0, 1, 0, 1]);
    }
}
