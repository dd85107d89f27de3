from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import rankdata, spearmanr
from sklearn.isotonic import IsotonicRegression

from iqasuite.errors import InputError
from iqasuite.models.sorter import ConvSorter, PairSorter
from iqasuite.training import ranking_losses as rl
from iqasuite.training.losses import mse_loss, plcc_loss


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def every_loss():
    return {**rl.LOSSES, "conv": rl.sorter_loss(ConvSorter()), "pair": rl.sorter_loss(PairSorter())}


def test_ranks_against_scipy_with_ties():
    x = torch.randn(5, 40).mul(4).round()
    torch.testing.assert_close(39 * rl.ranks(x) + 1, torch.from_numpy(rankdata(x, axis=1)).float())
    assert rl.ranks(torch.tensor([7.0])).tolist() == [0.5]


def test_spearman_against_scipy():
    x, y = torch.randn(50), torch.randn(50).mul(2).round()
    assert rl.spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(rl.spearman(torch.ones(5), torch.arange(5.0)))


@pytest.mark.parametrize("soft", [rl.soft_ranks, rl.projected_ranks])
def test_soft_ranks_become_exact(soft):
    x = torch.cat([torch.randperm(12).float(), torch.randperm(12).float()]).reshape(2, 12)
    errors = [(soft(x, t) - rl.ranks(x)).abs().max().item() for t in (100.0, 1.0, 0.02)]
    assert errors[0] > errors[-1] and errors[-1] < 1e-4
    assert errors[0] > 0.4  # all are the mean rank where the temperature is high
    with_ties = torch.tensor([1.0, 1, 2, 3, 3, 3])
    torch.testing.assert_close(soft(with_ties, 1e-2), rl.ranks(with_ties), atol=1e-4, rtol=0)


@pytest.mark.parametrize("loss", [rl.soft_spearman_loss, rl.projected_spearman_loss])
def test_soft_spearman_becomes_scipy_s(loss):
    scores, targets = torch.randperm(20).float(), torch.randn(20).mul(3).round()
    assert loss(scores, targets, 0.01).item() == pytest.approx(1 - spearmanr(scores, targets).statistic, abs=1e-4)


def test_isotonic_regression_against_scikit_learn():
    y = torch.randn(4, 30).double() + torch.linspace(0, 2, 30) + 1000
    expected = [IsotonicRegression().fit_transform(np.arange(30), row) for row in y.numpy()]
    torch.testing.assert_close(rl.isotonic(y), torch.from_numpy(np.stack(expected)))
    small = torch.randn(2, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(rl.isotonic, small)


def test_projected_ranks_stay_within_the_permutahedron():
    r = 9 * rl.projected_ranks(torch.randn(20, 10), 2.0)
    torch.testing.assert_close(r.sum(dim=1), torch.full((20,), 45.0))
    lowest_sums = r.sort(dim=1).values.cumsum(dim=1)
    assert (lowest_sums >= torch.arange(10).cumsum(0) - 1e-4).all()


def test_pair_losses_against_a_loop():
    s, y = torch.randn(7), torch.tensor([1.0, 1, 2, 3, 3, 4, 0])
    differences = torch.stack([s[i] - s[j] for i in range(7) for j in range(7) if y[i] > y[j]])
    torch.testing.assert_close(rl.hinge_loss(s, y, 0.3), (0.3 - differences).relu().mean())
    torch.testing.assert_close(rl.logistic_loss(s, y), -differences.sigmoid().log().mean())
    torch.testing.assert_close(rl.bradley_terry_loss(differences, torch.ones(len(differences))), rl.logistic_loss(s, y))


def test_bradley_terry_finds_the_qualities_behind_preferences():
    truth = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    a, b = torch.triu_indices(4, 4, 1)
    preferences = (truth[a] - truth[b]).sigmoid()
    scores = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=100, tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        value = rl.bradley_terry_loss(scores[a] - scores[b], preferences)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(scores.detach() - scores.detach().mean(), truth - truth.mean(), atol=1e-2, rtol=0)
    with pytest.raises(InputError, match="preference 1.5"):
        rl.bradley_terry_loss(torch.zeros(2), torch.tensor([0.0, 1.5]))


def test_squared_correlation_rewards_the_wrong_side():
    y = torch.randn(20)
    assert rl.plcc_squared_loss(-y, y) == pytest.approx(0, abs=1e-4) == rl.plcc_squared_loss(y, y).item()
    assert plcc_loss(-y, y) == pytest.approx(2, abs=1e-4)
    x = torch.randn(20)
    assert rl.plcc_squared_loss(x, y) == pytest.approx(1 - np.corrcoef(x, y)[0, 1] ** 2, abs=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 21])
