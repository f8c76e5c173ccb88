//! Which device has which link.

use std::sync::Arc;

use super::Profile;
use crate::seed::Seed;

/// The links of a fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkPlan {
    /// One per preset, then `control` when a share of the devices is left without a link. Empty: no network at all.
    pub groups: Vec<Group>,
    /// Share of the devices that is left without a link, to compare the others with.
    pub control: f64,
}

/// Devices with the same link.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name, for reports.
    pub name: String,
    /// Its share of the devices; those of all groups add up to 1.
    pub weight: f64,
    /// Its link; `None`: none, the device writes to its socket.
    pub profile: Option<Arc<Profile>>,
}

/// The name of the group without a link.
pub const CONTROL: &str = "control";

impl NetworkPlan {
    /// True when no device has a link.
    pub fn is_none(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of a device: an index into `groups`; 0 when there are none. The same whatever the other devices do.
    pub fn group_of(&self, seed: Seed, device: u32) -> usize {
        let last = self.groups.len().saturating_sub(1);
        if last == 0 {
            return 0;
        }
        let mut at = seed.stream("network group", u64::from(device)).unit();
        for (i, group) in self.groups.iter().enumerate() {
            at -= group.weight;
            if at < 0.0 {
                return i;
            }
        }
        last
    }

    /// The link of a device; `None`: none.
    pub fn profile_of(&self, seed: Seed, device: u32) -> Option<&Arc<Profile>> {
        self.groups.get(self.group_of(seed, device)).and_then(|g| g.profile.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_said_and_reproducible() {
        let group = |name: &str, weight| Group { name: name.to_owned(), weight, profile: None };
        let plan = NetworkPlan {
            groups: vec![group("a", 0.7), group("b", 0.2), group("control", 0.1)],
            control: 0.1,
        };
        let mut counts = [0_u32; 3];
        for device in 0..10_000 {
            let g = plan.group_of(Seed(4), device);
            assert_eq!(g, plan.group_of(Seed(4), device));
            counts[g] += 1;
        }
        for (count, share) in counts.into_iter().zip([0.7, 0.2, 0.1]) {
            assert!((f64::from(count) / 1e4 - share).abs() < 0.02, "{counts:?}");
        }
        assert_eq!(NetworkPlan::default().group_of(Seed(4), 3), 0);
        assert!(NetworkPlan::default().profile_of(Seed(4), 3).is_none());
    }
}
