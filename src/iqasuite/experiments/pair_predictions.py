"""What full-reference networks predict for pairs that taught them nothing: held-out ones, and those of rated sets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from iqasuite.datasets import load
from iqasuite.datasets.pairs import rated_pairs
from iqasuite.datasets.splits import part, split_hash
from iqasuite.evaluation.benchmark import split_scores
from iqasuite.evaluation.metrics import srocc
from iqasuite.experiments.full_reference import Key, Material, Networks
from iqasuite.experiments.run import Run
from iqasuite.inference.pairs import VIEWS, predict_pairs, save_full_reference
from iqasuite.inference.predictions import UNTRAINED, predictions_frame
from iqasuite.inference.rated_pairs import OfPair, metric_predictions, metric_predictor, predict_rated_pairs
from iqasuite.models.metrics.piq_metrics import METRICS

_log = logging.getLogger(__name__)
TESTED = {"corrected": "held-out photographs", "faithful": "random split, photographs shared"}  # by protocol


def held_out_predictions(material: Material, networks: Networks, viewing: Mapping) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What networks predict for the parts that did not teach them.

    Args:
        material: the pairs, their labels and splits (`full_reference.Material`).
        networks: what was trained (`full_reference.Networks`).
        viewing: crop (side of tiles in pixels), reduce_to (0: every pixel counts) and views, as of
            `inference.pairs.predict_pairs`. The validation part is seen in one view.

    Returns:
        Predictions frame, and for each test pair of each network: spread (standard deviation over views), error
        (|score − label|) and content.
    """
    frames, steady = [], []
    for (fold, seed), fitted in networks.fitted.items():
        for name in ("val", "test") if material.protocol == "corrected" else ("test",):
            images = part(material.split, fold, name)
            rows = material.rows(images)
            views = VIEWS[viewing["views"] if name == "test" else "one"]
            pairs = material.pairs.pairs(rows)
            scores, spread = predict_pairs(fitted.model, *pairs, views, viewing["crop"], viewing["reduce_to"] or None)
            labels = material.labels[rows]
            about = (material.name, networks.method, material.protocol, seed, fold, name, "", images, labels)
            frames.append(predictions_frame(*about, predicted=scores))
            if name == "test":
                contents = material.contents[images].to_numpy()
                steady.append(pd.DataFrame({"spread": spread, "error": np.abs(scores - labels), "content": contents}))
    return pd.concat(frames, ignore_index=True), pd.concat(steady, ignore_index=True)


@dataclass(frozen=True)
class Votes:
    """Predictions for pairs of a rated set that taught nothing.

    Attributes:
        name: of the set.
        predictions: predictions frame of networks and metrics.
        source: photograph of each image (index image).
    """

    name: str
    predictions: pd.DataFrame
    source: pd.Series

    @property
    def of_networks(self) -> pd.DataFrame:
        """The predictions of networks alone."""
        return self.predictions[self.predictions["protocol"] != UNTRAINED]

    @property
    def n_sources(self) -> int:
        """Number of photographs."""
        return self.source[self.predictions["image"].unique()].nunique()

    @property
    def described(self) -> str:
        """Number of pairs and photographs, for captions."""
        return f"{self.name}: {self.predictions['image'].nunique()} pairs of {self.n_sources} photographs"


def vote_predictions(material: Material, networks: Networks, rated: Mapping, viewing: Mapping) -> list[Votes]:
    """What networks, and metrics beside them, predict for sets that observers rated.

    A network is asked only about photographs that taught it nothing, told apart by their names.

    Args:
        material: the pairs, their labels and splits (`full_reference.Material`).
        networks: what was trained (`full_reference.Networks`).
        rated: sets (names), side (shorter side in pixels to which pairs are brought; 0: as the set was shown) and peers
            (metrics of `models.metrics.piq_metrics.METRICS`).
        viewing: as of `held_out_predictions`.
    """
    asked = []
    for name in rated["sets"]:
        if name == material.name:
            _log.warning("%s: its votes are the labels; its held-out part has been tested", name)
            continue
        data = load(name, missing="drop")
        source, mos = data.sources_of_images(), data.images.set_index("image")["mos"]
        predictors = {
            f"{fold}_{seed}": _unless_learnt(networks, (fold, seed), source, viewing) for fold, seed in networks.fitted
        }
        values = predict_rated_pairs(data, predictors | {m: metric_predictor(m) for m in rated["peers"]}, rated["side"])
        frames = []
        for fold, seed in networks.fitted:
            scores = values[f"{fold}_{seed}"].dropna()
            if scores.empty:
                _log.warning("%s: split %d has learnt from every photograph; nothing to ask", name, fold)
                continue
            about = (name, networks.method, material.protocol, seed, fold, "test", "", list(scores.index))
            frames.append(predictions_frame(*about, mos[scores.index], predicted=scores))
        if frames:
            of_networks = pd.concat(frames, ignore_index=True)
            titles = values[rated["peers"]].rename(columns={m: METRICS[m].title for m in rated["peers"]})
            beside = [metric_predictions(of_networks, titles)] if rated["peers"] else []
            asked.append(Votes(name, pd.concat([of_networks, *beside], ignore_index=True), source))
    return asked


