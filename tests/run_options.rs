//! What the flags and keys of a run do, seen in its results.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use voxload::report::result::{RunResult, TurnRow};

mod common;

use common::rogue::{Rogue, Toy};
use common::{Run, SMALL, each};

/// A server that answers everybody well, at once.
fn kind() -> Rogue {
    Rogue::for_toys(Toy::serve)
}

/// A run of many short turns against it.
fn brisk(server: &Rogue) -> Run {
    Run::new(SMALL).arg("--url").arg(server.url()).set("audio.codec", "pcm16")
}

/// Turns by device.
fn by_device(turns: Vec<TurnRow>) -> BTreeMap<u32, Vec<TurnRow>> {
    let mut devices: BTreeMap<u32, Vec<TurnRow>> = BTreeMap::new();
    for t in turns {
        devices.entry(t.device).or_default().push(t);
    }
    for turns in devices.values_mut() {
        turns.sort_by_key(|t| t.turn);
    }
    devices
}

/// What the seed decides: when each device begins, and what it says, turn after turn.
fn plan(server: &Rogue, seed: u64) -> Vec<(i64, Vec<String>)> {
    let run = brisk(server).args("-u 5 -d 5s").set("turn.count", 3).set("fleet.ramp", "300ms");
    let ran = run
        .set("audio.fixtures", "yes,knock-knock,why-sky")
        .arg("--seed")
        .arg(seed.to_string())
        .go()
        .expect(0);
    assert_eq!(ran.result().seed, seed);
    let devices = by_device(ran.turns());
    assert_eq!(devices.len(), 5);
    let said = |turns: &[TurnRow]| turns.iter().take(2).map(|t| t.fixture.clone()).collect();
    devices.values().map(|turns| (turns[0].planned_start_us, said(turns))).collect()
}

#[test]
fn the_same_seed_makes_the_same_plan() {
    let server = &kind();
    let [one, again, other] = std::thread::scope(|scope| {
        [7, 7, 8].map(|seed| scope.spawn(move || plan(server, seed))).map(|t| t.join().unwrap())
    });
    assert_eq!(one, again);
    assert_ne!(one, other);
    let starts = |p: &[(i64, Vec<String>)]| p.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    assert_ne!(starts(&one), starts(&other));
}

#[test]
fn devices_and_turns_are_as_many_as_asked_for() {
    let server = kind();
    let ran = brisk(&server).args("-u 7 -d 10s").set("turn.count", 2).go().expect(0);
    let result = ran.result();
    assert_eq!((result.turns.started, result.turns.succeeded, result.generator.devices), (14, 14, 7));
    assert!(by_device(ran.turns()).values().all(|t| t.len() == 2));
    assert!(result.duration_us < 9_000_000, "it ends when everybody has had all turns");
    assert!(
        result.command.contains("fleet.devices=7") && result.scenario.contains("devices = 7"),
        "{}",
        result.command
    );
}

#[test]
fn a_connection_for_each_turn() {
    let server = Rogue::for_toys(|toy| {
        let turn = toy.turn()?;
        toy.reply(turn)?;
        toy.close(1000, "")
    });
    let connections = |turns: u32| {
        let run = brisk(&server).args("-u 5 -d 20s").set("turn.count", 3).set("session.turns", turns);
        let result = run.set("session.reconnect_base", "20ms").go().expect(0).result();
        assert_eq!(result.turns.succeeded, 15);
        (result.connections.opened, result.connections.lost)
    };
    assert_eq!(connections(1), (15, 0));
    // Without a pause between the goodbye and the next connection, the goodbye is said all the same.
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let patient = Rogue::for_toys(move |toy| {
        let turn = toy.turn()?;
        toy.reply(turn)?;
        let end = toy.listen();
        if end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionAborted) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        end
    });
    let hasty = brisk(&patient).args("-u 5 -d 20s").set("turn.count", 3).set("session.turns", 1);
    hasty.set("turn.think", "0ms").go().expect(0);
    assert_eq!(told.load(Ordering::Relaxed), 12, "device 0 is on a server of its own");
    let (opened, lost) = connections(0);
    assert!(opened > 5 && lost >= 8, "four of them are cut off after each turn: {opened} {lost}");
}

#[test]
fn nothing_begins_after_the_duration_nor_counts_before_the_warm_up() {
    let server = kind();
    let ran = brisk(&server).args("-u 6 -d 3s --warmup 1500ms").go().expect(0);
    let result = ran.result();
    assert!(result.turns.warmup > 0 && result.turns.started > 0, "{:?}", result.turns);
    for t in ran.turns() {
        assert!(t.planned_start_us < 3_000_000, "{t:?}");
        assert_eq!(t.warmup, t.planned_start_us < 1_500_000, "{t:?}");
    }
    assert_eq!(result.metrics["ttfa"].count, result.turns.succeeded);
}

