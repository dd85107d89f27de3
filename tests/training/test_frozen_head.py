"""Kernel ridge on frozen features: it finds what is there, its intervals hold, and its network is what was learnt."""

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.evaluation.metrics import srocc
from iqasuite.images.crops import normalise
from iqasuite.models.backbones import backbone
from iqasuite.models.network import LEVELS
from iqasuite.training.frozen_head import fit_frozen
from iqasuite.weights.files import load_weights, save_weights

CARD = {"scale": {"name": "continuous", "low": 0, "high": 100}}


def drawn(n, seed):
    """Features, votes that three of them tell up to a noise that the fourth tells, spreads, and groups of two."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 24))
    x[:, 3] = rng.choice([-1.5, 1.5], n)
    noise = np.where(x[:, 3] > 0, 0.6, 0.15)
    votes = 3 + 0.5 * np.tanh(x[:, :3]).sum(1) + noise * rng.normal(size=n)
    x = np.hstack([x, np.zeros((n, 190 - 24))])  # as many as the spectrum has
    return x, votes.clip(1, 5), np.full(n, 0.7), [f"c{i // 2}" for i in range(n)]


@pytest.fixture(scope="module")
def fitted():
    spectrum = backbone("spectrum")
    return fit_frozen("spectrum", spectrum, (-1,), *drawn(600, 0))


def test_votes_and_intervals_of_simulated_images(fitted):
    x, votes, _, _ = drawn(3000, 1)
    logits, reach = fitted.answers(torch.from_numpy(x).float())
    p = logits.double().softmax(1).numpy()
    predicted = p @ np.arange(1, 6)
    assert srocc(predicted, votes) > 0.75  # the truth without its noise has 0.84
    inside = np.abs(predicted - votes)[:, None] <= reach.numpy()
    assert inside.mean(0) == pytest.approx(LEVELS, abs=0.04)
    hard, easy = (reach[:, 1].numpy()[side].mean() for side in (x[:, 3] > 0, x[:, 3] < 0))
    assert hard > 1.5 * easy  # the noise is four times as large, part of the error is common
    spread = np.sqrt(p @ np.arange(1, 6) ** 2 - predicted**2)
    assert np.median(spread) == pytest.approx(0.7, abs=0.08)  # discrete and cut off at the ends


def test_what_cannot_be_learnt_from():
    x, votes, spread, groups = drawn(40, 0)
    given = ("spectrum", backbone("spectrum"), (-1,))
    with pytest.raises(InputError, match="frozen_nr: 40 images of 1 contents; expected 20 or more of 5 or more"):
        fit_frozen(*given, x, votes, spread, ["one"] * 40)
    x[3, 3] = np.nan
    with pytest.raises(InputError, match="with finite features"):
        fit_frozen(*given, x, votes, spread, groups)


def test_the_network_is_kept_without_its_classifier_and_describes_images_itself(tmp_path):
    rng, spectrum = np.random.default_rng(0), backbone("spectrum")
    images = torch.from_numpy(rng.integers(0, 256, (30, 3, 64, 80), dtype=np.uint8))
    images[::2] = images[::2].float().mul(0.3).byte()
    x = normalise(images, spectrum.mean, spectrum.std)
    maps = spectrum(x)
    features = torch.cat([maps.mean((2, 3)), maps.std((2, 3), correction=0)], 1).double().numpy()
    network = fit_frozen(
        "spectrum", spectrum, (-1,), features, np.tile([2.0, 4.0], 15), np.full(30, 0.5), [f"{i}" for i in range(30)]
    )
    path = save_weights(network, tmp_path / "head.safetensors", CARD)
    loaded, card = load_weights(path)
    assert not [name for name in loaded.state_dict() if "layers" in name] and card.arguments["n_seen"] == 30
    loaded.fold()
    with torch.inference_mode():
        votes = loaded(x).double().softmax(1) @ torch.arange(1.0, 6.0, dtype=torch.float64)
        alone = loaded(x[:1]).double().softmax(1) @ torch.arange(1.0, 6.0, dtype=torch.float64)
        of_features = loaded.answers(torch.from_numpy(features).float())[0]
        places = loaded.local(x[:2])
    assert votes.numpy() == pytest.approx(np.tile([2.0, 4.0], 15), abs=0.1)
    assert alone[0].item() == pytest.approx(votes[0].item(), abs=1e-4)
    torch.testing.assert_close(loaded(x), of_features, atol=1e-3, rtol=1e-3)
    assert places.shape == (2, 5, 8, 8) and torch.isfinite(places).all()


def test_taps_of_another_length():
    from iqasuite.models import create

    with pytest.raises(InputError, match=r"frozen_nr: dim 6; expected \d+ of taps \(-1,\)"):
        create("frozen_nr", base="spectrum", dim=6, n_seen=2).fold()
    with pytest.raises(InputError, match="n_seen 0; expected 1 or more of each"):
        create("frozen_nr", base="spectrum", n_seen=0)
