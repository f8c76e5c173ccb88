//! What `voxload inspect --faults` prints: everything that the seed has planned against the devices, before anything runs.

use std::fmt::Write as _;

use crate::device::plan::reconnect_delay;
use crate::fault::{Planned, Strikes};
use crate::network::{CONTROL, foreseen};
use crate::scenario::units::{format_duration, format_size};
use crate::scenario::{Reconnect, Scenario};
use crate::seed::Seed;
use crate::time::Micros;

/// Waits that are printed for each device.
const WAITS: u32 = 8;

/// Of every device, or of one of them; `None` when there is no such device.
pub(super) fn text(s: &Scenario, device: Option<u32>) -> Option<String> {
    let seed = Seed(s.seed);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ =
        writeln!(text, "{} ({}), seed {}: what is planned against each device\n", s.name, s.origin, s.seed);
    for fault in s.faults.iter() {
        let _ = writeln!(text, "fault     {fault}");
    }
    if s.faults.is_empty() {
        text.push_str("fault     none\n");
    }
    if s.session.reconnect == Reconnect::None {
        text.push_str("back      never: session.reconnect = \"none\"\n");
    } else {
        let _ = writeln!(
            text,
            "back      waits are those of the first {WAITS} attempts, if each of them fails; 5 to 30 s after close codes 1012 and 1013"
        );
    }
    let mut any = false;
    for stay in s.stays(&s.fleet).filter(|stay| device.is_none_or(|d| d == stay.device)) {
        any = true;
        let _ = writeln!(text, "\ndevice {}, comes at {}", stay.device, format_duration(stay.arrive));
        if let Some(group) = s.network.groups.get(s.network.group_of(seed, stay.device)) {
            let _ = writeln!(text, "  network {}", group.name);
            for line in group.profile.iter().flat_map(|profile| foreseen(profile, seed, stay.device)) {
                let _ = writeln!(text, "    {line}");
            }
            if group.name == CONTROL {
                continue;
            }
        }
        let end = stay.leave_at.saturating_add(s.fleet.graceful_stop);
        for planned in Strikes::of(&s.faults, seed, stay.device, stay.arrive).until(end) {
            let _ = writeln!(text, "  {}", line(&planned));
        }
        if s.session.reconnect != Reconnect::None {
            let wait = |n| format_duration(reconnect_delay(&s.session, seed, stay.device, n, n, None));
            let waits: Vec<_> = (0..WAITS).map(wait).collect();
            let _ = writeln!(text, "  waits {}", waits.join(" "));
        }
    }
    any.then_some(text)
}

/// `at 20s reset, while speaking`.
fn line(p: &Planned) -> String {
    let mut text = format!("at {} {}", format_duration(p.at), p.kind.name());
    if p.length > Micros::ZERO {
        let _ = write!(text, " for {}", format_duration(p.length));
    }
    if p.rate > 0 {
        let _ = write!(text, " at {}/s", format_size(p.rate));
    }
    if let Some(phase) = p.phase {
        let _ = write!(text, ", from then on while {}", phase.name());
    }
    text
}

/// Faults that never strike, because the run is over.
pub(super) fn too_late(s: &Scenario) -> impl Iterator<Item = String> {
    use crate::fault::When;
    s.faults.iter().filter_map(|fault| match fault.when {
        When::At(at) if at >= s.fleet.duration => Some(format!(
            "`{fault}` never strikes: the run ends at {}. Run longer (-d), or strike earlier",
            format_duration(s.fleet.duration)
        )),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Environment, Override, Source, load_in};

    fn scenario(set: &[(&str, &str)]) -> Scenario {
        let of = |(key, value): &(&str, &str)| Override {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            flag: "--set",
            append: false,
        };
        let overrides: Vec<_> = set.iter().map(of).collect();
        let toml = "[[faults]]\nkind = \"roam\"\nevery = \"exponential(8s)\"\n[[faults]]\nkind = \"slow_reader\"\nat = \"4s\"\n\
                    share = 0.5\nrate = 1024\nlength = \"2s\"\n[fleet]\ndevices = 4\nramp = \"1s\"\nduration = \"20s\"\nwarmup = \"1s\"\n";
        load_in(&Source::inline("faults.toml", toml), &overrides, &Environment::default())
            .unwrap_or_else(|d| panic!("{d}"))
    }

    fn plan(set: &[(&str, &str)]) -> String {
        text(&scenario(set), None).unwrap()
    }

    #[test]
    fn the_same_seed_prints_the_same_plan() {
        insta::assert_snapshot!(plan(&[]));
        assert_eq!(plan(&[]), plan(&[]), "byte for byte");
        let rest = |text: String| text.split_once("\n\n").unwrap().1.to_owned();
        assert_ne!(rest(plan(&[])), rest(plan(&[("seed", "2")])));
        // What a device does otherwise shifts nothing.
        assert_eq!(plan(&[]), plan(&[("turn.think", "exponential(3s)"), ("audio.chunk", "40ms")]));
    }

    #[test]
    fn one_device_and_its_network() {
        let s = scenario(&[
            ("faults", "reset at=5s phase=speaking, roam at=6s length=uniform(1s, 1s)"),
            ("link.preset", "lan"),
        ]);
        let text = |d| text(&s, Some(d));
        let shown = text(2).unwrap();
        let wanted = ["  network lan", "  at 5s reset, from then on while speaking", "  at 6s roam for 1s"];
        let lines: Vec<_> = shown.lines().filter(|l| l.starts_with("  ") && !l.contains("waits")).collect();
        assert_eq!(lines, wanted);
        assert_eq!(text(4), None, "there are four");
    }

    #[test]
    fn policies_show_in_the_waits() {
        let fixed = plan(&[("session.reconnect", "fixed"), ("session.reconnect_base", "70ms")]);
        assert_eq!(fixed.matches("  waits 70ms 70ms 70ms 70ms 70ms 70ms 70ms 70ms\n").count(), 4);
        assert!(plan(&[("session.reconnect", "none")]).contains("back      never"));
    }

    #[test]
    fn faults_after_the_end_are_named() {
        let named = |at: &str| too_late(&scenario(&[("faults", at)])).count();
        assert_eq!((named("reset at=19s"), named("reset at=20s")), (0, 1));
    }
}
