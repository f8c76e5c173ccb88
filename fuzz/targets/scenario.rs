//! Scenario files: any text is a scenario or a list of diagnostics that can be printed. After a NUL: what is set besides,
//! `KEY=VALUE` each on a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::scenario::{Environment, Override, Source, load_in};
use voxload::sweep::plan;

/// Larger sweeps are not looked through: each cell is a scenario.
const MOST_CELLS: usize = 4;

fuzz_target!(|text: &str| {
    // A path in a scenario is read when it is checked: not those of this machine.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    let (text, set) = text.split_once('\0').unwrap_or((text, ""));
    let set = set.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| Override {
        key: key.to_owned(),
        value: value.to_owned(),
        flag: if key.starts_with("sweep.axes.") { "--axis" } else { "--set" },
        append: false,
    });
    let set: Vec<_> = set.collect();
    let load = |name: &str, text: &str, set: &[Override]| {
        load_in(&Source::inline(name, text), set, &Environment::default())
    };
    match load("fuzz.toml", text, &set) {
        Ok(scenario) => {
            // What was accepted is accepted again as it is written down in reports: asked of some, as it takes as long again.
            if text.len() % 8 == 0 {
                let again = load("effective.toml", &scenario.effective, &[]);
                assert!(again.is_ok() || text.contains("${"), "{:?}\n{}", again.err(), scenario.effective);
            }
            let sweep = &scenario.sweep;
            if sweep.axes.iter().map(|a| a.values.len()).product::<usize>() <= MOST_CELLS {
                let grid = plan::grid(&sweep.axes, &sweep.skip, sweep.skip_invalid, |pairs| {
                    let of = |(key, value): &(String, String)| Override {
                        key: key.clone(),
                        value: value.clone(),
                        flag: "--set",
                        append: false,
                    };
                    let set: Vec<_> = set
                        .iter()
                        .filter(|o| o.flag == "--set")
                        .cloned()
                        .chain(pairs.iter().map(of))
                        .collect();
                    load("fuzz.toml", text, &set).map_err(|problems| problems.to_string())
                });
                if let Ok(grid) = grid {
                    assert!(grid.cells.len() + grid.skipped.len() <= MOST_CELLS);
                }
            }
        }
        // Likewise.
        Err(problems) if text.len() % 4 == 0 => drop(problems.to_string()),
        Err(_) => {}
    }
});
