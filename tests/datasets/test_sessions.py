import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.frames import empty, validate
from iqasuite.datasets.playlists import read_playlists
from iqasuite.datasets.sessions import (
    COPIES,
    FAULTS,
    REPORT,
    copied_sessions,
    faulty_runs,
    report_text,
    session_report,
)


def session(observer: str, number: int, images: list[str], seed: int, timed: bool = True) -> pd.DataFrame:
    """Random votes, ten seconds apart, half a second each but the last."""
    rng = np.random.default_rng(seed)
    n = len(images)
    frame = pd.DataFrame({"image": images, "vote": rng.integers(1, 6, n), "position": np.arange(1, n + 1)})
    times = pd.Timestamp(2024, 1, 1, number) + pd.to_timedelta(10 * np.arange(n), unit="s")
    frame["timestamp"], frame["duration"] = times if timed else pd.NaT, 0.5
    return validate(frame.assign(observer=observer, session=number), "votes")


def names(start: int, stop: int) -> list[str]:
    return [f"{i}.png" for i in range(start, stop)]


def study(people: int, faulty: tuple[str, ...] = ()) -> pd.DataFrame:
    """Sessions 1 and 2 of 40 images, 3 repeats 1 in another order, of the faulty ones only 5 of its images."""
    frames = []
    for i in range(people):
        name = f"P{i + 1}"
        again = names(0, 5) + names(100, 135) if name in faulty else names(0, 40)[::-1]
        parts = [(1, names(0, 40)), (2, names(38, 78)), (3, again)]
        frames += [session(name, number, images, 10 * i + number) for number, images in parts]
    return pd.concat(frames, ignore_index=True)


def test_report_of_known_votes():
    votes = session("A", 1, names(0, 6), 0).assign(vote=[1, 5, 5, 5, 2, 2], duration=[1, 2, 3, 4, 5, np.nan])
    votes = pd.concat([votes, session("A", 2, names(4, 8), 1), session("A", 10, names(0, 3), 2)])
    report = session_report(votes.sample(frac=1, random_state=0))
    assert tuple(report.columns) == REPORT and report["session"].tolist() == [1, 2, 10]
    first = report.iloc[0]
    assert first["n"] == 6 and first["median_duration"] == 3 and first["longest_run"] == 3
    assert first["start"] == pd.Timestamp(2024, 1, 1, 1) and first["minutes"] == pytest.approx(50 / 60)
    assert first[[f"share_{i}" for i in range(1, 6)]].tolist() == pytest.approx([1 / 6, 2 / 6, 0, 0, 3 / 6])
    assert report["n_elsewhere"].tolist() == [5, 2, 3]
    assert report["repeats"].isna().tolist() == [True, False, False]
    assert report["repeats"].tolist()[1:] == [1, 1]  # half of the smaller one's images will do
    assert report["share_repeated"].tolist() == [0, 0.5, 1]


def test_unknown_positions_and_times():
    votes = session("A", 1, names(0, 5), 0, timed=False).assign(position=0, duration=np.nan)
    report = session_report(votes)
    assert report["longest_run"].isna().all() and report["start"].isna().all()
    assert report["minutes"].isna().all() and report["median_duration"].isna().all()
    assert report_text(report).splitlines()[1].split()[3:6] == ["-", "-", "-"]


def test_no_votes():
    assert session_report(empty("votes")).empty and faulty_runs(empty("votes")).empty
    assert copied_sessions(empty("votes")).empty


def test_design_kept():
    votes = study(4)
    assert faulty_runs(votes).empty and list(faulty_runs(votes).columns) == list(FAULTS)
    assert session_report(votes)["repeats"].dropna().tolist() == [1] * 4
    assert copied_sessions(votes).empty and list(copied_sessions(votes).columns) == list(COPIES)


