"""`iqasuite train` and `iqasuite evaluate`: from a rated folder to weights, to scores, to how good they are."""

import csv
import io
import json
import shutil
import unicodedata
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from iqasuite import datasets as sets
from iqasuite import models
from iqasuite.cli import app
from iqasuite.datasets import splits
from iqasuite.evaluation import metrics
from iqasuite.experiments import train_program
from iqasuite.training.loop import TrainingError
from iqasuite.weights import catalogue, seen
from iqasuite.weights.card import Card
from iqasuite.weights.files import load_weights, save_weights

SIDE, CONTENTS = 48, 6
NO_INTERVALS = "warning: no intervals: 1 contents, expected 3 or more\n"  # of a test part of one scene
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
    (where, beside), *none = card["rank_baselines"].items()
    assert where == "srocc, test" and not none and beside["n"] == card["n_test"]
    assert beside["this network"][0] == card["scores"]["srocc, test"] and "srocc above sharpness" in beside
    assert f"SROCC {beside['sharpness'][0]:.4f}" in done.stdout
    for word in ("title", "trained_on", "limits", "licence"):
        assert "study" in card[word]
    assert "CC0" in card["licence"] and {"mse, test", "srocc, test", "krcc, test"} <= card["scores"].keys()
    of_part = split.groupby("part")["content"].agg(set)
    assert not of_part["train"] & of_part["test"] and not of_part["val"] & (of_part["train"] | of_part["test"])

    tested = (
        "--test-data",
        study,
        "--model",
        "out/w.safetensors",
        "--part",
        "test",
        "--split",
        "out/w_split.csv",
        "--precision",
        "float32",
    )
    found = command("evaluate", *tested, "--format", "csv", "--predictions", "p.csv")
    assert found.exit_code == 0 and found.stderr == NO_INTERVALS
    rows, p = numbers(found), pd.read_csv("p.csv")
    assert set(p["image"]) == set(splits.part(split, 0, "test")) and len(p) == card["n_test"]
    own = {metric: row for (model, metric), row in rows.items() if not model.startswith("baseline")}
    assert [metric for model, metric in rows if model == "baseline: sharpness (rank only)"] == ["srocc"]
    for model, metric, name in (
        ("baseline: sharpness (rank only)", "srocc", "sharpness"),
        ("out/w.safetensors", "srocc above sharpness", "srocc above sharpness"),
    ):
        assert [round(float(rows[model, metric]["value"]), 4)] == beside[name] and not rows[model, metric]["low"]
    assert float(own["mse"]["value"]) == pytest.approx(np.mean((p["prediction"] - p["target"]) ** 2))
    for metric in ("plcc", "srocc", "krcc"):
        expected = getattr(metrics, metric)(p["prediction"], p["target"])
        assert float(own[metric]["value"]) == pytest.approx(expected, abs=1e-6)
        assert card["scores"][f"{metric}, test"] == pytest.approx(float(own[metric]["value"]), abs=1e-4)
    assert not own["mse"]["low"] and not own["mse"]["high"] and not card["intervals_95"]
    every = numbers(command("evaluate", *tested[:4], "--format", "csv"))["out/w.safetensors", "mse"]
    assert float(every["low"]) <= float(every["value"]) <= float(every["high"])
    assert float(rows["baseline: mean", "mse"]["value"]) == pytest.approx(p["target"].var(ddof=0))

    scored = command(
        "score",
        *(study / name for name in p["image"]),
        "--model",
        "out/w.safetensors",
        "--format",
        "csv",
        "--precision",
        "float32",
    )
    values = [float(row["score"]) for row in csv.DictReader(io.StringIO(scored.stdout))]
    np.testing.assert_allclose(values, p["prediction"], atol=1e-5)

    table = command("evaluate", *tested).stdout.splitlines()
    assert table[0].startswith("out/w.safetensors on study, test part: ") and "4 images of 1 contents, " in table[0]
    assert "6 contents (few: the intervals are rough)" in command("evaluate", *tested[:4]).stdout
    names = [line.split()[-1] for line in table[2:9]]
    assert names == ["mse", "rmse", "mae", "plcc", "plcc_logistic", "srocc", "krcc"] and not table[9]
    assert "rank baselines" in table[10] and table[11].split()[-2:] == ["rank", "baseline"]
    of_statistics = [" ".join(line.split()[4:]) for line in table[12:]]
    assert of_statistics == ["sharpness", "contrast", "brightness", "bits per pixel", "srocc above sharpness"]


