//! Arguments that choose and change a scenario: shared by `run`, `inspect`, `debug` and `serve`.

use crate::exit::Failure;
use crate::scenario::{self, Override, Scenario, Source};

/// Which scenario, and what to change in it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct ScenarioArgs {
    /// A scenario file, or the name of a shipped scenario.
    ///
    /// Shipped: quickstart, ci-gate, conversation, push-to-talk, server-vad, barge-in, secure, soak, ten-thousand, mixed-homes,
    /// flaky-wifi, walk-away, rural-cat1, slow-clients, reconnect-storm, proxy-idle, chunk-codec-sweep, capacity, own-server.
    /// `voxload init FILE` writes a new one.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenario: Option<String>,

    /// Override any key of the scenario; repeatable.
    ///
    /// For example `--set audio.chunk=20ms --set reference.preset=cloud`, `--set target.headers.X-Device=7`.
    /// Keys: docs/scenario.md.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value, help_heading = "Scenario")]
    set: Vec<(String, String)>,

    /// Seed: decides arrivals, think times, fixtures and faults [key: seed]
    #[arg(long, value_name = "N", help_heading = "Scenario")]
    seed: Option<String>,

    /// Most devices at once [key: fleet.devices]
    #[arg(short = 'u', long, value_name = "N", help_heading = "Scenario")]
    devices: Option<String>,

    /// Apply load for this long, for example 30s or 1h30m [key: fleet.duration]
    #[arg(short = 'd', long, value_name = "TIME", help_heading = "Scenario")]
    duration: Option<String>,

    /// Within this time, go to so many devices, for example 30s:500; repeatable [key: fleet.stages]
    ///
    /// `--stage 10s:100 --stage 1m:100` ramps up in ten seconds and stays for a minute. Replaces devices, duration
    /// and ramp of the scenario.
    #[arg(long = "stage", value_name = "TIME:N", help_heading = "Scenario")]
    stages: Vec<String>,

    /// Do not count turns that start within this time [key: fleet.warmup]
    #[arg(long, value_name = "TIME", help_heading = "Scenario")]
    warmup: Option<String>,

    /// How long turns that have begun may take to end [key: fleet.graceful_stop]
    #[arg(long, value_name = "TIME", help_heading = "Scenario")]
    graceful_stop: Option<String>,

    /// What must hold, besides the scenario's own thresholds; repeatable [key: thresholds]
    ///
    /// For example 'ttfa:p(95)<300ms', 'turns.failed:rate<1%', 'stall_ratio@60ms:rate<2%'. Mind the quotes: `<` means
    /// something to the shell.
    #[arg(long = "threshold", value_name = "EXPR", help_heading = "Scenario")]
    thresholds: Vec<String>,

    /// The server under test, ws:// or wss:// [key: target.url]
    #[arg(long, value_name = "URL", help_heading = "Scenario")]
    url: Option<String>,

    /// Addresses of this machine to connect from, for more devices than one address has ports; repeatable
    /// [key: target.source_ips]
    ///
    /// Addresses, ranges and networks: `--source-ip 10.0.0.5,10.0.0.8-10.0.0.11`, `--source-ip 127.1.0.0/28`.
    #[arg(long = "source-ip", value_name = "LIST", help_heading = "Scenario")]
    source_ips: Vec<String>,

    /// Imitated network of the devices, for example wifi-home or 'mix(70: wifi-home, 30: cat1)' [key: link.preset]
    ///
    /// `voxload network` lists the presets.
    #[arg(long, value_name = "PRESET", help_heading = "Scenario")]
    network: Option<String>,

    /// Leave this share of the devices without a network, to compare with, for example 20% [key: link.control]
    #[arg(long, value_name = "SHARE", help_heading = "Scenario")]
    control_group: Option<String>,

    /// Write the report into this folder [key: report.dir]
    #[arg(long, value_name = "DIR", help_heading = "Scenario")]
    report_dir: Option<String>,
}

impl ScenarioArgs {
    /// The scenario, loaded and checked.
    pub(super) fn load(&self) -> Result<Scenario, Failure> {
        self.load_from(&self.source("voxload run quickstart")?)
    }

