//! The small languages: durations, shares, sizes, distributions, networks, thresholds, margins. All of them read every text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::compare::measure::Measure;
use voxload::gate::{Threshold, parse_measure};
use voxload::network;
use voxload::scenario::{Dist, units};

fuzz_target!(|text: &str| {
    let _ = units::parse_duration(text);
    let _ = units::parse_share(text);
    let _ = units::parse_bitrate(text);
    let _ = units::parse_size(text);
    if let Ok(dist) = text.parse::<Dist>() {
        let shown = dist.to_string();
        assert_eq!(shown.parse::<Dist>().map(|d| d.to_string()), Ok(shown.clone()), "{text}");
    }
    let _ = network::parse_jitter(text);
    let _ = network::parse_loss(text);
    let _ = network::parse_mix(text);
    let _ = network::parse_change(text);
    let _ = Threshold::parse(text);
    let _ = parse_measure(text);
    let _ = Measure::parse(text);
});
