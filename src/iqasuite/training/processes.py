"""One training in several processes of this machine, each on a GPU or on cores of its own.

The process that calls `loop.fit` is the first of them. It starts the others for one training and hands them the
training through a pipe; they end with it, however it ends. So notebooks, batches and commands run as ever, in one
process. Under torchrun or `accelerate launch`, which start a whole program several times, nothing is started here.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

from iqasuite.errors import InputError

VARIABLE = "IQASUITE_TRAINING_PROCESSES"
_WORK, _READY = "from iqasuite.training.processes import work; work()", b"ready\n"
_PATIENCE = 10.0  # seconds for a process to end by itself


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not a number, or a process has ended. The last good checkpoint is kept."""


def n_processes() -> int:
    """How many processes a training is to have: what the environment says, else 1.

    Raises:
        InputError: no number there.
    """
    text = os.environ.get(VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{VARIABLE} is {text!r}, expected a number of processes, 1 or more")
    return int(text)


@contextmanager
def beside(train: Callable, *arguments: object) -> Iterator[None]:
    """Within it, the other processes call `train(*arguments)`, and this one is the first of their group.

    Raises:
        InputError: more processes than GPUs, where there are some.
        TrainingError: one of the others has ended.
    """
    if "RANK" in os.environ or n_processes() == 1:  # in a group already, or alone
        yield
        return
    import cloudpickle  # batches and losses hold functions within functions, which pickle refuses
    import torch

    threads = torch.get_num_threads()
    mine, *theirs = _environments(n_processes(), threads)
    job, before = cloudpickle.dumps((train, arguments)), dict(os.environ)
    with ExitStack() as stack:
        others = [stack.enter_context(_started(environment)) for environment in theirs]
        try:
            for process, _ in others:
                cast(IO, process.stdin).write(job)
                cast(IO, process.stdin).flush()
            for process, _ in others:
                while (line := cast(IO, process.stdout).readline()) != _READY:
                    if not line:
                        raise ConnectionError
            os.environ.update(mine)
            torch.set_num_threads(int(mine["OMP_NUM_THREADS"]))
            yield
        except (RuntimeError, OSError) as error:
            if isinstance(error, TrainingError) or not (ended := _ended(others)):
                raise
            raise TrainingError(f"{ended}; the last good checkpoint is kept") from error
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            torch.set_num_threads(threads)
            for name in (*mine, "LOCAL_WORLD_SIZE"):  # accelerate sets the latter
                os.environ.pop(name, None)
            os.environ.update(before)


def _environments(n: int, threads: int) -> list[dict[str, str]]:
    """What each process finds in its environment: its rank, where the first listens, and the GPU or cores it has."""
    import torch

    cards = torch.cuda.device_count()
    if 0 < cards < n:
        raise InputError(f"{VARIABLE} is {n} and this process sees {cards} GPUs, expected one or more for each process")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common = group | {"LOCAL_RANK": "0", "OMP_NUM_THREADS": str(max(1, threads // n))}
    environments = [common | {"RANK": str(rank)} for rank in range(n)]
    if cards:  # each of the others sees one GPU, which is its first; this process goes on with its own first one
        visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(cards)))).split(",")
        for rank in range(1, n):
            environments[rank]["CUDA_VISIBLE_DEVICES"] = visible[rank]
    return environments


@contextmanager
def _started(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen, IO[bytes]]]:
    """A process that waits for its work, and what it has said of errors; it is gone afterwards."""
    there = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # what this process can import, it can
    with tempfile.TemporaryFile() as errors:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        process = subprocess.Popen([sys.executable, "-c", _WORK], env=os.environ | there | environment, **pipes)
        try:
            yield process, errors
        finally:
            try:
                process.communicate(timeout=_PATIENCE)  # its pipe is closed
            except (subprocess.TimeoutExpired, OSError):
                process.kill()
                process.wait()


def _ended(others: list[tuple[subprocess.Popen, IO[bytes]]]) -> str:
    """Which of the other processes has failed, and its last words; "" where none has."""
    for number, (process, errors) in enumerate(others, 2):
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"process {number} of {len(others) + 1} ended with status {status} {' '.join(last)}".rstrip()
    return ""


def work() -> None:
    """What another process does: it takes a training from its input, trains, and ends when its input is closed."""
    train, arguments = pickle.load(sys.stdin.buffer)
    done = threading.Event()

    def ends() -> None:
        while os.read(0, 1):
            pass
        os._exit(0 if done.is_set() else 1)  # the first process has ended, or has no more use for this one

    threading.Thread(target=ends, daemon=True).start()
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    os.dup2(2, 1)  # nobody reads what it prints
    train(*arguments)
    done.set()
    threading.Event().wait()  # what it has sent last has then arrived
