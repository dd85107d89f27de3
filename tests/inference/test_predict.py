"""Predictions do not depend on the batch, the call or the mode that the model was in."""

import numpy as np
import pytest
import torch

from iqasuite.inference import predict
from iqasuite.models import vit_iqa


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return vit_iqa.ViTIQA(image_size=64, trunk={"size": "tiny", "emb_dropout": 0.5})


@pytest.fixture(scope="module")
def cache():
    return np.random.default_rng(0).integers(0, 256, (7, 96, 96, 3), dtype=np.uint8)


def test_images_in_any_batches_and_again(model, cache):
    model.train()
    one = predict.predict_images(model, cache, range(7), crop=64, n_per_side=2, batch_size=1)
    assert model.training  # as it was
    np.testing.assert_allclose(one.sum(1), 1, atol=1e-6)
    for batch_size in (2, 7):
        many = predict.predict_images(model, cache, range(7), crop=64, n_per_side=2, batch_size=batch_size)
        np.testing.assert_allclose(many, one, atol=1e-5)
    np.testing.assert_array_equal(many, predict.predict_images(model, cache, range(7), 64, 2, batch_size=7))
    np.testing.assert_allclose(predict.predict_images(model, cache, [5, 2], 64, 2), one[[5, 2]], atol=1e-5)


def test_views_are_averaged_as_probabilities(model, cache):
    from iqasuite.images.crops import grid_crops, normalise

    x = torch.from_numpy(cache[:1]).permute(0, 3, 1, 2)
    crops = grid_crops(x, 64, 2)[0]
    with torch.no_grad():
        p = model.eval()(normalise(crops, model.mean, model.std)).softmax(-1).mean(0)
    found = predict.predict_images(model, cache, [0], crop=64, n_per_side=2)[0]
    np.testing.assert_allclose(found, p.numpy(), atol=1e-5)


def test_nothing_to_predict(model, cache):
    assert predict.predict_images(model, cache, []).shape == (0, 5)
