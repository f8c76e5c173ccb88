//! The small languages: durations, shares, sizes, distributions, networks, thresholds, margins, parts of a fleet, instants,
//! source addresses. All of them read every text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::compare::measure::Measure;
use voxload::gate::{Threshold, parse_measure};
use voxload::merge::Start;
use voxload::network;
use voxload::scenario::{Dist, Part, units};
use voxload::transport::source::Sources;

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
    if let Ok(part) = text.parse::<Part>() {
        let shown = part.to_string();
        assert_eq!(shown.parse(), Ok(part), "{text}");
        assert_eq!(part.all().count(), part.of() as usize);
    }
    if let Ok(start) = text.parse::<Start>() {
        // Years beyond 9999 are shown as a number of microseconds, which is not read.
        let shown = start.to_string();
        assert!(
            !shown.ends_with('Z') || shown.starts_with('+') || shown.parse() == Ok(start),
            "{text} {shown}"
        );
        let _ = (start.to_system(), start.remaining(0, "then"), start.remaining(i64::MAX / 2, "now"));
    }
    let mut sources = Sources::default();
    if sources.add(text).is_ok() {
        let _ = (sources.count(), sources.of(7), sources.room(28_000, 1), sources.is_empty());
        let mut again = Sources::default();
        assert!(again.add(&sources.text()).is_ok(), "{text} {}", sources.text());
        assert_eq!(again.text(), sources.text());
    }
});
