//! The edge: clocks, sockets, threads. Drives the state machines and feeds the recorders.

pub mod connection;
pub mod shard;
pub mod timer;
