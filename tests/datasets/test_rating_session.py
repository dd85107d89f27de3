"""A rating session without a browser: what is shown, and that no vote is lost, doubled or half written."""

import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqasuite.datasets import rating_session, study_folder
from iqasuite.datasets.playlists import checked_playlists, read_playlists
from iqasuite.datasets.rating_session import RatingSession, Shown, rated_set
from iqasuite.datasets.sessions import faulty_runs, session_report
from iqasuite.errors import InputError

START = datetime(2024, 5, 1, 9)


@pytest.fixture
def folder(tmp_path):
    return images(tmp_path / "holiday", 20)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "playlists"


def images(folder: Path, n: int, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for k in range(first, first + n):
        Image.fromarray(np.full((40, 40, 3), k, np.uint8)).save(folder / f"{k:03d}.png")
        os.utime(folder / f"{k:03d}.png", (1, 1))
    return folder


def session(folder: Path, root: Path, observer: str = "Ana") -> RatingSession:
    return RatingSession(study_folder.unrated(folder), observer, root)


def rate(own: RatingSession, n: int | None = None, second: int = 0) -> list[Shown]:
    """Rate what comes, n images or all; the vote follows from the name."""
    seen = []
    while (shown := own.coming(own.votes())) and (n is None or len(seen) < n):
        own.record(shown, 1 + int(shown.image[:3]) % 5, 1.5, START + timedelta(seconds=second + len(seen)))
        seen.append(shown)
    return seen


def test_a_session_shows_every_image_once_and_one_in_nine_again_later(folder, root):
    own = session(folder, root)
    assert own.left(own.votes()) == 23
    seen = rate(own)
    once = [shown.image for shown in seen if not shown.repeat]
    again = [shown.image for shown in seen if shown.repeat]
    assert sorted(once) == sorted(own.images) and len(again) == len(set(again)) == 3
    places = {shown: place for place, shown in enumerate(seen)}
    assert all(places[Shown(image, True)] - places[Shown(image)] >= rating_session.LAG for image in again)
    assert own.left(own.votes()) == 0 and [shown.repeat for shown in seen[9::10]] == [True, True]


def test_its_playlists_are_what_the_rest_of_the_suite_reads(folder, root):
    rate(session(folder, root))
    rate(session(folder, root, "Bo"))
    group = root / study_folder.unrated(folder).name
    votes = read_playlists(group, known_images=study_folder.unrated(folder).images["image"])
    assert votes.groupby(["observer", "session"]).size().tolist() == [20, 3, 20, 3]
    assert session_report(votes)["repeats"].fillna(0).tolist() == [0, 1, 0, 1]
    assert faulty_runs(votes, expected={2: 1}).empty and checked_playlists(group)[1] == []
    assert not (votes["vote"] != 1 + votes["image"].str[:3].astype(int) % 5).any()
    assert (votes["timestamp"].dt.date == START.date()).all() and (votes["duration"] == 1.5).all()


def test_everybody_has_an_order_of_their_own_that_lasts(folder, root):
    ana, bo = rate(session(folder, root)), rate(session(folder, root, "Bo"))
    assert [s.image for s in ana] != [s.image for s in bo]
    assert rate(session(folder, root / "elsewhere")) == ana
    again = session(folder, root / "third")
    assert rate(again, 7) + rate(session(folder, root / "third")) == ana


def test_others_are_all_but_oneself_and_a_broken_playlist_is_left_out(folder, root):
    for name in ("Ana", "Bo/b", "Cy"):
        rate(session(folder, root, name), 12)
    own = session(folder, root)
    others = own.others()
    assert others["observer"].nunique() == 2 and len(others) == 2 * 11  # of the 12 votes one is on an image shown again
    assert set(others["image"]) <= set(own.dataset.images["image"])
    next(root.rglob("Cy_1.csv")).write_text("no playlist")
    assert session(folder, root).others()["observer"].nunique() == 1
    assert session(folder, root / "elsewhere").others().empty


def test_training_images_span_the_predicted_quality_where_it_is_known(folder, root):
    own = session(folder, root)
    assert len(set(own.training())) == 3 and own.training() == session(folder, root).training()
    quality = {name: float(name[:3]) for name in own.images}
    assert sorted(own.training(quality)) == ["000.png", "010.png", "019.png"]
    for n, training in ((1, 0), (2, 0), (8, 2)):
        assert len(session(images(folder.parent / f"of{n}", n), root).training()) == training


def test_few_images_have_no_repeats(tmp_path, root):
    assert [s.repeat for s in rate(session(images(tmp_path / "one", 1), root))] == [False]
    assert [s.repeat for s in rate(session(images(tmp_path / "six", 6), root))] == [False] * 6 + [True]


def test_undo_takes_back_votes_one_by_one_and_shows_the_image_again(folder, root):
    own = session(folder, root)
    seen = rate(own, 12)
    for shown in reversed(seen):
        assert own.last(own.votes()) == shown
        own.undo(shown)
        assert own.coming(own.votes()) == shown
    assert own.votes().empty and not list(root.rglob("*.csv"))
    with pytest.raises(InputError, match="in another window; nothing was taken back"):
        own.undo(seen[0])
    seen = rate(own)
    for shown in reversed(seen):
        own.undo(shown)
        assert own.coming(own.votes()) == shown


def test_two_windows_of_one_observer_lose_and_double_nothing(folder, root):
    a, b = session(folder, root), session(folder, root)
    shown = a.coming(a.votes())
    a.record(shown, 4, 1.0)
    b.record(shown, 4, 1.0)  # sent again
    with pytest.raises(InputError, match="has a vote of 4 already, given in another window; it was kept"):
        b.record(shown, 2, 0.7)
    with pytest.raises(InputError, match="has a vote of 4 already"):
        b.record(shown, 4, 0.7)
    assert b.votes()["vote"].tolist() == [4]
    other = b.coming(b.votes())
    b.record(other, 1, 1.0)
    with pytest.raises(InputError, match="nothing was taken back"):
        a.undo(shown)
    threads = [threading.Thread(target=rate, args=(session(folder, root, "Bo"),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes = session(folder, root, "Bo").votes()
    assert len(votes) == 23 and not votes.duplicated(["image", "session"]).any()


@pytest.mark.parametrize(
    ("vote", "duration"),
    [(0, 1.0), (6, 1.0), (3.5, 1.0), ("3", 1.0), (True, 1.0), (None, 1.0), (3, -1.0), (3, float("nan")), (3, "1")],
)
def test_votes_off_the_scale_are_refused(folder, root, vote, duration):
    own = session(folder, root)
    with pytest.raises(InputError, match="vote|duration"):
        own.record(own.coming(own.votes()), vote, duration)
    with pytest.raises(InputError, match="no longer in"):
        own.record(Shown("../secret.png"), 3, 1.0)
    with pytest.raises(InputError, match="not voted on yet"):
        own.record(Shown("000.png", repeat=True), 3, 1.0)
    assert own.votes().empty


def test_a_row_that_a_crash_tore_is_taken_out_and_asked_again(folder, root):
    own = session(folder, root)
    seen = rate(own, 5)
    path = next(root.rglob("*_1.csv"))
    whole = path.read_bytes()
    row = whole.splitlines(keepends=True)[-1]
    for cut in range(1, len(row)):
        path.write_bytes(whole[: len(whole) - len(row) + cut])
        again = session(folder, root)
        kept = len(again.votes())
        assert kept in (4, 5) and path.read_bytes().endswith(b"\n")
        if kept == 4:
            assert again.coming(again.votes()) == seen[4]
        assert again.votes()["vote"].tolist() == [1 + int(s.image[:3]) % 5 for s in seen[:kept]]


def test_a_playlist_that_a_spreadsheet_saved_goes_on(folder, root):
    own = session(folder, root)
    rate(own, 5)
    path = next(root.rglob("*_1.csv"))
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(",", ";").replace("\n", "\r\n").encode())
    rate(own, 1, second=60)
    assert len(own.votes()) == 6 and path.read_text().startswith(text)


def test_a_vote_off_the_scale_in_the_file_is_named_and_nothing_is_written(folder, root):
    own = session(folder, root)
    rate(own, 3)
    path = next(root.rglob("*_1.csv"))
    path.write_text(path.read_text().replace("1.5,", "1.5,", 1) + "001.png,9,1,\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"line 5, column Vote: found '9'"):
        own.record(Shown("002.png"), 3, 1.0)
    assert path.read_bytes() == before


def test_a_folder_that_changed_keeps_all_votes_and_says_so(folder, root):
    seen = rate(session(folder, root), 12)
    (folder / seen[0].image).unlink()
    os.utime(folder / seen[1].image)
    images(folder, 5, first=100)
    own = session(folder, root)
    sentences = own.changes(own.votes())
    assert len(own.votes()) == 12 and f"1 rated images are no longer in the folder ({seen[0].image})" in sentences[0]
    assert seen[1].image in sentences[1] and "14 images are not rated yet" in sentences[2]
    rate(own, second=100)
    assert set(own.images) <= set(own.votes()["image"]) and len(read_playlists(root / rated_set(own.dataset)))


@pytest.mark.parametrize("name", ["a/b", "../../x", "写真家", "CON", "=cmd()", "<b>", "Ana & Bo", "." * 5, "é"])
def test_any_name_has_a_folder_of_its_own_inside(folder, root, name):
    own = session(folder, root, name)
    rate(own, 1)
    assert own.folder.parent == root / rated_set(own.dataset) and own.folder.is_dir() and len(own.votes()) == 1
    assert len(read_playlists(own.folder.parent)) == 1


def test_names_that_cannot_be_told_apart_or_seen_are_refused(folder, root):
    rate(session(folder, root, "Ana"), 1)
    for name, why in (("ana", "there are votes of 'Ana'"), ("", "expected a name"), ("a\nb", "printable")):
        with pytest.raises(InputError, match=why):
            session(folder, root, name)
    assert session(folder, root, " Ana ").observer == "Ana"
    assert session(folder, root, "Zoe\u0301").folder == session(folder, root, "Zo\u00e9").folder
    study = root / rated_set(study_folder.unrated(folder)) / "Obs1"
    study.mkdir()
    (study / "Obs1_3.csv").write_text("Image Name,Vote\n000.png,3\n")
    with pytest.raises(InputError, match="expected another observer's name"):
        session(folder, root, "Obs1")


def test_no_images_are_a_sentence_and_links_lead_nowhere(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        study_folder.unrated(tmp_path / "empty")
    with pytest.raises(InputError, match="no such folder"):
        study_folder.unrated(tmp_path / "nowhere")
    inside, outside = images(tmp_path / "inside", 1), images(tmp_path / "outside", 1, first=7)
    (inside / "link.png").symlink_to(outside / "007.png")
    assert study_folder.unrated(inside).images["image"].tolist() == ["000.png"]


def test_simulated_sets_keep_people_apart_from_their_observers(demo_set, root):
    assert RatingSession(demo_set, "Obs1", root).folder == root / "demo_people" / "Obs1"


def test_a_killed_process_loses_no_vote_that_it_acknowledged(folder, root):
    """SIGKILL at any time: what was printed as recorded is in the playlists, and at most one vote more."""
    code = (
        "import sys, time; from iqasuite.datasets import study_folder; "
        "from iqasuite.datasets.rating_session import RatingSession\n"
        "own = RatingSession(study_folder.unrated(sys.argv[1]), 'Ana', __import__('pathlib').Path(sys.argv[2]))\n"
        "while shown := own.coming(own.votes()): own.record(shown, 3, 1.0); print(shown.image, flush=True)\n"
    )
    images(folder, 150, first=20)
    acknowledged = []
    for wanted in (3, 11, 6):
        process = subprocess.Popen([sys.executable, "-c", code, folder, root], stdout=subprocess.PIPE, text=True)
        acknowledged += [process.stdout.readline().strip() for _ in range(wanted)]
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        acknowledged += process.stdout.read().split()
        process.wait()
        own = session(folder, root)
        votes = own.votes()
        assert set(acknowledged) <= set(votes["image"]) and len(votes) <= len(acknowledged) + 1
        acknowledged = votes.sort_values("session", kind="stable")["image"].tolist()
