//! A comparison: the document that its table, Markdown, page and `compare.json` are made of.
//!
//! The JSON Schema in `docs/schema/comparison.json` is made from these types.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Raised when a field changes its meaning or disappears.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything about one comparison.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// The version of this document's layout.
    pub schema_version: u32,
    /// The version of voxload that compared.
    pub voxload_version: String,
    /// When, RFC 3339, UTC.
    pub made_at: String,
    /// The answer.
    pub verdict: Verdict,
    /// What else to know before it is believed, in sentences.
    pub notes: Vec<String>,
    /// What the candidate is compared with.
    pub base: Side,
    /// The candidate.
    pub new: Side,
    /// What differs between the sides besides the measurements.
    pub differences: Vec<Difference>,
    /// Number by number; the first one decides, the others advise.
    pub metrics: Vec<Compared>,
    /// Mean time of each stage of a turn, where all runs have the same stages.
    pub stages: Vec<StageChange>,
    /// For one run a side: how far the two runs themselves differ. It decides nothing.
    pub within_run: Option<WithinRun>,
    /// The command that repeats the comparison.
    pub command: String,
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Of the number that decides.
    pub answer: Answer,
    /// The exit code of `voxload compare`: 0, 120 (too few VALID runs), 122 (worse), 123 (inconclusive).
    pub exit_code: u8,
    /// The answer with its confidence, in a sentence.
    pub sentence: String,
    /// Advisory numbers that are worse: they decide nothing, and should be looked at.
    pub also_worse: Vec<String>,
}

/// How a number of the candidate relates to that of the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Better by more than the margin.
    Better,
    /// Neither better nor worse by more than the margin.
    Same,
    /// Not worse by more than the margin; whether better by more than it, the runs do not say.
    NoWorse,
    /// Worse by more than the margin.
    Worse,
    /// The runs do not say.
    Inconclusive,
}

impl Answer {
    /// For tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::NoWorse => "no worse",
            Self::Worse => "worse",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// One side.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Where its runs were found.
    pub path: String,
    /// The scenario's name.
    pub name: String,
    /// The server under test, without secrets.
    pub target: String,
    /// Its runs, by the time at which they began.
    pub runs: Vec<RunInfo>,
    /// How many of them count.
    pub used: usize,
    /// Turns of those, after warm-up.
    pub turns: u64,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// Its `result.json`.
    pub file: String,
    /// Its seed.
    pub seed: u64,
    /// When it began.
    pub started_at: String,
    /// Turns begun after warm-up.
    pub turns: u64,
    /// Of these: failed or timed out.
    pub failed: u64,
    /// Its number that decides; `null` when it has none.
    pub value: Option<Amount>,
    /// Why it does not count: it was INVALID, …; empty when it does.
    pub unused: String,
}

/// A difference between the sides that is not a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What differs: a scenario key, or `machine`, `cores`, `voxload`, `fixtures`, …
    pub what: String,
    /// On the baseline's side.
    pub base: String,
    /// On the candidate's.
    pub new: String,
    /// What kind of a difference it is.
    pub kind: Kind,
}

/// What a difference means for the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not the same load, or not the same machine: refused unless asked for (`--allow-different`).
    Workload,
    /// The server under test: what a comparison is usually about.
    Server,
    /// How it was measured or judged: said, and harmless as a rule.
    Measurement,
}

/// One number, compared.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// As in a threshold: `ttfa:p(95)`.
    pub metric: String,
    /// For people: `p95 TTFA`.
    pub title: String,
    /// `us`, `share` (0 to 1), `ratio` or `count`.
    pub unit: String,
    /// True for the one that decides.
    pub decides: bool,
    /// The number of each run of the baseline that has it.
    pub base: Vec<Amount>,
    /// Likewise of the candidate.
    pub new: Vec<Amount>,
    /// The median of those.
    pub base_median: Option<Amount>,
    /// Likewise.
    pub new_median: Option<Amount>,
    /// The estimated shift, candidate − baseline, with its interval; `null` when there are too few runs for one.
    pub shift: Option<Estimate>,
    /// Shifts up to this do not matter, in the unit.
    pub margin: f64,
    /// The answer.
    pub answer: Answer,
    /// About so many runs a side would decide it; `null` when it is decided, or cannot be said.
    pub runs_to_decide: Option<u32>,
    /// What it means and what to look at; why there is no answer.
    pub advice: String,
}

/// A shift: the median of all differences of runs (Hodges and Lehmann), with an exact interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The estimate.
    pub shift: Amount,
    /// The lower end of the interval.
    pub low: Amount,
    /// The upper end.
    pub high: Amount,
    /// The share of such intervals that hold the true shift.
    pub confidence: f64,
}

/// A stage of a turn on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageChange {
    /// `end of speech → last send`, …
    pub name: String,
    /// Mean of the baseline's runs.
    pub base_us: f64,
    /// Mean of the candidate's.
    pub new_us: f64,
}

/// The difference of two single runs, with an interval from resampling blocks of their turns: it knows nothing of how
/// much runs differ among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WithinRun {
    /// The difference of the number that decides, candidate − baseline.
    pub shift: Amount,
    /// 95 % of the resampled differences lie above this, …
    pub low: Amount,
    /// … and below this.
    pub high: Amount,
    /// Consecutive turns in a block.
    pub block: usize,
    /// How often was resampled.
    pub resamples: u32,
}

/// A number that failures can make infinite: in JSON a number, or `"+inf"`, `"-inf"`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Amount(pub f64);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            f64::INFINITY => to.serialize_str("+inf"),
            f64::NEG_INFINITY => to.serialize_str("-inf"),
            x => to.serialize_f64(x),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Word(String),
        }
        match Either::deserialize(from)? {
            Either::Number(x) => Ok(Self(x)),
            Either::Word(w) if w == "+inf" => Ok(Self(f64::INFINITY)),
            Either::Word(w) if w == "-inf" => Ok(Self(f64::NEG_INFINITY)),
            Either::Word(w) => Err(serde::de::Error::custom(format!("`{w}` is not a number, +inf or -inf"))),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or `+inf` or `-inf` where failures make it infinite.",
            "anyOf": [{ "type": "number" }, { "enum": ["+inf", "-inf"] }]
        })
    }
}

/// The JSON Schema of the document, as in `docs/schema/comparison.json`.
pub fn schema() -> String {
    crate::report::json::schema_of::<Document>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_survive_json() {
        for (x, text) in [(1.5, "1.5"), (f64::INFINITY, "\"+inf\""), (f64::NEG_INFINITY, "\"-inf\"")] {
            assert_eq!(serde_json::to_string(&Amount(x)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Amount>(text).unwrap(), Amount(x));
        }
        assert!(serde_json::from_str::<Amount>("\"many\"").is_err());
    }

    #[test]
    fn the_published_schema_is_this_one() {
        let checked_in = include_str!("../../docs/schema/comparison.json");
        assert_eq!(
            checked_in,
            schema(),
            "docs/schema/comparison.json is out of date: voxload compare --print-schema > docs/schema/comparison.json"
        );
    }
}
