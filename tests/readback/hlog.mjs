// Merges the intervals of histograms.hlog by tag and compares counts and quantiles with result.json.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// `require` looks into NODE_PATH, `import` does not.
const { HistogramLogReader, initWebAssembly, build } = createRequire(import.meta.url)("hdr-histogram-js");

const QUANTILES = { p50_us: 50, p90_us: 90, p95_us: 95, p99_us: 99, p999_us: 99.9 };
// Three significant digits: both sides round to a bucket.
const DIGITS = 0.001;

const [dir] = process.argv.slice(2);
if (!dir) {
  console.error("usage: hlog.mjs REPORT_FOLDER");
  process.exit(2);
}
await initWebAssembly();
const result = JSON.parse(readFileSync(join(dir, "result.json"), "utf8"));
const reader = new HistogramLogReader(readFileSync(join(dir, "histograms.hlog"), "utf8"));
const merged = new Map();
for (let h = reader.nextIntervalHistogram(); h; h = reader.nextIntervalHistogram()) {
  if (!merged.has(h.tag)) {
    merged.set(h.tag, build({ bitBucketSize: 64, numberOfSignificantValueDigits: 3, autoResize: true }));
  }
  merged.get(h.tag).add(h);
}

let compared = 0;
const wrong = [];
const same = (what, found, expected, tolerance = 0) => {
  compared += 1;
  if (found !== expected && !(tolerance && Math.abs(found - expected) <= Math.abs(expected) * tolerance + 1)) {
    wrong.push(`${what}: found ${found}, result.json has ${expected}`);
  }
};
for (const [name, metric] of Object.entries(result.metrics)) {
  // Samples below zero and failures are not in a histogram.
  const finite = metric.count - metric.infinite - metric.negative;
  const found = merged.get(name);
  merged.delete(name);
  same(`${name} count`, found ? found.totalCount : 0, finite);
  if (!found || metric.negative) continue;
  for (const [key, percentile] of Object.entries(QUANTILES)) {
    const expected = metric.finite[key];
    if (expected !== null) same(`${name} ${key}`, found.getValueAtPercentile(percentile), expected, DIGITS);
  }
  same(`${name} max_us`, found.maxValue, metric.finite.max_us, DIGITS);
}
for (const tag of merged.keys()) same(`tag ${tag}`, "in the log", "not in metrics");

for (const line of wrong) console.error(line);
if (compared === 0) wrong.push("nothing to compare");
console.log(`histograms.hlog, JavaScript: ${compared} comparisons, ${wrong.length} disagreements`);
process.exit(wrong.length ? 1 : 0);
