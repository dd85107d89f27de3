"""Pre-training: which photographs may be looked at, and what the network is shown of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from iqasuite.datasets.splits import by_content, part
from iqasuite.errors import InputError
from iqasuite.experiments import pretraining
from iqasuite.images.distortions.compression import JPEG_CLASSES, jpeg_class
from iqasuite.images.encoding_stream import TARGETS
from iqasuite.images.jpeg_stream import JPEGStream
from iqasuite.images.photographs import photographs
from iqasuite.models import create
from iqasuite.training.pretrain import JPEGPlan, pretrain_on_jpeg
from iqasuite.training.schedule import Schedule
from iqasuite.weights.card import Card
from iqasuite.weights.files import save_weights


def test_no_test_photograph_is_looked_at(demo_set):
    split = by_content(demo_set.images, 3, 0, demo_set.sources)
    content = demo_set.images.set_index("image")["content"]
    for fold in range(3):
        found = pretraining.photographs_for(["demo"], demo_set, split, fold)
        assert set(found.left_out) == {demo_set.sources[content[image]] for image in part(split, fold, "test")}
        assert found.held_out and not set(found.held_out) & set(found.learnt_from)
        forbidden = set(photographs("demo", found.left_out))
        assert not forbidden & {*found.held_out, *found.learnt_from}


def test_training_goes_on_with_weights_by_their_name(tmp_path):
    small = {"image_size": 32, "trunk": {"size": "tiny", "dim": 32, "depth": 1}}
    files = {"first": tmp_path / "first.safetensors", "other": tmp_path / "other.safetensors"}
    model = pretraining.network_to_train(small, files.__getitem__, 0)
    save_weights(model, files["first"], {})
    again = pretraining.network_to_train({"start": "first"}, files.__getitem__, 1)
    before = model.stem.linear.weight.clone()
    torch.testing.assert_close(again.stem.linear.weight, before)
    photos, schedule = photographs("demo")[:2], Schedule(epochs=1, lr=1e-12, precision="no")
    pretrain_on_jpeg(again, photos, photos, schedule, JPEGPlan(batch_size=4, steps=1))
    torch.testing.assert_close(again.stem.linear.weight, before)  # not begun anew
    with pytest.raises(InputError, match="network: start, image_size; expected start alone"):
        pretraining.network_to_train({"start": "first", "image_size": 32}, files.__getitem__, 0)
    with pytest.raises(InputError, match="network: name 'trcnn'; expected one of vit_iqa, jpeg_resnet"):
        pretraining.network_to_train({"name": "trcnn"}, files.__getitem__, 0)
    save_weights(create("mobile_nr", base="scratch", width=0.25), files["other"], {})
    with pytest.raises(InputError, match="start 'other' is a mobile_nr; expected vit_iqa or jpeg_resnet"):
        pretraining.network_to_train({"start": "other"}, files.__getitem__, 0)


def test_varied_crops_are_of_the_same_classes():
    plain, varied = (JPEGStream(photographs("demo"), 96, 3, varied=on).described(40, 0) for on in (False, True))
    assert varied[1]["class"].tolist() == plain[1]["class"].tolist() and varied[0].shape == plain[0].shape
    assert all(jpeg_class(quality) == label for label, quality in varied[1][["class", "quality"]].to_numpy())
    blockiness = [np.abs(np.diff(images.float().mean(1), axis=2)).mean((0, 1)) for images, _ in (plain, varied)]
    for steps in blockiness:  # the blocks begin at the corner, whatever was done before they were made
        assert steps[7::8].mean() > 1.2 * np.delete(steps, np.arange(7, 95, 8)).mean()


def test_examples_are_sorted_by_what_they_teach():
    given = {"trunk": {"size": "tiny", "dim": 32, "depth": 1}}
    given |= {"stem": {"name": "spectrum", "patch_size": 16, "cells": 2}}
    model, paths = create("vit_iqa", **given, image_size=64), photographs("demo")[:2]
    rows, columns, names = pretraining.examples(model, "jpeg", paths, "corrected", 0)
    assert np.shape(rows) == (5, 5, 64, 64, 3) and names == [f"class {k}" for k in range(1, 6)] and len(columns) == 5
    rows, columns, names = pretraining.examples(model, "encodings", paths, "corrected", 0)
    factors = [float(column.split()[1].rstrip(",")) for column in columns]
    assert np.shape(rows) == (2, 5, 16, 16, 3) and factors == sorted(factors)
    resnet = create("jpeg_resnet", width=0.125)
    assert pretraining.network_title(resnet) == "JPEGResNet18, width 0.125"
    assert pretraining.network_title(create("jpeg_resnet")) == "JPEGResNet18"
    with pytest.raises(InputError, match="objective 'encodings': the network is a jpeg_resnet; expected a vit_iqa"):
        pretraining.examples(resnet, "encodings", paths, "corrected", 0)
    with pytest.raises(InputError, match="objective is 'votes', expected one of jpeg, encodings, distortions"):
        pretraining.examples(model, "votes", paths, "corrected", 0)


class NoisyReader(torch.nn.Module):
    """Knows the classes of a stream's crops, but for every fourth, which it reads as one class higher."""

    def __init__(self, stream):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))
        self.classes = iter([c for step in range(32) for c in stream.described(64, step)[1]["class"]])

    def forward(self, x):
        read = torch.tensor([next(self.classes) for _ in x])
        read[::4] = read[::4].add(1).clamp(max=5)
        return torch.nn.functional.one_hot(read - 1, 5).float()


