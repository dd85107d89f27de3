"""The curve of a few-shot experiment: every unseen observer asked for more and more votes, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqasuite.csv_texts import frame_csv
from iqasuite.evaluation import metrics
from iqasuite.evaluation.crossed import crossed_scores
from iqasuite.experiments.few_shot import FEATURES, FEW_SHOT, HEAD, METHODS, OTHERS, POPULATION, Case, predictions
from iqasuite.paths import locked, write_atomic
from iqasuite.report.tables import with_interval
from iqasuite.training.asking import images_to_ask
from iqasuite.training.few_shot import entered_at, set_mass

ALL = 1000  # votes: as many as there are
COUNTS = (0, 1, 3, 5, 10, 20, 40, 80, ALL)
_MANY = 40  # votes, from which on a quarter of the draws will do
_WITHOUT_VOTES = (POPULATION, FEW_SHOT, FEATURES, HEAD, OTHERS)


@dataclass
class Curve:
    """Predictions of a few-shot experiment.

    Attributes:
        votes: observers × images, nan where there is none; contents: of the images.
        p: (method, votes) -> (draws, observers, images, 5), float32.
        masses: the same -> observers × images: the mass of vote sets, nan where it was not calibrated.
    """

    votes: np.ndarray
    contents: np.ndarray
    p: dict[tuple[str, int], np.ndarray]
    masses: dict[tuple[str, int], np.ndarray]


def run_curve(
    cases: Sequence[Case],
    contents: pd.Series,
    methods: Sequence[str] = METHODS,
    counts: Sequence[int] = COUNTS,
    draws: int = 20,
    order: str = "random",
    calibrated: Sequence[str] = (POPULATION, FEW_SHOT),
    seed: int = 0,
) -> Curve:
    """Ask every unseen observer about images of the training and validation parts, and predict their test part.

    Args:
        cases: of `cases`; each observer unseen in one case of every fold.
        contents: index image.
        methods: of `METHODS`; those that need what the cases lack are left out.
        counts: numbers of votes.
        draws: of the images asked about; a quarter of them from 40 votes on and for what is compared with the few-shot
            observers, 1 where all are asked for or the votes do not count.
        order: see `training.asking.images_to_ask`.
        calibrated: methods whose vote sets are calibrated, on seen observers' votes on the validation part.
        seed: of the draws.
    """
    votes = cases[0].votes.T
    images = {image: i for i, image in enumerate(votes.columns)}
    methods = [m for m in methods if not (m == FEATURES and cases[0].features is None)]
    methods = [m for m in methods if not (m == HEAD and cases[0].axes is None)]
    p, masses = {}, {}
    for count in counts:
        n = {method: _draws(method, count, draws) for method in methods}
        for method in methods:
            p[method, count] = np.full((n[method], *votes.shape, 5), np.nan, np.float32)
            masses[method, count] = np.full(votes.shape, np.nan)
        for case in cases:
            rows = [images[image] for image in case.images("test")]
            for method in (m for m in calibrated if m in methods):
                mass = _calibrated(case, method, count, order, seed)
                for name in case.unseen:
                    masses[method, count][votes.index.get_loc(name), rows] = mass
            for name in case.unseen:
                of, own = votes.index.get_loc(name), votes.loc[name].dropna()
                pool, test = case.images("train", "val").intersection(own.index), case.images("test")
                for draw in range(max(n.values())):
                    of_draw = [m for m in methods if draw < n[m] and (count or m in _WITHOUT_VOTES)]
                    asked = _asked(case, pool, count, order, [seed, draw, of])
                    for method, found in predictions(case, case.quality, asked, own, test, of_draw).items():
                        p[method, count][draw, of, rows] = found
    return Curve(votes.to_numpy(), contents[votes.columns].to_numpy(), p, masses)


def _draws(method: str, count: int, draws: int) -> int:
    if count in (0, ALL) or method in (POPULATION, OTHERS):
        return 1
    less = (4 if count >= _MANY else 1) * (1 if method in (FEW_SHOT, FEATURES) else 4)
    return max(draws // less, 1)


def curve_table(curve: Curve, dataset: str, n_boot: int = 500, seed: int = 0) -> pd.DataFrame:
    """Scores of a curve: dataset, method, votes, metric, value, low, high; see `evaluation.crossed.crossed_scores`."""
    frames = []
    for (method, count), p in curve.p.items():
        mass = curve.masses[method, count]
        if not np.isfinite(p).any():
            continue
        shape = p.shape
        members = None
        if np.isfinite(mass).any():
            flat = np.broadcast_to(mass[None], shape[:3]).reshape(-1)
            members = (entered_at(p.reshape(-1, 5)) < flat[:, None]).reshape(shape)
        scores = crossed_scores(p, curve.votes, curve.contents, members, n_boot, seed)
        frames.append(scores.assign(dataset=dataset, method=method, votes="all" if count == ALL else str(count)))
    return pd.concat(frames)[["dataset", "method", "votes", "metric", "value", "low", "high"]]


def _asked(case: Case, pool: pd.Index, count: int, order: str, seed: list[int]) -> pd.Index:
    phi = None if case.features is None else case.features.loc[pool].to_numpy()
    population = case.population if phi is None else case.with_named
    of = case.quality[pool].to_numpy(), population, phi, case.disagreement[pool].to_numpy()
    return pool[images_to_ask(order, count, *of, seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))]


def _calibrated(case: Case, method: str, count: int, order: str, seed: int) -> float:
    """The mass of vote sets that hold nine in ten of the seen observers' votes on the validation part."""
    p, votes, val = [], [], case.images("val")
    for i, name in enumerate(case.seen):
        own = case.votes[name].dropna()
        at = val.intersection(own.index)
        for draw in range(1 if count in (0, ALL) else 2):
            asked = _asked(case, case.images("train").intersection(own.index), count, order, [seed, 1000 + draw, i])
            p.append(predictions(case, case.quality_for(name), asked, own, at, [method])[method])
            votes.append(own[at].to_numpy(int))
    return set_mass(np.concatenate(p), np.concatenate(votes))