@pytest.mark.parametrize("faulty", [("P2",), ("P1", "P4")])
def test_planted_faults_are_found(faulty):
    found = faulty_runs(study(6, faulty))
    assert found["observer"].tolist() == list(faulty)
    assert set(found["session"]) == {3} and set(found["should_repeat"]) == {1}
    assert found["shared"].tolist() == [5] * len(faulty) and found["n"].tolist() == [40] * len(faulty)
    usual = 6 - len(faulty)
    assert (
        f"should repeat session 1 (as with {usual} of the 5 other observers), but only 5 of its 40" in found["why"][0]
    )


def test_a_design_that_nobody_keeps_must_be_told():
    votes = study(3, ("P1", "P2", "P3"))
    assert faulty_runs(votes).empty
    assert faulty_runs(votes, {3: 1})["observer"].tolist() == ["P1", "P2", "P3"]
    assert faulty_runs(votes, {}).empty
    assert faulty_runs(study(2, ("P2",))).empty  # one against one says nothing
    assert faulty_runs(study(2, ("P2",)), {3: 1})["observer"].tolist() == ["P2"]


def test_another_session_repeated_or_none_there():
    votes = study(4)
    wrong = session("P9", 2, names(38, 78), 98), session("P9", 3, names(38, 78), 99)
    found = faulty_runs(pd.concat([votes, *wrong]))
    assert found["observer"].tolist() == ["P9"] and found["shared"].tolist() == [0]
    assert "there is no such session; it repeats session 2 instead" in found["why"][0]


def test_copies_are_found_in_any_order_and_under_any_number():
    votes = study(3)
    copy = votes[(votes["observer"] == "P2") & (votes["session"] == 2)].sample(frac=1, random_state=1)
    found = copied_sessions(pd.concat([votes, copy.assign(observer="P7", session=5)]))
    assert found[["observer_a", "session_a", "observer_b", "session_b", "n"]].to_numpy().tolist() == [
        ["P2", 2, "P7", 5, 40]
    ]
    assert "one run listed twice: same images, votes and times" in found["why"][0]
    changed = copy.assign(observer="P7", timestamp=copy["timestamp"] + pd.Timedelta(seconds=1))
    assert copied_sessions(pd.concat([votes, changed])).empty


@pytest.mark.parametrize(("n", "copies"), [(19, 0), (20, 1)])
def test_copies_without_times(n, copies):
    votes = session("A", 1, names(0, n), 0, timed=False)
    found = copied_sessions(pd.concat([votes, votes.assign(observer="B")]))
    assert len(found) == copies and not found["why"].str.contains("times").any()


def test_the_study_has_one_faulty_run(playlists_folder):
    votes = read_playlists(playlists_folder / "Obs_iterative")
    report = session_report(votes)
    assert len(report) == 24 and (report["n"] == 300).all()
    assert report["minutes"].between(60, 94).all()
    repeating = report.dropna(subset="repeats")
    assert set(repeating["session"]) == {4} and set(repeating["repeats"]) == {1} and len(repeating) == 5
    found = faulty_runs(votes)
    assert found[["observer", "session", "should_repeat", "shared", "n"]].to_numpy().tolist() == [
        ["Obs4.0", 4, 1, 13, 300]
    ]
    pd.testing.assert_frame_equal(found.drop(columns="why"), faulty_runs(votes, {4: 1}).drop(columns="why"))
    # Its sessions 2 to 4 became those of Obs4, who repeated the images of session 4 in a new session 1.
    copies = copied_sessions(votes)
    assert copies.drop(columns="why").to_numpy().tolist() == [["Obs4", s, "Obs4.0", s, 300] for s in (2, 3, 4)]
    without = votes[votes["observer"] != "Obs4.0"]
    assert faulty_runs(without).empty and copied_sessions(without).empty


def test_the_report_is_aligned(playlists_folder):
    votes = read_playlists(playlists_folder / "Obs_iterative", ["Obs1", "Obs4.0"])
    lines = report_text(session_report(votes)).splitlines()
    assert len(lines) == 9 and max(map(len, lines)) <= 100
    start = lines[0].index("start")
    assert all(line[start : start + 2] == "20" for line in lines[1:])
    assert lines[4].endswith("1 (100 %)") and lines[8].endswith("-")
