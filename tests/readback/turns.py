"""Recomputes quantiles and counts from turns.csv and compares them with result.json."""

import csv
import math

from common import Report

# Histograms keep three significant digits; the rows are exact.
DIGITS = 0.001

# Fewest samples from which result.json prints a quantile.
CLAIMS = {"p50_us": (0.50, 1), "p95_us": (0.95, 59)}


def quantile(values, q):
    """The smallest value that at least the share q of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(q * len(ordered) - 1e-9), 1) - 1]


def main():
    report = Report()
    with open(report.dir / "turns.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    warmup = [r for r in rows if r["warmup"] == "true"]
    counted = [r for r in rows if r["warmup"] == "false"]
    report.same("rows", len(warmup) + len(counted), len(rows))

    turns = report.result["turns"]
    outcomes = [r["outcome"] for r in counted]
    report.same("turns.started", len(counted), turns["started"])
    report.same("turns.succeeded", outcomes.count("ok"), turns["succeeded"])
    report.same("turns.interrupted", outcomes.count("interrupted"), turns["interrupted"])
    report.same("turns.cancelled", outcomes.count("cancelled"), turns["cancelled"])
    report.same("turns.timed_out", outcomes.count("timeout"), turns["timed_out"])
    failed = [o for o in outcomes if o not in ("ok", "interrupted", "cancelled", "timeout")]
    report.same("turns.failed", len(failed), turns["failed"])

    for name, column in (("ttfa", "ttfa_us"), ("ttft", "ttft_us")):
        metric = report.result["metrics"].get(name)
        if metric is None:
            continue
        values = []
        for row in counted:
            if row["outcome"] in ("ok", "interrupted"):
                # A turn that counts and never had this event (a dialect without text) has no sample.
                if row[column]:
                    values.append(float(row[column]))
            elif row["outcome"] != "cancelled":
                values.append(math.inf)
        report.same(f"{name} count", len(values), metric["count"])
        report.same(f"{name} infinite", values.count(math.inf), metric["infinite"])
        for key, (q, fewest) in CLAIMS.items():
            found = quantile(values, q) if len(values) >= fewest else math.inf
            report.same(f"{name} {key}", None if found == math.inf else found, metric[key], DIGITS)
    report.finish("turns.csv")


main()