def curve_words(table: pd.DataFrame, of: Sequence[str]) -> pd.DataFrame:
    """Metrics of a curve with their intervals as text, by votes (rows) and method (columns)."""
    rows = table[table["metric"].isin(of)]
    text = [with_interval(r.value, r.low, r.high, 3) for r in rows.itertuples()]
    wide = rows.assign(text=text).pivot(index=["metric", "votes"], columns="method", values="text")
    order = rows[["metric", "votes"]].drop_duplicates().itertuples(index=False)
    return wide.loc[[tuple(pair) for pair in order], list(dict.fromkeys(rows["method"]))].fillna("–").reset_index()


def compare_orders(
    cases: Sequence[Case], contents: pd.Series, orders: Sequence[str], draws: int, n_boot: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Curves of few-shot observers, one for each order of the images asked about (column method).

    Args:
        cases, contents, draws, seed: as of `run_curve`.
        orders: see `training.asking.images_to_ask`.
        n_boot: resamples for the intervals.
    """
    of = FEW_SHOT if cases[0].features is None else FEATURES
    frames = []
    for order in orders:
        curve = run_curve(cases, contents, [of], (1, 3, 5, 10, 20), draws, order, (), seed)
        frames.append(curve_table(curve, "", n_boot, seed).assign(method=order))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def trunk_table(cases: Sequence[Case]) -> pd.DataFrame:
    """How well a trunk predicts the unseen observers' mean vote on the test part, by case: srocc, plcc, rmse."""
    rows = []
    for number, case in enumerate(cases):
        test = case.images("test")
        mos = case.votes.loc[test, list(case.unseen)].mean(axis=1).dropna()
        of = case.quality[mos.index].to_numpy(), mos.to_numpy()
        found = {name: getattr(metrics, name)(*of) for name in ("srocc", "plcc", "rmse")}
        rows.append({"case": number, "unseen": len(case.unseen), "images": len(mos), **found})
    return pd.DataFrame(rows)


def population_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Numbers of the population over cases: parameter, mean, least, most."""
    every = [case.population if case.features is None else case.with_named for case in cases]
    names = [name for name, value in vars(every[0]).items() if isinstance(value, float) and name != "mass"]
    values = pd.DataFrame([{name: getattr(each, name) for name in names} for each in every])
    table = values.agg(["mean", "min", "max"]).T.set_axis(["mean", "least", "most"], axis=1)
    return table.rename_axis("parameter").reset_index()


def headline(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy and QWK without votes, with 5, 20 and all, and the coverage at 5, of few-shot observers."""
    of = table[table["method"] == FEW_SHOT].set_index(["votes", "metric"])["value"]
    wanted = [(count, metric) for count in ("0", "5", "20", "all") for metric in ("accuracy", "qwk")]
    wanted.append(("5", "coverage"))
    return {f"{metric}, {count} votes": float(of[count, metric]) for count, metric in wanted if (count, metric) in of}


def keep_curve(path: Path, table: pd.DataFrame) -> Path:
    """Put a curve into a CSV file of several, in place of that set's earlier one."""
    with locked(path):
        before = pd.read_csv(path, dtype={"votes": str}) if path.is_file() else table.iloc[:0]
        kept = pd.concat([before[~before["dataset"].isin(table["dataset"])], table])
        return write_atomic(path, frame_csv(kept.sort_values("dataset", kind="stable").round(4)))
