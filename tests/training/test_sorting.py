import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from iqasuite.errors import InputError
from iqasuite.models.sorter import ConvSorter, PairSorter
from iqasuite.training import sorting
from iqasuite.training.loop import Followed, Schedule
from iqasuite.training.losses import plcc_loss
from iqasuite.training.ranking_losses import ranks, soft_ranks, soft_spearman_loss


class SoftSorter(torch.nn.Module):
    """Soft ranks as a sorter of any width: exact where the temperature is low."""

    width = None

    def __init__(self, temperature):
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.tensor(temperature), requires_grad=False)

    def forward(self, x):
        return soft_ranks(x, self.temperature.item())


def test_vectors_depend_on_seed_and_step_only():
    first = sorting.vectors(10, 16, 3, 7)
    assert torch.equal(first, sorting.vectors(10, 16, 3, 7))
    for other in (sorting.vectors(10, 16, 4, 7), sorting.vectors(10, 16, 3, 8)):
        assert not torch.equal(first, other)


def test_half_of_the_study_s_vectors_are_normal_and_half_uniform():
    x = sorting.vectors(4000, 16, 0)
    assert x[:2000].std() == pytest.approx(2, abs=0.05) and x[:2000].mean() == pytest.approx(0, abs=0.05)
    assert x[2000:].abs().max() <= 10 and x[2000:].std() == pytest.approx(20 / 12**0.5, abs=0.05)


@pytest.mark.parametrize("name", sorting.DISTRIBUTIONS)
def test_distributions_are_what_they_are_called(name):
    x = sorting.vectors(500, 16, 1, distributions=[name]).double().numpy()
    assert x.shape == (500, 16) and np.isfinite(x).all()
    gap = np.diff(np.sort(x, axis=1), axis=1)
    tied = (gap == 0).any(axis=1).mean()
    assert tied > 0.6 if name == "ties" else tied < 0.1
    if name == "ties":
        assert 0 < (np.ptp(x, axis=1) == 0).sum() < 30
    if name == "near_ties":
        assert (
            (gap < 0.05).mean() > 0.35 > (np.diff(np.sort(np.random.default_rng(0).normal(size=x.shape))) < 0.05).mean()
        )
    if name == "bimodal":
        assert (np.abs(x) < 0.5).mean() < 1e-3
    if name == "exponential":
        assert np.abs(x).mean() == pytest.approx(1, abs=0.05)


def test_batches_for_the_loop():
    batches = sorting.VectorBatches(8, 32, 3, seed=5, distributions=sorting.ROBUST)
    first, again, second = (list(batches.epoch(number)) for number in (0, 0, 1))
    assert len(first) == len(batches) == 3
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    seen = torch.cat([x for x, _ in first + second])
    assert len(seen.unique(dim=0)) == len(seen) == 192
    x, y = first[0]
    torch.testing.assert_close(7 * y + 1, torch.from_numpy(rankdata(x, axis=1)).float())
    fixed = sorting.VectorBatches(8, 32, 3, 5, sorting.ROBUST, fixed=True)
    assert torch.equal(next(fixed.epoch(4))[0], x) and fixed.signature() != batches.signature()


def test_held_out_pairs_spread_over_the_correlations():
    for name in ("normal", "ties"):
        x, y = sorting.held_out_pairs(name, 400)
        rho = sorting.true_spearman(x, y)
        low, middle, high = rho[rho.isfinite()].quantile(torch.tensor([0.05, 0.5, 0.95]).double())
        assert low < 0.1 and 0.2 < middle < 0.7 and high > 0.8
    assert y.sort().values.equal(sorting.vectors(400, 16, sorting.HELD_OUT, 1, ["ties"]).sort().values)


def test_true_spearman_against_scipy():
    x, y = sorting.held_out_pairs("ties", 30)
    constant = (x.std(dim=1) == 0) | (y.std(dim=1) == 0)
    expected = [spearmanr(a, b).statistic for a, b in zip(x[~constant], y[~constant], strict=True)]
    np.testing.assert_allclose(sorting.true_spearman(x, y)[~constant], expected, atol=1e-6)
    assert sorting.true_spearman(torch.ones(1, 4), torch.randn(1, 4)).isnan().all()


