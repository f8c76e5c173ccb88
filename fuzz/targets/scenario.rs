//! Scenario files: any text is a scenario or a list of diagnostics that can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::scenario::{Environment, Source, load_in};

fuzz_target!(|text: &str| {
    // A path in a scenario is read when it is checked: not those of this machine.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    match load_in(&Source::inline("fuzz.toml", text), &[], &Environment::default()) {
        // What was accepted is accepted again as it is written down in reports: asked of some, as it reads every fixture again.
        Ok(scenario) if text.len() % 8 == 0 => {
            let again = load_in(
                &Source::inline("effective.toml", &*scenario.effective),
                &[],
                &Environment::default(),
            );
            assert!(again.is_ok() || text.contains("${"), "{:?}\n{}", again.err(), scenario.effective);
        }
        Ok(_) => {}
        Err(problems) => {
            let _ = problems.to_string();
        }
    }
});
