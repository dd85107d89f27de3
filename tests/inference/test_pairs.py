import json

import numpy as np
import pytest
import torch

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.images.lightness import scaled_lightness
from iqasuite.inference.pairs import (
    EIGHT,
    ONE,
    STUDY,
    PairPredictor,
    View,
    _viewed,
    error_maps,
    load_full_reference,
    predict_pairs,
    save_full_reference,
)
from iqasuite.models.siamese_fr import VARIANTS
from iqasuite.weights.card import Card, Scale
from iqasuite.weights.files import save_weights

SMALL = {"width": 0.25, "grid": 4, "dense": 8}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(variant="simple", seed=0, scale=None):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = models.create("siamese_fr", variant=variant, **SMALL)
    if scale is not None:
        model.card = Card(architecture="siamese_fr", arguments=SMALL, scale=Scale(name=scale, low=None, high=None))
    return model.eval()


def pair(height=130, width=141, seed=0):
    """A reference with structure at all scales, and a noisy version."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(height)[:, None, None] / 9) + np.cos(np.arange(width)[None, :, None] / [5, 11, 17])
    reference = np.clip(128 + 40 * waves + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)
    noise = rng.normal(0, 20, reference.shape)
    return reference, np.clip(reference + noise, 0, 255).astype(np.uint8)


def test_eight_views_are_the_eight_symmetries_and_none_of_the_study_s_repeats():
    square = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6), dtype=np.uint8))
    for views, count in ((ONE, 1), (EIGHT, 8), (STUDY, 20)):
        assert len({_viewed(square, view).numpy().tobytes() for view in views}) == count == len(views)
    flips = {
        square.flip(dims).rot90(turns, (-2, -1)).contiguous().numpy().tobytes()
        for dims in ((), (-1,), (-2,), (-2, -1))
        for turns in range(4)
    }
    assert flips == {_viewed(square, view).contiguous().numpy().tobytes() for view in EIGHT}


def test_the_repeats_of_the_study_are_those_that_were_left_out():
    square = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6), dtype=np.uint8))
    rotations = [square.rot90(turns, (-2, -1)) for turns in range(4)]
    flips = [square.flip(dims) for dims in ((-1,), (-2,), (-2, -1))]
    scaled = [scaled_lightness(square, [tenths / 10] * 2) for tenths in range(1, 16)]
    all22 = [x.contiguous().numpy().tobytes() for x in (*rotations, *flips, *scaled)]
    assert len(all22) == 22 and set(all22) == {_viewed(square, view).contiguous().numpy().tobytes() for view in STUDY}


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_by_one_and_together_are_the_same_bit_for_bit(variant):
    pairs = [pair(130, 141), pair(128, 128, 1), pair(150, 129, 2)]
    model, views = network(variant), (View(), View(1, True), View(0, False, 0.7))
    reference, distorted = zip(*pairs, strict=True)
    together = PairPredictor(model, views).view_scores(reference, distorted)
    alone = np.concatenate([PairPredictor(model, views).view_scores([r], [d]) for r, d in pairs])
    assert together.shape == (3, 1, 3) and np.array_equal(together, alone)
    assert np.array_equal(together, PairPredictor(model, views).view_scores(reference, distorted))


def test_a_score_is_the_network_s_and_the_average_is_over_views_and_models():
    ensemble, (reference, distorted) = [network(), network(seed=1)], pair()
    x = [
        normalise(torch.from_numpy(image).permute(2, 0, 1)[None], (0.5,) * 3, (0.5,) * 3)
        for image in (reference, distorted)
    ]
    with torch.inference_mode():
        expected = [[model(*x).item(), model(*(y.flip(-1) for y in x)).item()] for model in ensemble]
    values = PairPredictor(ensemble, (View(), View(0, True))).view_scores([reference], [distorted])
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    score, spread = predict_pairs(ensemble, [reference], [distorted], (View(), View(0, True)))
    assert score[0] == pytest.approx(np.mean(expected), rel=1e-5)
    assert spread[0] == pytest.approx(np.std(expected, ddof=1), rel=1e-3)
    assert np.isnan(predict_pairs(ensemble[0], [reference], [distorted])[1]).all()


def test_turning_both_images_changes_nothing_but_the_order_of_the_views():
    reference, distorted = pair(140, 140)
    there = PairPredictor(network(), EIGHT).view_scores([reference], [distorted])
    turned = PairPredictor(network(), EIGHT).view_scores([np.rot90(reference).copy()], [np.rot90(distorted).copy()])
    np.testing.assert_allclose(np.sort(there), np.sort(turned), rtol=1e-6)
    assert np.ptp(there) > 0


def test_tiles_reach_from_border_to_border_and_are_averaged():
    reference, distorted = pair(128, 300)
    model = network()
    tiled = predict_pairs(model, [reference], [distorted], tile=128)[0]
    parts = [slice(0, 128), slice(86, 214), slice(172, 300)]
    cut = [predict_pairs(model, [reference[:, p]], [distorted[:, p]])[0] for p in parts]
    assert tiled[0] == pytest.approx(np.mean(cut), rel=1e-6)
    many = pair(520, 640, 3)  # 5 × 5 tiles in two batches
    assert np.isfinite(predict_pairs(model, [many[0]], [many[1]], tile=128)[0]).all()
    whole = predict_pairs(model, [reference], [distorted])[0]
    assert predict_pairs(model, [reference], [distorted], tile=300)[0] == pytest.approx(whole)


def test_large_pairs_are_seen_from_further_away():
    small = pair(131, 150)
    large = [image.repeat(3, axis=0).repeat(3, axis=1) for image in small]  # 393 × 450: three times 131
    model = network()
    seen = predict_pairs(model, [large[0]], [large[1]], reduce_to=131)[0]
    np.testing.assert_array_equal(seen, predict_pairs(model, [small[0]], [small[1]])[0])
    assert seen != predict_pairs(model, [large[0]], [large[1]])[0]
    np.testing.assert_array_equal(predict_pairs(model, [small[0]], [small[1]], reduce_to=131)[0], seen)
    spare = [image[:, :448] for image in large]  # the last column of squares is not whole
    cut = [image[:, :149] for image in small]
    there, expected = ([predict_pairs(model, [a], [b], reduce_to=131)[0]] for a, b in (spare, cut))
    np.testing.assert_array_equal(there, expected)
    for side in (177, 195):  # about one time 131, and about one and a half
        square = pair(side, side)
        same = [predict_pairs(model, [square[0]], [square[1]], reduce_to=to)[0] for to in (131, None)]
        assert same[0] == same[1]
    tight = pair(200, 200)  # twice 128 does not fit in: it stays what the network can take
    assert np.isfinite(predict_pairs(model, [tight[0]], [tight[1]], reduce_to=128)[0]).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_constant_images_have_scores(variant):
    flat = [np.full((128, 128, 3), level, np.uint8) for level in (0, 128, 255)]
    scores, spread = predict_pairs(network(variant), flat, flat[::-1], (View(), View(lightness=0.1)))
    assert np.isfinite(scores).all() and np.isfinite(spread).all()


def test_the_network_is_left_in_the_mode_that_it_was_in():
    model, (reference, distorted) = network("bn").train(), pair(128, 128)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict_pairs(model, [reference], [distorted])
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())


A, B = pair(128, 140)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"distorted": [B[:, :-1]]}, "reference 140×128, distorted 139×128"),
        ({"distorted": [B[..., 0]]}, "8-bit RGB"),
        ({"distorted": [B.astype(float)]}, "float64"),
        ({"distorted": [B, B]}, "expected as many"),
        ({"reference": [A[:100]], "distorted": [B[:100]]}, "128 or more"),
        ({"tile": 64}, "tile is 64"),
        ({"reduce_to": 100}, "reduce_to is 100"),
        ({"views": (View(), View())}, "each once"),
        ({"views": ()}, "0 views"),
        ({"models": []}, "no model"),
        ({"models": [network(scale="Elo"), network(scale="MOS")]}, "Elo, MOS"),
    ],
)
def test_bad_input(changes, word):
    given = {"models": network(), "reference": [A], "distorted": [B]}
    with pytest.raises(InputError, match=word):
        predict_pairs(**given | changes)


def test_weights_keep_their_scale_and_score_alike(tmp_path):
    model = network("attention")
    model.dense.mean.fill_(1449.05), model.dense.std.fill_(121.35)
    path = save_full_reference(
        model,
        tmp_path / "a.safetensors",
        "Elo",
        "pipal, training part",
        {"srocc": 0.8},
        tile=160,
        reduce_to=256,
        seed=3,
    )
    loaded, card = load_full_reference(path)
    assert card.scale.name == "Elo" and card.target_mean == pytest.approx(1449.05) and card.seed == 3
    assert card.facts()["preprocessing"] == {"tile": 160, "reduce_to": 256}
    assert np.array_equal(*(predict_pairs(m, [A], [B])[0] for m in (model, loaded)))


def test_weights_of_something_else_are_refused(tmp_path):
    path = save_full_reference(network("simple"), tmp_path / "a.safetensors", "MOS", "nothing")
    card = json.loads(path.with_suffix(".json").read_text())
    changes = {
        "weights of another": {"arguments": SMALL | {"variant": "bn"}},
        "scale 'stars'": {"scale": {"name": "stars", "low": None, "high": None}},
        "weights of pair_sorter": {"architecture": "pair_sorter"},
    }
    for word, change in changes.items():
        path.with_suffix(".json").write_text(json.dumps(card | change))
        with pytest.raises(InputError, match=word):
            load_full_reference(path)
    save_weights(models.create("pair_sorter"), tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="expected a full-reference network"):
        load_full_reference(tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="scale 'stars'"):
        save_full_reference(network(), tmp_path / "b.safetensors", "stars", "nothing")
    assert not (tmp_path / "b.safetensors").exists()


def test_error_maps_are_dark_where_images_are_alike():
    model = network()
    reference = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
    brighter = np.clip(reference.astype(int) + 40, 0, 255).astype(np.uint8)
    same, other = error_maps(model, reference, [reference, brighter])
    assert same.shape == other.shape == (128, 160) and same.max() == 0 < other.mean()
