"""Regions by attention: as large as asked, spoiled only where asked, and a score that hangs on one place shows it."""

import numpy as np
import pytest
import torch
from torch import nn

from iqasuite.explain.regions import REGIONS, blurred_where, region_changes, region_masks
from iqasuite.inference.predictor import Map, Prediction, Predictor
from iqasuite.weights.card import Card, Scale
from iqasuite.weights.catalogue import Entry


def test_masks_are_the_most_and_least_attended_places():
    attention = np.arange(24.0).reshape(4, 6)
    masks = region_masks(attention, 0.25)
    assert list(masks) == list(REGIONS) and all(mask.sum() == 6 for mask in masks.values())
    assert attention[masks["most attended"]].min() == 18 and attention[masks["least attended"]].max() == 5
    with pytest.raises(ValueError, match="share is 0.8"):
        region_masks(attention, 0.8)


def test_a_picture_is_blurred_where_the_mask_says_and_nowhere_else():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((4, 4), bool)
    mask[:, :2] = True
    spoiled = blurred_where(picture, mask)
    assert (spoiled[:, 44:] == picture[:, 44:]).all()
    assert spoiled[:, :20].std() < 0.5 * picture[:, :20].std()
    assert (blurred_where(picture, np.zeros((4, 4), bool)) == picture).all()


def test_a_score_that_hangs_on_the_attended_place_falls_most_there(monkeypatch):
    """A predictor whose score is the sharpness of the upper left quarter, and that says so."""

    class Upper(Predictor):
        def __init__(self):
            card = Card(architecture="trcnn", arguments={}, scale=Scale(name="MOS", low=1, high=5))
            self.entry, self.network = Entry("x", None, card), nn.Identity()

        def shown(self, image):
            return image

        def predict(self, images, batch_size=16):
            return [Prediction(float(image[:32, :32].std()), 3, "average", None) for image in images]

        def map(self, image):
            attention = np.full((4, 4), 0.01, np.float32)
            attention[:2, :2] = 0.22
            return Map("attention", attention)

    rng = np.random.default_rng(0)
    pictures = {str(i): rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(4)}
    changes = region_changes(Upper(), pictures)
    mean = changes.groupby("region")["change"].mean()
    assert mean["most attended"] < mean["at random"] < mean["least attended"] <= 0.0
    assert changes.groupby("region")["attended"].mean()["most attended"] == pytest.approx(0.88)
    assert len(changes) == 12 and torch.is_tensor(torch.tensor(mean.to_numpy()))
