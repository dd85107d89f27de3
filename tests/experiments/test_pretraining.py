"""Pre-training: which photographs may be looked at, and what the network is shown of them."""

import numpy as np
import pytest

from iqasuite.datasets.splits import by_content, part
from iqasuite.errors import InputError
from iqasuite.experiments import pretraining
from iqasuite.images.photographs import photographs
from iqasuite.models import create


def test_no_test_photograph_is_looked_at(demo_set):
    split = by_content(demo_set.images, 3, 0, demo_set.sources)
    content = demo_set.images.set_index("image")["content"]
    for fold in range(3):
        found = pretraining.photographs_for(["demo"], demo_set, split, fold)
        assert set(found.left_out) == {demo_set.sources[content[image]] for image in part(split, fold, "test")}
        assert found.held_out and not set(found.held_out) & set(found.learnt_from)
        forbidden = set(photographs("demo", found.left_out))
        assert not forbidden & {*found.held_out, *found.learnt_from} and found.free == found.learnt_from


def test_examples_are_sorted_by_what_they_teach():
    given = {"size": "tiny", "dim": 32, "depth": 1, "stem": "spectrum", "spectrum_patch": 16, "cells": 2}
    model, paths = create("vit_iqa", **given, image_size=64), photographs("demo")[:2]
    rows, columns, names = pretraining.examples(model, "jpeg", paths, "corrected", 0)
    assert np.shape(rows) == (5, 5, 64, 64, 3) and names == [f"class {k}" for k in range(1, 6)] and len(columns) == 5
    rows, columns, names = pretraining.examples(model, "encodings", paths, "corrected", 0)
    factors = [float(column.split()[1].rstrip(",")) for column in columns]
    assert np.shape(rows) == (2, 5, 16, 16, 3) and factors == sorted(factors)
    with pytest.raises(InputError, match="objective is 'votes', expected one of jpeg, encodings"):
        pretraining.examples(model, "votes", paths, "corrected", 0)


def test_the_table_has_what_a_guess_reaches():
    classes = np.repeat(np.arange(1, 6), 4)
    table = pretraining.held_out_table("jpeg", classes, classes, 3)
    assert table["AIO0"].tolist() == [1, 1] and table["guess"].tolist() == [0.2, 0] and set(table["n"]) == {20}
    truth = np.random.default_rng(0).normal(size=(30, 2))
    table = pretraining.held_out_table("encodings", truth + 1, truth, 3)
    assert table["srocc"].tolist() == pytest.approx([1, 1]) and table["rmse"].tolist() == pytest.approx([1, 1])
    assert table["rmse of the mean"].tolist() == pytest.approx(truth.std(0).tolist())


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
    card = {"photographs": ["demo", "/data/bsds300"], "left_out": ["bsds300/1"]}
    names = {"bsds300/1", "bsds300/2", "kodak24/01", "rocket", "street"}
    assert pretraining.learnt_before(card, names) == ["bsds300/2", "rocket"]
    assert pretraining.learnt_before({}, names) == []
