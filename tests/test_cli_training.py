"""`iqasuite train` and `iqasuite evaluate`: from a rated folder to weights, to scores, to how good they are."""

import csv
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from iqasuite import models
from iqasuite.cli import app, train_program
from iqasuite.data import splits
from iqasuite.evaluation import metrics
from iqasuite.models.weights import load_weights, save_weights
from iqasuite.training.loop import TrainingError

SIDE, CONTENTS = 48, 6
SMALL = ("--width", "0.25", "--epochs", "2", "--batch-size", "4", "--crop", "32", "--precision", "float32")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Six scenes in four strengths of blur, rated by Ann and by Bob, who is stricter; each scene a content."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    rows = []
    for content in range(CONTENTS):
        sharp = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE + 8, 3), dtype=np.uint8))
        for strength in range(4):
            name = f"c{content}_{strength}.png"
            sharp.filter(ImageFilter.GaussianBlur(0.7 * strength)).save(folder / name)
            original = f"c{content}_0.png" if strength else ""
            for observer, vote in (("Ann", 5 - strength), ("Bob", max(1, 4 - strength))):
                rows.append((observer, name, vote, f"c{content}", original))
    table = pd.DataFrame(rows, columns=["observer", "image", "vote", "content", "reference"])
    table.to_csv(folder / "votes.csv", index=False)
    (folder / "dataset.yaml").write_text("name: study\nlicence: CC0\nscale: {low: 1, high: 5}\n")
    return folder


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path / "weights"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))
    torch.set_num_threads(before)


def numbers(found):
    return {(row["model"], row["metric"]): row for row in csv.DictReader(io.StringIO(found.stdout))}


def test_train_score_evaluate(study, command, tmp_path):
    done = command("train", "--data", study, "--output", "out/w.safetensors", *SMALL)
    assert done.exit_code == 0, done.output
    assert sum(line.startswith("epoch ") for line in done.stdout.splitlines()) == 3 and "\r" not in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["w.json", "w.safetensors", "w_split.csv"]

    card, split = json.loads((tmp_path / "out/w.json").read_text()), splits.read_split("out/w_split.csv")
    assert card["split_hash"] == splits.split_hash(split) and card["dataset"] == "study" and card["seed"] == 0
    assert card["scale"] == {"name": "ACR", "low": 1, "high": 5} and card["preprocessing"] == {"shorter_side": SIDE}
    for word in ("title", "trained_on", "limits", "licence"):
        assert "study" in card[word]
    assert "CC0" in card["licence"] and {"mse, test", "srocc, test", "krcc, test"} <= card["scores"].keys()
    of_part = split.groupby("part")["content"].agg(set)
    assert not of_part["train"] & of_part["test"] and not of_part["val"] & (of_part["train"] | of_part["test"])

    tested = ("--test-data", study, "--model", "out/w.safetensors", "--part", "test", "--split", "out/w_split.csv",
              "--precision", "float32")  # fmt: skip
    found = command("evaluate", *tested, "--format", "csv", "--predictions", "p.csv")
    assert found.exit_code == 0 and found.stderr == ""
    rows, p = numbers(found), pd.read_csv("p.csv")
    assert set(p["image"]) == set(splits.part(split, 0, "test")) and len(p) == card["n_test"]
    own = {metric: row for (model, metric), row in rows.items() if not model.startswith("baseline")}
    assert float(own["mse"]["value"]) == pytest.approx(np.mean((p["prediction"] - p["target"]) ** 2))
    for metric in ("plcc", "srocc", "krcc"):
        expected = getattr(metrics, metric)(p["prediction"], p["target"])
        assert float(own[metric]["value"]) == pytest.approx(expected, abs=1e-6)
        assert card["scores"][f"{metric}, test"] == pytest.approx(float(own[metric]["value"]), abs=1e-4)
    assert float(own["mse"]["low"]) <= float(own["mse"]["value"]) <= float(own["mse"]["high"])
    assert float(rows["baseline: mean", "mse"]["value"]) == pytest.approx(p["target"].var(ddof=0))

    scored = command("score", *(study / name for name in p["image"]), "--model", "out/w.safetensors", "--format", "csv",
                     "--precision", "float32")  # fmt: skip
    values = [float(row["score"]) for row in csv.DictReader(io.StringIO(scored.stdout))]
    np.testing.assert_allclose(values, p["prediction"], atol=1e-5)

    table = command("evaluate", *tested).stdout.splitlines()
    assert table[0].startswith("out/w.safetensors on study, test part: ") and "few: the intervals are rough" in table[0]
    assert [line.split()[-1] for line in table[2:]] == ["mse", "rmse", "mae", "plcc", "plcc_logistic", "srocc", "krcc"]
    for arguments, word in (((), "all of its images"), (("--part", "val", "--split", "out/w_split.csv"), "part val")):
        warned = command("evaluate", "--test-data", study, "--model", "out/w.safetensors", *arguments)
        assert warned.exit_code == 0 and warned.stderr.startswith("warning: ") and word in warned.stderr


