//! The reference server: a voice backend with known latencies, to test against and to be wrong on purpose.
//!
//! ```text
//! server (listener, threads) ─▶ connection (socket, timer) ─▶ session ─┬─ ears, vad: what is heard, when it ends
//! child: the same in a process of its own                             ├─ pipeline, slots: what is said, when
//! conductor: trouble on a timetable                                   ├─ replies: real speech, encoded once
//!                                                                     ├─ sessions: those whose device is away, too
//!                                                                     ├─ heard: what was said, as WAV files
//!                                                                     ├─ fault, timetable: what goes wrong
//!                                                                     └─ truth: what was done when
//! ```
//!
//! Everything from the session on is a state machine in virtual time. See `docs/reference-server.md`.

pub mod child;
mod conductor;
mod connection;
mod ears;
mod fault;
mod freeze;
mod heard;
mod pipeline;
mod plan;
mod replies;
mod server;
mod session;
mod sessions;
mod slots;
mod sound;
mod timetable;
mod tls;
pub mod truth;
mod vad;
mod welcome;
mod wire;
mod world;

pub use replies::Spoken;
pub use server::{Control, Counts, Options, Server};
pub use session::DEFAULT_DOWN;
pub use sound::shipped;

#[cfg(test)]
mod testing;
