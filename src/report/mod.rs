//! Reports: one [`RunResult`], many exporters.
//!
//! `result.json` is the run: complete enough to render every other report again (`voxload report`) and to merge runs
//! without loss. While a run lasts, `turns.csv`, `intervals.csv` and `histograms.hlog` are streamed to disk.

pub mod result;

pub use result::RunResult;