def seen_by(split, *parts):
    return set(split.loc[split["part"].isin(parts), "image"])


def test_what_training_has_seen_is_counted(study, command, tmp_path):
    """Weights, others that start from them with another split, and the card of each, with and without its record."""
    train = ("train", "--data", study, *SMALL[2:], "--epochs", "1")
    assert command(*train, "--width", "0.25", "--output", "w.safetensors").exit_code == 0
    first = splits.read_split("w_split.csv")
    learnt = seen_by(first, "train", "val")

    def warned(*arguments, model="w.safetensors"):
        found = command("evaluate", "--test-data", study, "--model", model, *arguments)
        assert found.exit_code == 0, found.output
        return found.stderr

    counted = "warning: w.safetensors has seen {} of the {} {}images of study in training; these scores are no test"
    assert warned().startswith(counted.format(len(learnt), 24, ""))
    part = ("--split", "w_split.csv", "--part")
    assert warned(*part, "test") == NO_INTERVALS
    of_val = len(seen_by(first, "val"))
    assert warned(*part, "val").startswith(counted.format(of_val, of_val, "val "))

    # Another seed, another split: images of its test part have been seen by the weights that it starts from.
    tuned = command(*train, "--start", "w.safetensors", "--seed", "1", "--output", "t.safetensors")
    second = splits.read_split("t_split.csv")
    both = learnt & seen_by(second, "test")
    assert both and tuned.stderr.startswith(counted.format(len(both), len(seen_by(second, "test")), "test "))
    card = json.loads((tmp_path / "t.json").read_text())
    assert f"has seen {len(both)} of the" in card["limits"]
    assert len(card["seen"]["files"].split()) == len(learnt | seen_by(second, "train", "val"))  # theirs and its own
    again = warned("--split", "t_split.csv", model="t.safetensors")
    assert f"has seen {len(both)} of the" in again
    assert command(*train, "--start", "w.safetensors", "--output", "same.safetensors").stderr == ""

    # The same files under another name of the set, where no split is known.
    shutil.copytree(study, tmp_path / "other")
    (tmp_path / "other" / "dataset.yaml").write_text("name: other\nscale: {low: 1, high: 5}\n")
    elsewhere = command("evaluate", "--test-data", "other", "--model", "w.safetensors").stderr
    assert f"has seen {len(learnt)} of the 24 images of other" in elsewhere

    # Older cards have no such record: the split beside the weights tells it, or that of the evaluation, or nothing.
    old = json.loads((tmp_path / "w.json").read_text())
    del old["seen"]
    (tmp_path / "w.json").write_text(json.dumps(old))
    assert warned().startswith(counted.format(len(learnt), 24, ""))
    (tmp_path / "w_split.csv").rename(tmp_path / "moved.csv")
    assert warned("--split", "moved.csv", "--part", "test") == NO_INTERVALS
    assert "may have seen these images" in warned() and "may have seen" in warned("--split", "t_split.csv")
    assert command("evaluate", "--test-data", "other", "--model", "w.safetensors").stderr == ""


