//! `[link]`: which device has which link.

use std::path::Path;
use std::sync::Arc;

use super::check::Check;
use super::diagnostic::Place;
use super::template::Text;
use super::units::{TextError, format_duration};
use crate::network::{
    BASE, CONTROL, Change, Group, Jitter, Loss, NetworkPlan, Profile, Stack, TRACE_HELP, Trace, Way,
    parse_change, parse_jitter, parse_loss, parse_mix, traces,
};
use crate::time::Micros;

/// Keys that change what presets say.
const ASPECTS: [&str; 10] = [
    "link.rtt",
    "link.jitter",
    "link.loss",
    "link.down",
    "link.up",
    "link.queue",
    "link.stack",
    "link.trace_down",
    "link.trace_up",
    "link.schedule",
];

/// What was said about links besides the preset.
#[derive(Clone, Debug, Default)]
struct Aspects {
    rtt: Option<Micros>,
    jitter: Option<Jitter>,
    loss: Option<Loss>,
    queue: Option<u32>,
    down: Option<u32>,
    up: Option<u32>,
    trace_down: Option<Arc<Trace>>,
    trace_up: Option<Arc<Trace>>,
    stack: Option<Stack>,
}

impl Aspects {
    fn change(&self, profile: &mut Profile) {
        let Self { rtt, jitter, loss, queue, .. } = self;
        let all = |way: &mut Way, delay: fn(Micros) -> Micros| {
            way.delay = rtt.map_or(way.delay, delay);
            way.jitter = jitter.unwrap_or(way.jitter);
            way.loss = loss.unwrap_or(way.loss);
            way.queue = queue.or(way.queue);
        };
        all(&mut profile.up, |rtt| rtt / 2);
        all(&mut profile.down, |rtt| rtt - rtt / 2);
        for (way, rate, trace) in
            [(&mut profile.up, self.up, &self.trace_up), (&mut profile.down, self.down, &self.trace_down)]
        {
            way.rate = rate.or(way.rate);
            if trace.is_some() {
                (way.rate, way.trace) = (None, trace.clone());
            }
        }
        profile.stack = self.stack.unwrap_or(profile.stack);
    }
}

/// True for a path, not the name of a shipped recording.
pub(super) fn is_path(trace: &str) -> bool {
    trace.contains(['/', '\\']) || Path::new(trace).extension().is_some()
}

