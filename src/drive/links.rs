//! Which imitated network each device is on.

use std::sync::Arc;

use crate::network::{Link, Profile};
use crate::scenario::{NetworkPlan, Scenario};
use crate::seed::Seed;
use crate::time::Micros;
use crate::transport::impaired::Way;

/// The networks of a run.
#[derive(Clone, Debug)]
pub struct Links {
    plan: NetworkPlan,
    seed: Seed,
    /// For devices without a network: faults need a link to happen to, even one that does nothing.
    nothing: Arc<Profile>,
}

impl Links {
    /// Those of a scenario; `None` when it has neither networks nor faults, and connections need no link.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let needed = !scenario.network.groups.is_empty() || !scenario.faults.is_empty();
        needed.then(|| Self {
            plan: scenario.network.clone(),
            seed: Seed(scenario.seed),
            nothing: Arc::new(Profile::default()),
        })
    }

    /// The way of a device's connection, counted from 0 over the device's life.
    pub fn way(&self, device: u32, connection: u32, now: Micros) -> Way {
        let group = self.plan.groups.get(self.plan.group_of(self.seed, device));
        let profile = group.and_then(|g| g.profile.as_ref()).unwrap_or(&self.nothing);
        Way::new(Link::new(Arc::clone(profile), self.seed, device, connection, now))
    }
}
