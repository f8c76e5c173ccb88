//! Which combinations are measured, and in which order: nothing here runs anything.

use crate::scenario::{Axis, Conditions, Scenario, SweepOrder, shown_value};
use crate::seed::Seed;

use super::document::Skipped;

/// More combinations than this are a slip of the pen.
pub const MOST_CELLS: usize = 1_000;

/// A combination that is measured.
#[derive(Clone, Debug)]
pub struct Cell {
    /// From 1.
    pub number: u32,
    /// One of each axis, as given to `--set`.
    pub values: Vec<String>,
    /// Axes (by their index) whose values make no difference in this combination.
    pub any: Vec<usize>,
    /// The scenario with them.
    pub scenario: Scenario,
}

/// What stands in the place of a value that makes no difference.
pub const ANY: &str = "any";

impl Cell {
    /// The values as they may be printed.
    pub fn shown(&self, axes: &[Axis]) -> Vec<String> {
        let mut values = shown(axes, &self.values);
        for (i, value) in values.iter_mut().enumerate() {
            if self.any.contains(&i) {
                ANY.clone_into(value);
            }
        }
        values
    }

    /// In words: `codec opus, chunk 60ms`.
    pub fn label(&self, axes: &[Axis]) -> String {
        label(axes, &self.shown(axes))
    }
}

/// Every combination.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What is varied.
    pub axes: Vec<Axis>,
    /// What is measured.
    pub cells: Vec<Cell>,
    /// What is not.
    pub skipped: Vec<Skipped>,
}

/// Every combination of the axes' values; the last axis changes fastest.
pub fn combinations(axes: &[Axis]) -> Vec<Vec<String>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let with = |before: &Vec<String>, v: &String| before.iter().chain([v]).cloned().collect();
        all.iter().flat_map(|before| axis.values.iter().map(move |v| with(before, v))).collect()
    })
}

/// Loads every combination, and sorts out those that are not measured. The error is for the user.
pub fn grid(
    axes: &[Axis],
    skip: &[Conditions],
    skip_invalid: bool,
    mut load: impl FnMut(&[(String, String)]) -> Result<Scenario, String>,
) -> Result<Grid, String> {
    if axes.is_empty() {
        return Err("the scenario says nothing to vary\n  \
                    give axes: --axis 'audio.chunk=20ms,60ms,100ms' (repeatable), or a `[sweep]` section as in \
                    `voxload sweep chunk-codec-sweep`"
            .to_owned());
    }
    let count = axes.iter().fold(1_usize, |n, a| n.saturating_mul(a.values.len()));
    if count > MOST_CELLS {
        return Err(format!(
            "{count} combinations are more than a sweep can have ({MOST_CELLS})\n  \
             take values away: --axis KEY=VALUE,VALUE replaces the scenario's"
        ));
    }
    let mut grid = Grid { axes: axes.to_vec(), cells: Vec::new(), skipped: Vec::new() };
    // What differs in secrets alone looks the same.
    let comparable = axes.iter().all(|a| a.values.iter().all(|v| shown_value(&a.key, v) == *v));
    let mut seen: Vec<(String, u32)> = Vec::new();
    let mut refused: Vec<(Vec<String>, String)> = Vec::new();
    for values in combinations(axes) {
        let pairs: Vec<_> = axes.iter().map(|a| a.key.clone()).zip(values.iter().cloned()).collect();
        let shown = shown(axes, &values);
        let mut leave = |reason: String| grid.skipped.push(Skipped { values: shown.clone(), reason });
        if let Some(conditions) = skip.iter().find(|c| fits(c, &pairs)) {
            leave(format!("left out by sweep.skip: {}", in_words(conditions)));
            continue;
        }
        let scenario = match load(&pairs) {
            Ok(scenario) => scenario,
            Err(why) => {
                leave(why.clone());
                refused.push((values, why));
                continue;
            }
        };
        let plan = format!("{:?}", Scenario { effective: String::new(), ..scenario.clone() });
        if let Some((_, same)) = seen.iter().find(|(p, _)| comparable && *p == plan) {
            leave(format!("the same as cell {same}: what differs has no effect here"));
            if let Some(cell) = grid.cells.iter_mut().find(|c| c.number == *same) {
                let differs = |i: &usize| cell.values.get(*i) != values.get(*i);
                let more: Vec<_> =
                    (0..axes.len()).filter(differs).filter(|i| !cell.any.contains(i)).collect();
                cell.any.extend(more);
            }
            continue;
        }
        let number = u32::try_from(grid.cells.len() + 1).unwrap_or(u32::MAX);
        seen.push((plan, number));
        grid.cells.push(Cell { number, values, any: Vec::new(), scenario });
    }
    check(&grid, &refused, skip_invalid)?;
    Ok(grid)
}

