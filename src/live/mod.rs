//! What people and programs see of a run while it lasts.
//!
//! ```text
//! shards ─▶ intervals ─▶ drive::run ─ Progress ─▶ Watcher ─▶ Snapshot ─▶ Board ─┬─▶ Screen: a terminal view, 4 times a second
//!                                                                              └─▶ Metrics: /metrics, when it is asked for
//! ```
//!
//! A [`Snapshot`] is made once an interval by the thread that collects, and never by one that drives devices. Screen and
//! endpoint have a thread of their own each; they read the latest snapshot and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

pub mod exposition;
pub mod otlp;
#[doc(hidden)]
pub mod sample;
mod screen;
mod server;
mod snapshot;
pub mod view;

pub use screen::{Screen, possible};
pub use server::{Metrics, respond};
pub use snapshot::{About, Exposed, HISTORY, Latency, Moment, Snapshot, Watcher};

/// Where the latest snapshot is.
#[derive(Debug)]
pub struct Board(Mutex<Arc<Snapshot>>);

impl Board {
    /// With a first snapshot.
    pub fn new(first: Snapshot) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::new(first))))
    }

    /// Replaces it.
    pub fn put(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The latest.
    pub fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
