"""Networks of mean opinion: targets keep their means, losses want what they say, training learns and repeats itself."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from iqasuite import models
from iqasuite.datasets import pseudo_labelled
from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import empty
from iqasuite.errors import InputError
from iqasuite.training.inputs import PixelInputs
from iqasuite.training.pretrain import LabelsPlan, labels_of, pretrain_on_pseudo_labels
from iqasuite.training.quality import (
    mean_vote,
    quality_loss,
    save_quality,
    scores_of,
    targets_of,
    train_on_fold,
    train_quality,
    vote_distributions,
    votes_of,
)
from iqasuite.training.schedule import Schedule
from iqasuite.weights.catalogue import entry_of

VOTES = np.arange(1, 6)
SMALL = {"width": 0.25, "hidden": 16, "dropout": 0.0}


@pytest.fixture
def blurred(tmp_path) -> Dataset:
    """Noise patterns of eight strengths of contrast, the score (0–100) of which is their contrast."""
    from PIL import Image

    rng, rows = np.random.default_rng(0), []
    for i in range(48):
        level = i % 8
        pixels = 128 + (6 + 12 * level) * rng.standard_normal((64, 64, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", f"c{i}", "", "", np.nan, 10 + 11 * level, 15.0, 20))
    columns = ["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    images = pd.DataFrame(rows, columns=columns)
    return Dataset("patterns", tmp_path, images, empty("votes"), Scale(0, 100, name="continuous"))


@pytest.fixture
def split(blurred) -> pd.DataFrame:
    parts = np.repeat(["train", "val", "test"], [32, 8, 8])
    return blurred.images[["image", "content"]].assign(fold=0, part=parts)


def test_scores_become_votes_and_back():
    scale = Scale(0.24, 7.21, name="MOS")
    mos = np.array([0.24, 3.0, 7.21])
    assert votes_of(mos, scale)[[0, 2]] == pytest.approx([1, 5])
    assert scores_of(votes_of(mos, scale), scale) == pytest.approx(mos)
    with pytest.raises(InputError, match="low below high"):
        votes_of(mos, Scale(1, 1))


@pytest.mark.parametrize("spread", [0.3, 0.8, 2.0])
def test_distributions_have_the_means_that_were_asked_for(spread):
    votes = np.linspace(1.02, 4.98, 40)
    p = vote_distributions(votes, np.full(40, spread))
    assert p.sum(1) == pytest.approx(np.ones(40), abs=1e-6)
    assert p @ VOTES == pytest.approx(votes, abs=1e-4)


def test_a_distribution_in_the_middle_is_the_normal_density_at_the_votes():
    density = norm.pdf(VOTES, 3, 0.8)
    assert vote_distributions([3.0], [0.8])[0] == pytest.approx(density / density.sum(), abs=1e-6)


def test_a_spread_that_is_not_known_has_a_default_and_a_score_outside_of_the_scale_is_an_error():
    assert vote_distributions([2.0], [np.nan]) == pytest.approx(vote_distributions([2.0], [0.8]))
    with pytest.raises(InputError, match=r"5\.2, expected 1…5"):
        vote_distributions([5.2], [0.8])


def test_targets_use_the_sets_scale_and_spread(blurred):
    target = targets_of(blurred)
    mos = blurred.images.set_index("image")["mos"]
    assert {i: float(p @ VOTES) for i, p in target.items()} == pytest.approx((1 + mos / 25).to_dict(), abs=1e-3)
    narrow = blurred.images.assign(mos_std=5.0)
    sharper = targets_of(Dataset("x", blurred.root, narrow, blurred.votes, blurred.scale))
    assert sharper["3.png"].max() > target["3.png"].max()


@pytest.mark.parametrize("ranking", ["plcc", "soft_spearman", "hinge", "none"])
def test_the_right_distribution_has_the_lowest_loss(ranking):
    target = torch.from_numpy(vote_distributions(np.linspace(1.5, 4.5, 12), np.full(12, 0.8)))
    loss = quality_loss(ranking)
    right = loss(target.log(), target)
    for other in (target.flip(0).log(), torch.zeros(12, 5), target.log() + torch.arange(5)):
        assert loss(other, target) > right
    votes = target @ torch.arange(1.0, 6.0)
    assert loss(votes, target) < loss(votes.flip(0), target)
    assert mean_vote(target.log()) == pytest.approx(votes, abs=1e-5)


def test_an_unknown_ranking_term_is_named():
    with pytest.raises(InputError, match="'sorted' is unknown"):
        quality_loss("sorted")


def test_training_finds_what_the_score_hangs_on_and_repeats_itself(blurred, split):
    inputs, target = PixelInputs(blurred, (64, 64), 48, views=0), targets_of(blurred)
    schedule = Schedule(epochs=12, lr=5e-3, warmup=1.0, precision="no")

    def again() -> tuple:
        return train_on_fold(lambda: models.create("mobile_nr", **SMALL), inputs, target, split, 0, schedule, seed=3)

    (first, result), (second, _) = again(), again()
    assert result.best_value > 0.85
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_refit_learns_from_the_validation_part_and_chooses_nothing(blurred, split):
    inputs, target = PixelInputs(blurred, (64, 64), 48, views=0), targets_of(blurred)
    seen = []

    class Watching(PixelInputs):
        def batches(self, model, images, *rest):
            seen.append(set(images))
            return super().batches(model, images, *rest)

    watching = Watching(blurred, (64, 64), 48, views=0)
    make = lambda: models.create("mobile_nr", **SMALL)  # noqa: E731
    _, result = train_on_fold(make, watching, target, split, 0, Schedule(epochs=2), refit=True)
    assert len(seen) == 1 and seen[0] == set(split.loc[split["part"] != "test", "image"])
    assert result.best_epoch == 1 and "val_loss" not in result.history
    with pytest.raises(InputError, match="no score of image 'x.png'"):
        train_quality(make(), inputs, target, ["x.png"], [], Schedule(epochs=1))
    with pytest.raises(InputError, match="no training images"):
        train_quality(make(), inputs, target, [], [], Schedule(epochs=1))


def test_saved_weights_are_an_entry_with_the_sets_scale(blurred, tmp_path):
    network = models.create("mobile_nr", **SMALL)
    path = save_quality(network, tmp_path / "w" / "n.safetensors", blurred, 64, {"title": "A network"})
    entry = entry_of(path, "n")
    assert (entry.title, entry.low, entry.high, entry.observer) == ("A network", 0, 100, "")
    assert entry.card.facts()["preprocessing"] == {"shorter_side": 64}


def test_pseudo_labels_are_learnt_and_the_network_alone_is_left(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        rows = np.linspace(0, 8 + 4 * rng.random(), 176)
        wave = 128 + 90 * np.sin(rows[:, None, None] * rng.uniform(1, 3, 3)) * np.cos(rows[None, :, None])
        pixels = wave + rng.normal(0, 12, (176, 176, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{name}.png")

    def closeness(reference, distorted):
        return -(reference - distorted).square().mean((1, 2, 3)).sqrt()

    files = [tmp_path / f"{name}.png" for name in "abc"]
    spoiled = pseudo_labelled.make(files, {"rmse": closeness}, ("blur", "noise"), 176, 1, 0, tmp_path / "sets")
    names = spoiled.images.set_index("image")["content"]
    training, choosing = (list(names.index[names.isin(which)]) for which in (["a", "b"], ["c"]))
    network = models.create("mobile_nr", **SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    schedule = Schedule(epochs=2, lr=1e-3, precision="no")
    plan = LabelsPlan(crop=96, batch_size=8)
    result, logits = pretrain_on_pseudo_labels(network, spoiled, training, choosing, schedule, plan)
    assert logits.shape == (len(choosing), 5 + 2 + 5)  # votes, two distortions, five levels
    assert result.epochs_run == 2 and "val_srocc_of_labels" in result.history
    assert set(network.state_dict()) == set(before)
    assert not torch.equal(network.state_dict()["head.1.weight"], before["head.1.weight"])


def test_a_transformer_learns_pseudo_labels_too_and_what_metrics_say(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    files, closeness = [tmp_path / f"{name}.png" for name in "abc"], lambda r, d: -(r - d).square().mean((1, 2, 3))
    pairs = pseudo_labelled.make(files, {"mse": closeness}, ("blur", "noise"), 80, 1, 0, tmp_path / "sets")
    labels = labels_of(pairs, ("distortion", "mse"))
    assert {name: label.shape for name, label in labels.items()} == {
        "votes": (30, 5),
        "distortion": (30, 2),
        "mse": (30, 5),
    }
    assert all(torch.allclose(label.sum(1), torch.ones(30)) for label in labels.values())
    worst = pairs.metrics["mse"].argmin()
    assert labels["mse"][worst].argmax() == 0 and labels["votes"][worst].argmax() == 0
    network = models.create("vit_iqa", image_size=64, trunk={"size": "tiny", "depth": 1})
    names = pairs.images.set_index("image")["content"]
    plan = LabelsPlan(64, 4, steps=3, small=0.5, beside=("distortion", "mse"))
    parts = [list(names.index[names.isin(which)]) for which in (["a", "b"], ["c"])]
    result, logits = pretrain_on_pseudo_labels(network, pairs, *parts, Schedule(epochs=2, precision="no"), plan)
    assert result.epochs_run == 2 and logits.shape == (10, 12) and logits.isfinite().all()


def test_a_notice_that_has_to_go_along_is_on_the_card(blurred, tmp_path):
    blurred.notice, blurred.citation = "All rights reserved.", "Somebody, 2015"
    path = save_quality(models.create("mobile_nr", **SMALL), tmp_path / "n.safetensors", blurred, 64, {})
    card = entry_of(path, "n").card
    assert (card.notice, card.citation) == ("All rights reserved.", "Somebody, 2015")