@pytest.mark.parametrize("case", ["plain", "constant scores", "constant targets", "both constant", "ties", "huge"])
def test_losses_and_gradients_are_finite(n, case):
    scores, targets = torch.randn(n), torch.randn(n)
    scores = torch.full((n,), 0.3) if case in ("constant scores", "both constant") else scores
    targets = torch.full((n,), 2.0) if case in ("constant targets", "both constant") else targets
    if case == "ties":
        scores, targets = scores.round(), targets.round()
    if case == "huge":
        scores = scores * 1e4
    for name, loss in every_loss().items():
        leaf = scores.clone().requires_grad_()
        value = loss(leaf, targets)
        value.backward()
        assert value.ndim == 0 and value.isfinite() and leaf.grad.isfinite().all(), name


@pytest.mark.parametrize("name", rl.LOSSES)
def test_each_loss_by_itself_brings_scores_into_order(name):
    targets = torch.randn(12)
    scores = (0.3 * targets + 0.5 * torch.randn(12)).requires_grad_()
    loss, before = rl.create({name: 1.0}), rl.spearman(scores, targets)
    optimizer = torch.optim.Adam([scores], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(scores, targets).backward()
        optimizer.step()
    assert rl.spearman(scores, targets) > max(0.95, before)


@pytest.mark.parametrize("name", ["soft_spearman", "projected_spearman", "hinge", "logistic"])
def test_rank_losses_do_not_see_the_targets_scale(name):
    scores, targets = torch.randn(10), torch.randn(10)
    torch.testing.assert_close(rl.LOSSES[name](scores, targets.exp() * 50), rl.LOSSES[name](scores, targets))


class ExactSorter(torch.nn.Module):
    """Exact ranks with a gradient of 1: what a perfectly trained sorter of four would be."""

    width = 4

    def forward(self, x):
        return rl.ranks(x) + x - x.detach()


def test_sorter_loss_is_spearman_in_other_units_and_freezes_the_sorter():
    x, y = torch.randn(4), torch.randn(4)
    loss = rl.sorter_loss(ExactSorter())
    expected = (1 - spearmanr(x, y).statistic) * (4 + 1) / (6 * (4 - 1))
    assert loss(x, y) == pytest.approx(expected, abs=1e-5)
    both = torch.cat([x, x]), torch.cat([y, x])
    assert loss(*both) == pytest.approx(expected / 2, abs=1e-5)

    sorter = ConvSorter().train()
    loss = rl.sorter_loss(sorter)
    assert not sorter.training and not any(p.requires_grad for p in sorter.parameters())
    scores = torch.randn(20, requires_grad=True)
    before = sorter.state_dict()["features.2.running_mean"].clone()
    loss(scores, scores.detach()).backward()
    assert torch.equal(before, sorter.state_dict()["features.2.running_mean"])
    assert loss(scores, scores.detach()) == 0
    assert rl.sorter_loss(sorter).__name__ == loss.__name__ != rl.sorter_loss(ConvSorter()).__name__


@pytest.mark.parametrize(("n", "rows"), [(4, 1), (8, 2), (9, 3), (11, 3), (3, 1), (1, 1)])
def test_chunks_cover_the_batch(n, rows):
    cut = rl.chunks(n, 4)
    assert cut.shape == (rows, 4) and set(cut.flatten().tolist()) == set(range(n))
    if n >= 4:
        assert all(len(set(row)) == 4 for row in cut.tolist()) and cut[-1, -1] == n - 1


def test_combined_losses_and_their_names():
    s, y = torch.randn(9), torch.randn(9)
    softer = partial(rl.soft_spearman_loss, temperature=0.5)
    loss = rl.combined({mse_loss: 0.1, softer: 0.9, rl.hinge_loss: 0.0})
    torch.testing.assert_close(loss(s, y), 0.1 * F.mse_loss(s, y) + 0.9 * rl.soft_spearman_loss(s, y, 0.5))
    assert loss.__name__ == "0.1 mse_loss + 0.9 soft_spearman_loss(temperature=0.5)"
    study = rl.create({"mse": 0.1, "plcc_squared": 0.9, "sorter": 0.1}, ConvSorter())
    assert study(s, y).isfinite() and "sorter_loss_" in study.__name__


def test_losses_that_cannot_be_made():
    cases = (
        ({}, "no loss"),
        ({"mse": 0}, "no loss"),
        ({"mse": -1}, "is -1"),
        ({"mse": float("nan")}, "is nan"),
        ({"spearman": 1}, "soft_"),
        ({"sorter": 1}, "trained sorter"),
    )
    for weights, message in cases:
        with pytest.raises(InputError, match=message):
            rl.create(weights)
    for soft in (rl.soft_ranks, rl.projected_ranks):
        with pytest.raises(InputError, match="above 0"):
            soft(torch.randn(3), 0.0)


def test_sums_of_losses_are_called_by_what_tells_them_apart():
    assert rl.title({"mse": 0.1, "plcc": 0.45, "soft_spearman": 0.45}) == "soft ranks"
    assert rl.title({"mse": 0.1, "plcc": 0.9, "sorter": 0.0}) == "PLCC"
    assert rl.title({"mse": 1.0}) == "MSE"
    assert rl.title({"mse": 0.1, "plcc_squared": 0.0, "sorter": 0.1}) == "the study's"
    assert set(rl.TITLES) == {*rl.LOSSES, "sorter"}
