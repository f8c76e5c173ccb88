//! From settings to a [`Scenario`]: the checks that need more than one key, and the files that a scenario names.

mod audio;
mod fleet;
mod gate;
mod server;
mod target;
mod turn;

use std::path::{Path, PathBuf};

use super::axes::{self, Axis, SweepOrder, SweepPlan};
use super::diagnostic::{Diagnostics, Place};
use super::dist::Dist;
use super::file::{Environment, Layer, Setting, Settings};
use super::template::Text;
use super::units::TextError;
use super::value::Value;
use super::{GatePlan, Part, PlaybackPlan, ReportPlan, Scenario, Undecided, ValidityLimits, keys};
use crate::time::Micros;

/// Looks at all settings together.
pub(super) struct Check<'a> {
    pub(super) settings: &'a mut Settings,
    pub(super) out: &'a mut Diagnostics,
    pub(super) environment: &'a Environment,
    /// The folder that relative paths of the file start from.
    pub(super) base: &'a Path,
}

impl Check<'_> {
    /// Everything, in the order of the table. What it returns is good when there are no diagnostics.
    pub(super) fn scenario(mut self, origin: &str, name: &str) -> Scenario {
        self.stages();
        self.shortened_run();
        self.settings.resolve("target.dialect", self.base, |t| t.ends_with(".toml"));
        let first = self.suggestions();
        self.settings.fill_defaults();
        self.resolve_paths();
        let name = match self.setting("name") {
            Some(s) if s.layer > Layer::Default => self.text("name"),
            _ => name.to_owned(),
        };
        self.name(&name);
        let dialect = self.dialect(first);
        let target = self.target(&dialect);
        self.fleet_rules();
        self.audio_rules(&dialect);
        self.turn_rules(&dialect);
        self.freeze_rules();
        self.session_rules(&dialect);
        self.trouble_rules();
        let network = self.network();
        let (thresholds, aborts) = self.thresholds(&dialect, &network);
        self.gate_rules();
        let seed = self.int("seed").unsigned_abs();
        Scenario {
            part: Part::WHOLE,
            seed,
            origin: origin.to_owned(),
            effective: String::new(),
            target,
            fleet: self.fleet(),
            audio: self.audio(),
            turn: self.turn(),
            session: self.session(),
            faults: match self.value("faults") {
                Some(Value::FaultList(faults)) => faults.as_slice().into(),
                _ => [].into(),
            },
            playback: PlaybackPlan {
                prebuffer: self.time("playback.prebuffer"),
                max_stall_ratio: self.share("playback.max_stall_ratio"),
            },
            network,
            reference: self.reference(seed, dialect.clone()),
            thresholds,
            gate: GatePlan {
                undecided: match self.choice("gate.undecided").as_str() {
                    "pass" => Undecided::Pass,
                    "extend" => Undecided::Extend,
                    _ => Undecided::Fail,
                },
                extend_limit: self.time("gate.extend_limit"),
                aborts,
            },
            validity: ValidityLimits {
                send_lateness_p99: self.time("validity.send_lateness_p99"),
                send_lateness_max: self.time("validity.send_lateness_max"),
                cpu: self.share("validity.cpu"),
                steal: self.share("validity.steal"),
                probe: self.u32("validity.probe"),
                probe_margin: self.time("validity.probe_margin"),
                pressure: self.share("validity.pressure"),
            },
            report: ReportPlan {
                dir: self.path("report.dir"),
                html: self.bool("report.html"),
                png: self.bool("report.png"),
                histograms: self.bool("report.histograms"),
                junit: self.bool("report.junit"),
                interval: self.time("report.interval"),
                prometheus: self.prometheus(),
            },
            sweep: self.sweep(),
            name,
        }
    }

    // ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────

    fn name(&mut self, name: &str) {
        if name.is_empty()
            || name.starts_with('.')
            || name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | ':'))
        {
            self.fail(
                &["name"],
                format!("`{name}` cannot name a folder"),
                "the name titles the report folder: not empty, no `/`, `\\` or `:`, no `.` at its start",
            );
        }
    }

    /// Says so when somebody gave a key that a choice of the same or a higher layer makes meaningless.
    fn without_effect(&mut self, path: &str, choice: &str, chosen: &str) {
        let layer = |s: &Setting| s.layer;
        let given = self.setting(path).map(layer).filter(|l| *l > Layer::Default);
        if given.is_some() && given >= self.setting(choice).map(layer) {
            let name = choice.rsplit('.').next().unwrap_or(choice);
            self.fail(
                &[path],
                format!("`{path}` has no effect with `{name} = \"{chosen}\"`"),
                format!("leave it out, or choose another `{choice}`"),
            );
        }
    }

    /// Says what is wrong with a text of a list, at the part that is.
    fn wrong_item(&mut self, text: &Text, place: Place, e: TextError) {
        let source = self.out.slice(&place);
        // Of a table only the expression stands there as it is.
        let shown = source.find(&text.value).or_else(|| source.find(text.value.get(..e.span.end)?));
        let span = shown.map(|at| place.span.start + at + e.span.start..place.span.start + at + e.span.end);
        let span = span.filter(|_| !text.has_variables()).unwrap_or_else(|| place.span.clone());
        let place = Place { span, ..place };
        self.out.push(Some(place), e.message, e.help.unwrap_or_default());
    }

    // ── Values ───────────────────────────────────────────────────────────────────────────────────────────────

    /// What `voxload sweep` varies; conditions must be about its axes.
    fn sweep(&mut self) -> SweepPlan {
        let mut axes: Vec<Axis> = match self.value("sweep.axes") {
            Some(Value::Axes(axes)) => {
                axes.iter().map(|(key, values)| Axis { key: key.clone(), values: values.clone() }).collect()
            }
            _ => Vec::new(),
        };
        axes.retain(|a| !a.values.is_empty());
        let parts = self.setting("sweep.skip").map(|s| s.parts.clone()).unwrap_or_default();
        let mut places = parts.into_iter();
        let mut skip = Vec::new();
        for text in self.list("sweep.skip") {
            let place = places.next();
            match axes::conditions(&text.value, &axes) {
                Ok(conditions) => skip.push(conditions),
                Err((message, help)) => self.out.push(place, format!("`sweep.skip`: {message}"), help),
            }
        }
        let baseline = self.optional_text("sweep.baseline").and_then(|text| {
            axes::conditions(&text.value, &axes)
                .map_err(|(message, help)| {
                    self.fail(&["sweep.baseline"], format!("`sweep.baseline`: {message}"), help);
                })
                .ok()
        });
        SweepPlan {
            axes,
            repeat: self.u32("sweep.repeat"),
            order: match self.choice("sweep.order").as_str() {
                "sequential" => SweepOrder::Sequential,
                _ => SweepOrder::Interleaved,
            },
            skip,
            skip_invalid: self.choice("sweep.invalid") != "refuse",
            retries: self.u32("sweep.retries"),
            baseline,
            capacity: self.time("sweep.capacity"),
            max_delay: self.time("sweep.max_delay"),
            max_distortion: self.float("sweep.max_distortion"),
        }
    }

    // ── Access ───────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn setting(&self, path: &str) -> Option<&Setting> {
        debug_assert!(keys::find(path).is_some(), "no key `{path}` in the table");
        self.settings.get(path)
    }

    fn value(&self, path: &str) -> Option<&Value> {
        self.setting(path).and_then(|s| s.value.as_ref())
    }

    fn any_broken(&self, paths: &[&str]) -> bool {
        paths.iter().any(|p| self.setting(p).is_some_and(|s| s.broken))
    }

    /// Says what is wrong, at the first of the keys that somebody wrote.
    pub(super) fn fail(&mut self, paths: &[&str], message: impl Into<String>, help: impl Into<String>) {
        let place = paths.iter().find_map(|p| self.setting(p).and_then(|s| s.place.clone()));
        self.out.push(place, message, help);
    }

    fn bool(&self, path: &str) -> bool {
        matches!(self.value(path), Some(Value::Bool(true)))
    }

    fn int(&self, path: &str) -> i64 {
        match self.value(path) {
            Some(Value::Int(n)) => *n,
            _ => 0,
        }
    }

    pub(super) fn u32(&self, path: &str) -> u32 {
        match self.value(path) {
            Some(Value::Int(n)) => u32::try_from(*n).unwrap_or(u32::MAX),
            Some(Value::Bitrate(n) | Value::Size(n)) => *n,
            _ => 0,
        }
    }

    fn float(&self, path: &str) -> f64 {
        match self.value(path) {
            Some(Value::Float(x)) => *x,
            _ => 0.0,
        }
    }

    pub(super) fn share(&self, path: &str) -> f64 {
        match self.value(path) {
            Some(Value::Share(x)) => *x,
            _ => 0.0,
        }
    }

    pub(super) fn time(&self, path: &str) -> Micros {
        match self.value(path) {
            Some(Value::Duration(t)) => *t,
            _ => Micros::ZERO,
        }
    }

    fn dist(&self, path: &str) -> Dist {
        match self.value(path) {
            Some(Value::Dist(d)) => d.clone(),
            _ => Dist::Constant(Micros::ZERO),
        }
    }

    pub(super) fn choice(&self, path: &str) -> String {
        match self.value(path) {
            Some(Value::Choice(name)) => (*name).to_owned(),
            _ => String::new(),
        }
    }

    pub(super) fn optional_text(&self, path: &str) -> Option<Text> {
        match self.value(path) {
            Some(Value::Text(t)) => Some(t.clone()),
            _ => None,
        }
    }

    fn text(&self, path: &str) -> String {
        self.optional_text(path).map(|t| t.value).unwrap_or_default()
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.optional_text(path).map(|t| PathBuf::from(t.value))
    }

    pub(super) fn list(&self, path: &str) -> Vec<Text> {
        match self.value(path) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    /// Makes paths absolute, so that the effective scenario works from any folder.
    fn resolve_paths(&mut self) {
        for path in ["target.data", "target.ca", "target.client_cert", "target.client_key"] {
            self.settings.resolve(path, self.base, |_| true);
        }
        for path in ["audio.fixtures", "turn.backchannel.sounds"] {
            self.settings.resolve(path, self.base, looks_like_path);
        }
        for path in ["link.trace_down", "link.trace_up"] {
            self.settings.resolve(path, self.base, super::network::is_path);
        }
    }
}

/// The host of a URL, without port and brackets.
pub(super) fn url_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    }
}

/// A WAV file rather than the name of a shipped fixture.
fn looks_like_path(fixture: &str) -> bool {
    fixture.contains(['/', '\\'])
        || Path::new(fixture).extension().is_some_and(|e| e.eq_ignore_ascii_case("wav"))
}
