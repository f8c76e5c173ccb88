#!/usr/bin/env bash
# How often `voxload compare` is wrong: the same against itself, and against 10 % (and at least 15 ms) more delay, through the
# commands that a user has. Needs a machine with nothing else to do; about 45 minutes.
#
#     scripts/compare_figures.sh [FOLDER] [A/A COMPARISONS] [COMPARISONS WITH MORE DELAY]
#
# Prints one line a comparison and the counts; exits with 1 when they are not what docs/COMPARE.md promises.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/compare-figures} same=${2:-20} slower=${3:-10}
voxload=${VOXLOAD:-target/release/voxload}
[[ -x $voxload ]] || { echo "build it first: cargo build --release" >&2; exit 2; }
mkdir -p "$out"
cat > "$out/figures.toml" <<'TOML'
name = "figures"
[fleet]
arrivals = "open"
rate = 60.0
devices = 500
duration = "5s"
[audio]
codec = "pcm16"
fixtures = ["yes"]
[turn]
count = 1
think = "0ms"
[reference]
preset = "instant"
llm = "normal(300ms, 10ms)"
[report]
html = false
junit = false
histograms = false
TOML

# Compares, and says the exit code. A comparison that too few runs were VALID for (120) was disturbed by other programs, and
# says nothing: it is made again, up to twice.
record() {
    local dir=$1 code attempt
    shift
    for attempt in 1 2 3; do
        code=0
        "$voxload" baseline record "$out/figures.toml" --quiet --out "$dir-$attempt" "$@" || code=$?
        python3 - "$dir-$attempt/compare.json" "$code" <<'PY'
import json, sys
first = json.load(open(sys.argv[1]))["metrics"][0]
s = first["shift"]
ends = " ".join(f"{s[k] / 1000:+.1f}" for k in ("shift", "low", "high")) if s else "too few runs"
print(sys.argv[1], "exit", sys.argv[2], first["answer"], "(ms: shift, low, high)", ends)
PY
        [[ $code == 120 ]] || break
    done
    return "$code"
}

alarms=0 found=0 undecided=0
for n in $(seq "$same"); do
    code=0
    record "$out/same-$n" --seed $((n * 100)) --against self || code=$?
    case $code in 0) ;; 122) alarms=$((alarms + 1)) ;; 120 | 123) undecided=$((undecided + 1)) ;; *) exit "$code" ;; esac
done
echo "the same with itself: $alarms false alarms, $undecided undecided, of $same (at most 1 alarm in 20)"
for n in $(seq "$slower"); do
    code=0
    record "$out/slower-$n" --seed $((n * 100)) --against-set 'reference.llm=normal(330ms, 11ms)' || code=$?
    case $code in 122) found=$((found + 1)) ;; 0 | 120 | 123) ;; *) exit "$code" ;; esac
done
echo "10 % more delay: found in $found of $slower (at least 9 in 10)"
((alarms * 20 <= same && found * 10 >= slower * 9))
