//! Where devices connect from, when they send, and what becomes of connections that are not accepted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::IpAddr;

mod common;

use common::rogue::Rogue;
use common::{Run, SMALL, each};

/// Devices take turns with the addresses; the server sees them, on plain connections and under TLS.
#[test]
fn devices_connect_from_several_addresses() {
    let expected: Vec<IpAddr> = ["127.0.0.2", "127.0.0.3", "127.0.0.9"].map(|ip| ip.parse().unwrap()).into();
    let cases = [("ws", false), ("wss", true)];
    each(cases, |secure| {
        let run = Run::new(SMALL).args("-u 6 --source-ip 127.0.0.2-127.0.0.3 --source-ip 127.0.0.9");
        let ran = run.set("target.secure", secure).go().expect(0);
        ran.said("devices connect from 3 addresses: 127.0.0.2-127.0.0.3, 127.0.0.9");
        let turns = ran.turns();
        for t in &turns {
            assert_eq!(t.source_ip, Some(expected[t.device as usize % 3]), "{t:?}");
        }
        let peers: BTreeSet<_> = ran.truth().iter().filter_map(|r| r.peer_ip).collect();
        assert_eq!(peers, expected.iter().copied().collect());
        let result = ran.result();
        assert_eq!((result.generator.source_addresses, result.generator.ports_peak), (3, 2));
        assert_eq!(result.agreement.map(|a| a.unmatched), Some(0));
        assert!(ran.stdout.contains("from each of 3 addresses"), "{}", ran.stdout);
    });
}

/// The kernel's own choice is left alone where it has ports to choose from.
#[test]
fn small_fleets_leave_the_choice_to_the_kernel() {
    let ran = Run::new(SMALL).args("-d 1s").set("turn.count", 1).go().expect(0);
    assert!(ran.turns().iter().all(|t| t.source_ip.is_none()));
    assert_eq!(ran.result().generator.source_addresses, 1);
}

/// In lockstep every utterance begins at a multiple of the chunk; else each device has its own instants.
#[test]
fn devices_send_in_step_only_when_asked_to() {
    let phases = |phase: &str| {
        let run = Run::new(SMALL).args("-u 8").set("turn.think", "100ms").set("fleet.phase", phase);
        let ran = run.go().expect(0);
        let turns = ran.turns();
        assert!(turns.len() >= 8);
        turns.iter().map(|t| (t.turn, t.planned_start_us % 60_000)).collect::<Vec<_>>()
    };
    assert!(phases("lockstep").iter().all(|(_, phase)| *phase == 0));
    let first: BTreeSet<_> =
        phases("spread").into_iter().filter(|(turn, _)| *turn == 0).map(|(_, phase)| phase).collect();
    assert!(first.len() > 4, "{first:?}");
}

/// A server that does not accept fast enough is recognised by what it does to connections.
#[test]
fn an_accept_queue_that_overflows_is_a_finding() {
    let server = Rogue::reluctant();
    let ran = Run::new(SMALL)
        .args(&format!("-u 10 -d 3s --url {}", server.url()))
        .set("audio.codec", "pcm16")
        .set("turn.count", 1)
        .go()
        .expect(0);
    let result = ran.result();
    let [note] = &result.notes[..] else { panic!("{:?}", result.notes) };
    assert_eq!(note.name, "accept_queue");
    assert!(note.text.contains("overflowed") && note.text.contains("fleet.ramp"), "{}", note.text);
    // The SYN was sent again after a second, which the planned time has and no clock can hide.
    assert!(result.metrics["connect_tcp"].max_us.unwrap() > 900_000, "{:?}", result.metrics["connect_tcp"]);
    for text in [&ran.stdout, &ran.text("summary.md"), &ran.text("report.html")] {
        assert!(text.contains("Notes") && text.contains("ListenOverflows"), "{text}");
    }
}

/// Limits that are looser than voxload's own are named in every file that a person or a program reads.
#[test]
fn loosened_limits_are_named() {
    let run = Run::new(&format!(
        "{SMALL}\n[validity]\nsend_lateness_p99 = \"20s\"\nsend_lateness_max = \"60s\"\ncpu = 1.0\nsteal = 0.04\npressure = 0.99999\n"
    ));
    let ran = run.args("-d 1s").set("turn.count", 1).go();
    let line = "validity loosened: send lateness p99 ≤ 20 s (default ≤ 5 ms)";
    for text in [&ran.stdout, &ran.text("summary.md"), &ran.text("report.html"), &ran.text("junit.xml")] {
        assert!(text.contains(line), "{text}");
        assert!(text.contains("validity tightened: CPU steal ≤ 4 % (default ≤ 5 %)"), "{text}");
    }
    let validity = ran.result().validity;
    assert_eq!((validity.loosened.len(), validity.tightened.len()), (4, 2), "{validity:?}");
}
