"""What the scripts share: the result, the comparison, the exit code."""

import json
import pathlib
import sys

QUANTILES = {"p50_us": 50.0, "p90_us": 90.0, "p95_us": 95.0, "p99_us": 99.0, "p999_us": 99.9}


class Report:
    """A report folder, and the disagreements found in it."""

    def __init__(self):
        if len(sys.argv) != 2:
            sys.exit(f"usage: {sys.argv[0]} REPORT_FOLDER")
        self.dir = pathlib.Path(sys.argv[1])
        self.result = json.loads((self.dir / "result.json").read_text(encoding="utf-8"))
        self.compared = 0
        self.wrong = []

    def same(self, what, found, expected, tolerance=0.0):
        """Notes a comparison; tolerance is relative, with one microsecond on top."""
        self.compared += 1
        if found == expected:
            return
        if tolerance and found is not None and expected is not None:
            if abs(found - expected) <= abs(expected) * tolerance + 1:
                return
        self.wrong.append(f"{what}: found {found}, result.json has {expected}")

    def finish(self, what):
        for line in self.wrong:
            print(line, file=sys.stderr)
        if not self.compared:
            sys.exit(f"{what}: nothing to compare in {self.dir}")
        print(f"{what}: {self.compared} comparisons, {len(self.wrong)} disagreements")
        sys.exit(1 if self.wrong else 0)
