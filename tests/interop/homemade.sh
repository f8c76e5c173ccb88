#!/usr/bin/env bash
# The worked example of docs/describe-your-protocol.md, as the page has it: a server in Python, a device that learns what it
# says, and runs with what was learned and with the file of the page.
# Usage: tests/interop/homemade.sh VOXLOAD PYTHON DIR   (a Python that has `websockets`; DIR is replaced)
set -euo pipefail
voxload=$1 python=$2 dir=$3
rm -rf "$dir"
mkdir -p "$dir"
"$python" examples/homemade/server.py 0 >"$dir/server.out" 2>"$dir/server.err" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
url=
for _ in {1..100}; do
    url=$(sed -n 's|.*\(ws://[0-9.:]*/\).*|\1|p' "$dir/server.out")
    [[ -n $url ]] && break
    sleep 0.1
done
[[ -n $url ]] || { cat "$dir/server.err" >&2; echo "the home-made server did not start" >&2; exit 1; }

"$voxload" dialect learn "$url" --open '{"cmd":"hello","rate":16000}' --end '{"cmd":"stop"}' \
    --out "$dir/learned.toml" >"$dir/learn.out" 2>&1
for meaning in ready final token audio 'done'; do
    grep -q "^is = \"$meaning\"" "$dir/learned.toml" || { cat "$dir/learn.out" >&2; echo "no $meaning was learned" >&2; exit 1; }
done

# play NAME DIALECT: a few devices for a few seconds. A machine that pauses makes a run invalid (120), not wrong.
play() {
    local code=0
    "$voxload" dialect check "$2" >"$dir/check-$1.out"
    "$voxload" init --url "$url" --dialect "$2" "$dir/$1-load.toml" 2>"$dir/$1.out" || { cat "$dir/$1.out" >&2; exit 1; }
    "$voxload" run "$dir/$1-load.toml" -u 5 -d 4s --warmup 0s --quiet --set audio.fixtures=knock-knock \
        --set turn.think=200ms --report-dir "$dir/$1" >"$dir/$1.out" 2>&1 || code=$?
    case $code in 0 | 99 | 120) ;; *) cat "$dir/$1.out" >&2; echo "the run with $2 ended with $code" >&2; exit 1 ;; esac
    python3 - "$dir/$1/result.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
t, d = r["turns"], r["dialect"]
assert t["succeeded"] > 0 and t["failed"] + t["timed_out"] == 0, (t, r["failures"])
assert d["unmatched"] == 0, d
silent = [x["name"] for x in d["rules"] if not x["fired"] and x["meaning"] != "error"]
assert not silent, silent
for metric in ("ttfa", "ttft"):
    assert r["metrics"][metric]["count"] > 0, metric
print("homemade:", t["succeeded"], "turns with", d["rules"][0]["fired"], "connections")
PY
}
play learned "$PWD/$dir/learned.toml"
play described "$PWD/examples/homemade/homemade.toml"
