"""What runs share of a machine: its cores and GPUs, and locks that are given back however a process ends."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from iqasuite.errors import InputError
from iqasuite.paths import check_writable, project_root, writable
from iqasuite.report.provenance import cores
from iqasuite.training.processes import n_processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iqasuite.experiments.suite import Run


def gpus() -> list[str]:
    """GPUs that runs may use, each as many of them as a training has processes ("0,1", "2,3")."""
    each, cards = n_processes(), _cards()
    return [",".join(cards[first : first + each]) for first in range(0, len(cards) - each + 1, each)]


def _cards() -> list[str]:
    """`CUDA_VISIBLE_DEVICES`, else what nvidia-smi lists; importing torch would take seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip() and gpu.strip() != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [str(number) for number, _ in enumerate(line for line in lines if line.startswith("GPU "))]


def default_jobs() -> int:
    """Runs at one time: one for each GPU, without a GPU one for each core; fewer where trainings take several."""
    return len(gpus()) or max(1, cores() // n_processes())


CORES_ON_A_CLUSTER = 4  # of a run that asks for no number: nothing is known of the machine that it will be on


def threads_of(run: Run, jobs: int) -> int:
    """Cores that a run gets while `jobs` runs share the machine: its share, or what the suite asks for.

    With 0 jobs, which is a cluster, what the suite asks for, else `CORES_ON_A_CLUSTER`: the same on each machine.
    """
    if jobs == 0:
        return run.cores or CORES_ON_A_CLUSTER
    total = max(cores(), jobs)
    if run.cores is None:
        return max(1, total // jobs)
    return min(run.cores, total) if run.cores else total


@contextmanager
def only_one(path: Path, message: str, patience: float = 0) -> Iterator[None]:
    """Hold a lock; after `patience` seconds in which another process holds it, InputError with the message."""
    lock = FileLock(path)
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=patience)
    except Timeout:
        raise InputError(f"{message} (lock: {path.relative_to(project_root()).as_posix()})") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def one_gpu() -> Iterator[None]:
    """Show this process and its kernel one of `gpus()` that no other run has taken; nothing to do with one."""
    available = gpus()
    if len(available) < 2:
        yield
        return
    lock, gpu = free_gpu(available)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        yield
    finally:
        lock.release()


def free_gpu(available: list[str]) -> tuple[FileLock, str]:
    """Wait for a GPU that no other run has taken; a lock is given back when its process ends, however it ends."""
    folder = project_root() / "work" / "gpus" / platform.node()  # nodes of a cluster share the folder, not the GPUs
    check_writable(folder)
    while True:
        for gpu in available:
            lock = FileLock(folder / f"{gpu}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            return lock, gpu
        time.sleep(1)
