//! The probe beside the fleet: what the same conversations look like from a thread that is never busy.

use super::{Confidence, Distribution, Quantile};
use crate::report::result::ProbeResult;
use crate::time::Micros;

/// Compares the TTFA of the fleet with that of its probe. Failed turns count as infinitely slow on both sides.
pub fn compare(probe: &Distribution, fleet: &Distribution, margin: Micros) -> ProbeResult {
    let median = |d: &Distribution| d.quantile(0.5).and_then(Quantile::finite).map(|t| t.0);
    // It makes few turns, and the server's own variation must not make a run invalid: hence the high confidence.
    let interval = probe.interval(0.5, Confidence::P999);
    let agrees = interval.zip(fleet.quantile(0.5)).map(|([low, high], fleet)| {
        // An end of the interval at +∞ bounds nothing from above; a fleet at +∞ is above everything finite.
        let above = |low: i64| fleet >= Quantile::Finite(Micros(low) - margin);
        let below = |high: i64| fleet <= Quantile::Finite(Micros(high) + margin);
        low.is_none_or(above) && high.is_none_or(below)
    });
    ProbeResult {
        turns: probe.count(),
        ttfa_p50_us: median(probe),
        ttfa_p50_interval_us: interval,
        fleet_ttfa_p50_us: median(fleet),
        margin_us: margin.0,
        agrees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = i64>) -> Distribution {
        let mut d = Distribution::default();
        values.into_iter().for_each(|ms| d.record(Micros::from_millis(ms)));
        d
    }

    const MARGIN: Micros = Micros::from_millis(10);

    #[test]
    fn a_fleet_like_its_probe_agrees() {
        let (probe, fleet) = (of(180..200), of(100..300));
        let r = compare(&probe, &fleet, MARGIN);
        assert_eq!(r.agrees, Some(true), "{r:?}");
        assert_eq!(r.turns, 20);
    }

    #[test]
    fn a_fleet_that_is_slower_or_faster_than_the_margin_allows_does_not() {
        let probe = of(180..200);
        assert_eq!(compare(&probe, &of(215..235), MARGIN).agrees, Some(false));
        assert_eq!(compare(&probe, &of(145..165), MARGIN).agrees, Some(false));
        assert_eq!(compare(&probe, &of(215..235), MARGIN * 5).agrees, Some(true));
        let mut failing = of(0..5);
        (0..20).for_each(|_| failing.record_infinite());
        assert_eq!(compare(&probe, &failing, MARGIN).agrees, Some(false), "a fleet that fails");
        assert_eq!(compare(&failing, &failing, MARGIN).agrees, Some(true), "both fail: the server's affair");
    }

    #[test]
    fn a_few_turns_say_nothing() {
        assert_eq!(compare(&of(0..8), &of(500..900), MARGIN).agrees, None);
        assert_eq!(compare(&Distribution::default(), &of(0..8), MARGIN).agrees, None);
        assert_eq!(compare(&of(0..20), &Distribution::default(), MARGIN).agrees, None);
    }
}