def test_of_large_sets_and_files_written_anew_it_may_have_seen_any(study, command, tmp_path, monkeypatch):
    dataset, scale = sets.load(str(study)), {"name": "ACR", "low": 1, "high": 5}
    images = dataset.images["image"].tolist()

    def entry(**card):
        card = {"scale": scale, **card}
        path = save_weights(models.create("mobile_nr", width=0.25), tmp_path / "w.safetensors", card)
        return catalogue.entry_of(path, "w")

    record = seen.record(dataset, images[:10])
    assert seen.warning(entry(), dataset, images) == ""
    assert "seen 3 of the 17 test images" in seen.warning(entry(seen=record), dataset, images[7:], "test")
    assert seen.warning(entry(seen=record), dataset, images[10:]) == ""
    # The set that it was trained on, but no file is recognised: they may have been written anew.
    assert "may have seen" in seen.warning(entry(seen=record, dataset="study"), dataset, images[10:])
    monkeypatch.setattr(seen, "LISTED", 9)
    many = seen.record(dataset, images[:10], Card(architecture="x", arguments={}, seen=record))
    assert many["unlisted"] == {"study": 10} and many["files"] == record["files"]
    assert "may have seen" in seen.warning(entry(seen=many), dataset, images[10:])
    older = Card(architecture="x", arguments={}, dataset="koniq10k")  # has no such record
    assert seen.record(dataset, images[:9], older)["unlisted"] == {"koniq10k": None}


def test_the_same_seed_gives_the_same_weights_also_after_an_interruption(study, command, tmp_path, monkeypatch):
    train = ("train", "--data", study, *SMALL)
    assert command(*train, "--output", "a.safetensors").exit_code == 0
    real, calls = train_program.train_quality, []

    def interrupted(*arguments):
        def stop(line):
            calls.append(line)
            raise KeyboardInterrupt  # after the first epoch, whose checkpoint is written

        return real(*arguments[:-1], replace(arguments[-1], log=stop))

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
    own = (
        "evaluate",
        "--test-data",
        study,
        "--model",
        "people/Bob",
        "--part",
        "test",
        "--split",
        "weights/people/Bob_split.csv",
    )
    assert "votes of Bob" in command(*own).stdout and "accuracy" in command(*own).stdout
    assert "votes of Ann" in command(*own, "--observer", "Ann").stdout
    unknown = command("train", "--data", study, "--observer", "Cem", "--output", "x.safetensors")
    assert unknown.exit_code == 2 and "expected one of Ann, Bob" in unknown.output


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_with_its_accent_apart_is_that_name(study, command, tmp_path, form):
    name, typed = "Zoë André", unicodedata.normalize(form, "Zoë André")
    own = copied(
        study, tmp_path / "own", votes=lambda v: v.assign(observer=v["observer"].replace("Ann", "Zoe\u0308 André"))
    )
    place = f"weights/people/{unicodedata.normalize('NFD', name)}.safetensors"  # as macOS names it
    done = command("train", "--data", own, "--observer", typed, "--output", place, *SMALL)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / place).with_suffix(".json").read_text(encoding="utf-8"))["observer"] == name
    scored = command("score", own / "c1_2.png", "--observer", f"people/{typed}", "--format", "csv")
    assert scored.exit_code == 0 and "c1_2.png" in scored.stdout, scored.output
    evaluate = ("evaluate", "--test-data", own, "--model", f"people/{unicodedata.normalize('NFD', name)}")
    found = command(*evaluate, "--observer", typed, "--predictions", "p.csv")
    assert found.exit_code == 0 and set(pd.read_csv("p.csv")["observer"]) == {name}, found.output
    assert f"votes of {name}" in found.stdout
    unknown = command(*evaluate, "--observer", "Zoe Andre")
    assert unknown.exit_code == 2 and f"expected one of Bob, {name}" in unknown.stderr


