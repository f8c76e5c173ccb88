#!/usr/bin/env python3
"""Runs voxload against a real Prometheus: scripts/prometheus_check.py target/release/voxload

Needs `prometheus` and `promtool` (Debian: apt-get install prometheus). A short run serves metrics; promtool must be content
with them, and Prometheus must have scraped every series that the Grafana dashboard asks for."""

import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What only runs with networks, faults or text have, and what only some kernels tell.
SOMETIMES = {"voxload_failures_total", "voxload_generator_steal_ratio", "voxload_generator_pressure_ratio"}


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, check, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except (urllib.error.URLError, OSError, KeyError, IndexError):
            pass
        time.sleep(0.3)
    sys.exit(f"in vain: {what}")


def main():
    voxload = pathlib.Path(sys.argv[1]).resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="voxload-prometheus-"))
    said = (work / "said").open("w+")
    run = subprocess.Popen(
        [voxload, "run", "quickstart", "-u", "30", "-d", "90s", "--warmup", "1s", "--set", "fleet.ramp=1s", "--live", "off",
         "--prometheus", "127.0.0.1:0", "--report-dir", work / "report"],
        cwd=work, stdout=subprocess.DEVNULL, stderr=said)
    prometheus = None
    try:
        def address():
            said.seek(0)
            found = re.search(r"metrics: http://([\d.:]+)/metrics", said.read())
            if run.poll() is not None:
                sys.exit(f"the run ended with {run.returncode}: {(work / 'said').read_text()}")
            return found and found[1]
        target = until("the endpoint's address", address)

        (work / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: voxload\n  static_configs:\n  - targets: ['{target}']\n")
        port = free_port()
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            cwd=work, stdout=subprocess.DEVNULL, stderr=(work / "prometheus.log").open("w"))

        def query(text):
            url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": text})
            answer = json.loads(get(url)[1])
            assert answer["status"] == "success", answer
            return answer["data"]["result"]

        until("turns in Prometheus", lambda: float(query('voxload_turns_total{outcome="succeeded"}')[0]["value"][1]) > 30)
        assert query("up")[0]["value"][1] == "1"

        kind, page = get(f"http://{target}/metrics")
        assert kind.startswith("text/plain; version=0.0.4"), kind
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True)
        assert checked.returncode == 0 and not checked.stdout + checked.stderr, (checked.stdout, checked.stderr)

        # Every query of the dashboard, as Grafana would ask it.
        def queries(node):
            if isinstance(node, dict):
                if "expr" in node:
                    yield node["expr"]
                node = list(node.values())
            if isinstance(node, list):
                for part in node:
                    yield from queries(part)
        asked = sorted(set(queries(json.loads((ROOT / "docs/grafana/voxload.json").read_text()))))
        for text in asked:
            text = text.replace("$__rate_interval", "10s").replace("$instance", ".*")
            names = set(re.findall(r"voxload_\w+", text))
            found = query(text)
            assert found or names & SOMETIMES, f"nothing for {text}"

        # Nothing is averaged: the bucket at the budget and the count give the exact share.
        within = float(query('voxload_ttfa_seconds_bucket{le="0.3"}')[0]["value"][1])
        count = float(query("voxload_ttfa_seconds_count")[0]["value"][1])
        everything = float(query('voxload_ttfa_seconds_bucket{le="+Inf"}')[0]["value"][1])
        assert 0 < within <= everything and count > 0, (within, everything, count)
        series = len(query('{__name__=~"voxload_.+"}'))
        print(f"promtool is content; {len(asked)} queries of the dashboard answered; {series} series; {count:.0f} turns seen")
    finally:
        run.send_signal(signal.SIGINT)
        if prometheus:
            prometheus.terminate()
            prometheus.wait()
        run.wait(timeout=60)


main()
