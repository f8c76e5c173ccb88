"""Merges the intervals of histograms.hlog by tag and compares counts and quantiles with result.json."""

import math

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from common import QUANTILES, Report

# Three significant digits: both sides round to a bucket.
DIGITS = 0.001


def value_at(histogram, percentile):
    """The value at the rank rounded up, as in HdrHistogram's Java and JavaScript.

    The Python port's own get_value_at_percentile rounds the rank to the nearest: one sample lower in the tail.
    """
    rank = max(math.ceil(percentile / 100 * histogram.get_total_count() - 1e-9), 1)
    seen = 0
    for step in histogram.get_recorded_iterator():
        seen += step.count_added_in_this_iter_step
        if seen >= rank:
            return histogram.get_highest_equivalent_value(step.value_iterated_to)
    return None


def main():
    report = Report()
    merged = {}
    path = report.dir / "histograms.hlog"
    reader = HistogramLogReader(str(path), HdrHistogram(1, 86_400_000_000, 3))
    while True:
        interval = reader.get_next_interval_histogram()
        if interval is None:
            break
        tag = interval.get_tag()
        if tag not in merged:
            merged[tag] = HdrHistogram(1, 86_400_000_000, 3)
        merged[tag].add(interval)
    reader.close()
    for name, metric in report.result["metrics"].items():
        # Samples below zero and failures are not in a histogram.
        finite = metric["count"] - metric["infinite"] - metric["negative"]
        found = merged.pop(name, None)
        report.same(f"{name} count", found.get_total_count() if found else 0, finite)
        if found is None or metric["negative"]:
            continue
        for key, percentile in QUANTILES.items():
            expected = metric["finite"][key]
            if expected is not None:
                report.same(f"{name} {key}", value_at(found, percentile), expected, DIGITS)
        report.same(f"{name} max_us", found.get_max_value(), metric["finite"]["max_us"], DIGITS)
    for tag in merged:
        report.same(f"tag {tag}", "in the log", "not in metrics")
    report.finish("histograms.hlog, Python")


main()