impl Check<'_> {
    /// The links of the fleet.
    pub(super) fn network(&mut self) -> NetworkPlan {
        let aspects = self.aspects();
        let changes = self.changes();
        let control = self.share("link.control");
        let Some(mix) = self.mix() else {
            return NetworkPlan::default();
        };
        let changed = ASPECTS.iter().any(|path| self.given(path));
        let nothing = mix.iter().all(|(_, name)| *name == "none") && !changed;
        if nothing {
            if control > 0.0 {
                self.fail(
                    &["link.control"],
                    "`link.control` without a network: there is nothing to compare with",
                    "say what the others have, for example `link.preset = \"wifi-home\"`",
                );
            }
            return NetworkPlan::default();
        }
        if control >= 1.0 {
            self.fail(
                &["link.control"],
                "`link.control` leaves no device with a link",
                "a share below 100%, for example `20%`",
            );
        }
        let total: f64 = mix.iter().map(|(weight, _)| weight).sum();
        let mut groups = Vec::new();
        for (weight, name) in mix {
            let mut profile = Profile::preset(name).unwrap_or_else(Profile::none);
            aspects.change(&mut profile);
            if changed {
                profile.name = if name == "none" { "custom".to_owned() } else { format!("{name}, changed") };
            }
            let (up, down) = (profile.up.clone(), profile.down.clone());
            for (at, to) in &changes {
                let mut later = Profile::preset(to).unwrap_or_else(Profile::none);
                aspects.change(&mut later);
                let (up, down) =
                    if *to == BASE { (up.clone(), down.clone()) } else { (later.up, later.down) };
                profile.schedule.push(Change { at: *at, name: (*to).to_owned(), up, down });
            }
            groups.push(Group {
                name: profile.name.clone(),
                weight: weight / total * (1.0 - control),
                profile: Some(Arc::new(profile)),
            });
        }
        if control > 0.0 {
            groups.push(Group { name: CONTROL.to_owned(), weight: control, profile: None });
        }
        NetworkPlan { groups, control }
    }

    /// Whether a key says anything: an effective scenario holds all defaults, and means the same.
    fn given(&self, path: &str) -> bool {
        match path {
            "link.stack" => self.choice(path) != Stack::default().name(),
            "link.schedule" => !self.list(path).is_empty(),
            _ => self.setting(path).is_some_and(|s| s.value.is_some()),
        }
    }

    fn mix(&mut self) -> Option<Vec<(f64, &'static str)>> {
        let text = self.optional_text("link.preset")?;
        let place = self.setting("link.preset").and_then(|s| s.place.clone());
        self.parse_at("link.preset", &text, place, parse_mix)
    }

    fn aspects(&mut self) -> Aspects {
        let time = |check: &Self, path| check.given(path).then(|| check.time(path));
        let number = |check: &Self, path| check.given(path).then(|| check.u32(path)).filter(|n| *n > 0);
        let aspects = Aspects {
            rtt: time(self, "link.rtt"),
            jitter: self.read_text("link.jitter", parse_jitter),
            loss: self.read_text("link.loss", parse_loss),
            queue: number(self, "link.queue"),
            down: number(self, "link.down"),
            up: number(self, "link.up"),
            trace_down: self.trace("link.trace_down"),
            trace_up: self.trace("link.trace_up"),
            stack: self.given("link.stack").then(|| Stack::from_name(&self.choice("link.stack"))).flatten(),
        };
        for (trace, rate) in [("link.trace_down", "link.down"), ("link.trace_up", "link.up")] {
            if self.given(trace) && self.given(rate) {
                self.fail(
                    &[rate],
                    format!("`{rate}` has no effect with `{trace}`"),
                    "a recording has rates of its own: leave one of them out",
                );
            }
        }
        if let (Some(rtt), Some(Jitter::Uniform(spread))) = (aspects.rtt, aspects.jitter)
            && spread > rtt / 2
        {
            self.fail(
                &["link.jitter", "link.rtt"],
                format!(
                    "a jitter of ±{} on a delay of {}",
                    format_duration(spread),
                    format_duration(rtt / 2)
                ),
                "each way has half of the round trip, and nothing arrives before it is sent",
            );
        }
        aspects
    }

    fn read_text<T>(&mut self, path: &str, parse: fn(&str) -> Result<T, TextError>) -> Option<T> {
        let text = self.optional_text(path)?;
        let place = self.setting(path).and_then(|s| s.place.clone());
        self.parse_at(path, &text, place, parse)
    }

    /// A text through a parser; what comes from the environment is not shown.
    fn parse_at<T>(
        &mut self,
        path: &str,
        text: &Text,
        place: Option<Place>,
        parse: fn(&str) -> Result<T, TextError>,
    ) -> Option<T> {
        let e = match parse(&text.value) {
            Ok(value) => return Some(value),
            Err(e) => e,
        };
        let help = e.help.unwrap_or_default();
        if text.has_variables() {
            let message = format!("`{path}` has no valid value once `{}` is filled in", text.written);
            self.out.push(place, message, help);
            return None;
        }
        let place = place.map(|place| {
            let found = self.out.slice(&place).find(&text.value).filter(|_| !text.value.is_empty());
            let start = place.span.start;
            let span = found.map_or(place.span, |at| start + at + e.span.start..start + at + e.span.end);
            Place { span, ..place }
        });
        self.out.push(place, format!("`{path}`: {}", e.message), help);
        None
    }

    /// What changes when, in the order of time.
    fn changes(&mut self) -> Vec<(Micros, &'static str)> {
        let parts = self.setting("link.schedule").map(|s| s.parts.clone()).unwrap_or_default();
        let mut changes: Vec<(Micros, &'static str)> = Vec::new();
        for (text, place) in self.list("link.schedule").into_iter().zip(parts) {
            let Some(change) = self.parse_at("link.schedule", &text, Some(place.clone()), parse_change)
            else {
                continue;
            };
            if let Some((before, _)) = changes.last()
                && *before >= change.0
            {
                let message =
                    format!("{} does not come after {}", format_duration(change.0), format_duration(*before));
                self.out.push(
                    Some(place),
                    message,
                    "in the order of time, counted from the start of the run",
                );
            }
            changes.push(change);
        }
        changes
    }

    /// A recording: a shipped one by name, or a file.
    fn trace(&mut self, path: &str) -> Option<Arc<Trace>> {
        let text = self.optional_text(path)?;
        if let Some(trace) = traces::find(&text.value) {
            return Some(Arc::new(trace));
        }
        let shown = if text.has_variables() { text.written } else { text.value.clone() };
        if !is_path(&text.value) {
            let names: Vec<_> = traces::SHIPPED.iter().map(|(name, ..)| format!("`{name}`")).collect();
            self.fail(
                &[path],
                format!("no recording `{shown}`"),
                format!("expected {}, or the path of a file such as `./{shown}.trace`", names.join(", ")),
            );
            return None;
        }
        let name = Path::new(&text.value).file_stem().and_then(|s| s.to_str()).unwrap_or("trace");
        match std::fs::read_to_string(&text.value) {
            Err(e) => {
                self.fail(
                    &[path],
                    format!("{shown} cannot be read: {e}"),
                    "paths in a scenario file start from its folder, those on the command line from the current one",
                );
                None
            }
            Ok(text) => match Trace::parse(name, &text) {
                Ok(trace) => Some(Arc::new(trace)),
                Err(errors) => {
                    for e in errors.iter().take(3) {
                        self.fail(&[path], format!("{shown}: {e}"), TRACE_HELP);
                    }
                    None
                }
            },
        }
    }
}