/// Devices come and go as the stages say: read from `intervals.csv`.
#[test]
fn stages() {
    let server = kind();
    let run = brisk(&server).args("--stage 1s:10 --stage 1s:10 --stage 1s:2 --stage 1500ms:2");
    let ran = run.set("report.interval", "100ms").go().expect(0);
    let intervals = ran.intervals();
    let most_in = |from: i64, to: i64| {
        let seen = intervals.iter().filter(|i| (from..to).contains(&(i.start_us / 1_000)));
        seen.map(|i| i.connected).max().unwrap()
    };
    // A device that has been told to leave finishes its turn, of about a second.
    assert!((1..=7).contains(&most_in(0, 500)), "{}", most_in(0, 500));
    assert_eq!(most_in(1_000, 2_000), 10);
    assert_eq!(most_in(4_200, 4_400), 2);
    assert_eq!(ran.result().generator.devices, 10);
    assert_eq!(
        ran.result().scenario.parse::<toml::Table>().unwrap()["fleet"]["stages"].as_array().unwrap().len(),
        4
    );
}

#[test]
fn open_arrivals_come_at_their_rate() {
    let server = kind();
    for (spacing, even) in [("even", true), ("poisson", false)] {
        let run = brisk(&server).args("-u 100 -d 3s").set("fleet.arrivals", "open").set("fleet.rate", 10);
        let ran =
            run.set("fleet.spacing", spacing).set("turn.count", 1).set("turn.think", "0ms").go().expect(0);
        let turns = ran.turns();
        assert!((15..=45).contains(&turns.len()), "{spacing}: {}", turns.len());
        let mut starts: Vec<_> = turns.iter().map(|t| t.planned_start_us).collect();
        starts.sort_unstable();
        let gaps: Vec<_> = starts.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(gaps.iter().all(|g| (99_999..=100_001).contains(g)), even, "{gaps:?}");
        let result = ran.result();
        assert_eq!((result.turns.missed, result.connections.opened), (0, turns.len() as u64));
    }
}

#[test]
fn output_goes_where_it_was_asked_for() {
    let server = kind();
    let quick = || brisk(&server).args("-d 1s").set("turn.count", 1);
    each(["quiet", "json", "copies", "folder"].map(|name| (name, name)), |what| match what {
        "quiet" => {
            let ran = quick().args("--quiet").go().expect(0);
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
            assert!(ran.result().turns.succeeded > 0);
        }
        "json" => {
            let ran = quick().args("--json").go().expect(0);
            let printed: RunResult = serde_json::from_str(&ran.stdout).unwrap();
            let written: serde_json::Value = serde_json::from_str(&ran.text("result.json")).unwrap();
            assert!(serde_json::to_value(&printed).unwrap() == written);
        }
        "copies" => {
            let outs = "--out json=a.json --out json=b.json --out csv=t.csv --out md=s.md --out html=r.html --out junit=j.xml";
            let ran = quick().args(outs).go().expect(0);
            for (copy, file) in [
                ("a.json", "result.json"),
                ("b.json", "result.json"),
                ("t.csv", "turns.csv"),
                ("s.md", "summary.md"),
                ("r.html", "report.html"),
                ("j.xml", "junit.xml"),
            ] {
                assert_eq!(fs::read_to_string(ran.home().join(copy)).unwrap(), ran.text(file), "{copy}");
            }
        }
        _ => {
            let ran = quick().args("--report-dir deep/down --set report.html=false --set report.histograms=false --set report.junit=false");
            let ran = ran.go().expect(0);
            let mut names: Vec<_> =
                fs::read_dir(ran.home().join("deep/down")).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["intervals.csv", "result.json", "scenario.toml", "summary.md", "turns.csv"]);
            assert!(!ran.home().join("reports").exists(), "nothing anywhere else");
            assert!(ran.stdout.contains("deep/down/"), "{}", ran.stdout);
        }
    });
}

