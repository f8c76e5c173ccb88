#!/usr/bin/env bash
# Vendors' own clients against `voxload serve`, and voxload against a home-made server: everything in one command, exit code 0 when all of it is right.
# Usage: tests/interop/run.sh [VOXLOAD]   (default: target/release/voxload). Needs Python 3.11 with venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
voxload=${1:-target/release/voxload}
out=target/interop
venv=$out/venv
[[ -x $voxload ]] || { echo "$voxload is not there: cargo build --release, or name the binary" >&2; exit 2; }
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt

servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true' EXIT

# check DIALECT SCRIPT FLAGS…: a server on a free port, and the client against it, in the background.
check() {
    local dialect=$1 script=$2 dir=$out/$1
    shift 2
    rm -rf "$dir"
    mkdir -p "$dir"
    # The token is one that no log may show; the pauses in the fixtures are shorter than the server's patience.
    VOXLOAD_TOKEN=interop-token "$voxload" serve --listen 127.0.0.1:0 --dialect "$dialect" --heard "$dir/heard" \
        --seed 1 --set reference.vad_silence=500ms --set reference.partials=300ms "$@" >"$dir/server.out" 2>"$dir/server.err" </dev/null &
    servers+=($!)
    local address=
    for _ in {1..100}; do
        address=$(sed -n 's|.*ws://\([0-9.:]*\)/.*|\1|p' "$dir/server.out" | head -1)
        [[ -n $address ]] && break
        kill -0 $! 2>/dev/null || { cat "$dir/server.err" >&2; echo "the server for $dialect did not start" >&2; exit 1; }
        sleep 0.1
    done
    [[ -n $address ]] || { echo "the server for $dialect did not say where it listens" >&2; exit 1; }
    "$venv/bin/python" "tests/interop/$script.py" "$address" --token interop-token --heard "$dir/heard" &
    clients+=($!)
}

clients=()
check openai-realtime openai_realtime
check deepgram-listen deepgram_listen
check deepgram-agent deepgram_agent
tests/interop/homemade.sh "$voxload" "$venv/bin/python" "$out/homemade" &
clients+=($!)
failed=0
for client in "${clients[@]}"; do
    wait "$client" || failed=1
done
grep -rl interop-token "$out"/*/server.* && { echo "a server printed its token" >&2; failed=1; }
[[ $failed == 0 ]] && echo "interop: all is well" || echo "interop: something is wrong; see above, and $out" >&2
exit "$failed"
