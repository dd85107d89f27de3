"""The learned sorter: numbers in, their ranks out, smooth enough to carry a gradient from ranks back to numbers.

Ranks are ascending and run from 0 to 1 everywhere: (rank − 1) / (n − 1), the largest number has 1, ties share their
mean. Two networks: one convolutional after the study, of one width (`ConvSorter`), and one that compares pairs and so
sorts vectors of any width and order alike (`PairSorter`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.models.network import Network

CHANNELS, KERNELS = (8, 16, 32, 64, 96, 128, 256), (2, 3, 5, 7, 10, 7, 7)


class ConvSorter(Network):
    """Seven convolutions along the vector, each with batch norm and PReLU, and a dense layer: (B, n) -> ranks (B, n).

    The convolutions are padded with zeros to keep the length (16 numbers would not last through them otherwise); with
    one slope a channel in PReLU, n = 16 has 462,080 parameters, the study's "about .46 M". Every output sees every
    number, but nothing makes the network treat positions alike: that is learnt.

    Args:
        width: n, numbers in a vector, 2 or more.
        standardise: each vector is brought to mean 0 and standard deviation 1 first, so that scores of any scale are
            sorted as well as those of training. The study's network has False, and knows N(0, 2) and U(−10, 10) only.

    Raises:
        InputError: width below 2, or vectors of another width.

    Reference: S. M. Ayyoubzadeh and A. Royat, "(ASNA) An Attention-based Siamese-Difference Neural Network with
    Surrogate Ranking Loss function for Perceptual Image Quality Assessment", CVPRW 2021. The idea: M. Engilberge et
    al., "SoDeep: a Sorting Deep net to learn ranking loss surrogates", arXiv 1904.04272.
    """

    def __init__(self, width: int = 16, standardise: bool = True):
        super().__init__()
        if width < 2:
            raise InputError(f"sorter: width is {width}, expected 2 or more")
        self.width, self.standardise = width, standardise
        layers, previous = [], 1
        for channels, kernel in zip(CHANNELS, KERNELS, strict=True):
            padding = nn.ZeroPad2d(((kernel - 1) // 2, kernel // 2, 0, 0))
            convolution = nn.Conv2d(previous, channels, (1, kernel))
            layers += [padding, convolution, nn.BatchNorm2d(channels), nn.PReLU(channels)]
            previous = channels
        # Images of one row, channels last: on a CPU a third faster than convolutions in one dimension.
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.dense = nn.Linear(previous * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.width:
            raise InputError(f"sorter: vectors {tuple(x.shape)}, expected (B, {self.width})")
        x = standardised(x) if self.standardise else x
        return self.dense(self.features(x[:, None, None]).flatten(1)).float()


class PairSorter(Network):
    """Ranks (B, n) of vectors (B, n) of any n: the mean of what a small network predicts of each pair's difference.

    The network's answer to the pair (i, j) and to (j, i) add up to 1, so ties share their mean rank and another order
    of the numbers gives the same ranks in that order. A rank is then (Σ_j h(x_i − x_j)) / (n − 1) with a learned odd
    step h: what `iqasuite.training.ranking_losses.soft_ranks` has with a sigmoid.

    A thousand parameters sort better than the 462,080, and after seconds of training. But training for exact ranks
    makes the step ever steeper, and what is steep has a gradient at near ties only: as a loss the better sorter is the
    worse one (`iqasuite.training.sorting.gradient_table`).

    Args:
        hidden: units of the two hidden layers.
        standardise: as of `ConvSorter`.
    """

    width = None  # any

    def __init__(self, hidden: int = 32, standardise: bool = True):
        super().__init__()
        self.standardise = standardise
        self.compare = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = standardised(x) if self.standardise else x
        answer = self.compare((x[:, :, None] - x[:, None, :])[..., None]).squeeze(-1).float()
        won = (answer - answer.transpose(1, 2)).sigmoid()
        return (won.sum(dim=2) - 0.5) / max(x.shape[1] - 1, 1)  # less the pair of a number with itself


def standardised(x: Tensor) -> Tensor:
    """Vectors (B, n) with mean 0 and standard deviation 1 each; a spread far below 1e-3 counts as none."""
    x = x.float() - x.float().mean(dim=1, keepdim=True)
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
