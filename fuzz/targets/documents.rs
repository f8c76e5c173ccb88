//! The other documents that are read back: calibration, capacity, comparison, sweep; what a folder is a baseline of, and the
//! plan of a sweep. The first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::report::terminal::Style;
use voxload::{calibrate, capacity, compare, sweep};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    match choice % 6 {
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
        3 => {
            if let Ok(d) = serde_json::from_slice::<sweep::Sweep>(rest) {
                let _ = sweep::terminal::summary(&d, &[], Style::default());
            }
        }
        4 => {
            let both = rest.split(|&b| b == b'\n').map(serde_json::from_slice::<compare::record::Manifest>);
            let both: Vec<_> = both.flatten().collect();
            if let [a, b, ..] = &both[..] {
                assert!(a.differs_from(a).is_empty());
                let _ = a.differs_from(b);
            }
        }
        _ => {
            let both = rest.split(|&b| b == b'\n').map(serde_json::from_slice::<sweep::state::Written>);
            let both: Vec<_> = both.flatten().collect();
            if let [a, b, ..] = &both[..] {
                let _ = (a.differs(b), b.differs(a));
            }
        }
    }
});
