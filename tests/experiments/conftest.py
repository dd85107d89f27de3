"""A small set of noise whose mean opinion scores are known, and a split of it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets.dataset import Dataset, Scale
from iqasuite.datasets.frames import empty
from iqasuite.experiments.mos_task import MosTask


@pytest.fixture
def noise(tmp_path) -> Dataset:
    rng, rows = np.random.default_rng(0), []
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", f"c{i}", "", "", np.nan, 10.0 + 7 * i, 12.0, 9))
    columns = ["image", "content", "reference", "distortion", "level", "mos", "mos_std", "n_votes"]
    images = pd.DataFrame(rows, columns=columns)
    return Dataset("noise", tmp_path, images, empty("votes"), Scale(0, 100, name="continuous"), licence="CC0")


@pytest.fixture
def task(noise) -> MosTask:
    parts = (["train"] * 4 + ["val"] * 4 + ["test"] * 4, ["test"] * 4 + ["train"] * 4 + ["val"] * 4)
    frames = [noise.images[["image", "content"]].assign(fold=fold, part=part) for fold, part in enumerate(parts)]
    return MosTask(noise, pd.concat(frames, ignore_index=True), {}, [0, 1])
