"""What changes while observers rate: drift between sessions, learning and fatigue within one, time for a vote."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import t as t_distribution
from scipy.stats import theilslopes

from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import LEAST_IMAGES
from iqasuite.errors import InputError
from iqasuite.evaluation import metrics, resampled
from iqasuite.evaluation.subjects.observers import content_of
from iqasuite.evaluation.uncertainty import bootstrap_by_content, content_weights, resampled_means, tested
from iqasuite.names import natural_order

# Slopes over a session are given for so many images.
PER_IMAGES = 100


def repeated_votes(votes: pd.DataFrame) -> pd.DataFrame:
    """Both votes on each image of a session that repeats another (at least half of the images, as for `retest`).

    Returns:
        observer, early, late (the sessions), image, vote_early, vote_late.
    """
    frames = []
    for observer in natural_order(votes["observer"]):
        sessions = {s: v.set_index("image")["vote"] for s, v in votes[votes["observer"] == observer].groupby("session")}
        for early, late in combinations(sorted(sessions), 2):
            both = sessions[early].index.intersection(sessions[late].index)
            if len(both) and 2 * len(both) >= min(len(sessions[early]), len(sessions[late])):
                pair = {"vote_early": sessions[early][both].to_numpy(), "vote_late": sessions[late][both].to_numpy()}
                frames.append(pd.DataFrame({"observer": observer, "early": early, "late": late, "image": both, **pair}))
    columns = ["observer", "early", "late", "image", "vote_early", "vote_late"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def retest(votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How well observers agree with themselves where a session repeats another (at least half of its images).

    Args:
        votes: votes frame.
        contents: image -> content for intervals by content; None = images are resampled one by one.
        n_boot, seed: resamples, and the seed of their draw.

    Returns:
        Long frame observer, session, repeats, n, metric (accuracy, within_one, qwk, mae), value, low, high; empty where
        no session repeats another, nan where n is below `LEAST_IMAGES`.
    """
    rows = []
    for (observer, early, late), pair in repeated_votes(votes).groupby(["observer", "early", "late"], sort=False):
        x, y = pair["vote_late"].to_numpy(int), pair["vote_early"].to_numpy(int)
        error, groups = np.abs(x - y).astype(float), content_of(pair["image"], contents)
        statistics = {
            "accuracy": partial(resampled.mean, error == 0),
            "within_one": partial(resampled.mean, error <= 1),
            "qwk": partial(resampled.qwk, x, y),
            "mae": partial(resampled.mean, error),
        }
        for metric, statistic in statistics.items():
            value = low = high = np.nan
            if len(pair) >= LEAST_IMAGES:
                low, high = bootstrap_by_content(statistic, groups, n_boot, seed)
                value = float(statistic(np.ones((1, len(pair))))[0])
            rows.append((observer, late, early, len(pair), metric, value, low, high))
    return pd.DataFrame(rows, columns=["observer", "session", "repeats", "n", "metric", "value", "low", "high"])