def test_fine_tuning_and_the_ranking_transformer(study, command, tmp_path):
    first = command("train", "--data", study, "--output", "w.safetensors", *SMALL)
    tuned = command(
        "train",
        "--data",
        study,
        "--output",
        "t.safetensors",
        *SMALL[2:],
        "--start",
        "w.safetensors",
        "--learning-rate",
        "1e-9",
        "--ranking",
        "none",
    )
    assert first.exit_code == tuned.exit_code == 0, tuned.output
    before, after = (load_weights(f"{name}.safetensors")[0].state_dict() for name in "wt")
    assert all(torch.allclose(before[key].float(), after[key].float(), atol=1e-6) for key in before)
    assert json.loads((tmp_path / "t.json").read_text())["start"] == "w.safetensors"
    clash = command("train", "--data", study, "--output", "x.safetensors", "--start", "w.safetensors", "--width", "1")
    assert clash.exit_code == 2 and "--width with --start" in clash.output
    ranker = command(
        "train",
        "--data",
        study,
        "--model",
        "trcnn",
        "--base",
        "scratch",
        "--output",
        "r.safetensors",
        *SMALL,
        "--epochs",
        "1",
    )
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
    [
        ({"--output": "w.pth"}, "expected .safetensors"),
        ({"--output": "there.safetensors"}, "there already"),
        ({"--model": "resnet"}, "expected one of mobile_nr"),
        ({"--ranking": "order"}, "expected one of plcc"),
        (
            {"--crop": "99"},
            "--crop 99: images are shown at 56×48 pixels (c0_0.png has 56×48); expected a crop of at most",
        ),
        ({"--data": "no_such_set"}, "'no_such_set': unknown"),
        ({"--start": "none"}, "'none'"),
        ({"--learning-rate": "0"}, "lr 0.0"),
        ({"--model": "trcnn_faithful"}, "unknown argument width"),
    ],
)
def test_one_line_says_what_is_wrong(study, command, tmp_path, changed, word):
    (tmp_path / "there.safetensors").touch()
    given = {"--data": study, "--output": "w.safetensors", "--crop": "32", "--width": "0.25"} | changed
    given.pop("--width") if "--start" in changed else None
    found = command("train", *(x for pair in given.items() for x in pair))
    assert found.exit_code == 2 and word in found.stderr.splitlines()[-1], found.output
    assert found.stderr.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.glob("w*"))


FEW = ["c0_1.png", "c1_2.png", "c2_3.png", "c3_1.png"]


def copied(study, folder, to=None, sizes=None, votes=None):
    """The study in another folder: images of other sizes, by name or all of one; rows of its table left out."""
    shutil.copytree(study, folder)
    for path in folder.glob("*.png"):
        size = (sizes or {}).get(path.name, to)
        if size:
            Image.open(path).resize(size).save(path)
    if votes is not None:
        votes(pd.read_csv(folder / "votes.csv")).to_csv(folder / "votes.csv", index=False)
    return folder


@pytest.mark.parametrize(("size", "side"), [((48, 40), 32), ((70, 130), 64), ((230, 240), 224)])
def test_crops_that_nobody_asked_for_fit_the_images(study, command, tmp_path, size, side):
    own = copied(study, tmp_path / "own", size)
    quick = ("--width", "0.25", "--epochs", "1", "--batch-size", "8", "--precision", "float32")
    done = command("train", "--data", own, "--output", "w.safetensors", *quick)
    assert done.exit_code == 0, done.output
    said = f"in training crops of {side}" + (" (the default 224 is larger than the images)" if side < 224 else "\n")
    assert said in done.stdout and json.loads((tmp_path / "w.json").read_text())["training_crop"] == side


def test_images_too_small_for_any_crop(study, command, tmp_path):
    own = copied(study, tmp_path / "own", (30, 20), {"c2_1.png": (24, 16)})
    found = command("train", "--data", own, "--output", "w.safetensors", "--width", "0.25")
    line = "error: study: images are shown at 30×20 pixels (c2_1.png has 24×16); expected 32 or more a side"
    assert found.exit_code == 2 and found.stderr.splitlines()[-1] == line
    quick = ("--crop", "0", "--width", "0.25", "--epochs", "1", "--batch-size", "8")
    assert command("train", "--data", own, "--output", "w.safetensors", *quick).stderr.splitlines()[-1] == line
    done = command("train", "--data", study, "--output", "w.safetensors", *quick)
    assert done.exit_code == 0 and "in training whole" in done.stdout, done.output
    assert json.loads((tmp_path / "w.json").read_text())["training_crop"] is None


