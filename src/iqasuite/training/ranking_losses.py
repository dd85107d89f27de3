"""Losses that look at order: scores (B,) and target scores (B,) -> scalar, higher = better in both, lowered.

Finite in value and gradient for one score, for constant scores and for ties; where nothing can be ranked they are a
constant. Ranks run from 0 to 1, see `iqasuite.models.sorter`. Scores are expected in units of about the targets'
standard deviation: margins and temperatures are in the scores' own unit. (Dividing by a batch's spread instead would
leave no gradient at all in a batch of two.)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqasuite.errors import InputError
from iqasuite.training.losses import mse_loss, plcc_loss

Loss = Callable[[Tensor, Tensor], Tensor]


def ranks(x: Tensor) -> Tensor:
    """Exact ranks of vectors (…, n), from 0 (lowest) to 1, ties sharing their mean; .5 where n is 1. No gradient."""
    x = x.detach().float().contiguous()
    ordered = x.sort(dim=-1).values
    below, not_above = (torch.searchsorted(ordered, x, side=side) for side in ("left", "right"))
    return _normalised((below + not_above + 1) / 2, x.shape[-1])


def soft_ranks(scores: Tensor, temperature: float = 0.2) -> Tensor:
    """Ranks (…, n), from 0 to 1, as the share of the others that a sigmoid puts below each score.

    Args:
        scores: shape (…, n); ties share their mean rank exactly.
        temperature: in the scores' unit: pairs closer than about that have the gradient, pairs much farther apart none.
            As it goes to 0, the ranks become exact. At .2 standard deviations the gradient of `soft_spearman_loss` has
            a cosine of .93 or more with the true correlation's slope over steps of .1–.3 (`sorting.gradient_table`).

    Raises:
        InputError: temperature not above 0.

    Reference: T. Qin, T.-Y. Liu and H. Li, "A general approximation framework for direct optimization of information
    retrieval measures", Information Retrieval 13, 2010.
    """
    _check_positive("soft_ranks", "temperature", temperature)
    scores = scores.float()
    below = ((scores[..., :, None] - scores[..., None, :]) / temperature).sigmoid().sum(dim=-1)
    return _normalised(below + 0.5, scores.shape[-1])  # half a rank from the pair of a score with itself


def projected_ranks(scores: Tensor, regularisation: float = 2.0) -> Tensor:
    """Ranks (…, n), from 0 to 1, as the point of the permutahedron of the ranks nearest to scores / regularisation.

    Exact, and without a gradient, where neighbouring scores are regularisation / (n − 1) apart or more; scores that are
    closer share their gradient. The isotonic regression is solved by its min–max formula in O(n²), all vectors at once.

    Args:
        scores: shape (…, n).
        regularisation: in the scores' unit; as it goes to 0, the ranks become exact.

    Raises:
        InputError: regularisation not above 0.

    Reference: M. Blondel et al., "Fast Differentiable Sorting and Ranking", ICML 2020, arXiv 2002.08871.
    """
    _check_positive("projected_ranks", "regularisation", regularisation)
    n = scores.shape[-1]
    ordered, order = (scores.float() / regularisation).sort(dim=-1)
    shift = isotonic(ordered - torch.linspace(0, 1, n, device=scores.device)) if n > 1 else ordered - 0.5
    return torch.zeros_like(ordered).scatter(-1, order, ordered - shift)


def isotonic(y: Tensor) -> Tensor:
    """Non-decreasing vectors (…, n) nearest to y (…, n) in least squares, differentiable.

    v_i = max over j ≤ i of min over k ≥ i of mean(y_j … y_k).
    """
    n = y.shape[-1]
    offset = y.detach().mean(dim=-1, keepdim=True)  # sums of small numbers are more precise
    total = F.pad((y - offset).cumsum(dim=-1), (1, 0))
    index = torch.arange(n, device=y.device)
    length = index[None, :] - index[:, None] + 1
    mean = (total[..., None, 1:] - total[..., :-1, None]) / length.clamp(min=1)
    mean = mean.masked_fill(length < 1, torch.inf)
    lowest = mean.flip(-1).cummin(dim=-1).values.flip(-1)
    lowest = lowest.masked_fill(length < 1, -torch.inf)
    return lowest.cummax(dim=-2).values.diagonal(dim1=-2, dim2=-1) + offset


def spearman(scores: Tensor, targets: Tensor) -> float:
    """Exact rank correlation of scores (n,) with targets (n,), to watch a training by; nan where either is constant."""
    return correlations(ranks(scores)[None], ranks(targets)[None]).item()


def correlations(x: Tensor, y: Tensor) -> Tensor:
    """Pearson correlations (B,) of vectors (B, n) with vectors (B, n); nan where either is constant."""
    x, y = (v.double() - v.double().mean(dim=-1, keepdim=True) for v in (x, y))
    return (x * y).sum(dim=-1) / (x.square().sum(dim=-1) * y.square().sum(dim=-1)).sqrt()


def plcc_squared_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """1 − PLCC², in [0, 1]: the term of the study. It rewards anti-correlation as much as correlation.

    Scores that start on the wrong side are driven to −1, and at a correlation of 0 there is no gradient; only another
    term, such as the squared error, can tell the sides apart. See `iqasuite.training.losses.plcc_loss`.
    """
    return 1 - (1 - plcc_loss(scores, targets)).square()


def soft_spearman_loss(scores: Tensor, targets: Tensor, temperature: float = 0.2) -> Tensor:
    """1 − Pearson correlation of `soft_ranks` with the targets' exact ranks, in [0, 2]; 1 where either is constant."""
    return plcc_loss(soft_ranks(scores, temperature), ranks(targets))


