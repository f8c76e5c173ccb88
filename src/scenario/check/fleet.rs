//! How many devices, when, and for how long.

use super::Check;
use crate::scenario::file::Layer;
use crate::scenario::units::format_duration;
use crate::scenario::value::Value;
use crate::scenario::{Arrivals, Fleet, Phase, Stage};
use crate::time::Micros;

impl Check<'_> {
    /// Stages and the simple plan exclude each other; across layers, stages from above win.
    pub(super) fn stages(&mut self) {
        let Some(stages) = self.setting("fleet.stages") else {
            return;
        };
        let Some(Value::Stages(list)) = &stages.value else {
            return;
        };
        if list.is_empty() {
            return;
        }
        let (layer, most) = (stages.layer, list.iter().map(|s| s.devices).max().unwrap_or(0));
        let total: i64 = list.iter().map(|s| s.duration.0).fold(0, i64::saturating_add);
        for path in ["fleet.devices", "fleet.duration", "fleet.ramp"] {
            let Some(setting) = self.setting(path) else {
                continue;
            };
            if setting.layer >= layer {
                self.fail(
                    &[path],
                    format!("`{path}` and `fleet.stages` both say how many devices there are, when"),
                    "give either `fleet.stages` (`--stage`), or `fleet.devices`, `fleet.duration` and `fleet.ramp`",
                );
            } else {
                self.settings.clear(path);
            }
        }
        if most == 0 || total <= 0 {
            self.fail(
                &["fleet.stages"],
                "the stages have no device at any time",
                "for example `[\"10s:100\", \"30s:100\"]`",
            );
        }
    }

    /// `-d 5s` on a scenario that ramps for longer: the ramp and the warm-up of the file shrink with the run.
    pub(super) fn shortened_run(&mut self) {
        let stages = self.setting("fleet.stages").filter(|_| !self.stage_list().is_empty());
        let Some(layer) = stages.or_else(|| self.setting("fleet.duration")).map(|s| s.layer) else {
            return;
        };
        let duration = self.duration();
        for path in ["fleet.ramp", "fleet.warmup"] {
            let lower = self.setting(path).is_some_and(|s| s.layer < layer && !s.broken);
            if lower && self.time(path) > duration / 2 {
                self.settings.shorten(path, duration / 4, layer);
            }
        }
    }

    pub(super) fn fleet_rules(&mut self) {
        let open = self.choice("fleet.arrivals") == "open";
        let has_stages = !self.stage_list().is_empty();
        let duration = self.duration();
        if open && has_stages {
            self.fail(
                &["fleet.stages", "fleet.arrivals"],
                "`fleet.stages` with open arrivals",
                "open arrivals come at `fleet.rate`; stages are for `fleet.arrivals = \"closed\"`",
            );
        }
        if open && self.value("fleet.rate").is_none() && !self.any_broken(&["fleet.rate"]) {
            self.fail(
                &["fleet.arrivals"],
                "open arrivals without `fleet.rate`",
                "for example `rate = 5.0`, in sessions per second",
            );
        }
        if open && self.int("turn.count") == 0 && !self.any_broken(&["turn.count"]) {
            self.fail(
                &["turn.count", "fleet.arrivals"],
                "open arrivals without `turn.count`",
                "sessions leave after so many turns: for example `turn.count = 3`",
            );
        }
        let arrivals = self.setting("fleet.arrivals").map(|s| s.layer);
        let of_other_kind: &[&str] = if open { &["fleet.ramp"] } else { &["fleet.rate", "fleet.spacing"] };
        for path in of_other_kind {
            let given = self.setting(path).filter(|s| s.layer > Layer::Default).map(|s| s.layer);
            if given.is_some() && given >= arrivals && !self.any_broken(&["fleet.arrivals"]) {
                let help = if open {
                    "open arrivals come at `fleet.rate` from the start"
                } else {
                    "it is for `fleet.arrivals = \"open\"`"
                };
                let kind = if open { "open" } else { "closed" };
                self.fail(&[path], format!("`{path}` has no effect with {kind} arrivals"), help);
            }
        }
        if !self.any_broken(&["fleet.warmup", "fleet.duration", "fleet.stages"])
            && self.time("fleet.warmup") >= duration
        {
            let message = format!(
                "a warm-up of {} leaves nothing of a run of {}",
                format_duration(self.time("fleet.warmup")),
                format_duration(duration)
            );
            self.fail(
                &["fleet.warmup", "fleet.duration"],
                message,
                "make the run longer (`-d`) or the warm-up shorter (`--warmup`)",
            );
        }
        if !self.any_broken(&["fleet.ramp", "fleet.duration"])
            && !has_stages
            && !open
            && self.time("fleet.ramp") > duration
        {
            let message = format!(
                "a ramp of {} does not end within a run of {}",
                format_duration(self.time("fleet.ramp")),
                format_duration(duration)
            );
            self.fail(
                &["fleet.ramp", "fleet.duration"],
                message,
                "make the run longer (`-d`) or the ramp shorter (`--set fleet.ramp=…`)",
            );
        }
    }

    pub(super) fn fleet(&self) -> Fleet {
        let stages = self.stage_list();
        let most = stages.iter().map(|s| s.devices).max();
        let arrivals = match self.value("fleet.rate") {
            Some(Value::Float(rate)) if self.choice("fleet.arrivals") == "open" => {
                Arrivals::Open { rate: *rate, poisson: self.choice("fleet.spacing") == "poisson" }
            }
            _ => Arrivals::Closed,
        };
        // Stages and open arrivals say by themselves when devices come.
        let ramps = stages.is_empty() && arrivals == Arrivals::Closed;
        Fleet {
            devices: most.unwrap_or_else(|| self.u32("fleet.devices")),
            duration: self.duration(),
            ramp: if ramps { self.time("fleet.ramp") } else { Micros::ZERO },
            warmup: self.time("fleet.warmup"),
            graceful_stop: self.time("fleet.graceful_stop"),
            arrivals,
            stages,
            phase: match self.choice("fleet.phase").as_str() {
                "lockstep" => Phase::Lockstep,
                _ => Phase::Spread,
            },
        }
    }

    pub(super) fn stage_list(&self) -> Vec<Stage> {
        match self.value("fleet.stages") {
            Some(Value::Stages(stages)) => stages.clone(),
            _ => Vec::new(),
        }
    }

    pub(in crate::scenario) fn duration(&self) -> Micros {
        let stages = self.stage_list();
        if stages.is_empty() {
            self.time("fleet.duration")
        } else {
            Micros(stages.iter().map(|s| s.duration.0).fold(0, i64::saturating_add))
        }
    }
}
