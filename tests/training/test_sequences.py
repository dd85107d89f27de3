from dataclasses import replace

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.evaluation.metrics import plcc
from iqasuite.training import losses
from iqasuite.training.loop import Followed
from iqasuite.training.schedule import Schedule
from iqasuite.training.sequences import (
    Regressor,
    ScoredSequences,
    pack,
    predict_patches,
    predict_scores,
    sequence_batches,
    train_regressor,
)
from iqasuite.weights.files import load_weights, save_weights

DIM = 8
SMALL = {
    "birnn": {"hidden": 16, "layers": 1, "dense": 24, "dropout": 0.0},
    "mean_pooling": {"width": 24, "dropout": 0.0},
    "attention_pooling": {"width": 24, "dropout": 0.0},
    "patch_transformer": {"width": 24, "heads": 2, "dim_head": 12, "depth": 1, "dropout": 0.0},
}
SHORT = Schedule(epochs=16, lr=5e-3, scheduler="cosine", weight_decay=0.0, precision="no")
PARTS = {"train": range(240), "val": range(240, 300), "test": range(300, 400)}


@pytest.fixture(scope="module")
def features():
    """400 images of 3 to 9 patches, far from standardised."""
    rng = np.random.default_rng(0)
    return {f"{i:03d}": rng.normal(2, 5, (rng.integers(3, 10), DIM)).astype(np.float32) for i in range(400)}


@pytest.fixture(scope="module")
def local(features):
    """The hidden quality of each patch: a linear score of its features."""
    direction = np.random.default_rng(1).normal(size=DIM) / 5
    return {image: (x - 2) @ direction for image, x in features.items()}


def images(part):
    return [f"{i:03d}" for i in PARTS[part]]


def trained(kind, features, targets, schedule=SHORT, **changes):
    parts = {part: changes.pop(part, images(part)) for part in ("train", "val")}
    network = {"kind": kind, **SMALL[kind], **changes.pop("arguments", {})}
    given = {"schedule": schedule, "batch_size": 24} | changes
    return train_regressor(network, ScoredSequences(features, targets, **parts), **given)


def accuracy(fitted, targets, part="test"):
    return plcc(predict_scores(fitted, images(part)), np.array([targets[image] for image in images(part)]))


@pytest.mark.parametrize("kind", SMALL)
def test_every_network_learns_a_mean_and_gives_it_on_its_own_scale(kind, features, local):
    targets = {image: 50 + 10 * q.mean() for image, q in local.items()}
    fitted = trained(kind, features, targets)
    predicted, truth = predict_scores(fitted, images("test")), np.array([targets[i] for i in images("test")])
    assert plcc(predicted, truth) > 0.95
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < 0.35 * truth.std()


def test_attention_finds_the_worst_patch_and_scores_better_than_the_mean(features, local):
    targets = {image: q.min() for image, q in local.items()}
    fitted = {kind: trained(kind, features, targets) for kind in ("mean_pooling", "attention_pooling")}
    scores = {kind: accuracy(f, targets) for kind, f in fitted.items()}
    assert scores["attention_pooling"] > 0.97 and scores["attention_pooling"] > scores["mean_pooling"]
    found = [predict_patches(fitted["attention_pooling"], i)[1].argmax() == local[i].argmin() for i in images("test")]
    assert np.mean(found) > 0.85
    alone = np.concatenate([predict_patches(fitted["attention_pooling"], i)[0] for i in images("test")])
    assert plcc(alone, np.concatenate([local[i] for i in images("test")])) > 0.9  # the map shows the hidden quality


def test_only_networks_that_see_the_order_learn_it(features, local):
    first = {image: x[:3] for image, x in features.items()}
    targets = {image: q[0] - q[2] for image, q in local.items()}
    schedule = replace(SHORT, epochs=18, lr=1e-2)
    scores = {kind: accuracy(trained(kind, first, targets, schedule), targets) for kind in SMALL}
    assert min(scores["birnn"], scores["patch_transformer"]) > 0.8
    assert max(abs(scores["mean_pooling"]), abs(scores["attention_pooling"])) < 0.4


