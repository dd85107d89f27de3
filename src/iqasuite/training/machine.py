"""The machine a training runs on: device, precision, speed, its own random numbers, whether somebody looks on."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator_for(precision: str) -> Accelerator:
    from accelerate import Accelerator  # here: who only asks for the precision need not wait for it
    from accelerate.state import AcceleratorState

    # Accelerate keeps the first precision of a process for good; each training has its own.
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision="no")
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(accelerator.device) else "no"
    if precision == "no":
        return accelerator
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision)


def computes_in_bf16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


@cache
def peak_flops(device: torch.device | str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product: the most that this machine gives, as measured.

    Takes a tenth of a second, once a process. With other processes beside this one it is what they leave.
    """
    side = 4096 if torch.device(device).type == "cuda" else 1024
    a = torch.ones(side, side, device=device, dtype=dtype)
    (a @ a).sum().item()  # what the first call sets up is not measured
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < 0.1:
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the device
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times)


def flops_of(model: nn.Module, inputs: torch.Tensor) -> float:
    """Floating-point operations an input, forward and backward: matrix products, convolutions, attention.

    Counted on tensors without values, so that counting changes no number of the training; nan for a network that
    cannot work on such.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, FlopCounterMode(display=False) as counter:
            state = {name: fake.from_tensor(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
            functional_call(model, state, fake.from_tensor(inputs)).float().sum().backward()
    except (DataDependentOutputException, NotImplementedError, RuntimeError):
        return math.nan
    return counter.get_total_flops() / len(inputs)


@contextmanager
def prepared(accelerator: Accelerator, model: nn.Module, optimizer) -> Iterator[tuple[nn.Module, object]]:
    """Model and optimiser as accelerate wants them; afterwards the model's own `forward` is back."""
    try:
        yield accelerator.prepare(model, optimizer)
    finally:
        for name in ("forward", "_original_forward"):
            model.__dict__.pop(name, None)
        accelerator.free_memory()


@contextmanager
def own_randomness(accelerator: Accelerator) -> Iterator[None]:
    cuda = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        yield


def watched(accelerator: Accelerator) -> bool:
    """Whether this process shows a progress bar."""
    return accelerator.is_main_process and interactive()


def interactive() -> bool:
    """Whether somebody looks on: a terminal or a live notebook, and not a batch (IQASUITE_BATCH)."""
    if os.environ.get("IQASUITE_BATCH"):
        return False
    kernel = sys.modules.get("ipykernel") is not None and "IPython" in sys.modules
    return sys.stdout.isatty() or kernel
