//! A turn as a row of `turns.csv`.

use super::network::share;
use crate::event::{Outcome, TurnRecord};
use crate::report::result::TurnRow;
use crate::time::Micros;

/// The row of a turn; `fixtures` and `groups` are the names of the run's fixtures and groups of devices.
pub fn turn_row(t: &TurnRecord, fixtures: &[String], groups: &[String]) -> TurnRow {
    let us = |t: Option<Micros>| t.map(|t| t.0);
    // Empty where the speech was never out: the clock of a tool without a plan has not begun.
    let uncorrected = |latency: Option<Micros>| latency.zip(t.send_delay()).map(|(l, late)| (l - late).0);
    let late = |at: Option<Micros>| at.map(|at| (at - t.end_of_speech).0);
    let (outcome, detail) = match &t.outcome {
        Outcome::Succeeded => ("ok".to_owned(), String::new()),
        Outcome::Interrupted => ("interrupted".to_owned(), String::new()),
        Outcome::Cancelled => ("cancelled".to_owned(), String::new()),
        Outcome::Failed(class, detail) => (class.to_string(), detail.to_string()),
    };
    TurnRow {
        device: t.device,
        turn: t.turn,
        session_turn: t.session_turn,
        local_port: t.local_port,
        source_ip: None,
        fixture: fixtures.get(usize::from(t.fixture)).cloned().unwrap_or_default(),
        warmup: t.warmup,
        outcome,
        planned_start_us: t.planned_start.0,
        end_of_speech_us: t.end_of_speech.0,
        last_send_planned_us: t.last_send_planned.0,
        last_send_done_us: us(t.last_send_done),
        ttft_us: us(t.ttft()),
        ttft_uncorrected_us: uncorrected(t.ttft()),
        ttfa_us: us(t.ttfa()),
        ttfa_uncorrected_us: uncorrected(t.ttfa()),
        ttfa_first_byte_us: us(t.ttfa_first_byte()),
        ttfa_first_byte_uncorrected_us: uncorrected(t.ttfa_first_byte()),
        ttfa_from_last_send_us: t.judged.first_audible.zip(t.last_send_done).map(|(a, b)| (a - b).0),
        endpoint_delay_us: late(t.endpoint),
        first_partial_us: late(t.first_partial),
        final_transcript_us: late(t.final_transcript),
        lead_silence_us: us(t.lead_silence),
        last_byte_us: late(t.last_byte),
        reply_done_us: late(t.reply_done),
        tokens: t.tokens,
        audio_messages: t.audio_messages,
        reply_media_us: t.reply_media.0,
        rtf: t.rtf(),
        stalls: t.judged.stalls,
        stalled_us: t.judged.stalled.0,
        stalled_0_us: t.playout[0].stalled.0,
        stalled_60_us: t.playout[1].stalled.0,
        stalled_120_us: t.playout[2].stalled.0,
        stalled_200_us: t.playout[3].stalled.0,
        required_prebuffer_us: t.required_prebuffer.0,
        barge_in_us: t.barge_in.map(|b| b.planned.0),
        barge_in_stop_us: t.barge_in.and_then(|b| b.last_played.map(|at| (at - b.planned).0)),
        barge_in_last_byte_us: t.barge_in.and_then(|b| b.last_byte.map(|at| (at - b.planned).0)),
        backchannel_us: t.backchannel.map(|b| b.planned.0),
        false_barge_in: t.backchannel.is_some_and(|b| b.stopped_reply),
        ended_us: t.ended.0,
        detail,
        group: groups.get(usize::from(t.group)).cloned().unwrap_or_default(),
        network_up_us: us(t.network_up),
        network_down_us: us(t.network_down),
        network_us: us(share(t)),
        reconnects: t.reconnects,
        cut_short: t.cut_short,
        answered_twice: t.answered_twice,
        speech_lost_us: t.speech_lost.0,
        speech_late_us: t.speech_late.0,
        lowered: t.lowered,
        first_stall_us: late(t.judged.first_stall),
    }
}
