//! How many devices one server carries: the largest load under which the scenario's thresholds hold, with its confidence.
//!
//! ```text
//! Search ──load──▶ Probe: `voxload run` in a process of its own (or a simulated server, in tests)
//!   ▲                 │ turns over each budget
//!   └──── tallies ◀───┘
//!   └─▶ Answer ─▶ CapacityReport ─▶ capacity.json, .md, .html, .svg, terminal
//! ```
//!
//! The search ([`search`]), its statistics ([`binomial`], [`fit`]) and the yardstick ([`queueing`]) know no clock and no
//! process; [`lab`] runs probes, [`judge`] reads what they left.

pub mod binomial;
mod child;
pub mod document;
mod files;
pub mod fit;
pub mod fleet;
mod html;
pub mod judge;
pub mod lab;
mod markdown;
pub mod queueing;
#[doc(hidden)]
pub mod sample;
pub mod search;
pub mod server;
#[cfg(test)]
mod simulated;
mod storm;
pub mod terminal;
mod words;

pub use document::{CapacityReport, SCHEMA_VERSION, schema};
pub use files::{FILE, MARKDOWN, read, write};
pub use search::{Above, Answer, Ask, Limits, Purpose, Search, Seen, Tally};

/// Something that can be put under a load.
pub trait Probe {
    /// What can go wrong besides the server's answers.
    type Trouble;

    /// Puts it under this load for a while. `None`: no time left, or the user wants it to end.
    fn probe(&mut self, ask: Ask, search: &Search) -> Result<Option<Seen>, Self::Trouble>;
}

/// Searches until there is nothing more to be learned, the probe says it is enough, or something goes wrong. What was
/// learned until then is in the search.
pub fn run<P: Probe>(search: &mut Search, probe: &mut P) -> Result<(), P::Trouble> {
    while let Some(ask) = search.next() {
        let Some(seen) = probe.probe(ask, search)? else { break };
        search.tell(ask, seen);
    }
    Ok(())
}
