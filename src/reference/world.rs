//! What the sessions of a server share.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::ears::Memory;
use super::heard::Shelf;
use super::pipeline::Stages;
use super::replies::Replies;
use super::sessions::Sessions;
use super::timetable::Conditions;
use super::truth::Truth;
use crate::scenario::ReferencePlan;

/// Counters of the whole server.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Open connections.
    pub(super) live: AtomicU32,
    /// Sessions so far: also gives each session its number.
    pub(super) sessions: AtomicU64,
    /// Connections so far, refused ones included.
    pub(super) connections: AtomicU64,
    /// Turns so far.
    pub(super) turns: AtomicU64,
    /// Sessions whose device is away.
    pub(super) parked: AtomicU32,
    /// Sessions that went on over another connection, so far.
    pub(super) resumed: AtomicU64,
    /// Sessions whose device did not come back, so far.
    pub(super) abandoned: AtomicU64,
    /// Connections reset because their socket took nothing, so far.
    pub(super) stuck: AtomicU64,
}

/// The world of a session: one per thread.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Arc<ReferencePlan>,
    pub(super) stages: Stages,
    pub(super) replies: Arc<Replies>,
    pub(super) truth: Truth,
    pub(super) stats: Arc<Stats>,
    pub(super) memory: RefCell<Memory>,
    pub(super) sessions: Arc<Sessions>,
    /// Where the speech of each turn is kept, if anywhere.
    pub(super) heard: Option<Shelf>,
    /// What holds now, as far as this thread knows.
    pub(super) conditions: Cell<Conditions>,
}
