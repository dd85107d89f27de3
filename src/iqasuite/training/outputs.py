"""The one loop that lets a network predict: batches in evaluation mode, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from iqasuite.training.machine import computes_in_bf16

Inputs = Tensor | Sequence[Tensor]
Step = Callable[..., Tensor]


def forward(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Outputs of a network that takes the inputs of a batch one after another."""
    return network(*inputs)


def in_deviations(dense: nn.Module) -> Step:
    """A step whose outputs are scores in standard deviations from the mean of the targets: the buffers of `dense`."""
    mean, std = dense.get_buffer("mean"), dense.get_buffer("std")
    return lambda network, *inputs: (network(*inputs) - mean) / std


def on_device(inputs: Inputs, device: torch.device) -> list[Tensor]:
    """The input or inputs of a batch, on a device."""
    return [x.to(device) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]


def outputs(
    network: nn.Module, batches: Iterable[Inputs], step: Step = forward, half: bool = False
) -> Iterator[Tensor]:
    """What a network gives for each batch, as it is computed; its modules are afterwards in the mode they were in.

    Args:
        network: put into evaluation mode.
        batches: a tensor or a sequence of tensors each, moved to the network's device.
        step: (network, *inputs) -> outputs.
        half: compute in bfloat16 where the machine has it in hardware.

    Yields:
        What `step` gives, on the network's device.
    """
    modes = [(module, module.training) for module in network.modules()]
    device = next(chain(network.parameters(), network.buffers())).device
    half = half and computes_in_bf16(device)
    network.eval()
    try:
        for inputs in batches:
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
                output = step(network, *on_device(inputs, device))
            yield output
    finally:
        for module, training in modes:
            module.training = training
