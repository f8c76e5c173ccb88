#!/usr/bin/env bash
# Every dialect with a hundred devices against the reference server: each way to find the end of speech, each audio format, replies that are
# interrupted where the protocol can, and connections that are reset under way. Half an hour; with
# JOBS=4 (so many rows at a time) a quarter of that.
#
#     scripts/dialects_hundred.sh [VOXLOAD [PATTERN]]
#
# Prints the table of docs/protocols/CHECKED.md. Exits with 1 when a row is bad: a turn that failed, a message that no rule matched, a rule that
# never fired without a reason that is known, something that was not measured, or no interruption where there should be some. Runs that are
# INVALID because the machine was busy count: no latency is looked at. PATTERN: only rows that match it (grep -E).
set -euo pipefail
cd "$(dirname "$0")/.."
voxload=$(realpath "${1:-target/release/voxload}") pattern=${2:-.}
[[ -x $voxload ]] || { echo "build it first: cargo build --release" >&2; exit 2; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Stalls are the machine's; who pauses to think (`long-pause`) is answered too early, rightly.
cat > "$out/hundred.toml" <<'TOML'
name = "hundred"
[fleet]
devices = 100
duration = "20s"
ramp = "2s"
[audio]
fixtures = ["hello", "dragon-story", "why-sky", "sing", "dinosaur", "knock-knock", "bedtime", "count", "lost-tooth"]
[turn]
think = "uniform(500ms, 1500ms)"
[turn.barge_in]
after = "uniform(300ms, 900ms)"
[playback]
max_stall_ratio = 1.0
[session]
reconnect_base = "100ms"
reconnect_cap = "500ms"
[reference]
vad_barge_in = "300ms"
partials = "300ms"
[report]
html = false
junit = false
histograms = false
TOML
# The key and the region that a URL is signed with.
{ cat "$out/hundred.toml"; printf '[target.values]\naccess_key_id = "AKID"\nsecret_access_key = "secret"\nregion = "us-east-1"\n'; } > "$out/signed.toml"

# dialect, variant (-: none), end of speech, what is to be seen (text: TTFT; cut: interruptions; reset: connections are cut), more settings
rows() {
    cat <<'ROWS'
envelope - signal text,cut audio.codec=opus
envelope - vad text,cut audio.codec=opus
envelope - signal text,cut audio.codec=pcm16 audio.encoding=base64
envelope - vad text,cut audio.codec=mulaw audio.encoding=base64
envelope - signal text,cut,reset session.resume=true audio.codec=opus
plain - signal none audio.codec=pcm16
plain - signal none,reset audio.codec=pcm16
src/dialect/builtin/envelope.toml - signal text,cut audio.codec=opus
src/dialect/builtin/envelope.toml - vad text,cut audio.codec=pcm16 audio.encoding=base64
src/dialect/builtin/envelope.toml - signal text,cut,reset session.resume=true audio.codec=opus
xiaozhi v1 signal text,cut
xiaozhi v1 signal text,cut audio.reply_rate=16000
xiaozhi v1 vad text,cut
xiaozhi realtime vad text,cut
xiaozhi v2 signal text,cut
xiaozhi v2 vad text,cut
xiaozhi v2+realtime vad text,cut
xiaozhi v3 signal text,cut
xiaozhi v3 vad text,cut
xiaozhi v3+realtime vad text,cut
xiaozhi v1 signal text,cut,reset
openai-realtime - signal text,cut
openai-realtime - vad text,cut
openai-realtime g711 signal text,cut audio.codec=mulaw
openai-realtime g711 vad text,cut audio.codec=alaw
openai-realtime beta signal text,cut
openai-realtime beta vad text,cut
openai-realtime beta vad text,cut audio.codec=mulaw
openai-realtime - vad text,cut,reset
deepgram-listen - vad none audio.codec=pcm16
deepgram-listen - vad none audio.codec=mulaw
deepgram-listen - vad none audio.codec=opus
deepgram-listen - signal none audio.codec=pcm16
deepgram-listen - vad none,reset audio.codec=pcm16
deepgram-agent - vad text,cut audio.codec=pcm16
deepgram-agent - vad text,cut audio.codec=mulaw
deepgram-agent - signal text audio.codec=pcm16
deepgram-agent - vad text,cut,reset audio.codec=pcm16
assemblyai - vad none audio.codec=pcm16
assemblyai - vad none audio.codec=mulaw
assemblyai - vad none audio.codec=opus
assemblyai - signal none audio.codec=pcm16
assemblyai - vad none,reset audio.codec=pcm16
elevenlabs - vad text,cut audio.codec=pcm16
elevenlabs - vad text,cut audio.codec=mulaw
elevenlabs parts vad text,cut audio.codec=pcm16
elevenlabs - vad text,cut,reset audio.codec=pcm16
gemini-live - vad text,cut
gemini-live - signal text,cut
gemini-live - vad text,cut,reset
twilio-media - vad none,cut
twilio-media marks vad none,cut
twilio-media - vad none,cut,reset
vosk - vad none
vosk - signal none
vosk - vad none audio.rate=8000
vosk - vad none,reset
pipecat - vad text,cut
pipecat - vad text,cut audio.rate=24000 audio.reply_rate=16000
pipecat rtvi vad text,cut
pipecat rtvi vad text,cut,reset
moshi - vad none
moshi - vad none,reset
unmute - vad text,cut
unmute - vad text,cut,reset
amazon-transcribe - vad none
amazon-transcribe - vad none audio.rate=8000
amazon-transcribe - vad none,reset
ROWS
}

# Plays one row and says what became of it: a line of the table.
play() {
    local n=$1 dialect=$2 variant=$3 end=$4 see=$5
    shift 5
    local scenario=$out/hundred.toml args=() setting code=0 dir=$out/row-$n
    [[ $dialect != amazon-transcribe ]] || scenario=$out/signed.toml
    for setting in "target.dialect=$dialect" "turn.end=$end" "$@"; do args+=(--set "$setting"); done
    [[ $variant == - ]] || args+=(--set "target.variant=$variant")
    [[ $see != *cut* ]] || args+=(--set turn.barge_in.share=40%)
    [[ $see != *reset* ]] || args+=(--set 'faults=["reset every=uniform(5s,12s)"]')
    "$voxload" run "$scenario" --quiet --report-dir "$dir" "${args[@]}" > "$dir.log" 2>&1 || code=$?
    # Which rules the reference server never gives cause to fire.
    local file=$dialect
    if [[ ! -f $file ]]; then
        file=$dir.toml
        "$voxload" dialect show "$dialect" > "$file" 2> /dev/null || true
    fi
    "$voxload" dialect check "$file" > "$dir.rules" 2> /dev/null || true
    python3 - "$dir" "$code" "$see" "$dialect" "$variant" "$end" "$*" <<'PY'
import json, pathlib, re, sys

dir, code, see, dialect, variant, end, more = sys.argv[1:]
see, name = see.split(","), pathlib.Path(dialect).name
try:
    r = json.loads((pathlib.Path(dir) / "result.json").read_text())
except FileNotFoundError:
    log = pathlib.Path(dir + ".log").read_text().strip()
    print(f"| {name} | {variant} | {end} | {more} | | | | | | | **BAD**: exit {code}: {log[-400:]!r} |")
    sys.exit()
t, bad = r["turns"], []
count = lambda metric: r["metrics"].get(metric, {}).get("count", 0)
if code not in ("0", "120"):
    bad.append(f"exit {code}")
if not t["succeeded"]:
    bad.append("no turn succeeded")
# A turn whose connection was reset on purpose has failed, where its session cannot be resumed.
for f in r["failures"]:
    if not ("reset" in see and f["class"] == "cut_reset"):
        bad.append(f"{f['turns']} turns, {f['connections']} connections: {f['class']}: {f['example']['detail']}")
if t["timed_out"]:
    bad.append(f"{t['timed_out']} timed out")
if ("cut" in see) != (t["interrupted"] > 0):
    bad.append(f"{t['interrupted']} interrupted")
if "reset" in see and not count("reconnect"):
    bad.append("nobody came back")
agent = not any(s in dialect for s in ("listen", "assemblyai", "vosk", "moshi", "transcribe"))
wanted = {
    "ttft": "text" in see,
    "ttfa": agent,
    "final_transcript": dialect != "twilio-media",
    "barge_in_stop": "cut" in see,
}
for metric, there in wanted.items():
    if there != (count(metric) > 0):
        bad.append(f"{metric}: {count(metric)}")
never, fired = [], "native"
if d := r.get("dialect"):
    if d["unmatched"]:
        bad.append(f"{d['unmatched']} unmatched, for example {d['examples'][0]['example']}")
    silent = re.search(r"would never send (.*): no `emit`", pathlib.Path(dir + ".rules").read_text())
    unsaid = re.findall(r"`(.*?)`", silent[1]) if silent else []
    # Nothing goes wrong here, nobody asks for a sign of life, and with a signal nobody looks for speech.
    unsaid_as = ["error", "pong"] + (["speech_started", "speech_stopped"] if end == "signal" else [])
    never = [x["name"] for x in d["rules"] if x["fired"] == 0]
    for x in d["rules"]:
        if x["fired"] == 0 and x["name"] not in unsaid and x["meaning"] not in unsaid_as:
            bad.append(f"rule {x['name']} never fired")
    fired = f"{len(d['rules']) - len(never)} of {len(d['rules'])}"
more += " (connections are reset)" if "reset" in see else ""
cells = [name, variant, end, more.strip(), t["succeeded"], t["interrupted"], t["failed"] + t["timed_out"], count("reconnect")]
cells += [fired, d["unmatched"] if d else 0, "**BAD**: " + "; ".join(bad) if bad else "good"]
print("| " + " | ".join(map(str, cells)) + " |")
PY
}
export -f play
export out voxload

echo "| dialect | variant | end of speech | more | succeeded | interrupted | failed | reconnects | rules that fired | unmatched | |"
echo "|---|---|---|---|---:|---:|---:|---:|---:|---:|---|"
rows | grep -E -- "$pattern" | nl -w1 -s' ' > "$out/rows"
xargs -P "${JOBS:-1}" -a "$out/rows" -d '\n' -I ROW bash -c 'set -f; set -- ROW; play "$@" 2>&1 | tee "$out/line-$1" >&2'
for n in $(seq "$(wc -l < "$out/rows")"); do cat "$out/line-$n"; done | tee "$out/table"
! grep -q 'BAD' "$out/table"
