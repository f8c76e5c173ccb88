//! The probe beside the fleet: what the same conversations look like from a thread that is never busy.

use super::{Confidence, Distribution, Quantile};
use crate::report::result::ProbeResult;
use crate::time::Micros;

/// A distance that is none.
const INFINITE: Micros = Micros::from_secs(86_400);

/// Compares the TTFA of the fleet with that of its probe. Failed turns count as infinitely slow on both sides.
pub fn compare(probe: &Distribution, fleet: &Distribution) -> ProbeResult {
    let median = |d: &Distribution| d.quantile(0.5).and_then(Quantile::finite).map(|t| t.0);
    // It makes few turns, and the server's own variation must not make a run invalid: hence the high confidence.
    let interval = probe.interval(0.5, Confidence::P999);
    let outside =
        interval.zip(fleet.quantile(0.5)).map(|(ends, fleet)| match (fleet, ends.map(|e| e.map(Micros))) {
            (Quantile::Finite(fleet), [Some(low), Some(high)]) => {
                (low - fleet).max(fleet - high).max(Micros::ZERO)
            }
            (Quantile::Finite(fleet), [Some(low), None]) => (low - fleet).max(Micros::ZERO),
            // Most turns of the probe failed, and those of the fleet did not; or the other way round.
            (Quantile::Finite(_), [None, _]) | (Quantile::Infinite, [_, Some(_)]) => INFINITE,
            (Quantile::Infinite, [_, None]) => Micros::ZERO,
        });
    ProbeResult {
        turns: probe.count(),
        ttfa_p50_us: median(probe),
        ttfa_p50_interval_us: interval,
        fleet_ttfa_p50_us: median(fleet),
        outside_us: outside.map(|t| t.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = i64>) -> Distribution {
        let mut d = Distribution::default();
        values.into_iter().for_each(|ms| d.record(Micros(ms * 1_000)));
        d
    }

    /// Milliseconds outside.
    fn outside(probe: &Distribution, fleet: &Distribution) -> Option<i64> {
        compare(probe, fleet).outside_us.map(|us| (us + 500) / 1_000)
    }

    #[test]
    fn a_fleet_like_its_probe_lies_within() {
        let (probe, fleet) = (of(180..200), of(90..290));
        let r = compare(&probe, &fleet);
        assert_eq!((r.outside_us, r.turns), (Some(0), 20), "{r:?}");
    }

    #[test]
    fn a_fleet_that_is_slower_or_faster_lies_outside() {
        let probe = of(180..200);
        // 20 turns: the median lies between the third and the eighteenth of them, as good as surely.
        assert_eq!(
            compare(&probe, &probe).ttfa_p50_interval_us.map(|e| e.map(|e| e.map(|us| us / 1_000))),
            Some([Some(182), Some(197)])
        );
        assert_eq!(outside(&probe, &of(215..235)), Some(224 - 197));
        assert_eq!(outside(&probe, &of(145..165)), Some(182 - 154));
        let mut failing = of(0..5);
        (0..20).for_each(|_| failing.record_infinite());
        assert_eq!(outside(&probe, &failing), Some(86_400_000), "a fleet that fails");
        assert_eq!(outside(&failing, &failing), Some(0), "both fail: the server's affair");
        assert_eq!(outside(&failing, &probe), Some(0), "too unsure to say that the probe is worse");
    }

    #[test]
    fn a_few_turns_say_nothing() {
        assert_eq!(outside(&of(0..8), &of(500..900)), None);
        assert_eq!(outside(&Distribution::default(), &of(0..8)), None);
        assert_eq!(outside(&of(0..20), &Distribution::default()), None);
    }
}
