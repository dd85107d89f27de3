"""Tables of what maps are worth, with networks whose maps are known: the truth, the image's edges, nothing."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from iqasuite.datasets.splits import by_content, split_hash
from iqasuite.errors import InputError
from iqasuite.experiments import believing
from iqasuite.experiments.patch_sequences import planted_maps
from iqasuite.explain.planted import plant
from iqasuite.images.photographs import contents
from iqasuite.models import create
from iqasuite.models.network import Network
from iqasuite.weights.card import made_card
from iqasuite.weights.files import save_weights


class Noisy(Network):
    """Votes that fall with the differences of neighbouring pixels."""

    architecture = "noisy"

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 1, (1, 2), bias=False)
        self.features.weight.data = torch.tensor([1.0, -1.0]).expand(1, 3, 1, 2).clone()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def forward(self, x):
        return 5 - self.features(x).abs().mean((1, 2, 3))


@pytest.fixture(scope="module")
def four():
    return dict(list(contents().items())[::4])


@pytest.fixture(scope="module")
def planted(four):
    return plant(four, ["noise"])


def test_tables_and_verdicts_tell_good_maps_from_bad_ones(four, planted):
    networks = {"noisy": Noisy()}
    found = believing.all_maps(networks, planted.images, log=lambda line: None)
    places = believing.localisation_table(found, planted)
    assert set(places["metric"]) == {"auc", "pointing"} and set(places["place"]) == {"all", "quarter", "blob", "edges"}
    rows = places[(places["metric"] == "auc") & (places["place"] == "all") & (places["distortion"] == "all")]
    auc = rows.set_index(["model", "method"])["value"]
    assert auc["noisy", "windows"] > 0.9 and auc["noisy", "baseline: constant"] == 0.5
    row = rows.set_index(["model", "method"]).loc[("noisy", "windows")]
    assert row["low"] <= row["value"] <= row["high"] and row["n"] == 12 and row["contents"] == 4
    sanity = believing.sanity_table(networks, found, planted, four, 2, log=lambda line: None)
    checks = sanity.set_index(["method", "check"])
    assert checks.loc[("windows", "order"), "n"] == 4 and checks.loc[("windows", "shifted"), "n"] == 2
    assert checks.loc[("windows", "mirrored"), "value"] > 0.95
    verdicts = believing.verdicts(networks, places, sanity).set_index("method")["verdict"]
    assert set(verdicts.index) == set(believing.methods_of(networks["noisy"]))
    # two weights can be shuffled in one way that changes a sign alone: the map does not hang on them
    assert verdicts["windows"].startswith(("not to be used", "tells where the distortion is"))


def test_repairing_the_worst_first_is_worth_more_than_repairing_it_last(four):
    table = believing.order_table(Noisy(), np.stack(list(four.values())), "windows").set_index("order")
    assert table["n"].tolist() == [4, 4] and table["low"].le(table["value"]).all()


def numbers(value, low):
    return pd.Series({"value": value, "low": low})


@pytest.mark.parametrize(
    ("auc", "shuffled", "order", "shifted", "verdict"),
    [
        (0.95, 0.8, 1.0, 1.0, "not to be used"),
        (0.95, -0.8, 1.0, 1.0, "not to be used"),
        (0.95, 0.1, 1.0, 1.0, "tells where the distortion is, and the vote hangs on these places"),
        (
            0.95,
            0.1,
            1.0,
            0.2,
            "tells where the distortion is, and the vote hangs on these places; another map when shi",
        ),
        (0.75, 0.1, -1.0, 1.0, "a hint of where the distortion is"),
        (0.5, 0.1, 1.0, 1.0, "names places that the vote hangs on, not where"),
        (0.5, 0.1, -1.0, 1.0, "to look at only"),
    ],
)
def test_the_sentence_follows_from_the_numbers(auc, shuffled, order, shifted, verdict):
    steady = numbers(0.9, 0.8)
    own = (numbers(shuffled, 0), steady, numbers(shifted, 0), numbers(order, order - 0.1))
    assert believing._verdict(numbers(auc, auc - 0.04), 0.6, *own).startswith(verdict)


def test_networks_that_read_jpeg_alone_are_judged_by_it(tmp_path, planted):
    files = {"net": tmp_path / "net.safetensors"}
    scale = {"scale": {"name": "JPEG class", "low": 1, "high": 5}}
    save_weights(create("jpeg_resnet", width=0.125), files["net"], scale)
    networks = believing.networks_of(["net"], files.__getitem__)
    assert believing.reads(networks["net"]) == "jpeg" and believing.reads(Noisy()) is None
    table = [
        ("net", method, kind, place, "auc", 0.5)
        for method in ("windows", believing.CONTRAST)
        for kind in ("all", "jpeg")
        for place in ("all", "edges")
    ]
    places = pd.DataFrame(table, columns=["model", "method", "distortion", "place", "metric", "value"])
    shown = believing.as_they_read(places, networks)
    assert set(shown["model"]) == {"net"} and set(shown["distortion"]) == {"jpeg"}
    assert shown["method"].tolist() == ["windows", believing.CONTRAST]
    with pytest.raises(InputError, match="model 'psnr': a metric has no network to make maps of"):
        believing.networks_of(["psnr"], files.__getitem__)


def test_networks_are_not_asked_about_contents_that_they_have_learnt_from(demo_set, four, planted):
    network, split = Noisy(), by_content(demo_set.images, 3, 0, demo_set.sources)
    network.card = made_card({"architecture": "noisy", "arguments": {}} | learnt_from(demo_set, split), "card.json")
    learnt = believing.learnt_contents({"noisy": network, "other": Noisy()}, demo_set, split)
    unseen = set(split.loc[(split["fold"] == 1) & (split["part"] == "test"), "content"])
    assert set(learnt) == {"noisy"} and learnt["noisy"].isdisjoint(unseen)
    found = {("noisy", "m"): planted.masks.astype(float), (believing.NONE, believing.CONTRAST): planted.masks * 1.0}
    table = believing.localisation_table(found, planted, learnt)
    assert set(table["method"]) == {"m", believing.CONTRAST}
    assert table["contents"].max() == len(unseen & set(four)) < 4
    with pytest.raises(InputError, match="model 'noisy': has learnt from demo on another split"):
        believing.learnt_contents({"noisy": network}, demo_set, split[split["fold"] != 0])


def learnt_from(data, split):
    return {"dataset": data.name, "split_hash": split_hash(split), "fold": 1}


def test_agreement_of_a_map_with_itself_and_with_chance():
    rng, names = np.random.default_rng(0), ["a", "b", "c", "d"] * 10
    found = {("x", "m"): rng.random((40, 16, 16)), (believing.NONE, believing.CONTRAST): rng.random((40, 16, 16))}
    found["y", "m"] = found["x", "m"] ** 2
    table = believing.agreement_table(found, ["x: m", "y: m"], names).set_index(["first", "second", "metric"])
    assert table.loc[("x: m", "y: m"), "value"].tolist() == pytest.approx([1, 1])
    trivial = f"{believing.NONE}: {believing.CONTRAST}"
    correlation, overlap = table.loc[("x: m", trivial), "value"]
    with pytest.raises(InputError, match="compared: no map 'z: m'; expected some of x: m, "):
        believing.agreement_table(found, ["z: m"], names)
    assert correlation == pytest.approx(0, abs=0.05) and overlap == pytest.approx(0.111, abs=0.02)


def test_networks_over_patches_find_noise_in_contents_that_they_have_not_learnt_from(demo_set, four):
    planted = plant(four, ["noise"], places=("quarter",))
    split = by_content(demo_set.images, 3, 0, demo_set.sources)
    patches = {"base": "spectrum", "size": 64, "overlap": 0.5, "taps": [-1], "pooling": "moments"}
    training = {"epochs": 3, "lr": 3e-3, "patience": None}
    found = planted_maps(demo_set, split, planted, patches, ["mean_pooling"], training)
    assert set(found) == {("mean pooling", "quality"), ("mean pooling", "attention")}
    auc = believing.localisation(found["mean pooling", "quality"], planted.masks)["auc"]
    assert found["mean pooling", "quality"].shape == (4, 32, 32) and auc.mean() > 0.7
