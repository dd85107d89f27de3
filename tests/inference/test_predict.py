"""Predictions do not depend on the batch, the call or the mode that the model was in."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from iqasuite.datasets.card import Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.inference.predict import predict
from iqasuite.models import vit_iqa
from iqasuite.training.inputs import PixelInputs


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return vit_iqa.ViTIQA(image_size=64, trunk={"size": "tiny", "emb_dropout": 0.5})


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Seven images, of which a network is shown four crops each."""
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    names, rng = [f"{i}.png" for i in range(7)], np.random.default_rng(0)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(tmp_path / name)
    images = pd.DataFrame({"image": names, "content": names, "mos": 1.0})
    return PixelInputs(Dataset("set", tmp_path, images, pd.DataFrame(), Scale(1, 5)), (96, 96), crop=64, views=2)


def test_images_in_any_batches_and_again(model, inputs):
    model.train()
    names = list(inputs.images)
    one = predict(model, inputs, names, batch_size=1)
    assert model.training  # as it was
    np.testing.assert_allclose(one.sum(1), 1, atol=1e-6)
    for batch_size in (2, 7):
        many = predict(model, inputs, names, batch_size)
        np.testing.assert_allclose(many, one, atol=1e-5)
    np.testing.assert_array_equal(many, predict(model, inputs, names, batch_size=7))
    np.testing.assert_allclose(predict(model, inputs, ["5.png", "2.png"]), one[[5, 2]], atol=1e-5)


def test_views_are_averaged_as_probabilities(model, inputs):
    from iqasuite.images.crops import grid_crops, normalise

    x = torch.from_numpy(inputs.pixels("0.png"))[None].permute(0, 3, 1, 2)
    crops = grid_crops(x, 64, 2)[0]
    with torch.no_grad():
        p = model.eval()(normalise(crops, model.mean, model.std)).softmax(-1).mean(0)
    found = predict(model, inputs, ["0.png"])[0]
    np.testing.assert_allclose(found, p.numpy(), atol=1e-5)


def test_nothing_to_predict(model, inputs):
    assert predict(model, inputs, []).shape == (0, 5)
