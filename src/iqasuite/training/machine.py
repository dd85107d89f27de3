"""The machine a training runs on: device, precision, its own random numbers, what it shows of its progress."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator
    from tqdm import tqdm


def accelerator_for(precision: str) -> Accelerator:
    """Where and in which precision ("auto", "bf16" or "float32") a training computes."""
    from accelerate import Accelerator  # here: who only asks for the precision need not wait for it
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    # Accelerate keeps the first precision and group of a process for good; each training has its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    on_cpu = "RANK" in os.environ and not torch.cuda.is_available()  # a group of CPUs has to be asked for
    kept: dict[str, Any] = {"cpu": on_cpu, "kwargs_handlers": [DistributedDataParallelKwargs(broadcast_buffers=False)]}
    accelerator = Accelerator(mixed_precision="no", **kept)
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(accelerator.device) else "no"
    if precision == "no":
        return accelerator
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision, **kept)


def share(accelerator: Accelerator, inputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """This process's rows of a batch: as many as the others', the last row again where they do not come out even."""
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    n = -(-len(inputs[0]) // accelerator.num_processes)
    first, last = n * accelerator.process_index, n * (accelerator.process_index + 1)
    rows = torch.arange(first, last).clamp(max=len(inputs[0]) - 1)
    return [x[first:last] if last <= len(x) else x[rows] for x in inputs]


def of_all(accelerator: Accelerator, output: Tensor, n: int) -> Tensor:
    """What all processes make of their shares of a batch of n; gradients go to this process's own rows."""
    if accelerator.num_processes == 1:
        return output
    parts = list(accelerator.gather(output.detach()).split(len(output)))
    parts[accelerator.process_index] = output
    return torch.cat(parts)[:n]


def same_statistics(accelerator: Accelerator, model: nn.Module) -> None:
    """Each process has normalised its own share: let running statistics of batch norms be the mean over processes."""
    for module in model.modules() if accelerator.num_processes > 1 else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None:
                    buffer.copy_(accelerator.reduce(buffer, "mean"))


def default_device(device: torch.device | str | None) -> torch.device:
    """The device; None = the GPU where there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def computes_in_bf16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32.

    ATEN_CPU_CAPABILITY=avx2 makes this machine one without, as older processors are.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() != "AVX2":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


@contextmanager
def prepared(accelerator: Accelerator, model: nn.Module, optimizer) -> Iterator[tuple[nn.Module, object]]:
    """Model and optimiser as accelerate wants them; afterwards the model's own `forward` is back."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # its successor came late
            wrapped = accelerator.prepare(model, optimizer)
        yield wrapped
    finally:
        for name in ("forward", "_original_forward"):
            model.__dict__.pop(name, None)
        accelerator.free_memory()


@contextmanager
def own_randomness(accelerator: Accelerator) -> Iterator[None]:
    """Within it, random numbers are drawn without changing those of the caller."""
    cuda = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        yield


def progress(
    items: Iterable[Any] | None, what: str, total: int | None = None, done: int = 0, shown: bool = True
) -> tqdm:
    """A progress bar around `items`: in a live notebook or a terminal as it goes; in a batch (IQASUITE_BATCH) plain
    lines with the time that is left, which the batch shows now and then. Elsewhere nothing is shown.

    Args:
        items: what is gone through; None where `update` is called on the bar.
        what: its name.
        total: number of items where they do not say it themselves.
        done: how many of them are done already.
        shown: False shows nothing, as for all processes of a training but one.
    """
    from tqdm import tqdm
    from tqdm.auto import tqdm as live

    common = {"desc": what, "total": total, "initial": done, "leave": False}
    if os.environ.get("IQASUITE_BATCH"):
        line = "{desc}: {n_fmt} of {total_fmt}, {remaining} left"
        return tqdm(items, bar_format=line, mininterval=2, delay=5, disable=not shown, **common)
    kernel = sys.modules.get("ipykernel") is not None and "IPython" in sys.modules
    return live(items, disable=not (shown and (sys.stdout.isatty() or kernel)), **common)