/// A user's own recordings, as they come: any rate, depth and number of channels.
#[test]
fn recordings_of_ones_own() {
    let formats = [
        ("8 kHz stereo float", 8_000, 2, 32, hound::SampleFormat::Float),
        ("48 kHz mono 24 bit", 48_000, 1, 24, hound::SampleFormat::Int),
        ("44.1 kHz stereo 16 bit", 44_100, 2, 16, hound::SampleFormat::Int),
        ("11 kHz mono 8 bit", 11_025, 1, 8, hound::SampleFormat::Int),
    ];
    each(formats.map(|f| (f.0, f)), |(_, sample_rate, channels, bits_per_sample, sample_format)| {
        let spec = hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format };
        let mut wav = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut wav, spec).unwrap();
        // 200 ms of silence, 400 ms of sound, 300 ms of silence.
        let loud = 200 * sample_rate / 1_000..600 * sample_rate / 1_000;
        for i in 0..900 * sample_rate / 1_000 {
            let tone = (f64::from(i) * 2_000.0 / f64::from(sample_rate)).sin() * 0.3;
            let value = if loud.contains(&i) { tone } else { 0.0 };
            for _ in 0..channels {
                match sample_format {
                    hound::SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                    hound::SampleFormat::Int => {
                        let full = f64::from(1_u32 << (bits_per_sample - 1));
                        writer.write_sample((value * full) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        let run = Run::new(SMALL).file("own.wav", wav.into_inner()).set("audio.fixtures", "own.wav");
        let ran = run.set("turn.count", 1).args("-d 1s").go().expect(0);
        ran.said("own: speech detected from ");
        let result = ran.result();
        let f = &result.fixtures[0];
        let near = |us: i64, ms: i64| (us - ms * 1_000).abs() <= 20_000;
        assert!(
            near(f.speech_start_us, 200) && near(f.speech_end_us, 600) && near(f.length_us, 900),
            "{f:?}"
        );
        assert_eq!(result.turns.succeeded, 3);
        assert!(ran.turns().iter().all(|t| t.end_of_speech_us - t.planned_start_us == f.speech_end_us));
    });
}

/// Too few descriptors: said before the first device, with the number that is needed.
#[test]
fn too_few_descriptors() {
    let server = kind();
    let needed = 200 + 64;
    let ran = brisk(&server).args("-u 200").shell("ulimit -n 120").go().expect(2);
    ran.said(&format!("200 devices need {needed} open files, and the limit is 120"))
        .said(&format!("ulimit -n {needed}"));
    // A soft limit is raised, and said to be.
    let ran =
        brisk(&server).args("-u 80 -d 1s").set("turn.count", 1).shell("ulimit -S -n 100").go().expect(0);
    ran.said("raised the limit of open files for this run: 100 → 144, as 80 devices need");
    let generator = ran.result().generator;
    assert_eq!(generator.open_files_limit, Some(144));
    assert!(generator.open_files_peak.is_some_and(|n| (80..144).contains(&n)), "{generator:?}");
}

/// What outranks what: flags, then `--set`, then the environment, then the file.
#[test]
fn layers() {
    let server = kind();
    let quick = || brisk(&server).args("-d 1s").set("turn.count", 1);
    let cases = [
        ("file", quick(), 3),
        ("environment", quick().env("VOXLOAD_FLEET_DEVICES", "4"), 4),
        ("set", quick().env("VOXLOAD_FLEET_DEVICES", "4").set("fleet.devices", 5), 5),
        ("flag", quick().set("fleet.devices", 5).args("-u 6"), 6),
    ];
    each(cases.map(|(name, run, devices)| (name, (run, devices))), |(run, devices)| {
        assert_eq!(run.go().expect(0).result().generator.devices, devices);
    });
}

/// Values per device reach the server, each its own; nobody else sees them.
#[test]
fn values_per_device() {
    let server = Rogue::start(|call| call.upgrade()?.serve());
    let table = "serial,token\nA-1,s3cr3t-t0ken-a\nB-2,s3cr3t-t0ken-b\n";
    let toml = format!(
        "{}\n[target]\nurl = \"{}?key=${{KEY}}\"\ndata = \"devices.csv\"\n[target.headers]\nX-Serial = \"{{serial}}\"\nAuthorization = \"Bearer {{token}}\"\n",
        SMALL.replace("[turn]", "[turn]\ncount = 1"),
        server.url(),
    );
    let run = Run::new(&toml).file("devices.csv", table).env("KEY", common::SECRET).args("-u 3 -d 1s");
    let ran = run.set("audio.codec", "pcm16").go().expect(0);
    let heads = server.heads();
    // The knock, and three devices.
    assert_eq!(heads.len(), 4, "{heads:?}");
    for head in heads {
        let second = head.contains("GET /toy/1?");
        let (serial, token) = if second { ("B-2", "s3cr3t-t0ken-b") } else { ("A-1", "s3cr3t-t0ken-a") };
        let lower = head.to_lowercase();
        assert!(lower.contains(&format!("x-serial: {}", serial.to_lowercase())), "{head}");
        assert!(lower.contains(&format!("authorization: bearer {token}")), "{head}");
        assert!(head.contains(&format!("?key={}", common::SECRET)), "{head}");
    }
    let result = ran.result();
    assert!(result.target.url.contains("/toy/{device}?"), "{}", result.target.url);
    assert!(result.turns.succeeded == 3, "{:?}", result.turns);
}

/// Devices that fall silent keep their connection by heartbeats, which are timed.
#[test]
fn heartbeats() {
    let server = kind();
    let run = brisk(&server).args("-u 2 -d 2s").set("turn.think", "10s").set("session.keep_alive", "200ms");
    let result = run.go().expect(121).result();
    let rtt = &result.metrics["heartbeat_rtt"];
    assert!(rtt.count >= 6 && rtt.max_us < Some(2_000_000), "{rtt:?}");
    assert_eq!(result.connections.lost, 0);
}
