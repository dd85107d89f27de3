"""How long a no-reference network takes for one image, how large it is and how much it computes, by engine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from iqasuite.errors import InputError
from iqasuite.paths import scratch_folder
from iqasuite.weights.card import Card, Scale
from iqasuite.weights.catalogue import Entry
from iqasuite.weights.export import INPUT, SCORE, Scored, export_onnx, quantised, session

ENGINES = ("torch float32", "torch bfloat16", "ONNX float32", "ONNX int8")


class Latency(NamedTuple):
    """Milliseconds of a call: median and its 95 % interval."""

    median: float
    low: float
    high: float


def latency(call: Callable[[], object], repeats: int = 50, warmup: int = 5) -> Latency:
    """Milliseconds that a call takes, one after the other, on this machine as it is now.

    Args:
        call: what is measured; it returns when it is done (on a GPU, after waiting for it).
        repeats: calls that are measured.
        warmup: calls before these, which set up what later ones reuse.

    Raises:
        InputError: fewer than one repeat, or a negative warm-up.
    """
    if repeats < 1 or warmup < 0:
        raise InputError(f"latency: repeats {repeats}, warmup {warmup}; expected 1 or more, 0 or more")
    for _ in range(warmup):
        call()
    spent = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        call()
        spent.append((time.perf_counter_ns() - began) / 1e6)
    return Latency(float(np.median(spent)), *median_interval(spent))


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Two of the values that lie around the median of what they were drawn from with at least this confidence.

    Exact for any distribution of independent values: how many are below the median is binomial. With fewer than six
    values no two are far enough apart for 95 %: smallest and largest are given.

    Reference: W. R. Thompson, "On Confidence Ranges for the Median and Other Expectation Distributions for Populations
    of Unknown Distribution Form", 1936.
    """
    ordered, n = np.sort(np.asarray(values, dtype=float)), len(values)
    rank = max(int(binom.ppf((1 - confidence) / 2, n, 0.5)) - 1, 0)  # from 0: the next one is too near to the median
    return float(ordered[rank]), float(ordered[n - 1 - rank])


def latency_table(
    networks: Mapping[str, nn.Module],
    images: Sequence[np.ndarray],
    sizes: Sequence[int],
    engines: Sequence[str] = ENGINES,
    repeats: int = 50,
    warmup: int = 5,
) -> pd.DataFrame:
    """Latency of one image for networks × sizes × engines, from 8-bit pixels to the score, on the CPU.

    All engines do the same: normalise, compute, softmax, expected vote. They use as many threads as torch does.

    Args:
        networks: name -> no-reference network with buffers `mean` and `std`.
        images: uint8 (H, W, 3), at least as large as the largest size; the first one is timed, all of them set the
            ranges of the 8-bit integers and are compared.
        sizes: sides of the square that is cut from their middles.
        engines: some of `ENGINES`.
        repeats, warmup: see `latency`.

    Returns:
        One row each: network, size, engine, parameters, megabytes (of the file; bfloat16 computes from the same file as
        float32), million_macs (multiply-adds of one image), median_ms, low_ms, high_ms (95 %), difference (largest
        from torch float32 over the images, in votes from 1 to 5).

    Raises:
        InputError: an unknown engine, no images, or one that is too small.
    """
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown or not len(images) or min(min(p.shape[:2]) for p in images) < max(sizes):
        found = f"engines {', '.join(engines)}, {len(images)} images, sizes {', '.join(map(str, sizes))}"
        raise InputError(f"latency: {found}; expected some of {', '.join(ENGINES)}, images of at least these sizes")
    rows: list[dict[str, Any]] = []
    for name, network in networks.items():
        for size in sizes:
            cut = [_middle(image, size) for image in images]
            measured = _measured(network, cut, engines, repeats, warmup)
            rows += [{"network": name, "size": size, **row} for row in measured]
    return pd.DataFrame(rows)


def million_macs(network: nn.Module, size: tuple[int, int]) -> float:
    """Multiply-adds of one image of `size` (height, width) in convolutions, products and attention, in millions."""
    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size, device=device))
    return counter.get_total_flops() / 2e6


def _middle(image: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def _measured(
    network: nn.Module, images: Sequence[np.ndarray], engines: Sequence[str], repeats: int, warmup: int
) -> list[dict[str, Any]]:
    """Rows of one network at one size: `images` are of it."""
    scored = Scored(network).eval()
    plain = _torch_call(scored, half=False)
    votes = np.array([plain(image) for image in images])
    facts = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "million_macs": million_macs(scored.network, images[0].shape[:2]),
    }
    rows = []
    for engine in engines:
        call, size = _engine(engine, scored, images)
        difference = np.abs([call(image) for image in images] - votes).max()
        took = latency(partial(call, images[0]), repeats, warmup)
        rows.append(
            {
                "engine": engine,
                **facts,
                "megabytes": size / 1e6,
                "median_ms": took.median,
                "low_ms": took.low,
                "high_ms": took.high,
                "difference": float(difference),
            }
        )
    return rows


def _engine(name: str, scored: Scored, images: Sequence[np.ndarray]) -> tuple[Callable[[np.ndarray], float], int]:
    """A call from an image to its vote, and the bytes of the file that it needs."""
    if name.startswith("torch"):
        size = sum(t.numel() * t.element_size() for t in scored.network.state_dict().values())
        return _torch_call(scored, half=name == "torch bfloat16"), size
    votes = Scale(name="votes", low=1.0, high=5.0)
    entry = Entry("network", Path("network"), Card(architecture="network", arguments={}, scale=votes))
    with scratch_folder() as folder:
        file = export_onnx(scored.network, folder / "float32.onnx", entry)
        if name == "ONNX int8":
            file = quantised(file, folder / "int8.onnx", images, limit=math.inf)  # the table has the difference
        size, ready = file.stat().st_size, session(file, torch.get_num_threads())
    return lambda image: float(ready.run([SCORE], {INPUT: image[None]})[0][0]), size


def _torch_call(scored: Scored, half: bool) -> Callable[[np.ndarray], float]:
    def call(image: np.ndarray) -> float:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return scored(torch.from_numpy(image)[None])[0].item()

    return call
