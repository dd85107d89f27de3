"""What is in a folder of playlists, session by session, and which sessions are not what the design says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import NAType

from iqasuite.datasets.frames import VOTE_SCALE, validate
from iqasuite.names import natural_key
from iqasuite.text_tables import aligned

REPORT = (
    *("observer", "session", "n", "start", "end", "minutes", "median_duration"),
    *("share_1", "share_2", "share_3", "share_4", "share_5"),
    *("longest_run", "n_elsewhere", "repeats", "share_repeated"),
)
FAULTS = ("observer", "session", "should_repeat", "shared", "n", "why")
COPIES = ("observer_a", "session_a", "observer_b", "session_b", "n", "why")
_CHANCE = 20  # votes; without times, two observers may well agree on all of fewer


def session_report(votes: pd.DataFrame) -> pd.DataFrame:
    """One row per observer and session, in natural order (Obs2 before Obs10).

    Args:
        votes: votes frame.

    Returns:
        observer; session; n votes; start and end, the first and last timestamp (NaT where there is none); minutes
        between them; median_duration in seconds (nan where unknown); share_1 … share_5 of the votes; longest_run of
        the same vote one after the other (<NA> where positions are unknown); n_elsewhere, how many of the images occur
        in other sessions of the same observer; repeats, the earlier session that this one repeats (<NA>: none): the one
        it shares most images with, at least half of the smaller of both; share_repeated, that largest share (0…1).
    """
    sessions = _sessions(votes)
    images = {key: frozenset(frame["image"]) for key, frame in sessions.items()}
    rows = []
    for (observer, session), frame in sessions.items():
        others = {s: images[o, s] for o, s in sessions if o == observer and s != session}
        rated = images[observer, session]
        earlier = {s: len(rated & those) / min(len(rated), len(those)) for s, those in others.items() if s < session}
        repeated = max(earlier, key=lambda s: (earlier[s], -s), default=None)
        share = 0.0 if repeated is None else earlier[repeated]
        start, end = frame["timestamp"].min(), frame["timestamp"].max()
        low, high = VOTE_SCALE
        rows.append(
            (
                *(observer, session, len(frame), start, end, (end - start).total_seconds() / 60),
                frame["duration"].median(),
                *(frame["vote"].to_numpy()[:, None] == np.arange(low, high + 1)).mean(0),
                _longest_run(frame),
                len(rated.intersection(frozenset().union(*others.values()))),
                repeated if share >= 0.5 else pd.NA,
                share,
            )
        )
    table = pd.DataFrame(rows, columns=list(REPORT))
    types = {"start": "datetime64[ns]", "end": "datetime64[ns]", "longest_run": "Int64", "repeats": "Int64"}
    return table.astype(types | dict.fromkeys(["minutes", "median_duration", "share_repeated"], "float64"))


def faulty_runs(votes: pd.DataFrame, expected: Mapping[int, int] | None = None) -> pd.DataFrame:
    """Sessions that by the design repeat another one, and do not.

    Args:
        votes: votes frame.
        expected: session -> the earlier session that it repeats, for all observers. None = what most of the other
            observers with that session do, where there are at least two others.

    Returns:
        One row a faulty session: observer, session, should_repeat, shared (images of both), n (images of the session),
        why (a sentence). Empty = all is as designed.
    """
    report = session_report(votes)
    images = {key: frozenset(frame["image"]) for key, frame in _sessions(votes).items()}
    rows = []
    for row in report.itertuples():
        if expected is None:
            others = report[(report["session"] == row.session) & (report["observer"] != row.observer)]
            wanted, reason = _usual(others["repeats"].tolist())
        else:
            wanted, reason = expected.get(row.session), "by the design"
        if wanted is None or (not pd.isna(row.repeats) and row.repeats == wanted):
            continue
        model = images.get((row.observer, wanted), frozenset())
        shared = len(images[row.observer, row.session] & model)
        problem = f"only {shared} of its {row.n} images are in it" if model else "there is no such session"
        instead = "" if pd.isna(row.repeats) else f"; it repeats session {row.repeats} instead"
        why = (
            f"{row.observer}, session {row.session} should repeat session {wanted} ({reason}), but {problem}{instead}."
        )
        rows.append((row.observer, row.session, wanted, shared, row.n, why))
    return pd.DataFrame(rows, columns=list(FAULTS))


def copied_sessions(votes: pd.DataFrame) -> pd.DataFrame:
    """Sessions that are the same run listed twice: the same images, votes and timestamps.

    Where no timestamps are known, the same votes on the same 20 or more images count.

    Returns:
        One row per pair: observer_a, session_a, observer_b, session_b, n, why (a sentence). Empty = none.
    """
    same: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
    for key, frame in _sessions(votes).items():
        times = frame["timestamp"]
        if times.isna().all() and len(frame) < _CHANCE:
            continue
        rated = sorted(zip(frame["image"], frame["vote"], times.astype("int64"), strict=True))
        same.setdefault(tuple(rated), []).append(key)
    rows = []
    for content, keys in same.items():
        for (a, session_a), (b, session_b) in combinations(keys, 2):
            times = "votes and times" if content[0][2] != pd.NaT.value else "votes"
            pair = f"{a}, session {session_a} and {b}, session {session_b}"
            why = f"{pair} are one run listed twice: same images, {times}."
            rows.append((a, session_a, b, session_b, len(content), why))
    return pd.DataFrame(rows, columns=list(COPIES))


def report_text(report: pd.DataFrame) -> str:
    """A session report as aligned text, one line a session under a line of headings."""
    shares = report[[f"share_{vote}" for vote in range(1, 6)]].to_numpy()
    table = pd.DataFrame(
        {
            "observer": report["observer"],
            "session": report["session"].astype(str),
            "votes": report["n"].astype(str),
            "start": report["start"].dt.strftime("%Y-%m-%d %H:%M").fillna("-"),
            "minutes": [_number(value, ".0f") for value in report["minutes"]],
            "median s": [_number(value, ".2f") for value in report["median_duration"]],
            "% of 1/2/3/4/5": ["/".join(f"{100 * share:.0f}" for share in row) for row in shares],
            "run": [_number(value, "d") for value in report["longest_run"]],
            "repeats": [
                "-" if pd.isna(row.repeats) else f"{row.repeats} ({100 * row.share_repeated:.0f} %)"
                for row in report.itertuples()
            ],
        }
    )
    rows = [list(table.columns), *table.to_numpy().tolist()]
    return aligned(rows, right=table.columns.difference(["observer", "start", "repeats"]))


def _sessions(votes: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """(observer, session) -> votes, in natural order."""
    groups = dict(list(validate(votes, "votes").groupby(["observer", "session"])))
    return {key: groups[key] for key in sorted(groups, key=lambda key: (natural_key(key[0]), key[1]))}


def _longest_run(frame: pd.DataFrame) -> int | NAType:
    if (frame["position"] < 1).any() or frame["position"].duplicated().any():
        return pd.NA
    vote = frame.sort_values("position")["vote"].to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], vote[1:] != vote[:-1], [True])))
    return int(np.diff(starts).max())


def _usual(repeats: list[Any]) -> tuple[int | None, str]:
    """What more than half of at least two observers do with a session, and how to say so."""
    usual = Counter(int(session) for session in repeats if not pd.isna(session)).most_common(1)
    if len(repeats) < 2 or not usual or 2 * usual[0][1] <= len(repeats):
        return None, ""
    return usual[0][0], f"as with {usual[0][1]} of the {len(repeats)} other observers"


def _number(value: float, form: str) -> str:
    return "-" if pd.isna(value) else f"{value:{form}}"
