"""Artificial observers: which votes train them in which order, and a known bias found again."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from iqasuite.datasets.splits import part
from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.inference.predict import predict
from iqasuite.training import aio
from iqasuite.training.aio import (
    EVERYBODY,
    Fold,
    Plan,
    Start,
    chosen_file,
    cross_fits,
    first_votes,
    set_dropout,
    start_from,
    starting_model,
    targets_of,
    train_observer,
)
from iqasuite.training.inputs import PixelInputs, inputs_for, stem_tokens
from iqasuite.training.loop import Schedule
from iqasuite.weights.files import save_weights

SIZE = (64, 64)
SHORT = Schedule(epochs=2, lr=1e-3, precision="no")


def test_only_each_persons_first_vote_on_an_image_counts(rated):
    votes = first_votes(rated, "mild")
    assert len(votes) == 36 and set(votes["session"]) == {1, 2} and set(votes["observer"]) == {"mild"}
    assert votes["vote"].min() == 3  # session 3 repeats with votes of 1
    assert len(first_votes(rated, EVERYBODY)) == 3 * 36


def test_first_votes_do_not_depend_on_the_order_of_the_rows(rated):
    expected = first_votes(rated, "fair").reset_index(drop=True)
    rated.votes = rated.votes.sample(frac=1, random_state=0)
    assert first_votes(rated, "fair").reset_index(drop=True).equals(expected)


def test_who_has_votes_enough_for_an_aio_is_counted_part_by_part(rated, split, monkeypatch):
    train, test = part(split, 0, "train"), part(split, 0, "test")
    of_strict = rated.votes["observer"] == "strict"
    rated.votes = rated.votes[~(of_strict & rated.votes["image"].isin(test[1:]))]  # a test image is left to them
    monkeypatch.setattr(aio, "LEAST_VOTES", {"train": len(train), "val": 3, "test": 2})
    counts = aio.votes_by_part(rated, split, 0).set_index("observer")
    assert list(counts.columns) == ["train", "val", "test", "enough"]
    assert counts.loc["fair", "train"] == len(train) and counts.loc["strict", "test"] == 1
    assert counts["enough"].to_dict() == {"fair": True, "mild": True, "strict": False}


def test_targets_are_the_mean_of_the_soft_labels(rated):
    images, targets = targets_of(first_votes(rated, "strict"), sigma=0)
    assert images == sorted(rated.images["image"])
    assert (targets.argmax(1) + 1).tolist() == [int(name[4]) - 1 for name in images]
    images, targets = targets_of(first_votes(rated, EVERYBODY), sigma=0)
    expected = torch.zeros(5)
    expected[1:4] = 1 / 3  # votes 2, 3, 4 on an image of quality 3
    torch.testing.assert_close(targets[images.index("c00_3.png")], expected)
    assert targets_of(first_votes(rated, "fair"), 0.49)[1].sum(1) == pytest.approx(1)


@pytest.mark.parametrize("strategy", ["scratch", "finetune"])
def test_all_sessions_at_once_then_the_refit(rated, network, split, strategy):
    model = network()
    stages = train_observer(
        model, stem_tokens(model, rated, SIZE), Fold(rated, split, 0), "mild", Plan(strategy, schedule=SHORT)
    )
    n_train, n_val = (len(part(split, 0, name)) for name in ("train", "val"))
    assert [(stage.name, stage.n_train, stage.n_val) for stage in stages] == [
        ("mild_0", n_train, n_val),
        ("mild_0_refit", n_train + n_val, 0),
    ]
    assert stages[1].result.epochs_run == stages[0].result.best_epoch + 1


def test_each_crossed_network_predicts_contents_it_has_not_learnt_from(rated, network, split, monkeypatch):
    """Every image of the training part is left out once, with its whole content, and starts are all the same."""
    model, fold, plan = network(), Fold(rated, split, 0), Plan("crossed", schedule=SHORT)
    calls, start = recorded(monkeypatch), Start(model, copy.deepcopy(model.state_dict()))
    monkeypatch.setattr(aio, "N_CROSSED", 3)
    content = rated.images.set_index("image")["content"]
    groups = list(cross_fits(start, stem_tokens(model, rated, SIZE), fold, EVERYBODY, plan, 1))
    assert (
        sorted(image for group in groups for image in group) == sorted(fold.part("train"))
        and len(groups) == len(calls) == 3
    )
    for left_out, (begun, _, train, val) in zip(groups, calls, strict=True):
        learnt = set(fold.part("train")) - set(left_out)
        assert not set(content[left_out]) & set(content[list(learnt)])
        assert len(train.targets) == len(learnt) + len(fold.part("val")) and val is None
        assert all(torch.equal(begun[key], calls[0][0][key]) for key in begun)
    monkeypatch.setattr(aio, "N_CROSSED", 30)
    with pytest.raises(InputError, match="contents to learn from, expected 30 or more"):
        next(cross_fits(start, stem_tokens(model, rated, SIZE), fold, EVERYBODY, plan, 1))


def test_session_by_session_without_the_repeated_one(rated, network, split):
    model = network()
    plan = Plan("iterative", schedule=SHORT)
    stages = train_observer(model, stem_tokens(model, rated, SIZE), Fold(rated, split, 1), "fair", plan)
    votes = first_votes(rated, "fair")
    expected = []
    for suffix, parts, n_val in (("", ("train",), 12), ("_refit", ("train", "val"), 0)):
        images = [image for name in parts for image in part(split, 1, name)]
        counts = votes[votes["image"].isin(images)].groupby("session").size()
        expected += [(f"fair_1_session{session}{suffix}", n, n_val) for session, n in counts.items()]
    assert [(stage.name, stage.n_train, stage.n_val) for stage in stages] == expected


def test_a_session_for_tests_alone_is_no_stage(rated, network, split):
    tested = rated.votes["image"].isin(part(split, 0, "test"))
    rated.votes.loc[tested, "session"] += 10
    model, plan = network(), Plan("iterative", refit=False, schedule=replace(SHORT, epochs=1))
    stages = train_observer(model, stem_tokens(model, rated, SIZE), Fold(rated, split, 0), "fair", plan)
    assert [stage.name for stage in stages] == ["fair_0_session1", "fair_0_session2"]


def recorded(monkeypatch):
    """What `fit` is given in each stage: start weights, rows to train on, rows to validate on."""
    calls, fit = [], aio.fit

    def watched(network, train, val, *arguments, **keywords):
        start = {key: value.clone() for key, value in network.state_dict().items()}
        result = fit(network, train, val, *arguments, **keywords)
        end = {key: value.clone() for key, value in network.state_dict().items()}
        calls.append((start, end, train, val))
        return result

    monkeypatch.setattr(aio, "fit", watched)
    return calls


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_each_session_goes_on_and_the_refit_starts_anew(rated, network, split, monkeypatch):
    calls, model = recorded(monkeypatch), network()
    train_observer(
        model, stem_tokens(model, rated, SIZE), Fold(rated, split, 0), "fair", Plan("iterative", schedule=SHORT)
    )
    (one, after_one, *_), (two, after_two, *_), (again, after_again, *_), (last, *_) = calls
    assert same(two, after_one) and same(last, after_again)
    assert same(again, one) and not same(again, after_two)


def test_corrected_validates_on_val_and_faithful_on_test(rated, network, split, monkeypatch):
    calls, model = recorded(monkeypatch), network()
    pixels = PixelInputs(rated, SIZE)
    once = Schedule(epochs=1, precision="no")
    train_observer(model, pixels, Fold(rated, split, 0), "fair", Plan("finetune", "corrected", schedule=once))
    stages = train_observer(model, pixels, Fold(rated, split, 0), "fair", Plan("finetune", "faithful", schedule=once))
    assert [stage.name for stage in stages] == ["fair_0"]  # no refit
    train, val, test = (sorted(part(split, 0, name)) for name in ("train", "val", "test"))
    names = rated.images["image"].to_numpy()
    seen = [tuple(None if b is None else names[b.indices].tolist() for b in call[2:]) for call in calls]
    assert seen == [(train, val), (sorted(train + val), None), (sorted(train + val), test)]


def test_chosen_is_called_before_the_refit(rated, network, split):
    model, seen = network(), []
    stored = stem_tokens(model, rated, SIZE)

    def chosen():
        seen.append({key: value.clone() for key, value in model.trunk.state_dict().items()})

    train_observer(model, stored, Fold(rated, split, 0), "mild", Plan(schedule=SHORT), chosen=chosen)
    alone = network()
    train_observer(alone, stored, Fold(rated, split, 0), "mild", Plan(refit=False, schedule=SHORT))
    assert len(seen) == 1 and same(seen[0], alone.trunk.state_dict())
    assert not same(seen[0], model.trunk.state_dict())


def test_the_refit_starts_from_weights_that_choosing_must_not_see(rated, network, split, monkeypatch):
    calls, model, other = recorded(monkeypatch), network(), network()
    stored = stem_tokens(model, rated, SIZE)
    model.reduce.fit(stored.stored(part(split, 0, "train")).flatten(0, 1), 0)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.trunk.mlp_head[-1].bias += 1
    start = {key: value.clone() for key, value in model.trunk.state_dict().items()}
    train_observer(model, stored, Fold(rated, split, 0), "mild", Plan(schedule=SHORT), refit_from=other.state_dict())
    (choosing, *_), (refit, *_) = calls
    assert same(choosing, start) and same(refit, other.trunk.state_dict()) and not same(choosing, refit)


def test_set_dropout_reaches_all_of_the_network(rated, network):
    model = network(trunk={"dropout": 0.5, "emb_dropout": 0.5}).train()
    x = torch.rand(2, 3, *SIZE)
    assert not torch.equal(model(x), model(x))
    set_dropout(model, 0.0)
    assert torch.equal(model(x), model(x))


def test_interrupted_stages_are_not_trained_again(rated, network, split, tmp_path):
    models = [network(), network()]
    stored = stem_tokens(models[0], rated, SIZE)
    folder = tmp_path / "of" / "run"
    first, again = (
        train_observer(
            model, stored, Fold(rated, split, 0), "mild", Plan("iterative", schedule=SHORT), checkpoints=folder
        )
        for model in models
    )
    assert sorted(path.stem for path in folder.glob("*.pt")) == sorted(stage.name for stage in first)
    assert [stage.result.seconds for stage in again] == [stage.result.seconds for stage in first]
    assert same(*(model.state_dict() for model in models))


def test_checkpoints_of_somebody_with_an_odd_name_stay_in_their_folder(rated, network, split, tmp_path):
    rated.votes = rated.votes.replace({"observer": {"mild": "../../mi\nld"}})
    model, folder = network(), tmp_path / "of" / "run"
    stored = stem_tokens(model, rated, SIZE)
    stages = train_observer(
        model, stored, Fold(rated, split, 0), "../../mi\nld", Plan(schedule=SHORT), checkpoints=folder
    )
    files = [*tmp_path.rglob("*.pt")]
    assert len(files) == len(stages) and {path.parent for path in files} == {folder}


def test_wrong_names_are_refused(rated, network, split):
    model = network()
    stored = stem_tokens(model, rated, SIZE)
    with pytest.raises(InputError, match="observer 'Obs9' of rated: unknown, expected one of fair, mild, strict"):
        train_observer(model, stored, Fold(rated, split, 0), "Obs9", Plan(schedule=SHORT))
    with pytest.raises(InputError, match="fold 7, part train"):
        train_observer(model, stored, Fold(rated, split, 7), "fair", Plan(schedule=SHORT))
    with pytest.raises(InputError, match="strategy is 'refine', expected one of scratch, finetune, iterative"):
        Plan("refine")
    with pytest.raises(InputError, match="protocol is 'honest', expected one of corrected, faithful"):
        Plan(protocol="honest")
    rated.votes = rated.votes[~rated.votes["image"].isin(part(split, 0, "val"))]
    with pytest.raises(InputError, match="observer 'fair', fold 0: no votes on the 12 images"):
        train_observer(model, stored, Fold(rated, split, 0), "fair", Plan(schedule=SHORT))


def test_scratch_keeps_a_frozen_stem_only(tmp_path, network):
    """And every seed begins elsewhere; the other strategies begin with the weights as they are."""
    frozen, trained = network(), network(stem={"freeze": False})
    for model, name in ((frozen, "frozen"), (trained, "trained")):
        save_weights(model, tmp_path / f"{name}.safetensors")
    started = starting_model(tmp_path / "frozen.safetensors", "finetune", 0)
    assert same(started.state_dict(), frozen.state_dict())
    fresh, other = (starting_model(tmp_path / "frozen.safetensors", "scratch", seed) for seed in (1, 2))
    assert same(fresh.stem.state_dict(), frozen.stem.state_dict())
    assert not same(fresh.trunk.state_dict(), frozen.trunk.state_dict())
    assert not same(fresh.trunk.state_dict(), other.trunk.state_dict())
    assert fresh.arguments == frozen.arguments
    whole = starting_model(tmp_path / "trained.safetensors", "scratch", 1)
    assert not same(whole.stem.encoder.layers.state_dict(), trained.stem.encoder.layers.state_dict())


def test_epochs_are_chosen_with_weights_from_before_the_refit(tmp_path, network):
    path, final, before = tmp_path / "everybody.safetensors", network(0), network(1)
    save_weights(final, path)
    assert start_from(path, "finetune", "trunk", 0).refit_from is None
    save_weights(before, chosen_file(path))
    start = start_from(path, "finetune", "trunk", 0)
    assert same(start.state, before.state_dict()) and same(start.refit_from, final.state_dict())
    for strategy, tune in (("scratch", "trunk"), ("finetune", "head")):
        assert start_from(path, strategy, tune, 0).refit_from is None


@pytest.mark.parametrize("tune", ["trunk", "all"])
def test_the_bias_of_a_person_is_that_of_the_aio(rated, network, split, tune):
    """Known truth: votes are quality + bias. The AIO is right about both on contents that it has not seen."""
    start = network(stem={"freeze": tune == "trunk"}, trunk={"emb_dropout": 0.0})
    if tune == "all":
        pixels = torch.from_numpy(PixelInputs(rated, SIZE).cache[list(range(36))]).permute(0, 3, 1, 2)
        start.stem.set_statistics(normalise(pixels, start.mean, start.std))
    state = {key: value.clone() for key, value in start.state_dict().items()}
    images = part(split, 0, "test")
    inputs = inputs_for(start, rated, tune, SIZE)
    quality = np.array([int(image[4]) for image in images])
    for observer, bias in (("strict", -1), ("mild", 1)):
        start.load_state_dict(state)
        schedule = Schedule(epochs=15, lr=3e-3, precision="no")
        train_observer(
            start, inputs, Fold(rated, split, 0), observer, Plan(batch_size=8, refit=False, schedule=schedule)
        )
        p = predict(start, inputs, images)
        expected = p @ np.arange(1, 6)
        assert expected.mean() - quality.mean() == pytest.approx(bias, abs=0.3)
        assert (p.argmax(1) + 1 == quality + bias).mean() > 0.8


def test_aio0_s_surety_of_classes_is_taken_back_before_votes_are_learnt(rated, network, split, tmp_path):
    model = network(stem={"freeze": False}, trunk={"emb_dropout": 0.0})
    with torch.no_grad():
        model.trunk.mlp_head[-1].weight *= 30
    save_weights(model, tmp_path / "aio0.safetensors", {"objective": "jpeg"})
    nothing = Schedule(epochs=1, lr=1e-12, precision="no")
    plan = Plan("iterative", refit=False, schedule=nothing)
    losses = {}
    for strategy in ("scratch", "finetune"):
        start = starting_model(tmp_path / "aio0.safetensors", strategy, 0)
        before, inputs = copy.deepcopy(start), PixelInputs(rated, SIZE)
        train_observer(start, inputs, Fold(rated, split, 0), "fair", replace(plan, strategy=strategy))
        images = part(split, 0, "test")
        one, other = predict(before, inputs, images), predict(start, inputs, images)
        losses[strategy] = [-np.log(p).mean() for p in (one, other)]
        assert (one.argmax(1) == other.argmax(1)).all() or strategy == "scratch"
    assert losses["finetune"][1] < losses["finetune"][0] / 3  # evenly spread where it knows nothing
    assert losses["scratch"][1] == pytest.approx(losses["scratch"][0], rel=1e-3)
