//! Which imitated network each device is on.

use std::sync::Arc;

use crate::gate::Threshold;
use crate::measure::Groups;
use crate::network::{CONTROL, Link, NetworkPlan, Profile};
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::time::Micros;
use crate::transport::impaired::Way;

/// The groups of devices, for the recorders: one for each network.
pub fn groups(scenario: &Scenario) -> Groups {
    let (plan, seed) = (scenario.network.clone(), Seed(scenario.seed));
    let names = plan.groups.iter().map(|g| g.name.clone()).collect();
    let thresholds = scenario.thresholds.iter().filter_map(|t| Threshold::parse(t).ok());
    let judged: Vec<String> = thresholds.filter_map(|t| t.group().map(str::to_owned)).collect();
    let judged: Vec<&str> = judged.iter().map(String::as_str).collect();
    Groups::new(names, move |device| index(&plan, seed, device)).judging(&judged)
}

fn index(plan: &NetworkPlan, seed: Seed, device: u32) -> u8 {
    u8::try_from(plan.group_of(seed, device)).unwrap_or(u8::MAX)
}

/// The networks of a run.
#[derive(Clone, Debug)]
pub struct Links {
    plan: NetworkPlan,
    seed: Seed,
    /// For devices without a network, where there are faults: they need a link to happen to, even one that does nothing.
    nothing: Option<Arc<Profile>>,
}

impl Links {
    /// Those of a scenario; `None` when it has neither networks nor faults, and connections need no link.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let faults = !scenario.faults.is_empty();
        (faults || !scenario.network.is_none()).then(|| Self {
            plan: scenario.network.clone(),
            seed: Seed(scenario.seed),
            nothing: faults.then(|| Arc::new(Profile::none())),
        })
    }

    /// The way of a device's connection, counted from 0 over the device's life; `None`: it writes to its socket.
    pub fn way(&self, device: u32, connection: u32, now: Micros) -> Option<Way> {
        if self.is_control(device) {
            return None;
        }
        let profile = self.plan.profile_of(self.seed, device).or(self.nothing.as_ref())?;
        Some(Way::new(Link::new(Arc::clone(profile), self.seed, device, connection, now)))
    }

    /// True for devices that are left alone: without a network, and without faults.
    pub fn is_control(&self, device: u32) -> bool {
        self.plan.groups.get(self.plan.group_of(self.seed, device)).is_some_and(|g| g.name == CONTROL)
    }

    /// The device's group: an index into the run's groups.
    pub fn group(&self, device: u32) -> u8 {
        index(&self.plan, self.seed, device)
    }
}
