//! The other documents that are read back: calibration, capacity, comparison, sweep. The first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::report::terminal::Style;
use voxload::{calibrate, capacity, compare, sweep};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    match choice % 4 {
        0 => {
            if let Ok(d) = serde_json::from_slice::<calibrate::Calibration>(rest) {
                let _ = calibrate::terminal::tables(&d, &[], Style::default());
            }
        }
        1 => {
            if let Ok(d) = serde_json::from_slice::<capacity::CapacityReport>(rest) {
                let _ = capacity::terminal::tables(&d, &[], Style::default());
            }
        }
        2 => {
            if let Ok(d) = serde_json::from_slice::<compare::Document>(rest) {
                let _ = compare::terminal::table(&d, &[], Style::default());
            }
        }
        _ => {
            if let Ok(d) = serde_json::from_slice::<sweep::Sweep>(rest) {
                let _ = sweep::terminal::summary(&d, &[], Style::default());
            }
        }
    }
});
