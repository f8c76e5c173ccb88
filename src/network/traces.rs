//! The recordings that are shipped: made by `scenarios/traces/make.py`, not measured.

use super::trace::Trace;

macro_rules! shipped {
    ($($name:literal: $about:literal,)+) => {
        /// Name, what it is like, and text of every shipped recording.
        pub const SHIPPED: &[(&str, &str, &str)] = &[
            $(($name, $about, include_str!(concat!("../../scenarios/traces/", $name, ".trace"))),)+
        ];
    };
}

shipped! {
    "cat1-drive": "a Cat 1 modem in a car: slow swings, two shadows of one and two seconds",
    "lte-walk": "LTE on foot: behind a house for half a second, then back",
    "wifi-microwave": "Wi-Fi next to a microwave oven: nothing for 8 ms of every 20",
}

/// The shipped recording of that name.
pub fn find(name: &str) -> Option<Trace> {
    let (name, _, text) = SHIPPED.iter().find(|(shipped, ..)| *shipped == name)?;
    Trace::parse(name, text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_recordings_are_good() {
        for (name, ..) in SHIPPED {
            let trace = find(name).unwrap_or_else(|| panic!("{name}"));
            assert!(trace.duration().as_secs_f64() >= 2.0 && trace.rate() > 100_000.0, "{name}");
        }
        assert!(find("none").is_none());
    }
}
