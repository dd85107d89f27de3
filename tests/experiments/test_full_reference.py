"""Full-reference networks over splits: what is learnt from, what they are called, what they are asked."""

import numpy as np
import pandas as pd
import pytest

from iqasuite import models
from iqasuite.datasets.pairs import ImagePairs
from iqasuite.errors import InputError
from iqasuite.experiments.full_reference import Material, Networks, architecture, material, method_name, train_networks
from iqasuite.experiments.pair_predictions import held_out_predictions, save_networks
from iqasuite.experiments.run import Run
from iqasuite.training.pairs import FullReference
from iqasuite.weights.files import read_card, save_weights

SMALL = {"variant": "simple", "width": 0.25, "grid": 1}
NETWORK = SMALL | {"start": "", "pretrain": {}, "note": ""}
VIEWING = {"crop": 128, "reduce_to": 0, "views": "eight", "figures": "all"}
SPLITS = {"folds": [0], "seeds": [0]}


def pairs_of(protocol="corrected") -> Material:
    """Three photographs in noise and blur: one to learn from, one to choose by, one to test on."""
    rng, rows = np.random.default_rng(0), []
    for photograph in ("astronaut", "china", "other"):
        rows += [(f"{photograph}/{kind}", photograph, kind, rng.normal()) for kind in ("noise", "blur")]
    images = pd.DataFrame(rows, columns=["image", "content", "distortion", "mos"])
    parts = ["train", "train", "val", "val", "test", "test"]
    split = images[["image", "content"]].assign(fold=0, part=parts)
    if protocol == "faithful":
        split["part"] = ["train", "test", "train", "train", "train", "test"]
    pixels = rng.integers(0, 256, (6, 128, 128, 3), dtype=np.uint8)
    pairs = ImagePairs(images, pixels[::2], pixels, np.repeat(np.arange(3), 2))
    return Material("pseudo-labels", pairs, split, protocol, None, "pseudo-label", "nothing", 128)


def untrained(**networks) -> Networks:
    network = models.create("siamese_fr", **SMALL).eval()
    return Networks("simple, PLCC", {(0, 0): FullReference(network, None)}, {(0, 0): ["china.jpg"]})


def test_what_is_learnt_from_and_what_chooses():
    corrected = pairs_of().learnt(0)
    assert corrected.train.tolist() == [0, 1] and corrected.val.tolist() == [2, 3]
    assert pairs_of().learnt(0, ["blur"]).train.tolist() == [0]
    assert pairs_of().photographs(0) == ["astronaut", "china"]
    faithful = pairs_of("faithful")
    assert faithful.learnt(0).val.tolist() == [1, 5] and faithful.shared_contents() == 2
    assert faithful.photographs(0) == ["astronaut", "china", "other"]
    with pytest.raises(InputError, match="'jpg' is no distortion of these pairs; expected some of noise, blur"):
        pairs_of().learnt(0, ["jpg"])


@pytest.mark.parametrize(
    ("pairs", "splits", "word"),
    [({"labels": "stars"}, {"protocol": "corrected"}, "labels"), ({"labels": "votes"}, {"protocol": "mine"}, "mine")],
)
def test_unknown_labels_and_protocols_are_refused(project, pairs, splits, word):
    with pytest.raises(InputError, match=word):
        material(Run("s", "r"), "demo", pairs, splits, 0)


def test_a_method_is_called_by_network_loss_and_note():
    assert method_name(NETWORK, {"mse": 0.1, "plcc": 0.9}) == "simple, PLCC"
    assert method_name(NETWORK | {"note": "batch 4"}, {"mse": 1.0}).endswith(", batch 4")


def test_a_network_that_goes_on_has_the_shape_of_the_earlier_one(project):
    run = Run("s", "second")
    card = {"architecture": "siamese_fr", "arguments": SMALL}
    save_weights(models.create("siamese_fr", **SMALL), run.work / "weights" / "first_0_0.safetensors", card)
    later = NETWORK | {"width": 1.0, "start": "first"}
    assert (
        architecture(run, later, SPLITS) == SMALL and architecture(run, NETWORK | {"width": 1.0}, SPLITS)["width"] == 1
    )
    with pytest.raises(InputError, match="is simple, variant is 'bn'"):
        architecture(run, later | {"variant": "bn"}, SPLITS)


def test_views_are_checked_before_training(project):
    settings = {"network": NETWORK, "training": {}, "viewing": VIEWING | {"views": "nine"}}
    with pytest.raises(InputError, match="views is 'nine'"):
        train_networks(Run("s", "r"), pairs_of(), settings)


def test_held_out_pairs_are_predicted_and_networks_kept_with_their_scores(project):
    learnt_from, networks, run = pairs_of(), untrained(), Run("s", "r")
    predictions, steadiness = held_out_predictions(learnt_from, networks, VIEWING)
    assert predictions.groupby("part")["image"].apply(list).to_dict() == {
        "test": ["other/noise", "other/blur"],
        "val": ["china/noise", "china/blur"],
    }
    assert len(steadiness) == 2 and (steadiness["spread"] > 0).all() and set(steadiness["content"]) == {"other"}
    save_networks(run, learnt_from, networks, predictions, VIEWING, {"losses": {"mse": 1.0}, "start": ""})
    card = read_card(run.work / "weights" / "r_0_0.safetensors")
    assert card.photographs == ["china.jpg"] and card.losses == {"mse": 1.0} and card.preprocessing.tile == 128
    assert any("held-out photographs" in name for name in card.scores)
