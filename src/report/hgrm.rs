//! `percentiles/*.hgrm`: HdrHistogram's percentile text, for its plotter and for spreadsheets. Values in ms.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::measure::Distribution;

/// Reporting points per halving of the distance to 100 %, as the HdrHistogram tools have it.
const TICKS_PER_HALF: u32 = 5;

/// The text for one metric; `None` when it has no finite sample that is not negative.
pub(super) fn render(d: &Distribution) -> Option<String> {
    let h = d.positive().filter(|h| !h.is_empty())?;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut text, &h);
    if d.infinite_count() + d.negative_count() > 0 {
        let _ = writeln!(
            text,
            "#[Not in this file: failures (infinite) {}, samples below zero {}]",
            d.infinite_count(),
            d.negative_count()
        );
    }
    Some(text)
}

fn body(text: &mut String, h: &Histogram<u64>) -> std::fmt::Result {
    let ms = |us: f64| us / 1_000.0;
    writeln!(text, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for v in h.iter_quantiles(TICKS_PER_HALF) {
        total += v.count_since_last_iteration();
        let (value, q) = (ms(v.value_iterated_to() as f64), v.quantile_iterated_to());
        if q < 1.0 {
            writeln!(text, "{value:12.3} {q:2.12} {total:10} {:14.2}", 1.0 / (1.0 - q))?;
        } else {
            // As in the Java tool, the last line has no fourth column: it would be infinite.
            writeln!(text, "{value:12.3} {q:2.12} {total:10}")?;
        }
    }
    writeln!(text, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", ms(h.mean()), ms(h.stdev()))?;
    writeln!(text, "#[Max     = {:12.3}, Total count    = {:12}]", ms(h.max() as f64), h.len())?;
    writeln!(
        text,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        h.buckets(),
        1_u32 << (f64::from(h.sigfig()) * 10_f64.log2() + 1.0).ceil() as u32
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Micros;

    #[test]
    fn looks_like_the_other_tools() {
        let mut d = Distribution::default();
        for ms in [100, 200, 300, 400] {
            d.record(Micros::from_millis(ms));
        }
        d.record_infinite();
        insta::assert_snapshot!(render(&d).unwrap(), @"
               Value     Percentile TotalCount 1/(1-Percentile)

             100.031 0.000000000000          1           1.00
             100.031 0.100000000000          1           1.11
             100.031 0.200000000000          1           1.25
             200.063 0.300000000000          2           1.43
             200.063 0.400000000000          2           1.67
             200.063 0.500000000000          2           2.00
             300.031 0.550000000000          3           2.22
             300.031 0.600000000000          3           2.50
             300.031 0.650000000000          3           2.86
             300.031 0.700000000000          3           3.33
             400.127 0.750000000000          4           4.00
             400.127 1.000000000000          4
        #[Mean    =      249.976, StdDeviation   =      111.793]
        #[Max     =      400.127, Total count    =            4]
        #[Buckets =            9, SubBuckets     =         2048]
        #[Not in this file: failures (infinite) 1, samples below zero 0]
        ");
    }

    #[test]
    fn nothing_without_samples() {
        assert!(render(&Distribution::default()).is_none());
    }
}