def session_drift(
    votes: pd.DataFrame, contents: pd.Series | None = None, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Do observers vote higher or lower when they see the same images again?

    Args:
        votes: votes frame.
        contents: image -> content, to resample by content; None = image by image.
        n_boot, seed: resamples, and the seed of their draw.

    Returns:
        observer, session, repeats (the earlier session), n (images), drift (mean of late − early vote), low, high
        (95 %), p (`paired_test`); empty where no session repeats another, nan where n is below `LEAST_IMAGES`.
    """
    rows = []
    for (observer, early, late), pair in repeated_votes(votes).groupby(["observer", "early", "late"], sort=False):
        difference = (pair["vote_late"] - pair["vote_early"]).to_numpy(float)
        groups = content_of(pair["image"], contents)
        drawn = resampled_means(difference[:, None], content_weights(groups, n_boot, seed))
        found = tested(drawn, len(np.unique(groups))) if len(pair) >= LEAST_IMAGES else [np.nan] * 4
        rows.append((observer, late, early, len(pair), *found))
    return pd.DataFrame(rows, columns=["observer", "session", "repeats", "n", "drift", "low", "high", "p"])


def expected_of(votes: pd.DataFrame, given: pd.Series | None) -> np.ndarray:
    """Expected vote of each row, nan where there is none: the others' mean first vote on the image, or what is given.

    Raises:
        InputError: the given series has an index value twice.
    """
    if given is None:
        first = first_votes(votes)
        total = first.groupby("image")["vote"].agg(["sum", "count"])
        own = first.set_index(["observer", "image"])["vote"]
        own = own.reindex(pd.MultiIndex.from_frame(votes[["observer", "image"]])).to_numpy(float)
        rest = votes["image"].map(total["count"]).to_numpy(float) - 1
        return (votes["image"].map(total["sum"]).to_numpy(float) - own) / np.where(rest > 0, rest, np.nan)
    if given.index.has_duplicates:
        raise InputError(f"expected: {given.index[given.index.duplicated()][0]!r} twice, expected each once")
    if given.index.nlevels == 2:
        return given.reindex(pd.MultiIndex.from_frame(votes[["observer", "image"]])).to_numpy(float)
    return given.reindex(votes["image"]).to_numpy(float)


def position_effects(votes: pd.DataFrame, expected: pd.Series | None = None) -> pd.DataFrame:
    """Learning and fatigue: does an observer's voting change over the positions of a session?

    Three things over the position, each session by itself: the residual (vote − expected: does the observer become
    kinder or harsher?), its absolute value ("disagreement": more or less careful?), and the logarithm of the duration
    (faster or slower?). The first two lie within four votes, so least squares is safe, with intervals that hold for
    unequal spread (HC3); durations have outliers and get the median of pairwise slopes (Theil–Sen). Images should have
    come in random order: otherwise what is called learning may be the images.

    Args:
        votes: votes frame; rows whose position is 0 (not known) are left out.
        expected: expected vote, index image or (observer, image); None = the mean first vote of the others. Give it
            where observers rated different images, such as each one's vote expected at that image's compression.

    Returns:
        Long frame observer, session, effect (residual, disagreement, log_duration), n, slope, low, high (95 %), per 100
        images; slopes from fewer than ten images, and of durations that are missing or zero, are left out.

    Reference: J. G. MacKinnon & H. White, J. Econometrics 29, 1985; P. K. Sen, J. American Statistical Association 63,
    1968.
    """
    residual = votes["vote"].to_numpy(float) - expected_of(votes, expected)
    duration = votes["duration"].to_numpy(float)
    effects = {
        "residual": (residual, _least_squares_slope),
        "disagreement": (np.abs(residual), _least_squares_slope),
        "log_duration": (np.log(np.where(duration > 0, duration, np.nan)), _median_slope),
    }
    place = votes["position"].to_numpy(float) / PER_IMAGES
    rows = []
    for observer in natural_order(votes["observer"]):
        own = (votes["observer"] == observer).to_numpy()
        for session in sorted(votes.loc[own, "session"].unique()):
            in_session = own & (votes["session"] == session).to_numpy() & (place > 0)
            for effect, (values, slope) in effects.items():
                known = in_session & np.isfinite(values)
                if known.sum() < 10 or np.ptp(place[known]) == 0:
                    continue
                rows.append((observer, session, effect, int(known.sum()), *slope(place[known], values[known])))
    return pd.DataFrame(rows, columns=["observer", "session", "effect", "n", "slope", "low", "high"])


def _least_squares_slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    x = x - x.mean()
    square = x @ x
    slope = x @ y / square
    leverage = 1 / len(x) + x**2 / square
    error = (y - y.mean() - slope * x) / (1 - leverage)
    width = t_distribution.ppf(0.975, len(x) - 2) * np.sqrt(x**2 @ error**2) / square
    return float(slope), float(slope - width), float(slope + width)


def _median_slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    found = theilslopes(y, x, alpha=0.95)
    return float(found.slope), float(found.low_slope), float(found.high_slope)


def _with_disagreement(votes: pd.DataFrame, expected: pd.Series | None) -> pd.DataFrame:
    """Votes whose duration and expected vote are known, with column disagreement = |vote − expected|."""
    found = votes.assign(expected=expected_of(votes, expected)).dropna(subset=["duration", "expected"])
    found = found[found["duration"] >= 0]
    return found.assign(disagreement=(found["vote"] - found["expected"]).abs())


def response_time(
    votes: pd.DataFrame,
    expected: pd.Series | None = None,
    contents: pd.Series | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Do observers take longer where they then disagree with what was expected?

    Args:
        votes: votes frame; rows without duration, or with a negative one, do not count.
        expected: as for `position_effects`.
        contents: image -> content for intervals by content; None = images are resampled one by one.
        n_boot, seed: resamples, and the seed of their draw.

    Returns:
        observer, n, srocc (duration with |vote − expected|), low, high (95 %), median (duration in s), all nan where n
        is below ten; observers without such votes have no row, so a set without durations gives none.
    """
    known = _with_disagreement(votes, expected)
    rows = []
    for observer in natural_order(known["observer"]):
        own = known[known["observer"] == observer]
        if len(own) < 10:
            rows.append((observer, len(own), *[np.nan] * 4))
            continue
        duration, disagreement = own["duration"].to_numpy(float), own["disagreement"].to_numpy(float)
        groups = content_of(own["image"], contents)
        low, high = bootstrap_by_content(partial(resampled.srocc, duration, disagreement), groups, n_boot, seed)
        value = metrics.srocc(duration, disagreement)
        rows.append((observer, len(own), value, low, high, float(np.median(duration))))
    return pd.DataFrame(rows, columns=["observer", "n", "srocc", "low", "high", "median"])


def duration_by_disagreement(votes: pd.DataFrame, expected: pd.Series | None = None) -> pd.DataFrame:
    """How long observers take for votes that are as expected, one off, and two or more off.

    Args:
        votes, expected: as for `response_time`; the expected vote is rounded, half a vote up.

    Returns:
        observer, disagreement ("0", "1", "2+"), n, median, low, high (quartiles of the duration, in s); classes that
        occur.
    """
    known = _with_disagreement(votes, expected)
    off = (known["vote"] - np.floor(known["expected"] + 0.5)).abs().clip(upper=2).astype(int)
    known = known.assign(disagreement=off.map({0: "0", 1: "1", 2: "2+"}))
    rows = []
    for observer in natural_order(known["observer"]):
        for name, own in known[known["observer"] == observer].groupby("disagreement"):
            low, median, high = np.percentile(own["duration"], [25, 50, 75])
            rows.append((observer, name, len(own), median, low, high))
    return pd.DataFrame(rows, columns=["observer", "disagreement", "n", "median", "low", "high"])
