"""`iqasuite playlist`: files and folders checked, MATLAB's sessions converted."""

import numpy as np
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from iqasuite.cli import app


@pytest.fixture
def command():
    return lambda *arguments: CliRunner().invoke(app, ["playlist", *map(str, arguments)])


def playlist(path, images: range, seed: int) -> None:
    votes = np.random.default_rng(seed).integers(1, 6, len(images))
    rows = [f"{i}.png,{vote}\n" for i, vote in zip(images, votes, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("Image Name,Vote\n" + "".join(rows))


def study(folder, faulty: str = "") -> None:
    """Three people; session 2 repeats session 1, but not of the faulty one."""
    for number, name in enumerate(("A", "B", "C")):
        playlist(folder / name / f"{name}_1.csv", range(30), 2 * number)
        playlist(folder / name / f"{name}_2.csv", range(100, 130) if name == faulty else range(30), 2 * number + 1)


def test_a_folder_is_reported(tmp_path, command):
    study(tmp_path)
    found = command("check", tmp_path)
    lines = found.output.splitlines()
    assert found.exit_code == 0 and len(lines) == 8 and lines[0].startswith("observer")
    assert lines[2].endswith("1 (100 %)") and lines[7].endswith("180 votes of 3 observers in 6 sessions")


def test_faults_are_warnings(tmp_path, command):
    study(tmp_path, faulty="B")
    playlist(tmp_path / "D" / "D_1.csv", range(30), 0)
    found = command("check", tmp_path)
    assert found.exit_code == 0
    warnings = [line for line in found.output.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert "B, session 2 should repeat session 1" in warnings[0] and "only 0 of its 30 images" in warnings[0]
    assert "A, session 1 and D, session 1 are one run listed twice" in warnings[1]


def test_all_invalid_files_are_named(tmp_path, command):
    study(tmp_path)
    (tmp_path / "A" / "A_1.csv").write_text("Image Name,Vote\na.png,9\n")
    (tmp_path / "B" / "B_2.csv").write_bytes(b"\xff\xfeI\x00")
    (tmp_path / "C" / "other.csv").write_text("")
    found = command("check", tmp_path)
    lines = found.output.splitlines()
    assert found.exit_code == 2 and len(lines) == 3 and all(line.startswith("error: ") for line in lines)
    assert "A_1.csv" in lines[0] and "B_2.csv" in lines[1] and "other.csv" in lines[2]


def test_a_second_vote_is_said_once(tmp_path, command, caplog):
    study(tmp_path)
    with (tmp_path / "A" / "A_2.CSV").open("w", encoding="utf-8") as file:
        file.write((tmp_path / "A" / "A_2.csv").read_text() + "3.png,1\n")
    (tmp_path / "A" / "A_2.csv").unlink()
    found = command("check", tmp_path)
    assert found.exit_code == 0 and found.output.splitlines()[7].endswith("180 votes of 3 observers in 6 sessions")
    assert caplog.text.count("A_2.CSV: 1 images rated a second time") == 1


def test_unknown_images_of_a_folder(tmp_path, command):
    study(tmp_path / "ratings")
    images = tmp_path / "images"
    images.mkdir()
    for i in range(29):
        (images / f"{i}.png").touch()
    found = command("check", tmp_path / "ratings", "--images", images)
    assert found.exit_code == 2 and found.output.count("'29.png' unknown") == 6
    (images / "29.png").touch()
    assert command("check", tmp_path / "ratings", "--images", images).exit_code == 0


def test_the_faulty_run_of_the_study(playlists_folder, command):
    found = command("check", playlists_folder / "Obs_iterative")
    warnings = [line for line in found.output.splitlines() if line.startswith("warning: ")]
    assert found.exit_code == 0 and len(warnings) == 4
    assert warnings[0].startswith("warning: Obs4.0, session 4 should repeat session 1")


def test_the_demo_has_no_faults(repository, command):
    found = command("check", repository / "playlists" / "demo")
    assert found.exit_code == 0 and "warning" not in found.output


def test_convert(tmp_path, command):
    names = np.array([f"{i}.png" for i in range(5)], dtype=object)
    source = tmp_path / "matlab" / "Obs1" / "Obs1_1.mat"
    source.parent.mkdir(parents=True)
    savemat(source, {"imgList": names, "voteList": np.arange(1.0, 6)})
    target = tmp_path / "csv"
    done = command("convert", tmp_path / "matlab", target)
    assert done.exit_code == 0 and str(target / "Obs1" / "Obs1_1.csv") in done.output
    assert command("check", target).exit_code == 0
    again = command("convert", tmp_path / "matlab", target)
    assert again.exit_code == 2 and "there already" in again.output and again.output.count("\n") == 1
    assert command("convert", tmp_path / "matlab", target, "--overwrite").exit_code == 0
    broken = tmp_path / "matlab" / "Obs1" / "Obs1_2.mat"
    broken.write_bytes(source.read_bytes()[:200])
    failed = command("convert", tmp_path / "matlab", tmp_path / "other")
    assert failed.exit_code == 2 and "Obs1_2.mat" in failed.output and not (tmp_path / "other").exists()
