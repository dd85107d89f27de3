"""What can be believed of maps of networks: true places of distortions, sanity checks, a verdict for each method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import split_hash
from iqasuite.errors import InputError
from iqasuite.evaluation.uncertainty import bootstrap_by_content
from iqasuite.explain.maps import maps, methods_of
from iqasuite.explain.planted import CONTRAST, Planted, baselines, localisation, plant
from iqasuite.explain.sanity import agreement, cascaded, moved, repaired
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.inference.predictor import enlarged
from iqasuite.models.metrics.piq_metrics import METRICS
from iqasuite.models.network import Network
from iqasuite.weights.files import load_weights

Maps = Mapping[tuple[str, str], np.ndarray]  # (model, method) -> (images, rows, columns)
NONE = "–"  # model of maps that take no network
_ASKED = ("shuffled 1.00", "mirrored", "shifted", "order")  # checks that verdicts go by
FOUND, LOST, STEADY = 0.85, 0.5, 0.7  # AUC of a place that is found; agreements below and above which a check is passed
_GRID = 16  # places a side at which maps of two networks are compared
_TOP = 0.2  # share of the places whose overlap is counted


def networks_of(names: Sequence[str], find: Callable[[str], Path]) -> dict[str, Network]:
    """Networks by the names of their weights.

    Args:
        names: of weights.
        find: the file of weights by their name, such as `Run.find_weights`.

    Raises:
        InputError: a metric, no such weights, or a network that is not given single images.
    """
    networks = {}
    for name in names:
        if name in METRICS or name in ("brisque", "niqe"):
            raise InputError(f"model {name!r}: a metric has no network to make maps of; expected names of weights")
        networks[name], _ = load_weights(find(name))
        methods_of(networks[name])
    return networks


def learnt_contents(networks: Mapping[str, Network], data: Dataset, split: pd.DataFrame) -> dict[str, set[str]]:
    """Contents of a set from which networks have learnt, those of train and val of their fold.

    Raises:
        InputError: a network has learnt from the set on another split.
    """
    learnt = {}
    for name, network in networks.items():
        card = network.card
        if card is None or card.dataset != data.name or card.fold is None:
            continue
        if card.split_hash != split_hash(split):
            raise InputError(f"model {name!r}: has learnt from {data.name} on another split; expected this notebook's")
        learnt[name] = set(split.loc[(split["fold"] == card.fold) & (split["part"] != "test"), "content"])
    return learnt


def all_maps(
    networks: Mapping[str, Network],
    images: np.ndarray,
    left_out: Mapping[str, Sequence[str]] = MappingProxyType({}),
    log: Callable[[str], None] = print,
) -> Maps:
    """Maps of images uint8 (n, H, W, 3): all that the networks can have but those left out, and baselines."""
    found = {(NONE, name): values for name, values in baselines(images).items()}
    for name, network in networks.items():
        methods = [method for method in methods_of(network) if method not in left_out.get(name, ())]
        found |= {(name, method): maps(network, images, method) for method in methods}
        log(f"{name}: {len(images)} images, {', '.join(methods)}")
    return found


def reads(network: Network | None) -> str | None:
    """The only distortion that a network has learnt to read; None = it was not taught one alone."""
    return "jpeg" if network is not None and network.card and network.card.scale.name == "JPEG class" else None


def _row(values: np.ndarray, contents: np.ndarray, **named: object) -> dict[str, object]:
    low, high = bootstrap_by_content(values, contents)
    return {**named, "value": values.mean(), "low": low, "high": high, "n": len(values)} | {
        "contents": len(np.unique(contents))
    }


def localisation_table(
    found: Maps, planted: Planted, learnt: Mapping[str, Collection[str]] = MappingProxyType({})
) -> pd.DataFrame:
    """How well all maps point at planted distortions, with 95 % intervals over contents.

    Args:
        found, planted: of `all_maps`, and the images that they are of.
        learnt: contents of which a model is not asked, as of `learnt_contents`.

    Returns:
        For every model its maps and the baselines on the same images:
        model, method, distortion ("all" or one), place ("all" or one), metric ("auc" or "pointing"), value, low, high,
        n (images), contents.
    """
    facts, rows = planted.facts, []
    parts = [("all", "all", np.ones(len(facts), bool))]
    parts += [(kind, "all", (facts["distortion"] == kind).to_numpy()) for kind in facts["distortion"].unique()]
    parts += [("all", place, (facts["place"] == place).to_numpy()) for place in facts["place"].unique()]
    scores = {key: localisation(values, planted.masks) for key, values in found.items()}
    for model in dict.fromkeys(model for model, _ in found if model != NONE):
        asked = ~facts["content"].isin(list(learnt.get(model, ()))).to_numpy()
        for (_, method), of in ((key, of) for key, of in scores.items() if key[0] in (model, NONE)):
            for kind, place, some in parts:
                named = {"model": model, "method": method, "distortion": kind, "place": place}
                chosen = some & asked
                for metric in of if chosen.any() else ():
                    values = of[metric].to_numpy()[chosen]
                    rows.append(_row(values, facts["content"].to_numpy()[chosen], **named, metric=metric))
    return pd.DataFrame(rows)


def sanity_table(
    networks: Mapping[str, Network],
    found: Maps,
    planted: Planted,
    contents: Mapping[str, np.ndarray],
    checked: int,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Sanity checks of all maps of networks.

    Args:
        networks: by name; one that reads one distortion alone is shown that one.
        found, planted: of `all_maps`, and the images that they are of.
        contents: name -> undistorted image, which is distorted as a whole as those of `planted` are, and repaired.
        checked: images of `planted` whose maps are asked for again with shuffled weights, mirrored and shifted.
        seed: of what is drawn.
        log: takes a line for every network.

    Returns:
        model, method, check, value, low, high, n, contents. Checks: "shuffled 0.25" to "shuffled 1.00" (agreement with
        the network's own map when that share of its tensors, from the output on, is shuffled), "mirrored", "shifted"
        (agreement), and "order" (votes that repairing places in the map's order is worth, less a random order's).
    """
    rows, references, facts = [], np.stack(list(contents.values())), planted.facts
    for model, network in networks.items():
        only, methods = reads(network), [method for name, method in found if name == model]
        kinds = [only] if only else list(facts["distortion"].unique())
        images = plant(contents, kinds, facts["level"].iloc[0], ("whole",), seed).images
        orders = {method: maps(network, images, method) for method in methods} | {CONTRAST: baselines(images)[CONTRAST]}
        for method, gain in _gains(network, images, references, orders, seed).items():
            rows.append(_row(gain, np.array(list(contents)), model=model, method=method, check="order"))
        known = np.flatnonzero(facts["distortion"].isin(kinds))
        few = known[:: max(1, len(known) // checked)][:checked]  # of many contents
        seen, names = planted.images[few], facts["content"].to_numpy()[few]
        again = {
            f"shuffled {share:.2f}": {method: maps(shuffled, seen, method) for method in methods}
            for share, shuffled in cascaded(network, seed=seed)
        }
        for method in methods:
            own = found[model, method][few]
            checks = {check: agreement(own, of[method]) for check, of in again.items()}
            checks |= moved(network, seen, method, own)
            named = {"model": model, "method": method}
            rows += [_row(values, names, **named, check=check) for check, values in checks.items()]
        log(f"{model}: checked")
    return pd.DataFrame(rows)


def _gains(
    network: Network, images: np.ndarray, references: np.ndarray, orders: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Votes (n,) that each order of places is worth for repairing images, less those of a random order."""
    chance = repaired(network, images, references, None, seed)
    return {name: repaired(network, images, references, order, seed) - chance for name, order in orders.items()}


def order_table(network: Network, images: np.ndarray, method: str = "attention", seed: int = 0) -> pd.DataFrame:
    """What the order of a map is worth for repairing images uint8 (n, H, W, 3) that are blurred (σ 4 pixels).

    Returns:
        order ("most first", "least first"), value (votes, less a random order's), low, high (over images), n, contents.
    """
    soft, found = np.stack([gaussian_blur(image, 4.0) for image in images]), maps(network, images, method)
    gains = _gains(network, soft, images, {"most first": found, "least first": -found}, seed)
    return pd.DataFrame([_row(gain, np.arange(len(images)), order=name) for name, gain in gains.items()])


def as_they_read(places: pd.DataFrame, networks: Mapping[str, Network]) -> pd.DataFrame:
    """Rows of a localisation table of all places, of the distortions that each model reads.

    Args:
        places: of `localisation_table`.
        networks: by model; a model that is not among them reads all distortions.
    """
    kinds = places["model"].map(lambda model: reads(networks.get(model)) or "all")
    return places[(places["place"] == "all") & (places["distortion"] == kinds)].reset_index(drop=True)


def verdicts(networks: Mapping[str, Network], places: pd.DataFrame, sanity: pd.DataFrame) -> pd.DataFrame:
    """One sentence for each map: what it may be used for, by the numbers of the two tables.

    Returns:
        model, method, auc (of the distortions that the network reads), shuffled, mirrored, shifted, order, verdict.
    """
    aucs = as_they_read(places, networks).query("metric == 'auc'").set_index(["model", "method"])
    checks, rows = sanity.set_index(["model", "method", "check"]), []
    for model in networks:
        for method in sanity.loc[(sanity["model"] == model) & (sanity["check"] == "mirrored"), "method"]:
            of = {check.split()[0]: checks.loc[(model, method, check)] for check in _ASKED}
            auc, trivial = aucs.loc[(model, method)], aucs.loc[(model, CONTRAST), "value"]
            numbers = {check: row["value"] for check, row in of.items()}
            verdict = _verdict(auc, max(trivial, 1 - trivial), **of)
            rows.append({"model": model, "method": method, "auc": auc["value"], **numbers, "verdict": verdict})
    return pd.DataFrame(rows)


def _verdict(
    auc: pd.Series, trivial: float, shuffled: pd.Series, mirrored: pd.Series, shifted: pd.Series, order: pd.Series
) -> str:
    if abs(shuffled["value"]) >= LOST:
        return "not to be used: it looks much the same when all weights are shuffled"
    counts = order["low"] > 0
    if auc["low"] > trivial:
        use = "tells where the distortion is" if auc["value"] >= FOUND else "a hint of where the distortion is"
        use += ", and the vote hangs on these places" if counts else ""
    elif counts:
        use = "names places that the vote hangs on, not where the distortion is"
    else:
        use = "to look at only: neither the distortion nor the vote follows it"
    unsteady = [name for name, row in (("mirrored", mirrored), ("shifted", shifted)) if row["value"] < STEADY]
    return use + (f"; another map when {' or '.join(unsteady)}" if unsteady else "")


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Overlap (n,) of the fifths of the places that have most in pairs of maps (n, rows, columns): shared over any."""
    tops = []
    for each in (first, second):
        flat = each.reshape(len(each), -1)
        tops.append(flat.argsort(1, kind="stable").argsort(1) >= flat.shape[1] * (1 - _TOP))
    return (tops[0] & tops[1]).sum(1) / (tops[0] | tops[1]).sum(1)


def agreement_table(found: Maps, compared: Sequence[str], contents: Sequence[str]) -> pd.DataFrame:
    """How alike maps of different networks are on the same images, and each to local contrast.

    Args:
        found: of `all_maps`.
        compared: "model: method", such as "aio0: attention".
        contents: of each image.

    Returns:
        first, second (model: method), metric ("rank correlation" or "overlap"; that of two random maps is 0, or .11),
        value, low, high, n, contents.

    Raises:
        InputError: no such map.
    """
    known = {f"{model}: {method}": values for (model, method), values in found.items()}
    unknown = [name for name in compared if name not in known]
    if unknown:
        raise InputError(f"compared: no map {unknown[0]!r}; expected some of {', '.join(known)}")
    small = {name: enlarged(known[name], (_GRID, _GRID)) for name in (*compared, f"{NONE}: {CONTRAST}")}
    rows, named = [], list(small)
    for number, first in enumerate(named):
        for second in named[number + 1 :]:
            both = {"first": first, "second": second}
            pair = small[first], small[second]
            for metric, values in (("rank correlation", agreement(*pair)), ("overlap", overlap(*pair))):
                rows.append(_row(values, np.asarray(contents), **both, metric=metric))
    return pd.DataFrame(rows)
