//! Recordings of links (mahimahi's format).
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::network::Trace;

fuzz_target!(|text: &str| {
    match Trace::parse("fuzz", text) {
        Ok(trace) => {
            assert!(trace.opportunities() > 0 && trace.duration().0 > 0);
            let _ = (trace.rate(), trace.longest_gap());
        }
        Err(errors) => errors.iter().for_each(|e| drop(e.to_string())),
    }
});