/// A value that is refused wherever it is used is a mistake, and no combination to skip.
fn check(grid: &Grid, refused: &[(Vec<String>, String)], skip_invalid: bool) -> Result<(), String> {
    for (i, axis) in grid.axes.iter().enumerate() {
        for value in &axis.values {
            let of_value = |values: &[String]| values.get(i) == Some(value);
            let why = refused.iter().find(|(values, _)| of_value(values)).map(|(_, why)| why);
            let accepted = grid.cells.iter().any(|c| of_value(&c.values))
                // Accepted, and the same as another.
                || grid.skipped.iter().any(|s| {
                    s.values.get(i) == Some(&shown_value(&axis.key, value))
                        && !refused.iter().any(|(values, _)| shown(&grid.axes, values) == s.values)
                });
            if let (Some(why), false) = (why, accepted) {
                return Err(format!(
                    "`{}` of the axis `{}` is refused in every combination\n  {why}",
                    shown_value(&axis.key, value),
                    axis.key
                ));
            }
        }
    }
    if let (false, Some((values, why))) = (skip_invalid, refused.first()) {
        return Err(format!(
            "the combination {} is refused, and `sweep.invalid` is \"refuse\"\n  {why}",
            label(&grid.axes, &shown(&grid.axes, values))
        ));
    }
    if grid.cells.is_empty() {
        return Err("no combination is left: `sweep.skip` leaves all of them out".to_owned());
    }
    Ok(())
}

/// Whether all conditions hold.
pub fn fits(conditions: &Conditions, pairs: &[(String, String)]) -> bool {
    conditions.iter().all(|c| pairs.contains(c))
}

fn in_words(conditions: &Conditions) -> String {
    conditions.iter().map(|(k, v)| format!("{k}={}", shown_value(k, v))).collect::<Vec<_>>().join(", ")
}

/// The values as they may be printed.
pub fn shown(axes: &[Axis], values: &[String]) -> Vec<String> {
    axes.iter().zip(values).map(|(a, v)| shown_value(&a.key, v)).collect()
}

/// The values of an axis as they may be printed.
pub fn shown_all(axis: &Axis) -> Vec<String> {
    axis.values.iter().map(|v| shown_value(&axis.key, v)).collect()
}

/// The name of an axis in tables: the last part of its key, unless two axes share that.
pub fn axis_names(keys: &[&str]) -> Vec<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    keys.iter()
        .map(|key| {
            if keys.iter().filter(|k| last(k) == last(key)).count() > 1 {
                (*key).to_owned()
            } else {
                last(key)
            }
        })
        .collect()
}

