//! Thresholds, and what they do to the course of a run.

use super::Check;
use crate::dialect::{Dialect, TextGranularity};
use crate::gate::{Subject, Threshold, no_group};
use crate::measure::Metric;
use crate::network::NetworkPlan;
use crate::scenario::Abort;

impl Check<'_> {
    /// Stages that end with nobody there cannot be extended.
    pub(super) fn gate_rules(&mut self) {
        let undecided = self.choice("gate.undecided");
        if undecided != "extend" {
            self.without_effect("gate.extend_limit", "gate.undecided", &undecided);
        } else if self.stage_list().last().is_some_and(|s| s.devices == 0) {
            self.fail(
                &["gate.undecided", "fleet.stages"],
                "`gate.undecided = \"extend\"` with stages that end without a device: there would be nobody to go on",
                "let the last stage keep its devices, or choose another `gate.undecided`",
            );
        }
    }

    /// The expressions, and which of them stop the run.
    pub(super) fn thresholds(
        &mut self,
        dialect: &Dialect,
        network: &NetworkPlan,
    ) -> (Vec<String>, Vec<Abort>) {
        let (mut expressions, mut aborts) = (Vec::new(), Vec::new());
        let parts = self.setting("thresholds").map(|s| s.parts.clone()).unwrap_or_default();
        for (text, place) in self.list("thresholds").into_iter().zip(parts) {
            let (threshold, abort) = match Threshold::parse_entry(&text.value) {
                Ok(read) => read,
                Err(e) => {
                    self.wrong_item(&text, place, e);
                    continue;
                }
            };
            aborts.extend(abort.map(|delay| Abort { threshold: expressions.len(), delay }));
            expressions.push(threshold.expression().to_owned());
            if let Some(name) = threshold.group()
                && !network.groups.iter().any(|g| g.name == name)
            {
                let known = network.groups.iter().map(|g| g.name.as_str());
                let said = no_group(name, known);
                let (message, help) = said.split_once(": ").unwrap_or((&said, ""));
                self.out.push(Some(place), message, help);
                continue;
            }
            let never = match threshold.subject() {
                Subject::Metric(Metric::Ttft | Metric::TtftUncorrected | Metric::TokenGap)
                    if dialect.capabilities().text == TextGranularity::None =>
                {
                    format!("the dialect `{}` has no reply text", dialect.capabilities().name)
                }
                Subject::Metric(metric) if dialect.capabilities().stt && metric.is_of_reply() => {
                    format!("the dialect `{}` recognises speech: nobody replies", dialect.capabilities().name)
                }
                Subject::Metric(Metric::BargeInStop | Metric::BargeInLastByte)
                    if self.share("turn.barge_in.share") == 0.0 =>
                {
                    "`turn.barge_in.share` is 0".to_owned()
                }
                _ => continue,
            };
            self.out.push(Some(place), format!("`{}` would have no sample, and fail", text.written), never);
        }
        (expressions, aborts)
    }
}
