//! Networks, faults and coming back: through the real binary, over real sockets.
//!
//! What is asserted are counts and order, and differences with lots of room: how long things take is the business of
//! virtual time (`src/network`, `src/device`) and of benches.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;

use common::{Ran, Run, each};
use voxload::report::result::{FaultNumbers, NetworkResult};

/// Twenty devices that talk a lot, for six seconds.
const TALKATIVE: &str = r#"
name = "talkative"
thresholds = []
[fleet]
devices = 20
duration = "6s"
graceful_stop = "8s"
[audio]
fixtures = ["yes"]
[turn]
think = "uniform(50ms, 400ms)"
timeout = "5s"
[session]
keep_alive = "300ms"
keep_alive_timeout = "800ms"
reconnect_base = "100ms"
reconnect_cap = "400ms"
[reference]
preset = "local"
"#;

fn run(more: &[(&str, &str)]) -> Ran {
    more.iter().fold(Run::new(TALKATIVE), |run, (key, value)| run.set(key, value)).go().expect(0)
}

fn network(ran: &Ran) -> NetworkResult {
    ran.result().network.expect("there is a network section")
}

fn fault(ran: &Ran, cause: &str) -> FaultNumbers {
    let network = network(ran);
    let found = network.faults.iter().find(|f| f.cause == cause);
    found.unwrap_or_else(|| panic!("no {cause} among {:#?}", network.faults)).all.clone()
}

/// What ends a connection ends it, and devices come back.
#[test]
fn devices_come_back() {
    each(
        [
            ("reset", "faults=[\"reset at=2s share=50%\"]"),
            ("close", "faults=[\"close at=2s share=50%\"]"),
            ("black hole", "faults=[\"black_hole at=2s share=50%\"]"),
            ("address change", "faults=[\"address_change at=2s share=50% length=300ms\"]"),
        ],
        |setting: &str| {
            let (key, value) = setting.split_once('=').unwrap();
            let ran = run(&[(key, value)]);
            let cause = value.trim_start_matches("[\"").split(' ').next().unwrap();
            let f = fault(&ran, cause);
            assert_eq!((f.began, f.reconnected, f.never), (10, 10, 0), "{cause}: {f:#?}");
            assert_eq!(f.recovered, 10, "all heard something again: {f:#?}");
            let storms = network(&ran).storms;
            assert_eq!((storms.len(), storms[0].devices, storms[0].back), (1, 10, 10), "{storms:#?}");
            // Those that were not struck have noticed nothing.
            let struck: Vec<_> =
                ran.turns().iter().filter(|t| t.outcome.starts_with("cut_")).map(|t| t.device).collect();
            let failed = ran.turns().iter().filter(|t| t.outcome != "ok" && t.outcome != "cancelled").count();
            assert!(struck.len() <= 10 && failed <= 10, "{cause}: {failed} failed, {struck:?}");
        },
    );
}

/// A session that is resumed goes on where it was, as the server has it.
#[test]
fn sessions_go_on() {
    let cut = ("faults", "[\"reset at=2s share=100% phase=listening\"]");
    let resume = ("session.resume", "true");
    each([("continue", "continue"), ("replay", "replay"), ("drop", "drop"), ("off", "off")], |how: &str| {
        let reply = if how == "off" { ("reference.resume", how) } else { ("reference.resume_reply", how) };
        let ran = run(&[cut, resume, reply, ("playback.max_stall_ratio", "1.0")]);
        let f = fault(&ran, "reset");
        let t = ran.result().turns;
        assert_eq!(f.began, 20, "{how}: {f:#?}");
        if how == "off" {
            assert_eq!((f.resumed, t.reconnected), (0, 0), "{how}: {t:#?}");
            assert!(t.lost_to_cut > 10, "{t:#?}");
            return;
        }
        assert!(f.resumed > 10, "{how}: {f:#?}");
        match how {
            "continue" => assert!(t.reconnected > 10 && t.answered_twice == 0, "{t:#?}"),
            "replay" => assert!(t.answered_twice > 10, "{t:#?}"),
            _ => assert!(t.cut_short > 10, "{t:#?}"),
        }
    });
}