def projected_spearman_loss(scores: Tensor, targets: Tensor, regularisation: float = 2.0) -> Tensor:
    """1 − Pearson correlation of `projected_ranks` with the targets' exact ranks, in [0, 2]; 1 where constant."""
    return plcc_loss(projected_ranks(scores, regularisation), ranks(targets))


def hinge_loss(scores: Tensor, targets: Tensor, margin: float = 0.1) -> Tensor:
    """Mean of max(0, margin − (s_i − s_j)) over the pairs with target i above target j; 0 without such pairs.

    `margin` is in the scores' unit.
    """
    return _over_pairs(scores, targets, lambda difference: (margin - difference).relu())


def logistic_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean of ln(1 + exp(s_j − s_i)) over the pairs with target i above target j; 0 without such pairs.

    Reference: C. Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.
    """
    return _over_pairs(scores, targets, lambda difference: F.softplus(-difference))


def bradley_terry_loss(differences: Tensor, preferences: Tensor) -> Tensor:
    """Cross-entropy of preferences under P(A preferred to B) = sigmoid(score of A − score of B).

    Args:
        differences: score of A − score of B, shape (B,), higher score = better image.
        preferences: share of observers who prefer A, shape (B,), in [0, 1].

    Raises:
        InputError: a preference outside of [0, 1].

    Reference: R. A. Bradley and M. E. Terry, "Rank analysis of incomplete block designs", Biometrika 39, 1952; for
    images E. Prashnani et al., "PieAPP", CVPR 2018 (whose scores are errors: lower is better).
    """
    outside = preferences[~((preferences >= 0) & (preferences <= 1))]
    if len(outside):
        raise InputError(f"bradley_terry_loss: preference {outside[0].item():g}, expected 0…1")
    return F.binary_cross_entropy_with_logits(differences.float(), preferences.float())


def sorter_loss(sorter: nn.Module) -> Loss:
    """The loss mean((R(targets) − R(scores))²) of a learned sorter R, ranks from 0 to 1.

    With exact ranks of vectors of n this is (1 − Spearman) · (n + 1) / (6 (n − 1)): about .19 times 1 − Spearman at 16.

    Batches are cut into vectors of the sorter's width, see `chunks`; a sorter of any width takes a batch whole. R works
    on the targets too, so that its errors cancel where scores agree with targets; with exact ranks they would not.

    Args:
        sorter: of `iqasuite.models.sorter`, trained. It is frozen: evaluation mode, no gradients.

    Returns:
        (scores (B,), targets (B,)) -> scalar. Its name holds a fingerprint of the weights, by which a checkpoint tells
        one sorter from another.
    """
    sorter.eval().requires_grad_(False)
    digest = hashlib.sha256()
    for value in sorter.state_dict().values():
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        sorter.to(scores.device)
        rows = chunks(len(scores), cast("int | None", sorter.width) or len(scores), scores.device)
        with torch.no_grad():
            wanted = sorter(targets.float()[rows])
        return F.mse_loss(sorter(scores.float()[rows]), wanted)

    loss.__name__ = f"sorter_loss_{digest.hexdigest()[:8]}"
    return loss


def chunks(n: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Positions (m, width) that cut a batch of n into m vectors, every position at least once.

    Vectors follow each other; where n is no multiple of the width, the last vector ends with the batch and overlaps the
    one before. A batch below the width (an epoch's last one, say) is repeated in turn until a vector is full: its order
    stays what it was, with ties.
    """
    if n < width:
        return (torch.arange(width, device=device) % n)[None]
    starts = torch.arange(0, n - width + 1, width, device=device)
    if n % width:
        starts = torch.cat([starts, starts.new_tensor([n - width])])
    return starts[:, None] + torch.arange(width, device=device)


