//! Turns made by hand, for tests of what counts them.

use crate::event::{FailureClass, Outcome, Playout, TurnRecord};
use crate::time::Micros;

/// A turn of a device; `ttfa` of `None`: it timed out.
pub(crate) fn turn(device: u32, end_of_speech: Micros, ttfa: Option<Micros>) -> TurnRecord {
    let first_audible = ttfa.map(|t| end_of_speech + t);
    let playout = Playout { first_audible, ..Playout::default() };
    TurnRecord {
        device,
        turn: 0,
        session_turn: 0,
        local_port: 0,
        fixture: 0,
        warmup: false,
        planned_start: end_of_speech - Micros::from_secs(1),
        end_of_speech,
        last_send_planned: end_of_speech,
        last_send_done: Some(end_of_speech),
        endpoint: None,
        first_partial: None,
        final_transcript: None,
        first_token: first_audible,
        first_byte: first_audible,
        lead_silence: None,
        last_byte: first_audible,
        reply_done: first_audible,
        tokens: 0,
        audio_messages: 0,
        reply_media: Micros::ZERO,
        playout: [playout; 4],
        judged: playout,
        required_prebuffer: Micros::ZERO,
        barge_in: None,
        backchannel: None,
        group: 0,
        network_up: None,
        network_down: None,
        reconnects: 0,
        cut_short: false,
        answered_twice: false,
        speech_lost: Micros::ZERO,
        speech_late: Micros::ZERO,
        lowered: 0,
        outcome: match ttfa {
            Some(_) => Outcome::Succeeded,
            None => Outcome::Failed(FailureClass::Timeout, "".into()),
        },
        ended: first_audible.unwrap_or(end_of_speech + Micros::from_secs(5)),
    }
}

/// Every fault of an interval that has ended came to exactly one thing.
pub(crate) fn faults_come_to_one_thing(i: &super::Interval) {
    for f in i.network.iter().flat_map(|n| n.faults.to_result()).filter(|f| f.cause != "vanish") {
        for n in f.phases.iter().map(|p| &p.numbers).chain([&f.all]) {
            let came_to = n.recovered + n.never + n.lived_through + n.unfinished + n.overtaken;
            assert_eq!(n.began, came_to, "{}: {n:?}", f.cause);
        }
    }
}
