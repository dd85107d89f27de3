"""A small rated set whose truth is known: noise in three strengths of blur, seen by three people of a formula."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageFilter

from iqasuite.datasets.dataset import Dataset, Scale, mean_votes
from iqasuite.datasets.frames import validate
from iqasuite.datasets.splits import by_content
from iqasuite.models import create
from iqasuite.training import outputs

SIDE = 64
BIAS = {"fair": 0, "mild": 1, "strict": -1}
LEVELS = {2: 2.0, 3: 1.0, 4: 0.0}  # quality -> radius of the blur in pixels


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rated_folder(tmp_path_factory):
    """12 contents in 3 strengths of blur."""
    root, rng = tmp_path_factory.mktemp("rated"), np.random.default_rng(0)
    for content in range(12):
        sharp = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        for quality, radius in LEVELS.items():
            sharp.filter(ImageFilter.GaussianBlur(radius)).save(root / f"c{content:02d}_{quality}.png")
    return root


@pytest.fixture
def rated(rated_folder, tmp_path, monkeypatch):
    """The set; votes are quality + bias. Sessions 1 and 2 share out the images; session 3 repeats 1 with votes of 1."""
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    names = sorted(path.name for path in rated_folder.glob("*.png"))
    quality = np.array([int(name[4]) for name in names])
    rows = []
    for observer, bias in BIAS.items():
        for i, name in enumerate(names):
            session = 1 + (i // 3) % 2
            rows.append((observer, session, i + 1, name, quality[i] + bias, np.nan, pd.NaT))
            if session == 1:
                rows.append((observer, 3, i + 1, name, 1, np.nan, pd.NaT))
    columns = ["observer", "session", "position", "image", "vote", "duration", "timestamp"]
    votes = validate(pd.DataFrame(rows, columns=columns), "votes")
    facts = {"image": names, "content": [name[:3] for name in names], "reference": "", "distortion": "blur"}
    images = pd.DataFrame(facts | {"level": quality}).merge(mean_votes(votes[votes["session"] < 3]), on="image")
    nuisances = pd.DataFrame({"none": 0.0}, index=names)
    images = validate(images, "images")
    return Dataset("rated", rated_folder, images, votes, Scale(1, 5), (SIDE, SIDE), nuisances=nuisances, simulated=True)


@pytest.fixture
def split(rated):
    return by_content(rated.images, 3)


@pytest.fixture
def float32(monkeypatch):
    """Stored inputs computed in float32, so that they can be compared exactly."""
    monkeypatch.setattr(outputs, "computes_in_bf16", lambda device: False)


@pytest.fixture
def network():
    """A function that makes the same small network each time: spectrum stem, 2 layers."""

    def make(seed=0, image_size=SIDE, stem=None, trunk=None):
        torch.manual_seed(seed)
        stem = {"name": "spectrum", "patch_size": 16, "cells": 2} | (stem or {})
        trunk = {"size": "tiny", "dim": 32, "depth": 2, "heads": 2, "dim_head": 16, "mlp_dim": 64} | (trunk or {})
        return create("vit_iqa", image_size=image_size, stem=stem, trunk=trunk).eval()

    return make