def test_the_same_seed_gives_the_same_weights_also_after_an_interruption(study, command, tmp_path, monkeypatch):
    train = ("train", "--data", study, *SMALL)
    assert command(*train, "--output", "a.safetensors").exit_code == 0
    real, calls = train_program.train_quality, []

    def interrupted(*arguments):
        def stop(line):
            calls.append(line)
            raise KeyboardInterrupt  # after the first epoch, whose checkpoint is written

        return real(*arguments[:-1], stop)

    monkeypatch.setattr(train_program, "train_quality", interrupted)
    broken = command(*train, "--output", "b.safetensors")
    assert broken.exit_code == 130 and "--resume" in broken.stderr and len(calls) == 1
    assert not (tmp_path / "b.safetensors").exists() and (tmp_path / "b.checkpoint").exists()
    monkeypatch.setattr(train_program, "train_quality", real)
    again = command(*train, "--output", "b.safetensors")
    assert again.exit_code == 2 and "--resume goes on" in again.output
    other = command(*train, "--output", "b.safetensors", "--learning-rate", "0.1", "--resume")
    assert other.exit_code == 2 and "another training" in other.output
    resumed = command(*train, "--output", "b.safetensors", "--resume")
    assert resumed.exit_code == 0 and "epoch 1/2" not in resumed.stdout and "epoch 2/2" in resumed.stdout
    whole, resumed = (load_weights(f"{name}.safetensors")[0].state_dict() for name in "ab")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not (tmp_path / "b.checkpoint").exists()


def test_an_artificial_observer(study, command, tmp_path):
    done = command("train", "--data", study, "--observer", "Bob", "--output", "weights/people/Bob.safetensors", *SMALL)
    assert done.exit_code == 0 and "accuracy" in done.stdout, done.output
    card = json.loads((tmp_path / "weights/people/Bob.json").read_text())
    assert card["observer"] == "Bob" and card["scale"]["high"] == 5 and "accuracy, test" in card["scores"]
    scored = command("score", study / "c0_0.png", "--observer", "Bob", "--format", "csv")
    assert 1 <= float(scored.stdout.splitlines()[1].split(",")[1]) <= 5
    own = ("evaluate", "--test-data", study, "--model", "people/Bob", "--part", "test", "--split",
           "weights/people/Bob_split.csv")  # fmt: skip
    assert "votes of Bob" in command(*own).stdout and "accuracy" in command(*own).stdout
    assert "votes of Ann" in command(*own, "--observer", "Ann").stdout
    unknown = command("train", "--data", study, "--observer", "Cem", "--output", "x.safetensors")
    assert unknown.exit_code == 2 and "expected one of Ann, Bob" in unknown.output


def test_fine_tuning_and_the_ranking_transformer(study, command, tmp_path):
    first = command("train", "--data", study, "--output", "w.safetensors", *SMALL)
    tuned = command("train", "--data", study, "--output", "t.safetensors", *SMALL[2:], "--start", "w.safetensors",
                    "--learning-rate", "1e-9", "--ranking", "none")  # fmt: skip
    assert first.exit_code == tuned.exit_code == 0, tuned.output
    before, after = (load_weights(f"{name}.safetensors")[0].state_dict() for name in "wt")
    assert all(torch.allclose(before[key].float(), after[key].float(), atol=1e-6) for key in before)
    assert json.loads((tmp_path / "t.json").read_text())["start"] == "w.safetensors"
    clash = command("train", "--data", study, "--output", "x.safetensors", "--start", "w.safetensors", "--width", "1")
    assert clash.exit_code == 2 and "--width with --start" in clash.output
    ranker = command("train", "--data", study, "--model", "trcnn", "--base", "scratch", "--output", "r.safetensors",
                     *SMALL, "--epochs", "1")  # fmt: skip
    assert ranker.exit_code == 0, ranker.output
    assert command("score", study / "c0_0.png", "--model", "r.safetensors").exit_code == 0


