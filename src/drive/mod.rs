//! The edge: clocks, sockets, threads. Drives the state machines and feeds the recorders.

pub mod connection;
pub mod debug;
pub mod division;
pub mod heard;
pub mod hearsay;
pub mod links;
pub mod outcome;
pub mod prepare;
pub mod run;
pub mod shard;
pub mod sofar;
pub mod timer;
