import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from iqasuite import models
from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import empty
from iqasuite.datasets.pairs import ImagePairs, Preferences, pairs_of, preferences_of
from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.images.lightness import scaled_lightness
from iqasuite.models.siamese_fr import VARIANTS
from iqasuite.models.sorter import PairSorter
from iqasuite.training import ranking_losses
from iqasuite.training.loop import Followed
from iqasuite.training.pairs import (
    LOSSES,
    ScoredPairs,
    Shown,
    pair_batches,
    preference_accuracy,
    preferred,
    pretrain_on_preferences,
    train_full_reference,
)
from iqasuite.training.schedule import Schedule

SIDE = 128
SMALL = {"width": 0.25, "grid": 1, "dense": 8}
SHORT = Schedule(epochs=4, lr=1e-2, scheduler="cosine", weight_decay=0.0, precision="no")
SHOWN = Shown(4, SIDE)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def noisy():
    """Seven smooth references, each with four amounts of noise; the score falls by 10 a doubling of the noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 196, (7, 8, 8, 3), dtype=np.uint8)
    references = np.stack([np.array(Image.fromarray(c).resize((SIDE, SIDE), Image.BICUBIC)) for c in coarse])
    amounts = np.array([1, 4, 16, 64])
    noise = rng.normal(size=(7, len(amounts), SIDE, SIDE, 3)) * amounts[:, None, None, None]
    distorted = np.clip(references[:, None] + noise, 0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    images = pd.DataFrame({"image": [f"{i}" for i in range(28)], "mos": np.tile(500 - 10 * np.log2(amounts), 7)})
    return ImagePairs(images, references, distorted, np.repeat(np.arange(7), len(amounts)))


TRAIN, VAL = range(20), range(20, 28)


def trained(noisy, network="simple", losses=LOSSES, sorter=None, shown=SHOWN, **changes):
    network = {"variant": network, **SMALL} if isinstance(network, str) else network
    pairs = ScoredPairs(noisy.pairs, noisy.images["mos"], TRAIN, VAL)
    loss = ranking_losses.create(losses, sorter)
    return train_full_reference(network, pairs, loss, **{"schedule": SHORT, "shown": shown} | changes)


def weights(fitted):
    return torch.cat([p.flatten() for p in fitted.model.parameters()])


def test_a_batch_shows_both_images_of_a_pair_in_the_same_place_and_light(noisy):
    same = ImagePairs(noisy.images, noisy.distorted, noisy.distorted, np.arange(28))
    batches = pair_batches(same.pairs, TRAIN, np.arange(20), Shown(crop=32, lightness=(0.3, 1.5)))
    n = 0
    for (reference, distorted), targets in batches.epoch(0):
        assert reference.shape == (len(targets), 3, 32, 32) and reference.dtype == torch.float32
        assert torch.equal(reference, distorted)
        n += len(reference)
    assert n == 20 and len(batches) == 2


def test_whole_pairs_in_order_are_the_normalised_images_and_central_crops_their_middle(noisy):
    whole = list(pair_batches(noisy.pairs, [5, 27], [1.0, 2.0], Shown(lightness=(0.3, 1.5)), train=False).epoch(3))
    assert len(whole) == 1 and whole[0][1].tolist() == [1, 2]
    for i, row in enumerate([5, 27]):
        for k, image in enumerate((noisy.references[row // 4], noisy.distorted[row])):
            expected = (torch.from_numpy(image).permute(2, 0, 1) - 127.5) / 127.5
            torch.testing.assert_close(whole[0][0][k][i], expected)
    central = next(pair_batches(noisy.pairs, [5, 27], [1.0, 2.0], Shown(val_crop=32), train=False).epoch(0))[0]
    assert torch.equal(central[1], whole[0][0][1][..., 48:80, 48:80])


def test_lightness_scales_half_of_the_pairs_and_leaves_the_others(noisy):
    plain = pair_batches(noisy.pairs, TRAIN, np.arange(20), Shown(20, SIDE))
    scaled = pair_batches(noisy.pairs, TRAIN, np.arange(20), Shown(20, SIDE, lightness=(0.5, 0.5)))
    (x, targets), (y, same) = next(plain.epoch(2)), next(scaled.epoch(2))
    assert torch.equal(targets, same)
    x, y = torch.stack(x, dim=1), torch.stack(y, dim=1)
    unchanged = (x == y).flatten(1).all(dim=1)
    assert 4 <= unchanged.sum() <= 16
    eight_bits = (x[~unchanged] * 127.5 + 127.5).round().to(torch.uint8)
    expected = normalise(scaled_lightness(eight_bits, [0.5] * len(eight_bits)), (0.5,) * 3, (0.5,) * 3)
    torch.testing.assert_close(y[~unchanged], expected)


def test_batches_depend_on_seed_and_epoch_and_say_what_they_are(noisy):
    def batches(crop=32, lightness=(0.3, 1.5), **changes):
        return pair_batches(noisy.pairs, TRAIN, np.arange(20), Shown(crop=crop, lightness=lightness), **changes)

    first = [next(batches().epoch(0))[0][0] for _ in range(2)]
    assert torch.equal(*first)
    assert not torch.equal(first[0], next(batches().epoch(1))[0][0])
    assert not torch.equal(first[0], next(batches(seed=1).epoch(0))[0][0])
    others = [{"crop": 40}, {"lightness": None}, {"seed": 1}, {"train": False}]
    assert len({batches(**change).signature() for change in [{}, *others]}) == 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_the_amount_of_noise_on_the_labels_own_scale(noisy, variant):
    fitted = trained(noisy, variant, losses={"mse": 1.0, "plcc": 1.0})
    history = fitted.result.history
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert history["val_srocc"].max() > 0.8
    reference, distorted = (torch.from_numpy(x).permute(0, 3, 1, 2) for x in noisy.pairs(list(VAL)))
    with torch.inference_mode():
        shown = (normalise(x, fitted.model.mean, fitted.model.std) for x in (reference, distorted))
        scores = fitted.model(*shown)
    assert 440 < scores.mean() < 510 and not fitted.model.training


def test_same_seed_same_network_and_a_checkpoint_is_gone_on_from(noisy, tmp_path):
    short = {"schedule": Schedule(epochs=1, lr=1e-3, precision="no"), "shown": Shown(4, 128, lightness=(0.3, 1.5))}
    kept = Followed(tmp_path / "c.pt")
    one = trained(noisy, followed=kept, **short)
    two, other = trained(noisy, **short), trained(noisy, seed=1, **short)
    assert torch.equal(weights(one), weights(two)) and not torch.equal(weights(one), weights(other))
    again = trained(noisy, followed=kept, **short)
    assert torch.equal(weights(one), weights(again))
    with pytest.raises(InputError, match="loss"):
        trained(noisy, followed=kept, losses={"mse": 1.0}, **short)


def test_going_on_from_a_network_leaves_it_and_changes_the_scale(noisy):
    network = models.create("siamese_fr", **SMALL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fitted = trained(noisy, network, schedule=Schedule(epochs=1, lr=1e-9, precision="no"))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    torch.testing.assert_close(weights(fitted), torch.cat([p.flatten() for p in network.parameters()]))
    assert fitted.model.dense.mean == pytest.approx(470) and fitted.model.card == network.card


def test_a_learned_sorter_is_one_of_the_losses(noisy):
    torch.manual_seed(0)
    one = Schedule(epochs=1, precision="no")
    fitted = trained(noisy, losses={"mse": 0.1, "plcc": 0.9, "sorter": 0.1}, sorter=PairSorter(), schedule=one)
    assert np.isfinite(fitted.result.history["train_loss"]).all()
    with pytest.raises(InputError, match="sorter"):
        trained(noisy, losses={"sorter": 1.0}, schedule=one)


def test_constant_targets_are_no_reason_to_stop(noisy):
    alike = ImagePairs(noisy.images.assign(mos=3.0), noisy.references, noisy.distorted, noisy.reference_of)
    fitted = trained(alike, "bn", schedule=Schedule(epochs=1, precision="no"), shown=Shown(crop=SIDE))
    assert fitted.result.history["val_srocc"].tolist() == [0.0] and torch.isfinite(weights(fitted)).all()


def triples_of(noisy):
    """All comparisons of the noisy images of one reference; the less noisy one is preferred by nine in ten."""
    rows, shares = [], []
    for reference in range(7):
        for a, b in ((0, 1), (2, 1), (3, 2), (1, 3), (0, 3)):
            rows.append((reference, 7 + 4 * reference + a, 7 + 4 * reference + b))
            shares.append(0.9 if a < b else 0.1)
    pixels = np.concatenate([noisy.references, noisy.distorted])
    return Preferences(pd.DataFrame({"preference_a": shares}), pixels, np.array(rows))


def test_preferences_teach_an_order_that_pairs_then_put_on_their_scale(noisy):
    preferences = triples_of(noisy)
    simple = {"variant": "simple", **SMALL}
    fitted = pretrain_on_preferences(
        simple, preferences, range(25), range(25, 35), SHORT, shown=Shown(4, SIDE), metric=preference_accuracy
    )
    assert fitted.result.best_value > 0.8
    assert fitted.result.history["val_loss"].min() < np.log(2)
    assert fitted.model.dense.std == 1
    tuned = trained(noisy, fitted.model, schedule=Schedule(epochs=1, lr=1e-4, precision="no"))
    assert tuned.result.history["val_srocc"][0] > 0.8


def test_swapping_a_and_b_turns_the_difference_round(noisy):
    preferences = triples_of(noisy)
    swapped = Preferences(preferences.pairs, preferences.pixels, preferences.rows[:, [0, 2, 1]])
    torch.manual_seed(0)
    model = models.create("siamese_fr", **SMALL).eval()
    with torch.inference_mode():
        there, back = (
            preferred(model, *next(pair_batches(p.triples, range(4), [0.5] * 4, Shown(), train=False).epoch(0))[0])
            for p in (preferences, swapped)
        )
    torch.testing.assert_close(there, -back)
    assert there.abs().min() > 0


def test_accuracy_of_preferences_by_hand():
    differences, shares = torch.tensor([1.0, -2.0, 0.0, 3.0, 5.0]), torch.tensor([0.9, 0.8, 0.3, 0.5, 1.0])
    assert preference_accuracy(differences, shares) == pytest.approx((1 + 0 + 0.5 + 1) / 4)


def written_set(folder, noisy, **changes):
    """A data set of eight of the noisy images as files, with comparisons."""
    for i in range(2):
        Image.fromarray(noisy.references[i]).save(folder / f"R{i}.png")
    for row in range(8):
        Image.fromarray(noisy.distorted[row]).save(folder / f"d{row}.png")
    images = pd.DataFrame(
        {
            "image": [*(f"d{row}.png" for row in range(8)), "R0.png"],
            "content": [*(f"R{row // 4}" for row in range(8)), "R0"],
            "reference": [*(f"R{row // 4}.png" for row in range(8)), ""],
            "distortion": "noise",
            "level": 1.0,
            "mos": np.arange(9.0),
            "mos_std": np.nan,
            "n_votes": 0,
        }
    )
    pairs = pd.DataFrame(
        [("R1.png", "d4.png", "d7.png", 0.9, "train"), ("R0.png", "d3.png", "R0.png", 0.1, "val")],
        columns=["reference", "image_a", "image_b", "preference_a", "part"],
    )
    given = {"name": "small", "root": folder, "images": images, "votes": empty("votes"), "scale": Scale(0, 8)}
    return Dataset(**given | {"pairs": pairs} | changes)


def test_pairs_and_preferences_of_a_data_set(noisy, tmp_path):
    (tmp_path / "set").mkdir()
    dataset = written_set(tmp_path / "set", noisy)
    pairs = pairs_of(dataset, (SIDE, SIDE), tmp_path / "cache")
    assert len(pairs) == 8 and pairs.images["mos"].tolist() == list(range(8))
    for found, expected in zip(pairs.pairs([7, 0]), noisy.pairs([7, 0]), strict=True):
        assert np.array_equal(found, expected)
    preferences = preferences_of(dataset, (SIDE, SIDE), tmp_path / "cache")
    reference, a, b = preferences.triples([1, 0])
    assert np.array_equal(reference[0], b[0]) and np.array_equal(a[0], noisy.distorted[3])
    assert np.array_equal(reference[1], noisy.references[1]) and np.array_equal(b[1], noisy.distorted[7])


def test_both_images_of_a_pair_show_the_same_part(noisy, tmp_path):
    dataset = written_set(tmp_path, noisy)
    for row in range(8):  # stored at half the size of their references
        Image.open(tmp_path / f"R{row // 4}.png").resize((SIDE // 2, SIDE // 2)).save(tmp_path / f"d{row}.png")
    for dataset.fit in ("crop", "letterbox"):
        reference, version = pairs_of(dataset, (SIDE, 2 * SIDE), tmp_path / "cache").pairs([0])
        assert np.array_equal(reference[0], dataset.read("R0.png", (SIDE, 2 * SIDE)))
        assert (
            np.corrcoef(reference.ravel(), version.ravel())[0, 1]
            > np.corrcoef(reference.ravel(), np.roll(version, 4, axis=1).ravel())[0, 1]
        )
        padded = (reference == 128).all(axis=(0, 1, 3))
        assert np.array_equal(padded, (version == 128).all(axis=(0, 1, 3)))
        assert padded.sum() == (SIDE if dataset.fit == "letterbox" else 0)


def test_pairs_that_are_fitted_otherwise_are_another_training(noisy, tmp_path):
    dataset, signatures = written_set(tmp_path, noisy), []
    for dataset.fit in ("crop", "letterbox", "crop"):
        pairs = pairs_of(dataset, (SIDE, 2 * SIDE), tmp_path / "cache")
        triples = preferences_of(dataset, (SIDE, 2 * SIDE), tmp_path / "cache")
        sources = (pairs.pairs, pairs.source), (triples.triples, triples.source)
        signatures.append([pair_batches(r, [0, 1], [0, 1], Shown(), source=of).signature() for r, of in sources])
    assert signatures[0] == signatures[2] and not set(signatures[0]) & set(signatures[1])


@pytest.mark.parametrize(
    ("make", "changes", "word"),
    [(preferences_of, {"pairs": None}, "no comparisons"), (pairs_of, {"regions": {"a": ("b", (0, 0, 1, 1))}}, "parts")],
)
def test_sets_without_what_is_wanted(noisy, tmp_path, make, changes, word):
    with pytest.raises(InputError, match=word):
        make(written_set(tmp_path, noisy, **changes), (SIDE, SIDE), tmp_path / "cache")
    images = written_set(tmp_path, noisy).images.assign(reference="")
    with pytest.raises(InputError, match="no image has a reference"):
        pairs_of(written_set(tmp_path, noisy, images=images), (SIDE, SIDE), tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"train": []}, "no training rows"),
        ({"val": [28]}, "rows 0 to 28"),
        ({"network": {"variant": "huge"}}, "variant"),
        ({"targets": np.full(28, np.nan)}, "no target"),
        ({"network": {"wide": 2}}, "unknown argument"),
    ],
)
def test_bad_settings_are_refused_before_training(noisy, changes, word):
    given = {"network": {"variant": "simple"}, "targets": np.arange(28.0), "train": [0, 1], "val": [2]} | changes
    with pytest.raises(InputError, match=word):
        train_full_reference(given.pop("network"), ScoredPairs(noisy.pairs, **given), ranking_losses.create(LOSSES))


def test_a_range_of_lightness_that_is_none_is_refused():
    with pytest.raises(InputError, match="lightness"):
        Shown(lightness=(1.5, 0.3))
