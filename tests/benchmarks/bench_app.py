"""The page as a user meets it: seconds from its start until it is ready, to the first score, and to later ones.

The server runs in a process of its own on the CPU, on two photographs in turn as files of a camera's kind; a score is
timed from the upload until the number has come back, as a browser would wait for it. Beside it: what the network alone
takes for the decoded picture. Writes results/bench/app.csv.

    python tests/benchmarks/bench_app.py [--rounds 20] [--model mobile_nr]
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import requests

from iqasuite.images.distortions.compression import jpeg_bytes
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photograph
from iqasuite.paths import results_root, write_atomic
from iqasuite.report.provenance import git_revision


def started() -> tuple[subprocess.Popen, str, float]:
    """A server, its address, and the seconds until it said so."""
    began = time.perf_counter()
    command = [sys.executable, "-c", "from iqasuite.app import serve; serve(port=None)"]
    on_cpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=on_cpu)
    for line in server.stdout:
        if found := re.search(r"http://[^/ ]+", line):
            return server, found[0], time.perf_counter() - began
    raise RuntimeError(f"the server ended with {server.wait()}")


def seconds_to_score(address: str, path: Path, model: str) -> float:
    """Seconds from the start of the upload until the first answer with a score."""
    began = time.perf_counter()
    with path.open("rb") as file:
        sent = requests.post(f"{address}/gradio_api/upload", files={"files": (path.name, file)}, timeout=60).json()[0]
    call = f"{address}/gradio_api/call/predict"
    given = {"data": [{"path": sent, "meta": {"_type": "gradio.FileData"}}, model]}
    event = requests.post(call, json=given, timeout=60).json()["event_id"]
    with requests.get(f"{call}/{event}", stream=True, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith(b"data:") and b"iqa-value" in line:
                seconds = time.perf_counter() - began
                for _ in answer.iter_lines():  # the map, before the next picture
                    pass
                return seconds
    raise RuntimeError(f"no score of {path}")


def network_alone(path: Path, model: str, rounds: int) -> float:
    """Median seconds of the network for the decoded picture, in this process."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from iqasuite.inference.predictor import load_predictor

    predictor, image, taken = load_predictor(model), read_image(path), []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        predictor.predict([image])
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--model", default="mobile_nr")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in ("coffee", "chelsea"):
            paths.append(Path(folder) / f"{name}.jpg")
            paths[-1].write_bytes(jpeg_bytes(read_image(photograph(name)), 90))
        server, address, ready = started()
        try:
            first = seconds_to_score(address, paths[0], given.model)
            later = [seconds_to_score(address, paths[i % 2], given.model) for i in range(given.rounds)]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        alone = network_alone(paths[0], given.model, given.rounds)
    row = {
        "model": given.model,
        "rounds": given.rounds,
        "ready_s": ready,
        "first_s": first,
        "median_s": statistics.median(later),
        "slowest_s": max(later),
        "network_alone_s": alone,
        "revision": git_revision().get("revision", "")[:10],
    }
    table = pd.DataFrame([row])
    write_atomic(results_root("bench") / "app.csv", table.round(4).to_csv(index=False))
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