def test_models_that_compare(study, command):
    found = command("evaluate", "--test-data", study, "--model", "psnr", "--format", "csv")
    rows = numbers(found)
    assert found.exit_code == 0 and ("psnr", "mse") not in rows and rows["psnr", "srocc"]["n"] == "18"
    assert float(rows["psnr", "srocc"]["value"]) > 0.9
    lower = numbers(command("evaluate", "--test-data", study, "--model", "gmsd", "--format", "csv"))
    assert float(lower["gmsd", "srocc"]["value"]) > 0.9  # turned: higher = better


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"--output": "w.pth"}, "expected .safetensors"), ({"--output": "there.safetensors"}, "there already"),
     ({"--model": "resnet"}, "expected one of mobile_nr"), ({"--ranking": "order"}, "expected one of plcc"),
     ({"--crop": "99"}, "shown at 56×48"), ({"--data": "no_such_set"}, "'no_such_set': unknown"),
     ({"--start": "none"}, "'none'"), ({"--learning-rate": "0"}, "lr 0.0"),
     ({"--model": "trcnn_faithful"}, "unknown argument width")],
)  # fmt: skip
def test_one_line_says_what_is_wrong(study, command, tmp_path, changed, word):
    (tmp_path / "there.safetensors").touch()
    given = {"--data": study, "--output": "w.safetensors", "--crop": "32", "--width": "0.25"} | changed
    given.pop("--width") if "--start" in changed else None
    found = command("train", *(x for pair in given.items() for x in pair))
    assert found.exit_code == 2 and word in found.stderr.splitlines()[-1], found.output
    assert found.stderr.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.glob("w*"))


def test_nothing_to_resume(study, command):
    found = command("train", "--data", study, "--output", "w.safetensors", "--resume")
    assert found.exit_code == 2 and "no checkpoint w.checkpoint" in found.output


def test_a_loss_that_is_no_number(study, command, monkeypatch):
    def broken(*_):
        raise TrainingError("the loss is nan at epoch 1")

    monkeypatch.setattr(train_program, "train_quality", broken)
    found = command("train", "--data", study, "--output", "w.safetensors", *SMALL)
    assert found.exit_code == 1 and found.stderr.splitlines()[-1] == "error: the loss is nan at epoch 1"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--model", "none"), "'none'"), (("--model", "w", "--part", "test"), "without --split"),
     (("--model", "w", "--split", "none.csv"), "none.csv"), (("--model", "w", "--observer", "Cem"), "one of Ann, Bob"),
     (("--model", "w", "--output", "x.png"), "ending '.png'")],
)  # fmt: skip
def test_evaluations_that_cannot_be(study, command, tmp_path, arguments, word):
    scale = {"name": "ACR", "low": 1, "high": 5}
    save_weights(models.create("mobile_nr", width=0.25), tmp_path / "weights" / "w.safetensors", {"scale": scale})
    found = command("evaluate", "--test-data", study, *arguments)
    assert found.exit_code == 2 and word in found.stderr.splitlines()[-1], found.output


def test_pictures_of_a_set_that_cannot_be_read(study, command, tmp_path):
    shutil.copytree(study, tmp_path / "own")
    (tmp_path / "own" / "c1_2.png").write_bytes((study / "c1_2.png").read_bytes()[:500])
    scale = {"name": "ACR", "low": 1, "high": 5}
    save_weights(models.create("mobile_nr", width=0.25), tmp_path / "weights" / "w.safetensors", {"scale": scale})
    stopped = command("evaluate", "--test-data", "own", "--model", "w")
    assert stopped.exit_code == 2 and "c1_2.png" in stopped.stderr
    found = command("evaluate", "--test-data", "own", "--model", "w", "--missing", "drop", "--format", "csv")
    assert found.exit_code == 0 and "left out" in found.stderr and numbers(found)["w", "srocc"]["n"] == "23"