def test_classes_read_are_beside_a_guess_and_what_is_possible():
    stream = JPEGStream(photographs("demo"), 32, seed=5)
    read = pretraining.jpeg_classes(NoisyReader(stream), stream)
    assert len(read) == 2048 and read["quality"].between(2, 100).all() and read["photograph"].nunique() == 7
    assert [jpeg_class(quality) for quality in read["quality"]] == read["class"].tolist()
    table = pretraining.held_out_table({pretraining.KEPT: read}, 7)
    rows = table.set_index(["crops", "metric"])
    accuracy = rows.loc[(pretraining.KEPT, "accuracy")]
    assert accuracy["value"] == pytest.approx(0.8, abs=0.02) and accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert rows.loc[(pretraining.KEPT, "accuracy of class 5"), "value"] == 1
    assert rows.loc[("baseline: guess", "accuracy"), "value"] == 0.2
    assert set(pretraining.headline(table)) == {f"{m}, {pretraining.KEPT}" for m in ("accuracy", "qwk")}


def test_qualities_beside_a_border_cannot_be_told_apart():
    assert pretraining.told_apart(0) == pytest.approx(1)
    rng = np.random.default_rng(0)
    classes = rng.integers(1, 6, 200_000)
    low, high = np.array([JPEG_CLASSES[k] for k in range(1, 6)]).T[:, classes - 1]
    quality = rng.integers(low, high + 1)
    seen = quality + rng.integers(-2, 3, len(quality))
    counts = np.zeros((110, 6))
    np.add.at(counts, (seen + 2, classes), 1)
    assert pretraining.told_apart(2) == pytest.approx(counts.max(1).sum() / len(classes), abs=0.003)


def test_encodings_are_beside_the_error_of_the_mean():
    truth = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=TARGETS)
    table = pretraining.held_out_table({"estimates": truth + 1, "truth": truth}, 3)
    assert table["srocc"].tolist() == pytest.approx([1, 1]) and table["rmse"].tolist() == pytest.approx([1, 1])
    assert table["rmse of the mean"].tolist() == pytest.approx(truth.std(ddof=0).tolist())
    assert set(pretraining.headline(table)) == {f"srocc, {target}" for target in TARGETS}


def test_test_photographs_of_a_folder_are_left_out(noise):
    split = noise.images[["image", "content"]].assign(fold=0, part=["test"] * 4 + ["train"] * 8)
    folder = noise.root
    noise.sources = {f"c{i}": f"{folder.name}/{i}" for i in range(12)}
    found = pretraining.photographs_for([str(folder)], noise, split, 0)
    assert found.left_out == [f"{folder.name}/{i}" for i in range(4)]
    assert sorted(int(path.stem) for path in (*found.learnt_from, *found.held_out)) == list(range(4, 12))
    assert set(found.unseen) == {*found.left_out, *(f"{folder.name}/{path.stem}" for path in found.held_out)}
    with pytest.raises(InputError, match="all 12 are of the test part of noise"):
        pretraining.photographs_for([str(folder)], noise, split.assign(part="test"), 0)


def test_what_weights_have_learnt_from_before():
    known = {"photographs": ["demo", "/data/bsds300"], "left_out": ["bsds300/1"]}
    card = Card(architecture="vit_iqa", arguments={}, **known)
    names = {"bsds300/1", "bsds300/2", "kodak24/01", "rocket", "street"}
    assert pretraining.learnt_before(card, names) == ["bsds300/2", "rocket"]
    assert pretraining.learnt_before(None, names) == []
