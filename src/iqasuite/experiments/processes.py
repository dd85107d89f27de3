"""Processes of a batch: they end with the command that started them, whatever ended it.

A signal that cannot be caught (kill -9), or that reaches one process alone, leaves its children at work. So each
process of a batch looks several times a second whether those above it are still there, and ends all that it started.
"""

from __future__ import annotations

import os
import platform
import threading
import time

import psutil

ABOVE = "IQASUITE_PROCESSES"  # in the environment: place, and process@start of each process of the batch above
_EVERY = 0.2  # seconds between two looks


def below_me() -> dict[str, str]:
    """Environment for children: this process is added to those that they end with."""
    return {ABOVE: " ".join([_place(), *_above(), f"{os.getpid()}@{psutil.Process().create_time()}"])}


def end_with_those_above() -> None:
    """From now on, end this process and all that it started as soon as one of those above it has ended.

    Those of another machine, or of another job of a cluster, are not looked for: the cluster ends its jobs itself.
    """
    if above := _above():
        threading.Thread(target=_watch, args=(above,), daemon=True, name="end with those above").start()


def end(process: psutil.Process, patience: float = 5.0) -> None:
    """End a process and everything below it: asked to first, killed after `patience` seconds."""
    try:
        everything = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for method in ("terminate", "kill"):
        for each in everything:
            try:
                getattr(each, method)()
            except psutil.NoSuchProcess:
                continue
        _, everything = psutil.wait_procs(everything, timeout=patience)


def _place() -> str:
    """This machine, and the job of a cluster in which this process runs."""
    return f"{platform.node()}/{os.environ.get('SLURM_JOB_ID', '')}"


def _above() -> list[str]:
    place, *above = os.environ.get(ABOVE, "").split() or [""]
    return above if place == _place() else []


def _watch(above: list[str]) -> None:
    while all(map(_is_there, above)):
        time.sleep(_EVERY)
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(1)


def _is_there(written: str) -> bool:
    """Whether a process that started at that time is still at work; a number alone may be another process's by now."""
    number, _, start = written.partition("@")
    try:
        process = psutil.Process(int(number))
        return process.create_time() == float(start) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
