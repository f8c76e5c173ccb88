#!/usr/bin/env bash
# Fuzzes each target for so many seconds of processor time, N targets at a time: fuzz/run.sh [-j N] SECONDS [TARGET…].
# Exit code 1 when one of them found something.
set -euo pipefail
cd "$(dirname "$0")/.."
usage='usage: fuzz/run.sh [-j N] SECONDS [TARGET…]'
jobs=1
if [[ ${1:-} == -j ]]; then
    jobs=${2:?$usage}
    shift 2
fi
seconds=${1:?$usage}
shift
# cargo-fuzz needs flags of the compiler that are not stable.
export RUSTC_BOOTSTRAP=1
targets=("$@")
if (($#)); then
    for target in "${targets[@]}"; do cargo fuzz build "$target"; done
else
    mapfile -t targets < <(cargo fuzz list)
    cargo fuzz build
fi
bin=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release

# How libFuzzer ends when it is told to.
export interrupted=72

# Until the target has had its time, however busy the machine is. Prints one line.
fuzz() {
    local target=$1 seconds=$2 bin=$3 log=fuzz/work/$1.log options=() spent=0 now pid status=0 result=nothing
    # What is found on the way goes to work/, which is not committed; corpus/ is only read.
    mkdir -p "fuzz/work/$target" "fuzz/artifacts/$target"
    # Of long texts, most of the time goes into "did you mean".
    [[ $target == texts || $target == console ]] && options+=(-max_len=200)
    "$bin/$target" "fuzz/work/$target" "fuzz/corpus/$target" "${options[@]}" -timeout=60 -malloc_limit_mb=64 \
        -print_funcs=0 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1 &
    pid=$!
    while now=$(ps -o cputimes= -p "$pid"); do
        spent=$((now))
        ((spent < seconds)) || kill -INT "$pid"
        sleep 2
    done
    wait "$pid" || status=$?
    ((status == interrupted)) || result="FOUND SOMETHING ($log)"
    awk -v target="$target" -v spent="$spent" -v result="$result" \
        '/^stat::number_of_executed_units/ { runs = $2 }
         END { printf "%-14s %12d executions %6.1f min of processor time  %s\n", target, runs, spent / 60, result }' "$log"
    ((status == interrupted))
}
export -f fuzz

if printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'fuzz "$@"' _ {} "$seconds" "$bin"; then
    echo "nothing found by ${#targets[@]} targets"
else
    echo "something was found: fuzz/artifacts/TARGET/, fuzz/work/TARGET.log"
    exit 1
fi