/// A device that vanishes is gone for the server, too, and nothing waits for it.
#[test]
fn some_never_come_back() {
    let ran = run(&[("faults", "[\"vanish at=2s share=30%\"]"), ("reference.idle_timeout", "2s")]);
    let f = fault(&ran, "vanish");
    assert_eq!((f.began, f.reconnected), (6, 0), "{f:#?}");
    let last = ran.turns().iter().map(|t| t.planned_start_us).max().unwrap();
    assert!(last > 4_000_000, "the others went on");
}

/// Groups have their networks, and what a network takes is what the devices of its group wait longer.
#[test]
fn a_network_is_as_slow_as_it_says() {
    let ran = run(&[
        ("link.preset", "mix(50: edge, 50: lan)"),
        ("link.control", "30%"),
        ("fleet.devices", "40"),
        ("fleet.duration", "9s"),
        // Until everybody is connected.
        ("fleet.warmup", "4s"),
        // How replies stutter and heartbeats are late is another question.
        ("playback.max_stall_ratio", "1.0"),
        ("session.keep_alive", "off"),
    ]);
    let network = network(&ran);
    let names: Vec<_> = network.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["edge", "lan", "control"]);
    let [edge, lan, control] = &network.groups[..] else { unreachable!() };
    let failures = ran.result().failures;
    assert!(
        network.groups.iter().all(|g| g.turns.succeeded > 3 && g.turns.failed == 0),
        "{failures:#?} {network:#?}"
    );
    // There and back takes 300 ms on `edge`, plus jitter with a median of 50 ms each way.
    let share = edge.network.p50_us.unwrap();
    assert!(share > 300_000, "{share}");
    let waited = edge.against_control.unwrap().ttfa_p50_us.unwrap();
    assert!((waited - share).abs() < share / 2, "waited {waited} longer, of which the network took {share}");
    assert!(lan.network.p50_us.unwrap() < 100_000);
    assert_eq!((control.network.count, control.links.connections), (0, 0));
    // One row for each device with a link.
    let linked: BTreeSet<_> = ran.turns().iter().filter(|t| t.group != "control").map(|t| t.device).collect();
    assert_eq!(ran.text("links.csv").lines().count(), 1 + linked.len());
}

/// What is lost is sent again, and nothing is missing.
#[test]
fn losses_are_repaired() {
    let ran = run(&[
        ("link.preset", "wifi-home"),
        ("link.loss", "5%"),
        ("playback.max_stall_ratio", "1.0"),
        ("session.keep_alive", "off"),
    ]);
    let network = network(&ran);
    let group = &network.groups[0];
    assert!(
        group.links.up.lost > 10 && group.links.up.retransmissions >= group.links.up.lost / 2,
        "{group:#?}"
    );
    assert!(group.turns.succeeded > 20 && group.turns.failed == 0, "{group:#?}");
}

/// A device that reads slowly plays its replies with gaps; the others do not.
#[test]
fn slow_readers_disturb_only_themselves() {
    let ran = run(&[
        ("faults", "[\"slow_reader at=1s share=20% length=4s rate=1500\"]"),
        ("playback.max_stall_ratio", "1.0"),
    ]);
    assert_eq!(fault(&ran, "slow_reader").began, 4);
    let stalled: BTreeSet<_> =
        ran.turns().iter().filter(|t| t.stalled_200_us > 200_000).map(|t| t.device).collect();
    assert!((1..=4).contains(&stalled.len()), "{stalled:?}");
}

/// A proxy cuts idle connections; keep-alives keep them.
#[test]
fn keep_alives_hold_a_connection() {
    let idle = [("reference.idle_cut", "1s"), ("turn.think", "2s")];
    let with = run(&idle);
    assert_eq!(with.result().connections.lost, 0);
    let without = run(&[idle[0], idle[1], ("session.keep_alive", "off")]);
    assert!(without.result().connections.lost >= 20, "{:#?}", without.result().connections);
    assert!(network(&without).faults.iter().all(|f| !f.planned), "nothing of that was planned here");
}

/// The server drains: with 1012 devices stay away for a while, with 1001 they come back as they always do.
#[test]
fn a_server_drains() {
    let ran = run(&[("reference.events", "[\"2s: drain 1001\"]")]);
    let f = fault(&ran, "closed_1001");
    assert_eq!((f.began, f.reconnected), (20, 20), "{f:#?}");
}
