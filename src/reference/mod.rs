//! The reference server: a voice backend with known latencies, to test against and to be wrong on purpose.
//!
//! ```text
//! server (listener, threads) ─▶ connection (socket, timer) ─▶ session ─┬─ ears, vad: what is heard, when it ends
//! child: the same in a process of its own                             ├─ pipeline, slots: what is said, when
//!                                                                     ├─ replies: real speech, encoded once
//!                                                                     ├─ fault: what goes wrong
//!                                                                     └─ truth: what was done when
//! ```
//!
//! Everything from the session on is a state machine in virtual time. See `docs/reference-server.md`.

pub mod child;
mod connection;
mod ears;
mod fault;
mod freeze;
mod pipeline;
mod plan;
mod replies;
mod server;
mod session;
mod slots;
mod sound;
mod tls;
pub mod truth;
mod vad;
mod world;

pub use replies::Spoken;
pub use server::{Counts, Options, Server};
pub use sound::shipped;

#[cfg(test)]
mod testing;
