//! Runs against runs: did my change make it slower?
//!
//! ```text
//! voxload compare BASE NEW ──▶ collect ─▶ judge ─▶ Document ─▶ compare.json, compare.md, compare.html, charts, table
//! voxload baseline record ───▶ record (plan: A B B A …) ─▶ child (runs of this binary) ─▶ folders of runs
//! voxload run --baseline ────▶ record, then the same
//! ```
//!
//! The statistics are in [`crate::gate::compare`]; what every number means is in `docs/COMPARE.md`.

pub mod bootstrap;
mod child;
mod collect;
pub mod document;
mod files;
pub mod fingerprint;
mod html;
mod judge;
mod junit;
mod markdown;
pub mod measure;
pub mod record;
#[doc(hidden)]
pub mod sample;
pub mod terminal;
#[cfg(test)]
mod tests;
mod words;

pub use child::{Made, Series};
pub use collect::{Found, Run, collect};
pub use document::Document;
pub use files::{FILE, JUNIT, MARKDOWN, PAGE, write};
pub use judge::{Frame, Question, RUNS, counts, judge, within_run};