def test_table_of_an_exact_sorter_and_of_one_that_does_not_sort():
    exact = sorting.surrogate_table(SoftSorter(1e-5), count=200)
    assert list(exact["distribution"]) == list(sorting.DISTRIBUTIONS)
    assert (exact["error"] < 1e-3).all() and (exact["rank_error"] < 1e-3).all()
    assert exact.set_index("distribution").loc["ties", "n"] < 200  # a constant has no correlation
    torch.manual_seed(0)
    untrained = sorting.surrogate_table(ConvSorter(8), ["normal"], count=200)
    assert untrained["error"].item() > 0.2
    # A temperature that is low at one scale is high at another.
    assert sorting.surrogate_table(SoftSorter(0.3), ["uniform"], count=200, scale=0.01)["rank_error"].item() > 0.2


def test_gradients_against_the_slope_of_spearman():
    x, y = sorting.held_out_pairs("scores", 20)
    good = sorting.gradient_table(lambda s, t: soft_spearman_loss(s, t, 0.3), x, y)
    assert good["finite"].all() and good["cosine"].mean() > 0.7 and (good["norm"] > 0).all()
    wrong = sorting.gradient_table(lambda s, t: -soft_spearman_loss(s, t, 0.3), x, y)
    np.testing.assert_allclose(wrong["cosine"], -good["cosine"], atol=1e-5)
    np.testing.assert_allclose(good["spearman"], sorting.true_spearman(x, y))
    broken = sorting.gradient_table(lambda s, t: (s * torch.nan).sum(), x[:2], y[:2])
    assert not broken["finite"].any()


def test_a_small_training_learns_to_sort_and_can_be_resumed(tmp_path):
    def trained(checkpoint):
        torch.manual_seed(0)
        model = PairSorter(hidden=8)
        schedule = Schedule(epochs=2, lr=2e-2, optimizer="adam", weight_decay=0.0, precision="no")
        result = sorting.train_sorter(model, schedule, width=6, batch_size=64, steps=40, followed=Followed(checkpoint))
        return model, result

    model, result = trained(tmp_path / "sorter.ckpt")
    losses = result.history["val_loss"]
    assert losses.iloc[-1] < 0.05 and losses.iloc[-1] < losses.iloc[0]
    assert sorting.surrogate_table(model, ["normal", "exponential"], width=6, count=500)["error"].max() < 0.1
    again, _ = trained(tmp_path / "sorter.ckpt")
    x = torch.randn(3, 6)
    assert torch.equal(model(x), again(x))
    torch.testing.assert_close(model(x), ranks(x), atol=0.2, rtol=0)


def test_one_width_of_a_convolutional_sorter_trains():
    torch.manual_seed(0)
    schedule = Schedule(epochs=1, lr=3e-3, optimizer="adam", weight_decay=0.0, precision="no")
    result = sorting.train_sorter(ConvSorter(3), schedule, batch_size=64, steps=50, distributions=sorting.FAITHFUL)
    assert result.best_value < 0.2  # the middle rank for every number would have .33


def test_unknown_distributions_are_refused():
    with pytest.raises(InputError, match="cauchy"):
        sorting.vectors(4, 4, 0, distributions=["normal", "cauchy"])


def test_a_moved_score_shows_the_staircase_and_its_substitute():
    positions, exact, smooth = sorting.one_score_moved({"soft": soft_spearman_loss}, n=8)
    assert len(positions) == len(exact) == len(smooth["soft"]) == 401
    assert len(np.unique(exact.round(9))) <= 8 < len(np.unique(smooth["soft"].round(9)))


def test_small_batches_are_noisier_and_point_less_well():
    noise = sorting.batch_noise({"plcc": plcc_loss}, n=512, draws=20)
    assert noise["batch"].tolist() == list(sorting.BATCH_SIZES)
    first, last = noise.iloc[0], noise.iloc[-1]
    assert first["deviation"] > 3 * last["deviation"] and first["cosine"] < last["cosine"] > 0.9


def test_mean_cosines_have_a_row_a_loss_and_step():
    x, y = sorting.held_out_pairs("scores", 6, 8)
    table = sorting.mean_cosines({"plcc": plcc_loss}, x, y, steps=(0.3,))
    assert table[["loss", "step", "n", "finite"]].to_numpy().tolist() == [["plcc", 0.3, 6, 1.0]]
    assert table["low"].item() < table["cosine"].item() < table["high"].item() <= 1.2
