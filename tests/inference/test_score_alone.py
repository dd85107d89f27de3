"""`iqasuite score` without references: what is asked for comes, in order, and what is wrong is said in one line."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from iqasuite import models
from iqasuite.cli import app
from iqasuite.weights.catalogue import CATEGORIES
from iqasuite.weights.files import save_weights

RNG = np.random.default_rng(0)
NAMES = ["b.png", "a, 1.jpg", "two\nlines.png"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """mobile_nr, a network of one output, a network that compares, and two sets of AIOs, all random and small."""
    folder = tmp_path_factory.mktemp("weights")
    seen = {"preprocessing": {"shorter_side": 64}, "licence": "none", "scores": {"srocc, test": 0.5}}
    hundred = {"scale": {"name": "continuous", "low": 0, "high": 100}}
    acr = {"scale": {"name": "ACR", "low": 1, "high": 5}}
    wanted = {"mobile_nr": ({}, hundred), "plain": ({"n_classes": 1}, hundred)}
    wanted |= {f"people/{name}": ({}, acr | {"observer": name}) for name in ("Ann", "Bob", "Cem")}
    with torch.random.fork_rng():
        for seed, (name, (arguments, card)) in enumerate(wanted.items()):
            torch.manual_seed(seed)
            network = models.create("mobile_nr", width=0.25, **arguments)
            torch.nn.init.normal_(network.head[-1].weight, std=3.0)  # so that they differ
            save_weights(network, folder / f"{name}.safetensors", seen | card)
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch, weights):
    """Three pictures in the working directory, two of one shape; weights are looked for in `weights`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(weights))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, shape in zip(NAMES, [(80, 64), (64, 96), (80, 64)], strict=True):
        Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(tmp_path / name)
    yield tmp_path
    torch.set_num_threads(before)


@pytest.fixture
def command():
    return lambda *arguments, **more: CliRunner().invoke(app, ["score", *map(str, arguments)], **more)


def table(found):
    return list(csv.DictReader(io.StringIO(found.stdout)))


def test_a_table_with_its_scale(files, command):
    found = command(*NAMES)
    lines = found.stdout.splitlines()
    assert found.exit_code == 0 and lines[0] == "score (mobile_nr): continuous, 0 to 100, higher = better"
    assert lines[1].split() == ["score", "image"]
    assert [line.split("  ")[-1] for line in lines[2:]] == ["b.png", "a, 1.jpg", "two\\nlines.png"]


def test_the_default_says_what_its_card_wants_said(files, command, weights, monkeypatch):
    for name in ("mobile_nr.safetensors", "mobile_nr.json"):
        (files / "own" / name).parent.mkdir(exist_ok=True)
        (files / "own" / name).write_bytes((weights / name).read_bytes())
    card = json.loads((weights / "mobile_nr.json").read_text()) | {"caution": "It is an example."}
    (files / "own" / "mobile_nr.json").write_text(json.dumps(card))
    plain = command(NAMES[0], "--format", "csv")
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(files / "own"))
    found = command(NAMES[0], "--format", "csv")
    assert found.stdout == plain.stdout and plain.stderr == ""
    assert found.stderr.count("\n") == 1 and "It is an example." in found.stderr and "--model NAME" in found.stderr
    assert command(NAMES[0], "--model", "mobile_nr").stderr == ""  # who chooses it has read its card


@pytest.fixture
def frozen(files, weights, monkeypatch):
    """The models of `weights`, and a frozen network of the name that is taken first; random, and small."""
    torch.manual_seed(0)
    network = models.create("frozen_nr", base="spectrum", dim=190, components=4, n_seen=6)
    for name in ("shift", "axes", "seen", "weights", "linear"):
        getattr(network, name).normal_(std=0.02)
    network.offset.copy_(torch.tensor([3.0, -1.0, -0.4])), network.reach.copy_(torch.tensor([0.7, 1.3, 1.8]))
    scale = {"name": "continuous", "low": 0, "high": 100}
    card = {"scale": scale, "preprocessing": {"shorter_side": 64}}
    for path in (*weights.glob("mobile_nr.*"), save_weights(network, files / "first" / "lite2_nr.safetensors", card)):
        (files / "first" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(files / "first"))