def combined(weights: Mapping[Loss, float]) -> Loss:
    """The weighted sum of losses, {loss: weight}; its name tells what it is made of.

    A loss with other settings than its own is `functools.partial(soft_spearman_loss, temperature=0.5)`.

    Raises:
        InputError: no loss, or a weight that is not a number of 0 or more.
    """
    for loss, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"combined: weight of {_name(loss)} is {weight}, expected 0 or more")
    weights = {loss: float(weight) for loss, weight in weights.items() if weight > 0}
    if not weights:
        raise InputError("combined: no loss with a weight above 0")

    def total(scores: Tensor, targets: Tensor) -> Tensor:
        value = sum(weight * loss(scores, targets) for loss, weight in weights.items())
        assert isinstance(value, Tensor)  # there is a loss
        return value

    total.__name__ = " + ".join(f"{weight:g} {_name(loss)}" for loss, weight in weights.items())
    return total


LOSSES: dict[str, Loss] = {
    "mse": mse_loss,
    "plcc": plcc_loss,
    "plcc_squared": plcc_squared_loss,
    "soft_spearman": soft_spearman_loss,
    "projected_spearman": projected_spearman_loss,
    "hinge": hinge_loss,
    "logistic": logistic_loss,
}


TITLES = {
    "mse": "MSE",
    "plcc": "PLCC",
    "plcc_squared": "PLCC²",
    "soft_spearman": "soft ranks",
    "projected_spearman": "projected ranks",
    "hinge": "pairwise hinge",
    "logistic": "pairwise logistic",
    "sorter": "learned sorter",
}


def title(weights: Mapping[str, float]) -> str:
    """What tables call a sum of losses: its rank term, or where it has none its correlation, or its squared error.

    With PLCC² in it, if only with a weight of 0 as in one of the study's networks, it is "the study's".
    """
    if "plcc_squared" in weights:
        return "the study's"
    named = [name for name, weight in weights.items() if weight > 0]
    ranking = [name for name in named if name not in ("mse", "plcc")]
    return " + ".join(TITLES.get(name, name) for name in ranking or [n for n in ("plcc", "mse") if n in named][:1])


def create(weights: Mapping[str, float], sorter: nn.Module | None = None) -> Loss:
    """The weighted sum of the losses called so, {name: weight}, as in a configuration file.

    The study's are {"mse": m, "plcc_squared": 1 − m, "sorter": s}, m and s differing from network to network.

    Args:
        weights: names of `LOSSES`, and "sorter".
        sorter: of the loss "sorter".

    Raises:
        InputError: unknown name, "sorter" without a sorter, or weights that `combined` refuses.
    """
    known = dict(LOSSES)
    if "sorter" in weights:
        if sorter is None:
            raise InputError("loss 'sorter' needs a trained sorter, found none")
        known["sorter"] = sorter_loss(sorter)
    for name in weights:
        if name not in known:
            raise InputError(f"loss {name!r} is unknown, expected some of {', '.join([*LOSSES, 'sorter'])}")
    return combined({known[name]: weight for name, weight in weights.items()})


def _over_pairs(scores: Tensor, targets: Tensor, of_difference: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of a function of s_i − s_j over the pairs with target i above target j; 0, with gradient 0, for none."""
    scores = scores.float()
    above = targets[:, None] > targets[None, :]
    values = of_difference(scores[:, None] - scores[None, :])
    return torch.where(above, values, 0).sum() / above.sum().clamp(min=1)


def _name(loss: Loss) -> str:
    if isinstance(loss, partial):
        return f"{_name(loss.func)}({', '.join(f'{key}={value}' for key, value in loss.keywords.items())})"
    return loss.__name__


def _normalised(ranks: Tensor, n: int) -> Tensor:
    return (ranks - 1) / (n - 1) if n > 1 else torch.full_like(ranks, 0.5) + 0 * ranks


def _check_positive(where: str, name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{where}: {name} is {value}, expected above 0")
