#!/usr/bin/env bash
# Fuzzes every target in turn: fuzz/run.sh SECONDS [TARGET…]. Exit code 1 when one of them found something.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
shift
# cargo-fuzz needs flags of the compiler that are not stable.
export RUSTC_BOOTSTRAP=1
targets=("$@")
(($#)) || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build
failed=()
for target in "${targets[@]}"; do
    # What is found goes to work/, which is not committed; corpus/ is only read.
    mkdir -p "fuzz/work/$target"
    printf '\n=== %s, %s s\n' "$target" "$seconds"
    # Of long texts, most of the time goes into "did you mean".
    longest=()
    [[ $target == texts || $target == console ]] && longest=(-max_len=200)
    cargo fuzz run "$target" "fuzz/work/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" "${longest[@]}" -timeout=10 -malloc_limit_mb=64 -print_final_stats=1 2>"fuzz/work/$target.log" ||
        failed+=("$target")
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec)|SUMMARY|panicked at|Test unit written' "fuzz/work/$target.log" || true
done
echo
if ((${#failed[@]})); then
    echo "found something: ${failed[*]} (fuzz/artifacts/, fuzz/work/TARGET.log)"
    exit 1
fi
echo "nothing found by ${#targets[@]} targets"
