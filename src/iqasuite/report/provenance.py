"""Where a result comes from: revision, parameters, data, split, seeds, versions, device, time and memory of one run."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqasuite.paths import project_root, results_root, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from iqasuite.datasets.dataset import Dataset

PACKAGES = ("iqasuite", "torch", "torchvision", "numpy", "pandas", "scikit-learn", "vit-pytorch", "accelerate")
FOLDERS = ("IQASUITE_DATA", "IQASUITE_CACHE", "IQASUITE_WEIGHTS")  # variables that name folders outside the project


def record(
    name: str,
    parameters: Mapping[str, Any],
    dataset: Dataset | None = None,
    split: pd.DataFrame | None = None,
    seeds: Sequence[int] = (),
    started: float | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a run so that somebody else can repeat it.

    Args:
        name: the run's name.
        parameters: what the notebook was run with.
        dataset: its data set; name, hash, and how many images were absent go in.
        split: its split frame; the hash goes in.
        seeds: every seed that was used.
        started: `time.time()` at the run's start; without it no wall time is stated.
        extra: anything else that JSON can hold, e.g. headline numbers.

    Returns:
        A dictionary for `write_run`, without any path of the machine.
    """
    from iqasuite.datasets.splits import split_hash

    now = time.time()
    described = {
        "name": name,
        "status": "ok",
        "started": datetime.fromtimestamp(started or now, UTC).isoformat(timespec="seconds"),
        "wall_s": None if started is None else round(now - started, 2),
        "peak_memory_mib": peak_memory_mib(),
        "parameters": dict(parameters),
        "data": _described_data(dataset),
        "split_hash": None if split is None else split_hash(split),
        "seeds": [int(seed) for seed in seeds],
        "git": git_revision(),
        "device": device(),
        "versions": versions(),
        "extra": dict(extra or {}),
    }
    return _clean(json.loads(json.dumps(described, default=str)))


def write_run(suite: str, described: Mapping[str, Any]) -> Path:
    """Write what `record` returned to `results/<suite>/runs/<name>.json`, the whole file or nothing."""
    path = results_root(suite) / "runs" / f"{described['name']}.json"
    return write_atomic(path, json.dumps(described, indent=1, ensure_ascii=False) + "\n")


def read_runs(suite: str) -> dict[str, dict[str, Any]]:
    """What `write_run` has written for a suite, by name of the run."""
    paths = sorted((results_root(suite) / "runs").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def git_revision() -> dict[str, Any]:
    """Revision of the project and whether tracked files (`results/` aside) differ from it; empty without git."""
    revision = _git("rev-parse", "HEAD")
    if not revision:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    return {"revision": revision, "dirty": bool(changed)}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device() -> dict[str, Any]:
    """Processor, cores that this process may use, and the GPU where torch is in use and sees one."""
    described = {"name": _processor(), "cores": cores(), "gpu": None}
    torch = sys.modules.get("torch")  # not imported for the sake of its name: that takes seconds
    if torch is not None and torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
        described["gpu_peak_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return described


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent had before this program was loaded
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8", errors="replace"))
        if found:
            return round(int(found[1]) / 1024, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def without_machine_paths(text: str) -> str:
    """Replace this machine's folders in a text: what is committed must not tell where it was made."""
    # from the start of a word only: else a word of 100,000 letters, an image as text, takes minutes
    text = re.sub(r"(?<![^\s\"'(])[^\s\"'(]*/ipykernel_\d+/\d+\.py", "<cell>", text)
    for folder, name in _folders():
        text = re.sub(re.escape(folder) + r"(?![\w-])", name.replace("\\", r"\\"), text)
    return text


def _folders() -> list[tuple[str, str]]:
    """Folders that must not be named and what stands for them, the deepest first."""
    named = {Path(given): f"${name}" for name in FOLDERS if (given := os.environ.get(name))} | {
        project_root(): ".",
        Path(sys.prefix): "…",
        Path(sysconfig.get_path("stdlib")): "…/python",
        Path(tempfile.gettempdir()): "…/tmp",
        Path.home(): "~",
    }
    both = {(str(spelt), name) for path, name in named.items() for spelt in (path.absolute(), path.resolve())}
    return sorted(((path, name) for path, name in both if len(path) > 3), key=lambda pair: -len(pair[0]))


def _clean(value: Any) -> Any:
    """The same JSON value, every text in it without this machine's folders."""
    if isinstance(value, str):
        return without_machine_paths(value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _described_data(dataset: Dataset | None) -> dict[str, Any] | None:
    if dataset is None:
        return None
    return {
        "name": dataset.name,
        "hash": dataset.hash(),
        "images": len(dataset.images),
        "absent": len(dataset.absent),
        "simulated": dataset.simulated,
    }


def _git(*arguments: str) -> str:
    try:
        command, root = ["git", *arguments], project_root()
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8", errors="replace") if information.is_file() else ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.processor() or platform.machine()
