//! What a run says about the machine it runs on: the calibration made here, if there is one.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use super::document::{BUILD, Calibration, Capacity};
use super::files::{FILE, FOLDER, read};
use crate::audio::Codec;
use crate::dialect::Encoding;
use crate::measure::health;
use crate::report::result::{CalibrationQuote, HostInfo};
use crate::report::text::{chosen, count, one_line};
use crate::scenario::Scenario;
use crate::time::Micros;

/// From this age on, a quote says how to make a new one: kernels, neighbours and power settings change.
const STALE: Micros = Micros::from_secs(30 * 86_400);

/// Who asks: this machine and program, now.
#[derive(Clone, Debug)]
pub struct Here {
    /// The machine.
    pub host: HostInfo,
    /// This voxload's version.
    pub version: &'static str,
    /// `release` or `debug`.
    pub build: &'static str,
    /// The wall clock.
    pub now: SystemTime,
}

/// What of a run matters to it.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Audio per message.
    pub chunk: Micros,
    /// Most devices at once.
    pub devices: u32,
    /// It sends as the calibration did.
    pub as_measured: bool,
}

impl Here {
    /// This machine.
    pub fn now(now: SystemTime) -> Self {
        Self { host: health::host(), version: env!("CARGO_PKG_VERSION"), build: BUILD, now }
    }
}

impl Planned {
    /// Of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let audio = &scenario.audio;
        let plain = !scenario.target.secure && !scenario.target.shown.starts_with("wss:");
        Self {
            chunk: audio.settings.chunk,
            devices: scenario.most(),
            as_measured: plain
                && audio.settings.format.codec == Codec::Opus
                && audio.encoding == Encoding::Binary,
        }
    }
}

/// Where a run's calibration lies: beside its own folder, or where reports go by themselves; `None`: there is none.
pub fn find(report_dir: Option<&Path>, root: &Path) -> Option<PathBuf> {
    let beside = report_dir.map(|dir| dir.parent().unwrap_or_else(|| Path::new("")).join(FOLDER));
    beside.into_iter().chain([root.join(FOLDER)]).map(|dir| dir.join(FILE)).find(|file| file.is_file())
}

/// Reads the file and quotes it.
pub fn from_file(file: &Path, here: &Here, planned: &Planned) -> Result<CalibrationQuote, String> {
    let c = read(file)?;
    let mut quote = quote(&c, here, planned)?;
    quote.file = file.display().to_string();
    Ok(quote)
}

/// What the calibration says about a run that is planned here.
pub fn quote(c: &Calibration, here: &Here, planned: &Planned) -> Result<CalibrationQuote, String> {
    let made = DateTime::parse_from_rfc3339(&c.made_at)
        .map_err(|e| format!("its made_at `{}` is not an instant: {e}", one_line(&c.made_at)))?;
    let age = DateTime::<Utc>::from(here.now) - made.with_timezone(&Utc);
    let mismatch = differences(c, here);
    let quote = CalibrationQuote {
        made_at: c.made_at.clone(),
        age_us: age.num_microseconds().unwrap_or(i64::MAX),
        host_match: mismatch.is_empty(),
        mismatch,
        chunk_us: planned.chunk.0,
        devices_planned: planned.devices,
        as_measured: planned.as_measured,
        ..CalibrationQuote::default()
    };
    if !quote.host_match {
        return Ok(quote);
    }
    let floor = c.floor.as_ref().and_then(|f| f.runs.first()).filter(|r| r.valid);
    let error = c.error.as_ref().filter(|e| e.delays.iter().all(|d| d.valid));
    Ok(CalibrationQuote {
        floor_ttft_us: floor.and_then(|r| r.ttft_remaining.p50_us),
        floor_ttfa_us: floor.and_then(|r| r.ttfa_remaining.p50_us),
        error_ttft_p99_us: error.and_then(|e| e.ttft.p99_us),
        error_ttfa_p99_us: error.and_then(|e| e.ttfa.p99_us),
        wakeup_p99_us: c.wakeups.as_ref().and_then(|w| w.rounds.last()).and_then(|r| r.timer.p99_us),
        devices: c.capacity.as_ref().and_then(|k| k.at(planned.chunk.0)),
        busy: c.capacity.as_ref().is_some_and(Capacity::is_busy),
        ..quote
    })
}

/// In what the calibration's machine and program are not these.
fn differences(c: &Calibration, here: &Here) -> Vec<String> {
    let version = |v: &str, build: &str| format!("{v} ({build})");
    let cores = |h: &HostInfo| h.cores.to_string();
    [
        ("processor", c.host.cpu.clone(), here.host.cpu.clone()),
        ("cores", cores(&c.host), cores(&here.host)),
        ("kernel", c.host.os.clone(), here.host.os.clone()),
        ("voxload", version(&c.voxload_version, &c.build), version(here.version, here.build)),
    ]
    .into_iter()
    .filter(|(_, there, here)| there != here)
    .map(|(what, there, here)| format!("{what} {}, here {}", one_line(&there), one_line(&here)))
    .collect()
}

