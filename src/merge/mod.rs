//! One run by several processes, on one machine or on many: `--shard i/n`, then `voxload merge`.
//!
//! ```text
//! process 1/2   devices 0, 2, 4 … ─▶ intervals ─▶ totals ─▶ its own report
//!                                       └─▶ shard.jsonl.gz ─┐
//! process 2/2   devices 1, 3, 5 … ─▶ intervals …            ├─▶ joined, second by second ─▶ totals ─▶ one report
//!                                       └─▶ shard.jsonl.gz ─┘
//! ```
//!
//! What a process records beside its report is what its own totals were made of: its intervals, with histograms, turns,
//! cuts and links. A merge joins the intervals of the same second as a run joins those of its threads, and then goes the
//! way that every run goes: nothing is added up twice in two ways, and nothing is averaged. How: `docs/DISTRIBUTED.md`.

mod check;
mod combine;
mod join;
mod record;
mod start;
#[cfg(test)]
mod tests;

pub use check::{Shards, open};
pub use join::{Merged, join};
pub use record::{End, FILE, Head, Record};
pub use start::Start;
