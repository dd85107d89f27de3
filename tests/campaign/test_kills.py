"""Any process of a batch is killed at any moment: the same command ends with the same results and leaves nothing."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count

import psutil
import pytest

from iqasuite.experiments import sharing

MOMENTS = 20
HANGS = 3000  # seconds on a busy machine
CELLS = (
    "import time\nimport pandas as pd\nfrom iqasuite.report.outputs import save_table",
    "for name in 'abcd':\n"
    "    save_table(pd.DataFrame({'x': [value] * 2000}), suite, run, name, f'Table {name}.')\n"
    "    time.sleep(0.05)",
)
SUITE = """
runs:
  - {name: first, notebook: write, parameters: {value: 1}}
  - {name: second, notebook: write, parameters: {value: 2}}
  - {name: last, notebook: write, needs: [first, second], parameters: {value: 3}}
"""


def started():
    command = [sys.executable, "-m", "iqasuite", "suite", "run", "small", "--jobs", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def at_work(root) -> list[psutil.Process]:
    """Processes whose working directory is the project's: all of its batches."""
    alive = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(root) and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return alive


def killed_one(rng: random.Random, root) -> str:
    """The process of a batch that was killed; "" where all had ended."""
    for process in rng.sample(alive := at_work(root), len(alive)):
        with suppress(psutil.Error):
            who = " ".join(process.cmdline()[:6])
            process.kill()
            return who
    return ""


def results(root) -> dict[str, object]:
    """What a batch leaves, without times and machines."""
    folder = root / "results" / "small"
    tables = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("tables/*/*"))}
    runs = {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("runs/*.json"))}
    return tables | {name: (run["status"], run["parameters"], run["extra"]) for name, run in runs.items()}


def test_a_batch_survives_kills_of_any_of_its_processes(project, repository, share):
    if not share:
        pytest.skip("IQASUITE_CAMPAIGN is not set: a batch takes half a minute, and tests/experiments has two moments")
    root, end, rng = project.root, time.monotonic() + share, random.Random(0)
    (root / "Snakefile").write_bytes((repository / "Snakefile").read_bytes())
    project.notebook("write", "value: int = 0  # what is written", *CELLS)
    project.suite(SUITE)
    began, process = time.monotonic(), started()
    said = process.communicate(timeout=HANGS)[0]
    assert process.returncode == 0, said
    lasted, expected, killed = time.monotonic() - began, results(root), 0
    assert len(expected) == 18  # four tables and their captions of three runs, and the runs
    for moment in count(1):
        for name in ("results", "work", ".snakemake"):
            shutil.rmtree(root / name, ignore_errors=True)
        process = started()
        time.sleep(rng.uniform(0.1, 1) * lasted)
        who = killed_one(rng, root)
        killed += bool(who)
        assert killed or moment < MOMENTS, "each batch ended before its moment came"
        process.communicate(timeout=HANGS)
        until = time.monotonic() + HANGS
        while at_work(root):
            assert time.monotonic() < until, f"{who} killed: {[p.cmdline() for p in at_work(root)]} at work"
            time.sleep(0.2)
        process = started()
        said = process.communicate(timeout=HANGS)[0]
        assert process.returncode == 0, f"{who} killed: {said}"
        assert results(root) == expected, who
        assert not at_work(root) and not list((root / "results").rglob(".*")), who
        for lock in (root / "work").rglob("*.lock"):
            with sharing.only_one(lock, f"{who} killed: still locked"):
                pass
        print(f"{moment}: {who}", flush=True)
        if killed >= MOMENTS or (killed and time.monotonic() + 3 * lasted > end):
            return
