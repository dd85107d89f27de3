"""An observer from few votes: seconds from the last vote to the new observer, and its fit beside a general optimiser.

Simulated people on 300 images whose scores are known, as they are on the page, with four others who rated the set.
"last vote to observer" is all that the page does then: population of the others, level, errors on votes left out,
sentences, weights with their card. The fit alone stands beside the same posterior maximised by scipy's BFGS, which
takes its gradient from differences. One thread, medians. Written to results/bench/few_shot.csv.

    python tests/benchmarks/bench_few_shot.py
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from iqasuite.evaluation.subjects import own_observer as own
from iqasuite.paths import results_root, write_atomic
from iqasuite.training.few_shot import PEOPLE, Observer, fit_observer
from iqasuite.training.levels import score_frame

IMAGES, COUNTS, REPETITIONS = 300, (5, 20, 80, 200), 5


def people(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of images, and the votes frame of n people drawn from the population."""
    rng = np.random.default_rng(seed)
    index = pd.Index([f"i{k:03d}" for k in range(IMAGES)], name="image", dtype=object)
    scores, frames = score_frame(rng.uniform(1, 5, IMAGES), rng.standard_normal((IMAGES, 13)), index), []
    for k in range(n):
        person = PEOPLE.mean() + PEOPLE.sd() * rng.standard_normal(6)
        p = Observer(PEOPLE, person, np.zeros((6, 6))).distribution(scores["quality"].to_numpy(), None, 0.4)
        vote = 1 + (rng.random((IMAGES, 1)) > p.cumsum(1)[:, :4]).sum(1)
        frames.append(pd.DataFrame({"observer": f"o{k}", "session": 1, "position": 1, "image": index, "vote": vote}))
    return scores, pd.concat(frames, ignore_index=True)


def last_vote_to_observer(votes: pd.DataFrame, scores: pd.DataFrame, others: pd.DataFrame) -> None:
    found = own.own_observer(votes, scores, others)
    errors = own.unseen_errors(found)
    own.sentences(found, errors)
    found.predictions()
    dataset = SimpleNamespace(name="bench", simulated=False)
    entry = SimpleNamespace(name="trunk", card=SimpleNamespace(caution=""))
    own.save_own(found, "bench", SimpleNamespace(dataset=dataset, entry=entry, trunk_hash="0" * 64), errors)


def by_bfgs(quality: np.ndarray, vote: np.ndarray) -> np.ndarray:
    """The same posterior's maximum, by an optimiser that knows nothing of it."""

    def loss(theta: np.ndarray) -> float:
        p = Observer(PEOPLE, theta, np.zeros((6, 6))).distribution(quality)
        prior = ((theta - PEOPLE.mean()) / PEOPLE.sd()) ** 2
        return float(-np.log(p[np.arange(len(vote)), vote - 1]).sum() + 0.5 * prior.sum())

    return minimize(loss, PEOPLE.mean(), method="BFGS").x


def median_seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Median time of some calls, after one that warms up, and what they return."""
    result, spent = call(), []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        result = call()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent), result


def measure() -> pd.DataFrame:
    """Rows benchmark, votes, way, seconds, ratio (BFGS's time over ours), largest_difference, repetitions."""
    scores, votes = people(5)
    mine, others, rows = votes[votes["observer"] == "o0"], votes[votes["observer"] != "o0"], []
    for n in COUNTS:
        first = mine.iloc[:n]
        quality, vote = scores["quality"].to_numpy()[:n], first["vote"].to_numpy()
        seconds, _ = median_seconds(lambda first=first: last_vote_to_observer(first, scores, others))
        rows.append((n, "last vote to observer", seconds, np.nan, np.nan))
        slow, theirs = median_seconds(lambda q=quality, v=vote: by_bfgs(q, v))
        fast, ours = median_seconds(lambda q=quality, v=vote: fit_observer(PEOPLE, q, v))
        difference = np.abs(ours.estimate - theirs).max()
        rows += [(n, "fit, scipy BFGS", slow, 1.0, difference), (n, "fit, ours", fast, slow / fast, difference)]
    columns = ["votes", "way", "seconds", "ratio", "largest_difference"]
    table = pd.DataFrame(rows, columns=columns).assign(repetitions=REPETITIONS)
    table.insert(0, "benchmark", "few_shot")
    return table


def main() -> None:
    results, here = results_root("bench").resolve(), Path.cwd()
    with tempfile.TemporaryDirectory() as project:  # weights are written there
        (Path(project) / "notebooks" / "suites").mkdir(parents=True)
        os.chdir(project)
        table = measure().round({"seconds": 4, "ratio": 1, "largest_difference": 4})
        os.chdir(here)
    write_atomic(results / "few_shot.csv", table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