/// The quote in a sentence, for every report.
pub fn sentence(q: &CalibrationQuote) -> String {
    if !q.host_match {
        return format!(
            "the calibration of {} was made elsewhere and is not used ({}); `voxload calibrate` makes one here",
            one_line(&q.made_at),
            one_line(&q.mismatch.join("; "))
        );
    }
    let mut parts = Vec::new();
    let mut part = |label: &str, us: Option<i64>| {
        parts.extend(us.map(|us| format!("{label} {}", Micros(us))));
    };
    part("floor TTFA", q.floor_ttfa_us);
    part("error p99", q.error_ttfa_p99_us);
    if q.floor_ttfa_us.is_none() && q.error_ttfa_p99_us.is_none() {
        part("timers late by p99", q.wakeup_p99_us);
    }
    let chunk = chosen(q.chunk_us);
    match q.devices {
        Some(n) => {
            let way = if q.as_measured { "" } else { ", measured with Opus in binary over ws" };
            let why = if q.busy { ", other programs being busy" } else { "" };
            parts.push(format!("can drive at least {} devices at {chunk}{way}{why}", count(n.into())));
        }
        None => parts.push(format!("number of devices at {chunk} not measured")),
    }
    if overloaded(q) {
        parts.push(format!("{} were planned", count(q.devices_planned.into())));
    }
    format!("{} ({})", parts.join(", "), age(q.age_us))
}

/// What to say before a run that plans more devices than this machine was found to drive.
pub fn warning(q: &CalibrationQuote) -> Option<String> {
    overloaded(q).then(|| {
        let n = q.devices.unwrap_or(0);
        let fewer = if n > 0 { format!("fewer devices (-u {n}), ") } else { String::new() };
        let busy = if q.busy { " and busy programs" } else { "" };
        format!(
            "{} devices are planned, and this machine is known to drive {} at {} (with the embedded server{busy} on the same cores, \
             at least): the run may end INVALID; try {fewer}larger chunks or another machine",
            count(q.devices_planned.into()),
            count(n.into()),
            chosen(q.chunk_us)
        )
    })
}

fn overloaded(q: &CalibrationQuote) -> bool {
    q.devices.is_some_and(|n| q.devices_planned > n)
}