def test_the_frozen_network_is_the_default_where_its_classifier_is(frozen, command, monkeypatch):
    assert command(NAMES[0]).stdout.startswith("score (lite2_nr): continuous")
    monkeypatch.setattr("iqasuite.models.classifiers.has_weights", lambda name: False)
    assert command(NAMES[0]).stdout.startswith("score (mobile_nr): continuous")
    assert command(NAMES[0], "--model", "lite2_nr").exit_code == 0  # who names it gets it, or the reason why not


def test_intervals_of_a_model_that_knows_them(frozen, command):
    rows = table(command(*NAMES, "--interval", "--format", "csv"))
    for row in rows:
        low, score, high = (float(row[name]) for name in ("low", "score", "high"))
        assert 0 <= low < score < high <= 100 and high - low == pytest.approx(2 * (score - low), abs=1e-3)
    assert table(command(*NAMES, "--interval", "--format", "csv")) == rows
    alone = table(command(NAMES[1], "--interval", "--format", "csv"))[0]
    assert alone == rows[1] or torch.cuda.is_available()
    unknown = table(command(NAMES[0], "--model", "mobile_nr", "--interval", "--format", "csv"))[0]
    assert unknown["low"] == unknown["high"] == "" and unknown["score"]


def test_csv_json_lines_and_table_say_the_same(files, command):
    from_csv, from_json = command(*NAMES, "--format", "csv"), command(*NAMES, "--format", "jsonl")
    rows, objects = table(from_csv), [json.loads(line) for line in from_json.stdout.splitlines()]
    assert [row["image"] for row in rows] == [row["image"] for row in objects] == NAMES
    assert [float(row["score"]) for row in rows] == [row["score"] for row in objects]
    assert len({row["score"] for row in rows}) == 3 and all(0 <= row["score"] <= 100 for row in objects)
    shown = [float(line.split()[0]) for line in command(*NAMES).stdout.splitlines()[2:]]
    np.testing.assert_allclose(shown, [row["score"] for row in objects], atol=6e-5)


def test_the_same_file_has_the_same_score(files, command):
    once = command(*NAMES, NAMES[0], "--format", "csv", "--precision", "float32")
    rows = table(once)
    assert once.stdout == command(*NAMES, NAMES[0], "--format", "csv", "--precision", "float32").stdout
    alone = float(table(command(NAMES[0], "--format", "csv", "--precision", "float32"))[0]["score"])
    exact = not torch.cuda.is_available()
    for other in (float(rows[3]["score"]), alone):
        assert float(rows[0]["score"]) == (other if exact else pytest.approx(other, abs=1e-3))