def test_copies_of_several_sizes_are_compared_at_the_display_size(study, command, tmp_path):
    sizes = {f"c{content}_{k}.png": (28, 24) for content in range(3) for k in (2, 3)}
    own = copied(study, tmp_path / "own", sizes=sizes)
    found = command("evaluate", "--test-data", own, "--model", "psnr", "--predictions", "p.csv", "--format", "csv")
    assert found.exit_code == 0 and numbers(found)["psnr", "srocc"]["n"] == "18", found.output
    dataset, rows = sets.load(str(own)), pd.read_csv("p.csv").set_index("image")["prediction"]
    assert dataset.display_size == (48, 56)
    for name in ("c0_2.png", "c4_3.png"):
        pair = [dataset.read(image, (48, 56)).astype(float) for image in (name, f"{name[:2]}_0.png")]
        noise = np.mean((pair[0] - pair[1]) ** 2)
        assert rows[name] == pytest.approx(10 * np.log10(255**2 / noise), abs=0.01)


@pytest.mark.parametrize(
    ("kept", "arguments", "line"),
    [
        (lambda v: v[v["content"].isin(["c0", "c1"])], (), "no intervals: 2 contents, expected 3 or more"),
        (lambda v: v[v["image"].isin(FEW[:2])], (), "plcc, plcc_logistic, srocc, krcc (2 images, expected 3 or more)"),
        (lambda v: v[v["image"].isin(FEW[:3])], (), "not known: plcc_logistic (3 images, expected 4 or more)"),
        (lambda v: v.assign(vote=3), (), "srocc, krcc (all 24 targets are 3)"),
        (lambda v: v[(v["observer"] == "Bob") | v["image"].isin(FEW[:2])], ("--observer", "Ann"), "krcc (2 images"),
    ],
)
def test_evaluate_says_why_a_number_is_not_known(study, command, tmp_path, kept, arguments, line):
    own = copied(study, tmp_path / "own", votes=lambda votes: kept(votes).assign(reference=""))
    scale = {"name": "ACR", "low": 1, "high": 5}
    save_weights(models.create("mobile_nr", width=0.25), tmp_path / "weights" / "w.safetensors", {"scale": scale})
    found = command("evaluate", "--test-data", own, "--model", "w", *arguments)
    said = [text for text in found.stderr.splitlines() if line in text]
    assert found.exit_code == 0 and len(said) == 1 and said[0].startswith("warning: "), found.output
    assert "nan" not in found.stdout and "–" in found.stdout


def test_what_no_test_part_can_tell_is_a_dash_and_left_out_of_the_card(study, command, tmp_path):
    def two_of_each_scene(votes):
        return votes[(votes["observer"] == "Bob") | votes["image"].str.contains("_[12].png")]

    own = copied(study, tmp_path / "own", votes=two_of_each_scene)
    done = command("train", "--data", own, "--output", "w.safetensors", "--observer", "Ann", *SMALL)
    assert done.exit_code == 0 and "nan" not in done.stdout, done.output
    assert "test srocc          –" in done.stdout and "its intervals are not known, which takes 3" in done.stdout
    text = (tmp_path / "w.json").read_text(encoding="utf-8")
    card = json.loads(text)
    assert "NaN" not in text and "srocc, test" not in card["scores"] and "accuracy, test" in card["scores"]
    assert card["n_test"] == 2 and card["rank_baselines"] == {"srocc, test": {"n": 2}} and not card["intervals_95"]


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
    [
        (("--model", "none"), "'none'"),
        (("--model", "w", "--part", "test"), "without --split"),
        (("--model", "w", "--split", "none.csv"), "none.csv"),
        (("--model", "w", "--observer", "Cem"), "one of Ann, Bob"),
        (("--model", "w", "--output", "x.png"), "ending '.png'"),
    ],
)
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