def test_the_seed_decides_everything_and_the_callers_randomness_is_left_alone(features, local):
    targets, schedule = {image: q.mean() for image, q in local.items()}, Schedule(epochs=2, lr=1e-3, precision="no")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two, other = (
        predict_scores(trained("birnn", features, targets, schedule, seed=seed), images("test")) for seed in (3, 3, 4)
    )
    assert np.array_equal(one, two) and not np.allclose(one, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", SMALL)
def test_scores_do_not_depend_on_the_batch_and_come_back_from_a_file(kind, features, local, tmp_path):
    targets = {image: 50 + 10 * q.mean() for image, q in local.items()}
    fitted = trained(kind, features, targets, Schedule(epochs=1, precision="no"))
    test = images("test")[:20]
    expected = predict_scores(fitted, test)
    np.testing.assert_allclose(predict_scores(fitted, test, batch_size=1), expected, atol=1e-4)
    np.testing.assert_allclose(predict_scores(fitted, test[::-1])[::-1], expected, atol=1e-4)
    fitted = Regressor(load_weights(save_weights(fitted.model, tmp_path / "a.safetensors"))[0], features)
    assert np.array_equal(predict_scores(fitted, test), expected)
    scores, attention = predict_patches(fitted, test[0])
    assert scores.shape == attention.shape == (len(features[test[0]]),) and attention.sum() == pytest.approx(1)


def test_standardisation_is_that_of_the_training_images(features, local):
    targets = {image: 50 + 10 * q.mean() for image, q in local.items()}
    model = trained("mean_pooling", features, targets, Schedule(epochs=1, precision="no")).model
    vectors, y = np.concatenate([features[i] for i in images("train")]), [targets[i] for i in images("train")]
    np.testing.assert_allclose(model.standardise.mean, vectors.mean(0), rtol=1e-4)
    np.testing.assert_allclose(model.standardise.std, vectors.std(0), rtol=1e-3)
    assert (model.dense.mean.item(), model.dense.std.item()) == pytest.approx((np.mean(y), np.std(y)), rel=1e-5)
    raw = trained("mean_pooling", features, targets, Schedule(epochs=1, precision="no"), standardise=False).model
    assert raw.standardise.mean.abs().max() == 0 and (raw.dense.mean, raw.dense.std) == (0, 1)


def test_which_images_choose_the_epoch(features, local):
    rng = np.random.default_rng(2)
    targets = {image: float(rng.normal()) for image in features}  # nothing to learn: val gets worse, train better
    schedule = Schedule(epochs=20, lr=5e-3, scheduler="none", patience=3, precision="no")
    on_val = trained("mean_pooling", features, targets, schedule).result
    on_train = trained("mean_pooling", features, targets, schedule, val=images("train")).result
    never = trained("mean_pooling", features, targets, schedule, val=[]).result
    assert on_val.epochs_run < 20 and on_val.best_epoch == on_val.history["val_loss"].idxmin()
    assert on_train.best_epoch > on_val.best_epoch and on_train.best_value < on_val.best_value
    assert never.epochs_run == 20 and never.best_epoch == 19


def test_observer_sees_the_regressor_of_each_epoch(features, local):
    targets = {image: 50 + 10 * q.mean() for image, q in local.items()}
    seen = lambda network: {"test": accuracy(Regressor(network, features), targets)}  # noqa: E731
    fitted = trained("mean_pooling", features, targets, followed=Followed(observe=seen))
    history = fitted.result.history
    assert history["test"][fitted.result.best_epoch] == accuracy(fitted, targets)
    assert history["test"].iloc[-1] > history["test"][0] + 0.1


@pytest.mark.parametrize("loss", ["plcc", "mixture"])
def test_other_losses_learn_too(loss, features, local):
    targets = {image: 50 + 10 * q.mean() for image, q in local.items()}
    assert accuracy(trained("mean_pooling", features, targets, loss=loss), targets) > 0.95


def test_plcc_loss_is_one_less_the_correlation_and_survives_constants():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50))
    assert losses.plcc_loss(*map(torch.tensor, (x, y))).item() == pytest.approx(1 - plcc(x, y), abs=1e-5)
    assert losses.plcc_loss(*map(torch.tensor, (x, -3 * x + 7))).item() == pytest.approx(2, abs=1e-5)
    both = losses.mse_plcc_loss(*map(torch.tensor, (x, y))).item()
    assert both == pytest.approx((((x - y) ** 2).mean() + 1 - plcc(x, y)) / 2, abs=1e-5)
    constant = torch.full((5,), 3.0, requires_grad=True)
    value = losses.plcc_loss(constant, torch.arange(5.0))
    value.backward()
    assert value.item() == pytest.approx(1) and torch.isfinite(constant.grad).all()
    assert constant.grad.argmin() == 4  # lowering the loss raises what should be highest
    assert losses.plcc_loss(torch.tensor([1.0]), torch.tensor([2.0])).item() == pytest.approx(1)