def _unless_learnt(networks: Networks, key: Key, source: pd.Series, viewing: Mapping) -> OfPair:
    """A network as a predictor of pairs whose photograph taught it nothing; nan for the others."""
    network, learnt, views = networks.fitted[key].model, set(networks.photographs[key]), VIEWS[viewing["views"]]
    crop, reduce_to = viewing["crop"], viewing["reduce_to"] or None

    def predict(image: str, reference: np.ndarray, distorted: np.ndarray) -> float:
        if source[image] in learnt:
            return np.nan
        return float(predict_pairs(network, [reference], [distorted], views, crop, reduce_to)[0][0])

    return predict


def srocc_by_distance(network: nn.Module, name: str, side: int, crop: int) -> pd.DataFrame:
    """How much the distance from which large pairs of a rated set are seen changes the correlation with MOS.

    Args:
        network: seen once, in one view.
        name: of the set.
        side: as of `vote_predictions`.
        crop: side of the tiles; pairs of at least four times this side are taken.

    Returns:
        averaged over (squares of so many pixels), n, srocc: a row each for 1, 2 and 4 pixels; no rows without two such
        pairs.
    """
    scores: dict[int, list[float]] = {1: [], 2: [], 4: []}
    truth = []
    for _, reference, distorted, mos in rated_pairs(load(name, missing="drop"), side or None):
        shorter = min(reference.shape[:2])
        if shorter >= 4 * crop:
            truth.append(mos)
            for factor, values in scores.items():
                values.append(
                    predict_pairs(network, [reference], [distorted], VIEWS["one"], crop, shorter // factor)[0][0]
                )
    rows = [(f"{n}×{n} pixels", len(truth), srocc(np.array(values), np.array(truth))) for n, values in scores.items()]
    return pd.DataFrame(rows if len(truth) > 1 else [], columns=["averaged over", "n", "srocc"])


def save_networks(
    run: Run, material: Material, networks: Networks, predictions: pd.DataFrame, viewing: Mapping, facts: Mapping
) -> None:
    """Weights and cards of all networks: `work/<suite>/weights/<run>_<fold>_<seed>.safetensors`.

    Args:
        run: whose folders are read and written.
        material: the pairs, their labels and splits (`full_reference.Material`).
        networks: what was trained (`full_reference.Networks`).
        predictions: of `held_out_predictions`; the test part's scores go onto the card.
        viewing: crop and reduce_to, by which the networks are to be shown images.
        facts: further ones for the cards, such as losses and start.
    """
    scores = split_scores(predictions).query("metric in ('srocc', 'plcc', 'rmse')")
    tested, digest = TESTED[material.protocol], split_hash(material.split)
    for (fold, seed), fitted in networks.fitted.items():
        own = scores[(scores["fold"] == fold) & (scores["seed"] == seed)].set_index("metric")["value"]
        save_full_reference(
            fitted.model,
            run.weights(f"{fold}_{seed}"),
            material.scale,
            material.trained_on,
            {f"{metric}, {tested}": round(float(value), 4) for metric, value in own.items() if np.isfinite(value)},
            viewing["crop"],
            viewing["reduce_to"] or None,
            **facts,
            protocol=material.protocol,
            fold=fold,
            seed=seed,
            split_hash=digest,
            photographs=networks.photographs[fold, seed],
        )
