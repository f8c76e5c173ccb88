//! voxload: load testing and latency benchmarks for real-time voice backends.
//!
//! ```text
//! scenario file ──check──▶ Scenario ─────────────────────────────┐
//! WAV ─▶ mono, resampled ─▶ codec ─▶ Arc<[Chunk]> (encoded once)  │
//!                                         │                       ▼
//!               arrival plan ──▶ shard (one per core) ──▶ device (state machine)
//!                                                           │   ▲
//!                                              dialect: turn ▼   ▲ frames → events
//!                                              transport: WebSocket  ◀──▶ server under test
//!                                                           │
//!                         events ─▶ metrics ─▶ HDR per shard ─▶ merge ─▶ run result ─▶ reports, gate, exit code
//! ```
//!
//! Device, dialect, playback and arrival plan are sans-IO: state machines with explicit time ([`time::Micros`] since
//! the start of the run), no clock, no socket, no unseeded random number. Clocks, sockets and threads live in
//! [`drive`] and [`transport`].

pub mod audio;
pub mod calibrate;
pub mod capacity;
pub mod ci;
pub mod cli;
pub mod compare;
pub mod device;
pub mod dialect;
pub mod drive;
pub mod event;
pub mod exit;
pub mod fault;
pub mod gate;
pub mod live;
pub mod measure;
pub mod merge;
pub mod network;
pub mod prove;
pub mod reference;
pub mod report;
pub mod scenario;
pub mod seed;
pub mod subprocess;
pub mod sweep;
pub mod time;
pub mod transport;