@pytest.mark.parametrize("kept", [True, False])
def test_batches_hold_every_image_once_and_no_more_padding_than_needed(kept, features):
    names, source = images("val"), features if kept else features.__getitem__
    train = sequence_batches(source, names, np.arange(len(names)), 16, seed=1)
    seen = []
    for (x, mask), targets in train.epoch(0):
        assert x.dtype == torch.float32 and mask.sum(1).max() == x.shape[1]
        for row, real, target in zip(x, mask, targets, strict=True):
            assert np.array_equal(row[real].numpy(), features[names[int(target)]]) and (row[~real] == 0).all()
            seen.append(int(target))
    assert sorted(seen) == list(range(len(names))) != seen and len(train) == 4
    again = [t.tolist() for _, t in sequence_batches(source, names, np.arange(len(names)), 16, seed=1).epoch(0)]
    assert [target for batch in again for target in batch] == seen != [int(t) for _, ts in train.epoch(1) for t in ts]
    in_order = sequence_batches(source, names, np.arange(len(names)), 16, train=False)
    assert [int(t) for _, ts in in_order.epoch(3) for t in ts] == list(range(len(names)))


def test_features_in_memory_and_read_anew_train_the_same(features, local):
    targets, schedule = {image: q.mean() for image, q in local.items()}, Schedule(epochs=2, precision="no")
    kept, read = (trained("birnn", f, targets, schedule) for f in (features, features.__getitem__))
    assert np.array_equal(predict_scores(kept, images("test")), predict_scores(read, images("test")))


def test_bad_input_is_named(features, local):
    targets, good = {image: q.mean() for image, q in local.items()}, features["000"]
    for wrong, word in ((good[:0], "shape"), (good[0], "shape"), (good * np.nan, "not finite")):
        with pytest.raises(InputError, match=f"'000': .*{word}"):
            trained("birnn", {**features, "000": wrong}, targets)
    with pytest.raises(InputError, match=r"dim \[3, 8\]"):
        pack([good, good[:, :3]])
    with pytest.raises(InputError, match="no image 'x'"):
        trained("birnn", features, targets | {"x": 1.0}, train=["000", "x"])
    with pytest.raises(InputError, match="1 of 240 .*'000'"):
        trained("birnn", features, targets | {"000": np.nan})
    for change, word in (
        ({"loss": "mae"}, "mixture"),
        ({"arguments": {"depth": 2}}, "depth"),
        ({"train": []}, "no t"),
    ):
        with pytest.raises(InputError, match=word):
            trained("birnn", features, targets, **change)
    with pytest.raises(InputError, match="kind is 'x'"):
        train_regressor({"kind": "x"}, ScoredSequences(features, targets, ["000"], []))