fn age(us: i64) -> String {
    let when = match us / 1_000_000 {
        s if s < 60 => "just now".to_owned(),
        s if s < 3_600 => format!("{} min ago", s / 60),
        s if s < 48 * 3_600 => format!("{} h ago", s / 3_600),
        s => format!("{} days ago", s / 86_400),
    };
    let again = if us >= STALE.0 { "; `voxload calibrate` makes a new one" } else { "" };
    format!("calibrated {when}{again}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::calibrate::sample;

    /// Two hours after the sample was made, on its machine.
    fn here() -> Here {
        Here {
            host: sample::calibration().host,
            version: "0.1.0",
            build: "release",
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800 + 2 * 3_600),
        }
    }

    fn planned(devices: u32, chunk_ms: i64) -> Planned {
        Planned { chunk: Micros::from_millis(chunk_ms), devices, as_measured: true }
    }

    fn of(devices: u32, chunk_ms: i64) -> CalibrationQuote {
        quote(&sample::calibration(), &here(), &planned(devices, chunk_ms)).unwrap()
    }

    #[test]
    fn the_line_that_every_report_has() {
        insta::assert_snapshot!(sentence(&of(1_000, 60)), @"floor TTFA 420 µs, error p99 240 µs, can drive at least 4,200 devices at 60 ms (calibrated 2 h ago)");
        insta::assert_snapshot!(sentence(&of(3_500, 40)), @"floor TTFA 420 µs, error p99 240 µs, can drive at least 3,000 devices at 40 ms, 3,500 were planned (calibrated 2 h ago)");
        insta::assert_snapshot!(sentence(&of(1_000, 120)), @"floor TTFA 420 µs, error p99 240 µs, number of devices at 120 ms not measured (calibrated 2 h ago)");
        let other = CalibrationQuote { as_measured: false, ..of(10, 60) };
        insta::assert_snapshot!(sentence(&other), @"floor TTFA 420 µs, error p99 240 µs, can drive at least 4,200 devices at 60 ms, measured with Opus in binary over ws (calibrated 2 h ago)");
        let busy = CalibrationQuote { busy: true, ..of(5_000, 60) };
        insta::assert_snapshot!(sentence(&busy), @"floor TTFA 420 µs, error p99 240 µs, can drive at least 4,200 devices at 60 ms, other programs being busy, 5,000 were planned (calibrated 2 h ago)");
        assert!(
            warning(&busy)
                .unwrap()
                .contains("(with the embedded server and busy programs on the same cores, at least)")
        );
        let part = Calibration { floor: None, error: None, capacity: None, ..sample::calibration() };
        let part = quote(&part, &here(), &planned(10, 60)).unwrap();
        insta::assert_snapshot!(sentence(&part), @"timers late by p99 410 µs, number of devices at 60 ms not measured (calibrated 2 h ago)");
    }

    #[test]
    fn more_devices_than_calibrated_for_are_warned_about() {
        assert_eq!(warning(&of(4_200, 60)), None);
        assert_eq!(warning(&of(9_999, 200)), None, "nothing is known about that size");
        insta::assert_snapshot!(warning(&of(4_201, 60)).unwrap(), @"4,201 devices are planned, and this machine is known to drive 4,200 at 60 ms (with the embedded server on the same cores, at least): the run may end INVALID; try fewer devices (-u 4200), larger chunks or another machine");
    }

    #[test]
    fn another_machine_or_version_is_named_and_not_used() {
        type Change = fn(&mut Here);
        let changes: [(&str, Change); 5] = [
            ("processor a processor, here another", |h| h.host.cpu = "another".to_owned()),
            ("cores 2, here 8", |h| h.host.cores = 8),
            ("kernel Linux 6.1 x86_64, here Linux 6.2", |h| h.host.os = "Linux 6.2".to_owned()),
            ("voxload 0.1.0 (release), here 0.2.0 (release)", |h| h.version = "0.2.0"),
            ("voxload 0.1.0 (release), here 0.1.0 (debug)", |h| h.build = "debug"),
        ];
        for (says, change) in changes {
            let mut here = here();
            change(&mut here);
            let q = quote(&sample::calibration(), &here, &planned(9_000, 60)).unwrap();
            assert!(!q.host_match && q.mismatch == [says], "{:?}", q.mismatch);
            assert_eq!(
                (q.floor_ttfa_us, q.error_ttfa_p99_us, q.wakeup_p99_us, q.devices),
                (None, None, None, None)
            );
            assert!(sentence(&q).contains(says) && warning(&q).is_none(), "{}", sentence(&q));
        }
        let mut more_memory = here();
        (more_memory.host.memory_bytes, more_memory.host.open_files) = (1, 1);
        assert!(quote(&sample::calibration(), &more_memory, &planned(1, 60)).unwrap().host_match);
    }

    #[test]
    fn ages() {
        let at = |s: i64| age(s * 1_000_000);
        assert_eq!([-5, 59].map(at), ["calibrated just now", "calibrated just now"]);
        assert_eq!([60, 7_199].map(at), ["calibrated 1 min ago", "calibrated 1 h ago"]);
        assert_eq!(at(47 * 3_600), "calibrated 47 h ago");
        assert_eq!(at(29 * 86_400), "calibrated 29 days ago");
        assert_eq!(at(30 * 86_400), "calibrated 30 days ago; `voxload calibrate` makes a new one");
    }

    #[test]
    fn numbers_of_disturbed_runs_are_not_quoted() {
        let mut c = sample::calibration();
        c.floor.as_mut().unwrap().runs[0].valid = false;
        c.error.as_mut().unwrap().delays[1].valid = false;
        let q = quote(&c, &here(), &planned(1, 60)).unwrap();
        assert_eq!((q.floor_ttfa_us, q.error_ttfa_p99_us, q.devices), (None, None, Some(4_200)));
    }

    #[test]
    fn it_lies_beside_the_reports() {
        let home = tempfile::tempdir().unwrap();
        let (root, runs) = (home.path().join("reports"), home.path().join("runs"));
        assert_eq!(find(None, &root), None);
        let put = |dir: &Path| {
            std::fs::create_dir_all(dir.join(FOLDER)).unwrap();
            let file = dir.join(FOLDER).join(FILE);
            std::fs::write(&file, "").unwrap();
            file
        };
        let general = put(&root);
        assert_eq!(find(None, &root).as_ref(), Some(&general));
        assert_eq!(find(Some(&runs.join("one")), &root).as_ref(), Some(&general));
        let own = put(&runs);
        assert_eq!(find(Some(&runs.join("one")), &root), Some(own));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why() {
        let c = Calibration { made_at: "yesterday".to_owned(), ..sample::calibration() };
        let e = quote(&c, &here(), &planned(1, 60)).unwrap_err();
        assert!(e.contains("`yesterday` is not an instant"), "{e}");
    }
}