def test_categories_and_distributions(files, command):
    rows = table(command(*NAMES, "--category", "--distribution", "--format", "csv"))
    for row in rows:
        shares = [float(row[f"p{k}"]) for k in range(1, 6)]
        assert sum(shares) == pytest.approx(1) and row["category"] in CATEGORIES
        assert float(row["score"]) == pytest.approx(25 * (np.dot(shares, range(1, 6)) - 1), abs=1e-4)
        assert row["category"] == CATEGORIES[min(int(float(row["score"]) // 20), 4)]
    assert table(command(NAMES[0], "--model", "plain", "--distribution", "--format", "csv"))[0]["p1"] == ""


def test_several_models_are_columns(files, command):
    rows = table(command(NAMES[0], "--model", "plain", "--model", "mobile_nr", "--category", "--format", "csv"))
    assert list(rows[0]) == ["image", "plain", "plain category", "mobile_nr", "mobile_nr category", "error"]
    for name in ("plain", "mobile_nr"):
        assert table(command(NAMES[0], "--model", name, "--format", "csv"))[0]["score"] == rows[0][name]
    legend = command(NAMES[0], "--model", "plain", "--observer", "Ann").stdout.splitlines()[:2]
    assert legend[0].startswith("plain: continuous") and legend[1].startswith("Ann: ACR, 1 to 5")


def test_observers(files, command, weights):
    (row,) = table(command(NAMES[0], "--observer", "all", "--format", "csv"))
    assert list(row) == ["image", "Ann", "Bob", "Cem", "mean", "spread", "error"]
    votes = [float(row[name]) for name in ("Ann", "Bob", "Cem")]
    assert float(row["mean"]) == pytest.approx(np.mean(votes)) and len(set(votes)) == 3
    assert float(row["spread"]) == pytest.approx(np.std(votes, ddof=1))
    assert table(command(NAMES[0], "--observer", "Bob", "--format", "csv"))[0]["score"] == row["Bob"]
    assert table(command(NAMES[0], "--observer", "people/Bob", "--format", "csv"))[0]["score"] == row["Bob"]
    unknown = command(NAMES[0], "--observer", "Dan")
    assert unknown.exit_code == 2 and "expected one of Ann, Bob, Cem, all" in unknown.output


def test_several_sets_of_observers(files, command, weights, tmp_path, monkeypatch):
    for kind in ("safetensors", "json"):
        (tmp_path / "weights" / "others").mkdir(parents=True, exist_ok=True)
        source = weights / "people" / f"Ann.{kind}"
        (tmp_path / "weights" / "others" / f"Ann.{kind}").write_bytes(source.read_bytes())
    asked = command(NAMES[0], "--observer", "Ann")
    assert asked.exit_code == 2 and "2 sets" in asked.output and "others/Ann, people/Ann" in asked.output
    both = table(command(NAMES[0], "--observer", "others/Ann", "--observer", "people/all", "--format", "csv"))
    assert list(both[0])[:5] == ["image", "others/Ann", "people/Ann", "Bob", "Cem"]


def test_folders_patterns_and_lists(files, command):
    (files / "more" / "deep").mkdir(parents=True)
    for name in ("more/deep/z.png", "more/y.png"):
        (files / name).write_bytes((files / "b.png").read_bytes())
    (files / "more" / "notes.txt").write_text("no picture")
    rows = table(command("more", "*.jpg", "-", "b.png", "--format", "csv", input="more/y.png\n"))
    assert [row["image"] for row in rows] == ["more/deep/z.png", "more/y.png", "a, 1.jpg", "more/y.png", "b.png"]
    rows = table(command("-", "-0", "--format", "csv", input="two\nlines.png\0b.png\0"))
    assert [row["image"] for row in rows] == ["two\nlines.png", "b.png"]
    empty = command("-", input="")
    assert empty.exit_code == 1 and "no images named" in empty.stderr


def test_bad_files_are_named_and_the_others_scored(files, command):
    (files / "cut.png").write_bytes((files / "b.png").read_bytes()[:200])
    (files / "text.jpg").write_text("no picture")
    found = command("b.png", "cut.png", "text.jpg", "a, 1.jpg", "--format", "csv")
    rows = table(found)
    assert found.exit_code == 1 and [row["image"] for row in rows] == ["b.png", "cut.png", "text.jpg", "a, 1.jpg"]
    assert [bool(row["score"]) for row in rows] == [True, False, False, True] and "truncated" in rows[1]["error"]
    errors = found.stderr.splitlines()
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)
    assert errors[0].startswith("error: cut.png: ") and errors[2] == "error: 2 of 4 not scored: cut.png, text.jpg"
    assert "–" in command("b.png", "cut.png").stdout.splitlines()[-1]
    missing = command("-", "--format", "csv", input="none.png\nb.png\n")
    assert missing.exit_code == 1 and "none.png: no such file" in missing.stderr and len(table(missing)) == 2


def test_many_bad_files_are_counted(files, command):
    found = command("-", input="".join(f"none{number}.png\n" for number in range(30)))
    last = found.stderr.splitlines()[-1]
    assert last.startswith("error: 30 of 30 not scored: none0.png, ") and last.endswith("none19.png … and 10 more")


def test_ways_to_store_a_picture(files, command):
    gray = Image.open("b.png").convert("L")
    gray.save("gray.png"), gray.convert("RGB").save("rgb.png")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save("deep.png")
    gray.save("moving.gif", save_all=True, append_images=[gray.transpose(Image.Transpose.ROTATE_180)])
    found = command("rgb.png", "gray.png", "deep.png", "moving.gif", "--format", "csv", "--batch-size", "1")
    scores = [float(row["score"]) for row in table(found)]
    assert found.exit_code == 0 and scores[0] == scores[1] == scores[2] == scores[3]


def test_a_file_is_written_whole_or_not(files, command):
    found = command(*NAMES, "--output", "out/scores.jsonl")
    assert found.stdout.startswith("out/scores.jsonl: 3 of 3 images; score (mobile_nr): continuous")
    assert [json.loads(line)["image"] for line in (files / "out/scores.jsonl").read_text().splitlines()] == NAMES
    (files / "cut.png").write_bytes(b"")
    (files / "scores.csv").write_text("of before")
    failed = command("cut.png", "--output", "scores.csv")
    assert failed.exit_code == 1 and (files / "scores.csv").read_text() == "of before"
    assert not list(files.glob(".scores*"))


def test_maps_cannot_collide_or_leave_their_folder(files, command):
    for folder in ("one", "two"):
        (files / folder).mkdir()
        (files / folder / "x.png").write_bytes((files / NAMES[0]).read_bytes())
    (files / "one" / "x; rm -rf $HOME .. .png").write_bytes((files / NAMES[0]).read_bytes())
    before = {path for path in files.rglob("*") if path.is_file()}
    found = command("one", "two", "--map", "maps", "--observer", "Ann", "--model", "mobile_nr", "--format", "csv")
    assert found.exit_code == 0, found.output
    new = {path for path in files.rglob("*") if path.is_file()} - before
    assert len(new) == 3 * 2 * 2 and all(path.parent == files / "maps" for path in new)
    named = [row[f"{model} map"] for row in table(found) for model in ("Ann", "mobile_nr")]
    assert len(set(named)) == 6 and {files / "maps" / name for name in named} == {p for p in new if p.suffix == ".png"}
    for path in new:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
            assert values.dtype == np.float32 and values.ndim == 2 and 1 <= values.min() <= values.max() <= 5
        else:
            assert Image.open(path).size[0] > 200
    again = command("two/x.png", "--map", "maps", "--model", "mobile_nr", "--format", "csv")
    assert table(again)[0]["map"] in named  # the same picture, the same name


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("none.png",), "none.png: no such file"),
        (("*.gif",), "no file matches"),
        (("empty",), "no images in it"),
        (("b.png", "--model", "mobile"), "expected a .safetensors file or one of mobile_nr"),
        (("b.png", "--model", "none.safetensors"), "none.safetensors"),
        (("b.png", "--format", "xml"), "expected one of table, csv, jsonl"),
        (("b.png", "--output", "scores.png"), "ending '.png'"),
        (("b.png", "--views", "one"), "--views"),
        (("b.png", "--null"), "--null"),
        (("b.png", "--precision", "half"), "--precision half"),
        (("b.png", "--observer", "none/all"), "no such set, expected one of people"),
        (("b.png", "--reference", "b.png", "--category"), "--category"),
        (("b.png", "--reference", "b.png", "--observer", "Ann"), "--observer"),
    ],
)
def test_one_line_says_what_is_wrong(files, command, arguments, word):
    (files / "empty").mkdir()
    found = command(*arguments)
    assert found.exit_code == 2 and word in found.output, found.output
    assert found.output.startswith("error: ") and found.output.count("\n") == 1


def test_wrong_usage_is_2(files, command):
    assert command().exit_code == 2 and command("b.png", "--batch-size", "0").exit_code == 2


def test_without_weights(files, command, monkeypatch):
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(files))
    found = command("b.png")
    assert found.exit_code == 2 and "'mobile_nr'" in found.output and found.output.count("\n") == 1
