"""Whether a map can be believed: does it hang on what the network has learnt, does it stay when the image moves, and
does the prediction hang on the places that it names?
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from iqasuite.explain.maps import below_best, maps
from iqasuite.explain.planted import mixed
from iqasuite.images.crops import normalise
from iqasuite.inference.predictor import enlarged
from iqasuite.models.frozen_nr import FrozenNR
from iqasuite.models.network import Network

SHIFT = 8  # pixels to the right and down: JPEG's blocks stay where they were against the border
REPAIRED = (0.1, 0.25, 0.4, 0.6, 0.8)  # shares of the places at which the prediction is asked
_CELLS = 16  # places a side that are repaired


def agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation over the places of pairs of maps (n, rows, columns), (n,); 0 where one of a pair is constant."""
    ranks = [rankdata(each.reshape(len(each), -1), axis=1) for each in (first, second)]
    a, b = (each - each.mean(1, keepdims=True) for each in ranks)
    below = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), below, out=np.zeros(len(a)), where=below > 1e-9)


def cascaded(network: Network, steps: int = 4, seed: int = 0) -> Iterator[tuple[float, Network]]:
    """The network with more and more of what it has learnt destroyed, from its output to its input.

    The numbers of each tensor are shuffled: their distribution stays, what they say is lost.

    Args:
        network: stays as it is; a copy of it is given.
        steps: groups of tensors that are shuffled one after another.
        seed: of the order.

    Yields:
        Share of the tensors that are shuffled, above 0 to 1, and the network.

    Reference: J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, who draw weights anew instead.
    """
    shuffled, generator = copy.deepcopy(network), torch.Generator().manual_seed(seed)
    learnt = _learnt(shuffled)[::-1]
    for group in np.array_split(np.arange(len(learnt)), min(steps, len(learnt))):
        for tensor in (learnt[number] for number in group):
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.data = tensor.data.flatten()[order].view(tensor.shape)
        yield (group[-1] + 1) / len(learnt), shuffled


def _learnt(network: Network) -> list[Tensor]:
    """What training gave a network, from its input to its output."""
    if isinstance(network, FrozenNR):
        head = [network.axes, network.seen, network.linear, network.weights]
        return [*network.frozen.parameters(), *head]
    return list(network.parameters())


def moved(network: Network, images: np.ndarray, method: str, found: np.ndarray) -> dict[str, np.ndarray]:
    """Agreement (n,) of maps when images uint8 (n, H, W, 3), whose maps are `found`, move.

    Returns:
        "mirrored": with the maps of the mirror images, mirrored back; "shifted": of the maps of two parts of each
        image, the second `SHIFT` pixels further right and down, on the places that both show.
    """
    flipped = maps(network, np.ascontiguousarray(images[:, :, ::-1]), method)[..., ::-1]
    height, width = (side - max(2 * SHIFT, network.patch_size) for side in images.shape[1:3])
    parts = [images[:, at : at + height, at : at + width] for at in (0, SHIFT)]
    first, second = (enlarged(maps(network, part, method), (height, width)) for part in parts)
    common = [each[:, ::SHIFT, ::SHIFT] for each in (first[:, SHIFT:, SHIFT:], second[:, :-SHIFT, :-SHIFT])]
    return {"mirrored": agreement(found, flipped), "shifted": agreement(*common)}


@torch.no_grad()
def repaired(
    network: Network, distorted: np.ndarray, references: np.ndarray, importance: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """How much vote is won by repairing the places of images in the order of a map, and lost by distorting them so.

    Places of the distorted image are replaced by those of the reference (deletion of the distortion), and places of the
    reference by distorted ones (insertion), `REPAIRED` of all.

    Args:
        network: a no-reference network.
        distorted, references: uint8 (n, H, W, 3), of the same scenes.
        importance: maps (n, rows, columns), more where more is to be repaired; None = a random order.
        seed: of the random order, in which places that have as much follow each other, too.

    Returns:
        Mean vote of the images that are repaired less that of the images that are spoilt, halved, (n,). Its difference
        from that of the random order says what the map's order is worth.

    Reference: V. Petsiuk, A. Das and K. Saenko, "RISE", BMVC 2018, who put gray and blur in place of a reference.
    """
    rng, gains = np.random.default_rng(seed), []
    for number, (image, reference) in enumerate(zip(distorted, references, strict=True)):
        order = rng.permutation(_CELLS**2)
        if importance is not None:
            places = enlarged(importance[number], (_CELLS, _CELLS)).ravel()
            order = order[np.argsort(-places[order], kind="stable")]
        x = torch.from_numpy(_versions(image, reference, order)).permute(0, 3, 1, 2).to(network.mean.device)
        votes = 5 - below_best(network(normalise(x, network.mean, network.std)))
        gains.append(float((votes[::2] - votes[1::2]).mean()) / 2)
    return np.array(gains)


def _versions(image: np.ndarray, reference: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The image repaired, and the reference spoilt, at each share of `REPAIRED`: uint8 (2 · shares, H, W, 3)."""
    (height, width), versions = image.shape[:2], []
    cell = np.ones((-(-height // _CELLS), -(-width // _CELLS)))
    for share in REPAIRED:
        done = np.zeros(_CELLS**2)
        done[order[: round(share * len(order))]] = 1
        weight = np.kron(done.reshape(_CELLS, _CELLS), cell)[:height, :width]
        versions += [mixed(image, reference, weight), mixed(reference, image, weight)]
    return np.stack(versions)
