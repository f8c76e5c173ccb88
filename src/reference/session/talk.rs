//! What makes up a session, without its connection.

use std::collections::VecDeque;
use std::sync::Arc;

use super::listen::Heard;
use super::{AUDIO, Agreed, DONE, FINAL, Mark, TOKEN};
use crate::reference::ears::Ear;
use crate::reference::heard::Tape;
use crate::reference::pipeline::{Pipeline, Said, Waits};
use crate::reference::replies::ReplySet;
use crate::reference::truth::Row;
use crate::reference::vad::Vad;
use crate::scenario::Fault;

/// An open session: what is left of it when its connection is lost.
pub(in crate::reference) struct Talk {
    pub(in crate::reference) agreed: Agreed,
    pub(super) replies: Arc<ReplySet>,
    pub(super) ear: Ear,
    /// Keeps what is heard, where that was asked for.
    pub(super) tape: Option<Tape>,
    pub(super) vad: Option<Vad>,
    pub(super) heard: Heard,
    pub(in crate::reference) reply: Option<Replying>,
    /// A reply that has been said, as long as its end has not been written.
    pub(super) said: Option<Box<Replying>>,
    pub(super) next_turn: u32,
}

/// A reply on its way.
pub(in crate::reference) struct Replying {
    pub(in crate::reference) turn: u32,
    pub(super) fault: Option<Fault>,
    /// `None` when nothing more will be said.
    pub(in crate::reference) pipeline: Option<Pipeline>,
    /// How much of it has been written.
    pub(super) written: Said,
}

impl Talk {
    /// A frame of a reply was written.
    pub(super) fn written(&mut self, mark: Mark) {
        let said = self.said.as_deref_mut();
        if let Some(reply) = self.reply.as_mut().into_iter().chain(said).find(|r| r.turn == mark.turn) {
            reply.written.transcript |= mark.what & FINAL != 0;
            reply.written.tokens += usize::from(mark.what & TOKEN != 0);
            reply.written.chunks += usize::from(mark.what & AUDIO != 0);
        }
        if mark.what & DONE != 0 && self.said.as_ref().is_some_and(|r| r.turn == mark.turn) {
            self.said = None;
        }
    }
}

/// How long the turn waited for each stage goes into its row.
pub(in crate::reference) fn note_waits(rows: &mut VecDeque<Box<Row>>, turn: u32, waits: Waits) {
    if let Some(row) = rows.iter_mut().rev().find(|r| r.session_turn == turn) {
        (row.stt_wait_us, row.llm_wait_us, row.tts_wait_us) = (waits.stt, waits.llm, waits.tts);
    }
}
