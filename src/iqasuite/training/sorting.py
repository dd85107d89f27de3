"""How the learned sorter is trained on generated vectors, and how good a stand-in for Spearman's correlation it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.training.loop import LOGGED, Followed, Result, Schedule, fit
from iqasuite.training.outputs import outputs
from iqasuite.training.ranking_losses import Loss, correlations, ranks, spearman


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """N(0, 2), the 2 a standard deviation: half of the study's vectors."""
    return rng.normal(0, 2, shape)


def uniform(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """U(−10, 10): the other half."""
    return rng.uniform(-10, 10, shape)


def scores(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Predictions of a quality network for a batch, in standard deviations of its training set.

    Five levels of distortion of some weight, contents and noise, squashed at both ends by strength and place that
    differ from vector to vector, and their own scale (.2–2) and level.
    """
    each = (shape[0], 1)
    weight, gain, place = rng.uniform(0, 1.5, each), rng.uniform(0.2, 2, each), rng.normal(0, 0.7, each)
    latent = weight * (rng.integers(0, 5, shape) - 2) / np.sqrt(2) + rng.normal(0, 0.7, shape)
    squashed = np.tanh(gain * (latent - place)) / np.tanh(gain)
    return rng.uniform(0.2, 2, each) * squashed + rng.normal(0, 0.5, each)


def ties(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """N(0, 1), rounded to steps of .2 to 2; one vector in 50 is constant."""
    steps = rng.integers(2, 21, (shape[0], 1))
    values = np.round(rng.normal(0, 1, shape) * steps / 4) * 4 / steps
    return np.where(rng.random((shape[0], 1)) < 0.02, values[:, :1], values)


def near_ties(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """N(0, 1) at half of the numbers; the others are at most .05 from one of these."""
    values = rng.normal(0, 1, shape)
    copied = np.take_along_axis(values, rng.integers(0, shape[1], shape), axis=1)
    return np.where(rng.random(shape) < 0.5, values, copied + rng.uniform(-0.05, 0.05, shape))


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Exponential with mean 1, to either side from vector to vector: never trained on."""
    return rng.exponential(1, shape) * rng.choice([-1, 1], (shape[0], 1))


def bimodal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Two heaps N(±3, .5), the share of the upper one from .2 to .8: never trained on."""
    upper = rng.random(shape) < rng.uniform(0.2, 0.8, (shape[0], 1))
    return rng.normal(0, 0.5, shape) + np.where(upper, 3.0, -3.0)


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    f.__name__: f for f in (normal, uniform, scores, ties, near_ties, exponential, bimodal)
}
FAITHFUL = ("normal", "uniform")
ROBUST = ("normal", "uniform", "scores", "ties", "near_ties")


def vectors(count: int, width: int, seed: int, step: int = 0, distributions: Sequence[str] = FAITHFUL) -> Tensor:
    """Generated vectors (count, width), as many of each distribution: a function of seed and step only.

    Raises:
        InputError: unknown distribution, or none.
    """
    unknown = [name for name in distributions if name not in DISTRIBUTIONS]
    if unknown or not distributions:
        wrong = ", ".join(unknown) or "none"
        raise InputError(f"vectors: distribution {wrong}, expected some of {', '.join(DISTRIBUTIONS)}")
    rng = np.random.default_rng((seed, step, width))
    parts = np.array_split(np.arange(count), len(distributions))
    made = [DISTRIBUTIONS[name](rng, (len(part), width)) for name, part in zip(distributions, parts, strict=True)]
    return torch.from_numpy(np.concatenate(made).astype(np.float32))


class VectorBatches:
    """Generated vectors and their exact ranks for `fit`, `steps` batches an epoch, no vector twice.

    Args:
        width: numbers in a vector.
        distributions: names of `DISTRIBUTIONS`, in equal shares in each batch.
        fixed: the same batches every epoch (validation).
    """

    def __init__(
        self,
        width: int,
        batch_size: int = 1024,
        steps: int = 100,
        seed: int = 0,
        distributions: Sequence[str] = FAITHFUL,
        fixed: bool = False,
    ):
        self.width, self.batch_size, self.steps, self.seed = width, batch_size, steps, seed
        self.distributions, self.fixed = tuple(distributions), fixed

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Vectors (B, width) and their ranks, batch by batch."""
        first = 0 if self.fixed else number * self.steps
        for step in range(first, first + self.steps):
            x = vectors(self.batch_size, self.width, self.seed, step, self.distributions)
            yield x, ranks(x)

    def signature(self) -> str:
        """What tells these batches from others, for checkpoints."""
        settings = (self.width, self.batch_size, self.steps, self.seed, self.distributions, self.fixed)
        return hashlib.sha256(repr(settings).encode()).hexdigest()


def rank_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of ranks (B, n) from 0 to 1."""
    return (outputs - targets).abs().mean()


def train_sorter(
    model: nn.Module,
    schedule: Schedule,
    *,
    width: int = 16,
    batch_size: int = 1024,
    steps: int = 100,
    distributions: Sequence[str] = ROBUST,
    seed: int = 0,
    followed: Followed = LOGGED,
) -> Result:
    """Train a sorter on generated vectors by the mean absolute error of its ranks; the best epoch's weights are kept.

    Args:
        model: of `iqasuite.models.sorter`.
        schedule: the study's is 100 epochs of the same 1.6 million vectors with Adam, 1e-3, a tenth of it after every
            30. With new vectors all the time, two million, and a cosine from 2e-3 in batches of 128, the convolutional
            sorter of 16 is .016 from Spearman's correlation on the study's vectors.
        width: numbers in a vector, for a sorter that has no width of its own.
        batch_size, steps: `steps` batches of new vectors make an epoch; validation has 8,192 vectors that stay.
        distributions: what is trained on, `FAITHFUL` or `ROBUST`, say.
        seed: of the vectors: 2 · seed for training, 2 · seed + 1 for validation.
        followed: see `fit`.
    """
    width = cast("int | None", model.width) or width
    train = VectorBatches(width, batch_size, steps, 2 * seed, distributions)
    val = VectorBatches(width, 1024, 8, 2 * seed + 1, distributions, fixed=True)
    return fit(model, train, val, rank_error, schedule, seed, followed=followed)


HELD_OUT = 1_000_003  # a seed that no training comes near
_DIRECTIONS = 512  # in which the slope of a correlation is measured


def held_out_pairs(distribution: str, count: int, width: int = 16, seed: int = HELD_OUT) -> tuple[Tensor, Tensor]:
    """Vectors x and y (count, width) of one distribution, whose rank correlations spread from about 0 to about 1."""
    x, y = (vectors(count, width, seed, step, [distribution]) for step in (0, 1))
    rng = np.random.default_rng((seed, 2))
    share = torch.from_numpy(rng.uniform(0, 1, (count, 1)))
    noise = torch.from_numpy(rng.normal(0, 1, (count, width)))
    latent = share * (ranks(x) - 0.5) * 12**0.5 + (1 - share**2).sqrt() * noise
    return x, y.sort(dim=1).values.gather(1, latent.argsort(dim=1).argsort(dim=1))


def true_spearman(x: Tensor, y: Tensor) -> Tensor:
    """Spearman's correlations (B,) of vectors (B, n) with vectors (B, n), exact; nan where either is constant."""
    return correlations(ranks(x), ranks(y))


def surrogate_spearman(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The same by a sorter: Pearson's correlations (B,) of the ranks it gives."""
    return correlations(_outputs(model, x), _outputs(model, y))


def surrogate_table(
    model: nn.Module,
    distributions: Sequence[str] = tuple(DISTRIBUTIONS),
    width: int = 16,
    count: int = 4096,
    scale: float = 1.0,
) -> pd.DataFrame:
    """How far a sorter's Spearman is from the true one on `held_out_pairs`.

    Args:
        model: the sorter.
        distributions, count: of `held_out_pairs`; a row for each distribution.
        width: of the vectors, for a sorter that has no width of its own.
        scale: vectors are multiplied by it; a sorter that does not standardise knows the scale of its training only.

    Returns:
        A row a distribution: distribution, scale, n (pairs that have a correlation), error (mean |surrogate − true|),
        bias (mean of surrogate − true), error_95 (95th percentile of |surrogate − true|), rank_error (mean absolute
        error of the ranks, 0 to 1).
    """
    rows = []
    for name in distributions:
        of_model = cast("int | None", model.width)
        x, y = (v * scale for v in held_out_pairs(name, count, of_model or width))
        difference = surrogate_spearman(model, x, y) - true_spearman(x, y)
        difference = difference[difference.isfinite()]
        error = difference.abs()
        rows.append(
            {
                "distribution": name,
                "scale": scale,
                "n": len(error),
                "error": error.mean().item(),
                "bias": difference.mean().item(),
                "error_95": error.quantile(0.95).item(),
                "rank_error": rank_error(_outputs(model, x), ranks(x)).item(),
            }
        )
    return pd.DataFrame(rows)


def gradient_table(loss: Loss, x: Tensor, y: Tensor, step: float = 0.3) -> pd.DataFrame:
    """Where a ranking loss pushes scores, against where Spearman's true correlation rises.

    Spearman's correlation has steps, so its slope is measured: the mean over random directions u of
    (ρ(x + step · u) − ρ(x − step · u)) · u. The directions' chance alone takes about n / (2 · 512) from the cosine.

    Args:
        loss: (scores (n,), targets (n,)) -> scalar, of `iqasuite.training.ranking_losses`.
        x, y: scores and targets (B, n); each row is a batch of its own.
        step: in standard deviations of the row.

    Returns:
        A row a vector: spearman (before), loss, finite (loss and gradient are), norm (of the gradient), cosine (of the
        negative gradient with the measured slope, both less their mean; nan where either is 0).
    """
    generator = torch.Generator().manual_seed(0)
    rows = []
    for scores, targets, before in zip(x.float(), y.float(), true_spearman(x, y).tolist(), strict=True):
        leaf = scores.clone().requires_grad_()
        value = loss(leaf, targets)
        value.backward()
        u = torch.randn(_DIRECTIONS, len(scores), generator=generator)
        moved = step * scores.std(correction=0) * u
        many = targets.expand_as(u)
        change = true_spearman(scores + moved, many) - true_spearman(scores - moved, many)
        slope = (change[:, None] * u).mean(dim=0)
        cosine = correlations(-leaf.grad[None], slope[None]).item()
        finite = bool(value.isfinite() & leaf.grad.isfinite().all())
        norm = leaf.grad.norm().item()
        rows.append({"spearman": before, "loss": value.item(), "finite": finite, "norm": norm, "cosine": cosine})
    return pd.DataFrame(rows)


def mean_cosines(losses: Mapping[str, Loss], x: Tensor, y: Tensor, steps: Sequence[float] = (0.1, 0.3)) -> pd.DataFrame:
    """`gradient_table` of several losses, averaged over the vectors.

    Args:
        losses: by name.
        x, y: scores and targets (B, n).
        steps: in standard deviations.

    Returns:
        A row a loss and step: loss, step, n (vectors with a cosine), finite (share of the vectors), cosine (mean), low,
        high (95 %).
    """
    rows = []
    for name, loss in losses.items():
        for step in steps:
            table = gradient_table(loss, x, y, step)
            cosines = table["cosine"].dropna()
            mean, half = cosines.mean(), 1.96 * cosines.std() / len(cosines) ** 0.5
            rows.append((name, step, len(cosines), table["finite"].mean(), mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["loss", "step", "n", "finite", "cosine", "low", "high"])


def one_score_moved(losses: Mapping[str, Loss], n: int = 16) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Losses of n scores, of which one moves from −2.5 to 2.5 standard deviations while the others stay.

    Returns:
        Positions (401,), the exact loss 1 − Spearman at each, and each smooth loss by name.
    """
    truth = vectors(1, n, 5, distributions=["normal"])[0]
    moving = truth / 2 + vectors(1, n, 6, distributions=["normal"])[0] * 0.3
    moving = (moving - moving.mean()) / moving.std()
    positions = np.linspace(-2.5, 2.5, 401)
    moved = moving.repeat(len(positions), 1)
    moved[:, 0] = torch.from_numpy(positions).float()
    exact = 1 - np.array([spearman(row, truth) for row in moved])
    smooth = {name: np.array([loss(row, truth).item() for row in moved]) for name, loss in losses.items()}
    return positions, exact, smooth


BATCH_SIZES = (4, 8, 16, 32, 64, 128, 256)


def batch_noise(losses: Mapping[str, Loss], seed: int = 0, n: int = 2048, draws: int = 200) -> pd.DataFrame:
    """What random batches tell of the loss and of the gradient of n scores, whose PLCC with their targets is .8.

    Args:
        losses: by name.
        seed: of scores and batches.
        n: number of scores.
        draws: batches of each size.

    Returns:
        A row a loss and size: loss, batch (number of scores), deviation (standard deviation of the batches' values),
        cosine (mean, of a batch's gradient with that of all n at the same scores).
    """
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(n, generator=generator)
    score = 0.8 * target + 0.6 * torch.randn(n, generator=generator)
    rows = []
    for name, loss in losses.items():
        leaf = score.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf, target), leaf)
        for size in BATCH_SIZES:
            values, cosines = [], []
            for _ in range(draws):
                chosen = torch.randperm(n, generator=generator)[:size]
                part = score[chosen].clone().requires_grad_()
                value = loss(part, target[chosen])
                (own,) = torch.autograd.grad(value, part)
                values.append(value.item())
                cosines.append(torch.cosine_similarity(own, slope[chosen], dim=0).item())
            rows.append((name, size, np.std(values), np.mean(cosines)))
    return pd.DataFrame(rows, columns=["loss", "batch", "deviation", "cosine"])


def spread_of_vectors(width: int, distributions: Sequence[str]) -> pd.DataFrame:
    """What tells the distributions apart: distribution, trained on, standard deviation, smallest gap, share of ties.

    Args:
        width: numbers in a vector.
        distributions: those that are trained on.
    """
    rows = []
    for name in DISTRIBUTIONS:
        values = vectors(2000, width, 7, distributions=[name]).numpy()
        gaps = np.diff(np.sort(values), axis=1)
        trained = "yes" if name in distributions else "no"
        rows.append((name, trained, values.std(), np.median(gaps.min(1)), np.mean(gaps == 0)))
    columns = ["distribution", "trained on", "standard deviation", "smallest gap (median)", "share of ties"]
    return pd.DataFrame(rows, columns=columns)


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([ranked.cpu() for ranked in outputs(model, x.split(1024))])
