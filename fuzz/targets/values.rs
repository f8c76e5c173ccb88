//! Values per device in CSV, placeholders that are filled in from them, and secrets that are taken out of texts again.
//! NULs part the input: a template, what a server says, the table.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::event::{FailureClass, plain_code};
use voxload::scenario::{DeviceValues, Mask};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |&b| b == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (template, said) = (text(), text());
    let _ = FailureClass::of_code(&plain_code(&said)).to_string();
    let values = match DeviceValues::read(parts.next().unwrap_or_default()) {
        Ok(values) => values,
        Err((message, help)) => return assert!(!message.is_empty() && !help.is_empty()),
    };
    assert!(values.rows.iter().all(|r| r.len() == values.columns.len()));
    let device = said.len() as u32;
    let filled = values.fill(&template, device);
    // What has no column stays, so that each value is there at most as often as it was asked for.
    let row = &values.rows[device as usize % values.rows.len()];
    let longest = row.iter().map(|v| v.reveal().len()).max().unwrap_or(0).max(10);
    assert!(filled.len() <= template.len() + template.matches('{').count() * longest);
    let mask = Mask::new(row);
    let _ = mask.text(&format!("{said} {filled}"));
    // Secrets that are part of the stars themselves, or of one another, are not looked for.
    for secret in row.iter().map(|v| v.reveal()).filter(|s| s.chars().count() >= 8 && !s.contains('*')) {
        let apart = mask.text(&format!("<{secret}>"));
        assert!(!apart.contains(secret), "{secret:?} in {apart:?}");
    }
    let hidden = mask.hidden(said.as_bytes());
    assert_eq!(hidden.len(), said.len());
});
