//! What `voxload serve` is told on standard input, and the events of a scenario that are written the same way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::scenario::{ServerEvent, Trouble};

fuzz_target!(|data: &[u8]| {
    let line = String::from_utf8_lossy(data);
    match Trouble::parse(&line) {
        Ok(trouble) => {
            let shown = trouble.to_string();
            assert_eq!(Trouble::parse(&shown).map(|t| t.to_string()), Ok(shown.clone()), "{line}");
        }
        Err(e) => drop(e.to_string()),
    }
    let _ = ServerEvent::parse(&line);
});