    /// The scenario as it is written; `example` is shown to those who name none.
    pub(super) fn source(&self, example: &str) -> Result<Source, Failure> {
        let Some(name) = &self.scenario else {
            let names: Vec<_> = scenario::SHIPPED.iter().map(|(name, _)| *name).collect();
            return Err(Failure::usage(format!(
                "which scenario? Give a file, or the name of a shipped one: {}\n  for example: {example}",
                names.join(", ")
            )));
        };
        Source::find(name)
    }

    /// The command that repeats this, without secrets.
    pub(super) fn command_line(&self, verb: &str, scenario: &Scenario) -> String {
        let quoted = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
            if text.chars().all(plain) {
                text.to_owned()
            } else {
                format!("'{}'", text.replace('\'', "'\\''"))
            }
        };
        let mut words = vec!["voxload".to_owned(), verb.to_owned()];
        words.extend(self.scenario.as_deref().map(quoted));
        for o in self.overrides() {
            let root = o.key.split('.').take(2).collect::<Vec<_>>().join(".");
            let value = match root.as_str() {
                "target.url" => scenario.target.shown.clone(),
                "target.headers" | "reference.token" => "***".to_owned(),
                _ => o.value,
            };
            let (flag, value) = match o.flag {
                "--threshold" => ("--threshold", value),
                _ => ("--set", format!("{}={value}", o.key)),
            };
            words.push(flag.to_owned());
            words.push(quoted(&value));
        }
        words.join(" ")
    }

    /// The arguments with which a child does the same: all but seed and folder, which each run has of its own.
    pub(super) fn child_arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = self.scenario.iter().cloned().collect();
        for o in self.overrides() {
            match (o.flag, o.key.as_str()) {
                (_, "seed" | "report.dir") => {}
                ("--threshold", _) => words.extend(["--threshold".to_owned(), o.value]),
                (_, key) => words.extend(["--set".to_owned(), format!("{key}={}", o.value)]),
            }
        }
        words
    }

    /// True when the command line gives this key.
    pub(super) fn sets(&self, key: &str) -> bool {
        self.overrides().iter().any(|o| o.key == key)
    }

    /// The same with another target and other keys, which outrank what is there.
    pub(super) fn changed(&self, url: Option<&str>, set: &[(String, String)]) -> Self {
        let mut changed = self.clone();
        changed.url = url.map(str::to_owned).or(changed.url);
        // A special flag outranks `--set`, and would outrank these.
        for (key, value) in set {
            let flag = match key.as_str() {
                "target.url" => Some(&mut changed.url),
                "fleet.devices" => Some(&mut changed.devices),
                "fleet.duration" => Some(&mut changed.duration),
                "fleet.warmup" => Some(&mut changed.warmup),
                "fleet.graceful_stop" => Some(&mut changed.graceful_stop),
                "link.preset" => Some(&mut changed.network),
                "link.control" => Some(&mut changed.control_group),
                _ => None,
            };
            match flag {
                Some(flag) => *flag = Some(value.clone()),
                None => {
                    changed.set.retain(|(k, _)| k != key);
                    changed.set.push((key.clone(), value.clone()));
                }
            }
        }
        changed
    }

    fn load_from(&self, source: &Source) -> Result<Scenario, Failure> {
        scenario::load(source, &self.overrides()).map_err(Failure::from)
    }

    /// What the flags say; a special flag outranks `--set`.
    pub(super) fn overrides(&self) -> Vec<Override> {
        let of = |flag, key: &str, value: &str, append| Override {
            key: key.to_owned(),
            value: value.to_owned(),
            flag,
            append,
        };
        let mut all: Vec<_> = self.set.iter().map(|(key, value)| of("--set", key, value, false)).collect();
        let singles: [(&'static str, &str, &Option<String>); 9] = [
            ("--seed", "seed", &self.seed),
            ("--devices", "fleet.devices", &self.devices),
            ("--duration", "fleet.duration", &self.duration),
            ("--warmup", "fleet.warmup", &self.warmup),
            ("--graceful-stop", "fleet.graceful_stop", &self.graceful_stop),
            ("--url", "target.url", &self.url),
            ("--network", "link.preset", &self.network),
            ("--control-group", "link.control", &self.control_group),
            ("--report-dir", "report.dir", &self.report_dir),
        ];
        for (flag, key, value) in singles {
            all.extend(value.as_ref().map(|value| of(flag, key, value, false)));
        }
        if !self.stages.is_empty() {
            all.push(of("--stage", "fleet.stages", &self.stages.join(","), false));
        }
        if !self.source_ips.is_empty() {
            all.push(of("--source-ip", "target.source_ips", &self.source_ips.join(","), false));
        }
        all.extend(self.thresholds.iter().map(|t| of("--threshold", "thresholds", t, true)));
        all
    }
}

pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE, for example fleet.devices=500".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        scenario: ScenarioArgs,
    }

    fn load(args: &str) -> Result<Scenario, Failure> {
        Command::try_parse_from(["voxload"].into_iter().chain(args.split_whitespace()))
            .unwrap()
            .scenario
            .load()
    }

    #[test]
    fn flags_outrank_the_file() {
        let s = load(
            "quickstart -u 7 -d 12s --warmup 1s --seed 5 --set audio.chunk=20ms --threshold ttft:med<1s",
        )
        .unwrap();
        assert_eq!((s.fleet.devices, s.seed), (7, 5));
        assert_eq!(s.fleet.duration, crate::time::Micros::from_secs(12));
        assert_eq!(s.audio.settings.chunk, crate::time::Micros::from_millis(20));
        assert_eq!(s.thresholds, ["ttfa:p(95)<300ms", "turns.failed:rate<1%", "ttft:med<1s"]);
    }

    #[test]
    fn stages_replace_the_fleet_of_the_file() {
        let s = load("quickstart --stage 10s:50 --stage 20s:50").unwrap();
        assert_eq!((s.fleet.devices, s.fleet.stages.len()), (50, 2));
        assert_eq!(s.fleet.duration, crate::time::Micros::from_secs(30));
    }

    #[test]
    fn a_child_does_the_same_with_a_seed_of_its_own() {
        let command =
            "voxload quickstart -u 7 --seed 5 --set audio.chunk=20ms --threshold ttft:med<1s --report-dir x";
        let args = Command::try_parse_from(command.split_whitespace()).unwrap().scenario;
        let child = args.child_arguments().join(" ");
        assert_eq!(child, "quickstart --set audio.chunk=20ms --set fleet.devices=7 --threshold ttft:med<1s");
        let other = args.changed(
            Some("ws://x/"),
            &[("fleet.devices".to_owned(), "9".to_owned()), ("audio.chunk".to_owned(), "60ms".to_owned())],
        );
        let linked = "voxload quickstart --network lan --control-group 10%";
        let linked = Command::try_parse_from(linked.split_whitespace()).unwrap().scenario;
        let pairs =
            [("link.preset", "edge"), ("link.control", "20%")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let child = linked.changed(None, &pairs).child_arguments().join(" ");
        assert_eq!(
            child, "quickstart --set link.preset=edge --set link.control=20%",
            "flags do not outrank it"
        );
        let s = other.load().unwrap();
        assert_eq!((s.fleet.devices, s.target.shown.as_str()), (9, "ws://x/"));
        assert_eq!(s.audio.settings.chunk, crate::time::Micros::from_millis(60));
    }

    #[test]
    fn help_names_what_is_shipped() {
        let help = <Command as clap::CommandFactory>::command().render_long_help().to_string();
        let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let named = text.split_once("Shipped: ").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
        let shipped: Vec<_> = scenario::SHIPPED.iter().map(|(name, _)| *name).collect();
        assert_eq!(named, shipped.join(", "));
    }

    #[test]
    fn no_scenario_says_what_there_is() {
        insta::assert_snapshot!(load("").unwrap_err(), @r"
    which scenario? Give a file, or the name of a shipped one: quickstart, ci-gate, conversation, push-to-talk, server-vad, barge-in, secure, soak, ten-thousand, mixed-homes, flaky-wifi, walk-away, rural-cat1, slow-clients, reconnect-storm, proxy-idle, chunk-codec-sweep, capacity, own-server
      for example: voxload run quickstart
");
    }
}