/// Printable values in words: `codec opus, chunk 60ms`. What makes no difference is left out, and what all cells share.
pub fn label(axes: &[Axis], shown: &[String]) -> String {
    let keys: Vec<_> = axes.iter().map(|a| a.key.as_str()).collect();
    let varied = axes.iter().any(|a| a.values.len() > 1);
    let parts = axis_names(&keys).into_iter().zip(axes).zip(shown);
    let parts = parts.filter(|((_, axis), value)| *value != ANY && (axis.values.len() > 1 || !varied));
    parts.map(|((name, _), value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

/// The number of the cell that others are compared with; the error is for the user.
pub fn baseline(grid: &Grid, conditions: Option<&Conditions>) -> Result<u32, String> {
    let Some(conditions) = conditions else {
        return Ok(1);
    };
    let keys = grid.axes.iter().map(|a| &a.key);
    let of = |c: &Cell| keys.clone().cloned().zip(c.values.iter().cloned()).collect::<Vec<_>>();
    grid.cells.iter().find(|c| fits(conditions, &of(c))).map(|c| c.number).ok_or_else(|| {
        format!("`sweep.baseline` fits no cell: {} is among those that are skipped", in_words(conditions))
    })
}

/// A run to be made: a cell in a round, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The cell.
    pub cell: u32,
    /// The round.
    pub round: u32,
}

impl Slot {
    /// The name of the folder of its n-th attempt.
    pub fn folder(self, attempt: u32) -> String {
        let Self { cell, round } = self;
        if attempt > 1 { format!("c{cell:02}-r{round}-try{attempt}") } else { format!("c{cell:02}-r{round}") }
    }
}

/// The runs in their order, in groups: what is INVALID in a group is made again at its end.
pub fn schedule(cells: u32, repeat: u32, order: SweepOrder, seed: Seed) -> Vec<Vec<Slot>> {
    match order {
        SweepOrder::Sequential => {
            (1..=cells).map(|cell| (1..=repeat).map(|round| Slot { cell, round }).collect()).collect()
        }
        SweepOrder::Interleaved => (1..=repeat)
            .map(|round| {
                let mut slots: Vec<_> = (1..=cells).map(|cell| Slot { cell, round }).collect();
                let mut draw = seed.stream("sweep order", round.into());
                // Fisher and Yates.
                for i in (1..slots.len()).rev() {
                    let j = usize::try_from(draw.below(i as u64 + 1)).unwrap_or(i);
                    slots.swap(i, j);
                }
                slots
            })
            .collect(),
    }
}

/// The seed of the runs of a round: the same for all cells.
pub fn round_seed(seed: Seed, round: u32) -> u64 {
    // As large as the key allows.
    seed.stream("sweep round", round.into()).bits() >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Environment, Override, Source, load_in};

    fn axes(all: &[(&str, &[&str])]) -> Vec<Axis> {
        all.iter()
            .map(|(key, values)| Axis {
                key: (*key).to_owned(),
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            })
            .collect()
    }

    fn load(pairs: &[(String, String)]) -> Result<Scenario, String> {
        let set = |(key, value): &(String, String)| Override {
            key: key.clone(),
            value: value.clone(),
            flag: "--axis",
            append: false,
        };
        let flags: Vec<_> = pairs.iter().map(set).collect();
        load_in(&Source::inline("x", ""), &flags, &Environment::default())
            .map_err(|e| e.items()[0].message.clone())
    }

    fn labels(grid: &Grid) -> Vec<String> {
        grid.cells.iter().map(|c| c.label(&grid.axes)).collect()
    }

    fn skipped(grid: &Grid) -> Vec<String> {
        grid.skipped.iter().map(|s| format!("{}: {}", s.values.join(" "), s.reason)).collect()
    }

    #[test]
    fn all_combinations_the_last_axis_fastest() {
        let all = combinations(&axes(&[("a", &["1", "2"]), ("b", &["x", "y", "z"])]));
        let all: Vec<_> = all.iter().map(|v| v.join("")).collect();
        assert_eq!(all, ["1x", "1y", "1z", "2x", "2y", "2z"]);
    }

    #[test]
    fn what_cannot_be_and_what_changes_nothing_is_skipped_with_a_reason() {
        let axes = axes(&[
            ("audio.codec", &["opus", "pcm16"]),
            ("audio.bitrate", &["16k", "24k"]),
            ("audio.frame", &["20ms", "30ms"]),
            ("audio.chunk", &["60ms"]),
        ]);
        let skip = vec![vec![
            ("audio.codec".to_owned(), "opus".to_owned()),
            ("audio.bitrate".to_owned(), "24k".to_owned()),
        ]];
        let grid = grid(&axes, &skip, true, load).unwrap();
        insta::assert_snapshot!(format!("{}\n\n{}", labels(&grid).join("\n"), skipped(&grid).join("\n")));
    }

    #[test]
    fn a_value_that_is_never_right_is_a_mistake() {
        let typo = axes(&[("audio.codec", &["opus", "pcm"]), ("audio.chunk", &["20ms", "60ms"])]);
        let e = grid(&typo, &[], true, load).unwrap_err();
        assert!(e.starts_with("`pcm` of the axis `audio.codec` is refused in every combination"), "{e}");
        let some = axes(&[("audio.codec", &["opus", "pcm16"]), ("audio.frame", &["20ms", "30ms"])]);
        assert!(grid(&some, &[], true, load).is_ok());
        let e = grid(&some, &[], false, load).unwrap_err();
        assert!(e.contains("codec opus, frame 30ms is refused"), "{e}");
        assert!(grid(&[], &[], true, load).unwrap_err().contains("--axis"));
        let many: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let e = grid(&axes(&[("fleet.devices", &many), ("turn.count", &many)]), &[], true, load).unwrap_err();
        assert!(e.contains("1600 combinations"), "{e}");
    }

    #[test]
    fn a_value_that_never_matters_is_no_mistake() {
        let axes = axes(&[("audio.codec", &["pcm16"]), ("audio.bitrate", &["16k", "24k"])]);
        let grid = grid(&axes, &[], true, load).unwrap();
        assert_eq!((grid.cells.len(), grid.skipped.len()), (1, 1));
    }

    #[test]
    fn servers_that_differ_in_secrets_are_not_the_same() {
        let axes = axes(&[("target.url", &["ws://h/?t=aaa", "ws://h/?t=bbb"])]);
        let grid = grid(&axes, &[], true, load).unwrap();
        assert_eq!(grid.cells.len(), 2);
        assert!(!labels(&grid).concat().contains("aaa"), "{:?}", labels(&grid));
    }

    #[test]
    fn the_baseline_is_the_first_cell_that_fits() {
        let axes = axes(&[("audio.codec", &["opus", "pcm16"]), ("audio.chunk", &["20ms", "60ms"])]);
        let grid = grid(&axes, &[], true, load).unwrap();
        let of = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        assert_eq!(baseline(&grid, None), Ok(1));
        assert_eq!(baseline(&grid, Some(&of("audio.codec", "pcm16"))), Ok(3));
        assert!(baseline(&grid, Some(&of("audio.codec", "mulaw"))).is_err());
    }

    #[test]
    fn labels_say_what_differs() {
        let of = |all: &[(&str, &[&str])], values: &[&str]| {
            label(&axes(all), &values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
        };
        let codec: (&str, &[&str]) = ("audio.codec", &["opus", "pcm16"]);
        let bitrate: (&str, &[&str]) = ("audio.bitrate", &["24k"]);
        assert_eq!(of(&[codec, bitrate], &["opus", "24k"]), "codec opus");
        assert_eq!(of(&[bitrate], &["24k"]), "bitrate 24k");
        assert_eq!(of(&[codec, ("audio.chunk", &["20ms", "60ms"])], &["pcm16", ANY]), "codec pcm16");
    }

    #[test]
    fn rounds_hold_every_cell_once_in_an_order_of_their_own() {
        let rounds = schedule(12, 4, SweepOrder::Interleaved, Seed(1));
        for (i, round) in rounds.iter().enumerate() {
            let mut cells: Vec<_> = round.iter().map(|s| s.cell).collect();
            assert!(round.iter().all(|s| s.round as usize == i + 1));
            cells.sort_unstable();
            assert_eq!(cells, (1..=12).collect::<Vec<_>>());
        }
        let order = |n: usize| rounds[n].iter().map(|s| s.cell).collect::<Vec<_>>();
        assert!(order(0) != order(1) && order(1) != order(2));
        assert_eq!(rounds, schedule(12, 4, SweepOrder::Interleaved, Seed(1)), "the seed decides");
        assert_ne!(rounds, schedule(12, 4, SweepOrder::Interleaved, Seed(2)));
        // One round more changes nothing in those before.
        assert_eq!(rounds, schedule(12, 5, SweepOrder::Interleaved, Seed(1))[..4]);
        let sequential: Vec<_> = schedule(2, 2, SweepOrder::Sequential, Seed(1)).concat();
        assert_eq!(
            sequential.iter().map(|s| s.folder(1)).collect::<Vec<_>>(),
            ["c01-r1", "c01-r2", "c02-r1", "c02-r2"]
        );
    }

    #[test]
    fn seeds_of_rounds_differ_and_fit_the_key() {
        let seeds: Vec<_> = (1..=5).map(|r| round_seed(Seed(1), r)).collect();
        assert!(seeds.iter().all(|s| i64::try_from(*s).is_ok()));
        assert_eq!(seeds.iter().collect::<std::collections::HashSet<_>>().len(), 5);
    }

    #[test]
    fn axes_are_named_by_their_last_part_unless_two_share_it() {
        assert_eq!(axis_names(&["audio.codec", "audio.chunk"]), ["codec", "chunk"]);
        assert_eq!(axis_names(&["audio.chunk", "reference.chunk"]), ["audio.chunk", "reference.chunk"]);
        assert_eq!(Slot { cell: 3, round: 2 }.folder(2), "c03-r2-try2");
    }
}
