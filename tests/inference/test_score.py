"""Scores of pairs and folders of pairs: right, whole, and each fault named while the rest goes on."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from iqasuite import models
from iqasuite.cli import app
from iqasuite.datasets import demo
from iqasuite.errors import InputError
from iqasuite.images.distortions.registry import DISTORTIONS
from iqasuite.inference import score
from iqasuite.inference.pairs import EIGHT, load_full_reference, predict_pairs, save_full_reference
from iqasuite.models.metrics import piq_metrics
from iqasuite.weights.files import save_weights

SMALL = {"width": 0.25, "grid": 4, "dense": 8}
RNG = np.random.default_rng(0)
REFERENCE = np.clip(RNG.normal(128, 40, (176, 168, 3)), 0, 255).astype(np.uint8)
DISTORTED = np.clip(REFERENCE + RNG.normal(0, 20, REFERENCE.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def command():
    return lambda *arguments: CliRunner().invoke(app, ["score", *map(str, arguments)])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Reference, distorted image and weights of two networks in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IQASUITE_WEIGHTS", raising=False)
    Image.fromarray(REFERENCE).save("r.png")
    Image.fromarray(DISTORTED).save("d.png")
    for seed, name in enumerate(("one", "two")):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = models.create("siamese_fr", **SMALL)
        network.dense.mean.fill_(1449.05), network.dense.std.fill_(121.35)
        save_full_reference(network, f"{name}.safetensors", "Elo", "nothing")
    return tmp_path


@pytest.fixture
def folder(files):
    """Two references with two versions each, in the challenge's naming and in folders of their own."""
    for name in ("Ref", "Dis"):
        (files / "set" / name).mkdir(parents=True)
    for r in (1, 2):
        Image.fromarray(np.roll(REFERENCE, r, axis=0)).save(files / f"set/Ref/A000{r}.BMP")
        for d, image in enumerate((DISTORTED, REFERENCE)):
            Image.fromarray(np.roll(image, r, axis=0)).save(files / f"set/Dis/A000{r}_00_0{d}.bmp")
    return files / "set"


def of_metric(name):
    reference, distorted = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (REFERENCE, DISTORTED))
    return piq_metrics.score(name, reference, distorted).item()


def test_importing_it_imports_nothing_heavy():
    heavy = "('torch', 'pandas', 'piq', 'PIL')"
    program = f"import sys, iqasuite.inference.score; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_pair_and_a_metric(files, command):
    found = command("d.png", "--reference", "r.png")
    assert found.exit_code == 0
    assert found.stdout == f"d.png: {of_metric('ms_ssim'):.6g} MS-SSIM (higher = better, 1 = the same image)\n"
    found = command("d.png", "--reference", "r.png", "--model", "gmsd").stdout
    assert found == f"d.png: {of_metric('gmsd'):.6g} GMSD (lower = better, 0 = the same image)\n"


def test_a_pair_and_networks_with_their_scale(files, command):
    networks = [load_full_reference(f"{name}.safetensors")[0] for name in ("one", "two")]
    for given, used in ((["one.safetensors"], networks[:1]), (["one.safetensors", "two.safetensors"], networks)):
        value, spread = predict_pairs(used, [REFERENCE], [DISTORTED], EIGHT)
        found = command("d.png", "--reference", "r.png", *(x for name in given for x in ("--model", name)))
        assert found.stdout.startswith(f"d.png: {value[0]:.6g} ± {spread[0]:.2g} Elo (higher = better; "), found.output
        assert "8 views" in found.stdout
    found = command("d.png", "--reference", "r.png", "--model", "one.safetensors", "--views", "one").stdout
    assert "±" not in found and "1 view)" in found


def test_weights_are_found_by_name_in_the_weights_folder(files, command, monkeypatch):
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(files))
    monkeypatch.chdir(files.parent)
    found = command(files / "d.png", "--reference", files / "r.png", "--model", "one")
    assert found.exit_code == 0 and "Elo" in found.stdout


def test_a_folder_of_the_challenge_becomes_output_txt(folder, command):
    found = command(folder, "--pairs")
    assert found.exit_code == 0 and found.stdout.startswith("output.txt: 4 of 4 pairs; MS-SSIM")
    lines = (folder.parent / "output.txt").read_text().splitlines()
    names, values = zip(*(line.split(",") for line in lines), strict=True)
    assert names == ("A0001_00_00.bmp", "A0001_00_01.bmp", "A0002_00_00.bmp", "A0002_00_01.bmp")
    assert float(values[1]) == float(values[3]) == 1 and 0 < float(values[0]) < 1
    apart = command(folder / "Dis", "--reference", folder / "Ref", "--output", "other/scores.txt")
    assert apart.exit_code == 0
    assert (folder.parent / "other/scores.txt").read_text() == (folder.parent / "output.txt").read_text()


def test_a_metric_alone_makes_a_folder_one_of_pairs(folder, command):
    assert command(folder, "--model", "psnr").stdout.startswith("output.txt: 4 of 4 pairs; PSNR")


def test_pairs_as_a_table_for_programs(folder, command):
    asked = command(folder, "--pairs", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(asked.stdout)))
    assert asked.exit_code == 0 and [Path(row["image"]).name for row in rows][:2] == [
        "A0001_00_00.bmp",
        "A0001_00_01.bmp",
    ]
    assert float(rows[1]["score"]) == 1 and rows[1]["reference"].endswith("A0001.BMP")
    assert not (folder.parent / "output.txt").exists()
    written = command(folder, "--pairs", "--output", "scores.csv")
    assert written.stdout.startswith("scores.csv: 4 of 4 images; score: MS-SSIM")
    assert (folder.parent / "scores.csv").read_text() == asked.stdout


def test_one_reference_for_several_and_one_of_the_same_name(files, command):
    found = command("d.png", "r.png", "--reference", "r.png", "--format", "jsonl")
    first, second = map(json.loads, found.stdout.splitlines())
    assert (first["image"], second["image"], second["score"]) == ("d.png", "r.png", 1)
    assert first["score"] == pytest.approx(of_metric("ms_ssim"), rel=1e-6)
    (files / "originals").mkdir(), (files / "copies").mkdir()
    Image.fromarray(REFERENCE).save("originals/photo.bmp"), Image.fromarray(DISTORTED).save("copies/photo.png")
    Image.fromarray(DISTORTED).save("copies/other.png")
    found = command("copies/other.png", "copies/photo.png", "--reference", "originals", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(found.stdout)))
    assert found.exit_code == 1 and "no reference" in rows[0]["error"] and "copies/other.png" in found.stderr
    assert float(rows[1]["score"]) == pytest.approx(first["score"]) and rows[1]["reference"] == "originals/photo.bmp"
    challenge = command("copies", "--reference", "originals")
    assert challenge.exit_code == 1 and (files / "output.txt").read_text().startswith("photo.png,0.")


def test_faults_are_named_and_the_others_scored(folder, command):
    (folder / "Dis/A0001_00_01.bmp").write_bytes((folder / "Dis/A0001_00_00.bmp").read_bytes()[:5000])
    (folder / "Ref/A0002.BMP").unlink()
    Image.fromarray(REFERENCE).save(folder / "Ref/A0009.png")
    (folder / "readme.txt").write_text("not an image")
    found = command(folder, "--pairs")
    assert found.exit_code == 1
    errors = found.stderr.splitlines()
    assert len(errors) == 4 and all(line.startswith("error: ") for line in errors)
    for name in ("A0001_00_01.bmp", "A0002_00_00.bmp", "A0002_00_01.bmp", "A0009.png"):
        assert sum(name in line for line in errors) == 1
    assert (folder.parent / "output.txt").read_text().startswith("A0001_00_00.bmp,0.")
    assert len((folder.parent / "output.txt").read_text().splitlines()) == 1


def test_the_same_name_twice_is_a_fault(folder, command):
    (folder / "again").mkdir()
    Image.fromarray(REFERENCE).save(folder / "again/A0001_00_00.bmp")
    found = command(folder, "--pairs")
    assert found.exit_code == 1 and "a second image of this name" in found.stderr
    Image.fromarray(REFERENCE).save(folder / "again/A0002.png")
    assert command(folder, "--pairs").stderr.count("2 references A0002") == 2


def test_nothing_is_written_where_nothing_is_scored(folder, command):
    for path in (folder / "Dis").iterdir():
        path.write_bytes(b"")
    (folder.parent / "output.txt").write_text("of before")
    found = command(folder, "--pairs")
    assert found.exit_code == 1 and found.stdout == "" and found.stderr.count("0 bytes") == 4
    assert (folder.parent / "output.txt").read_text() == "of before"
    assert [path.name for path in folder.parent.glob(".output*")] == []


def test_constant_images_have_scores(folder, command):
    for path, level in zip(sorted((folder / "Dis").iterdir()), (0, 255, 128, 7), strict=True):
        Image.new("RGB", (168, 176), (level, level, level)).save(path)
    for model in ("ms_ssim", "one.safetensors"):
        assert command(folder, "--model", model, "--views", "one").exit_code == 0
        assert "nan" not in (folder.parent / "output.txt").read_text()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda image: image.crop((0, 0, 160, 176)), "160×176 pixels, r.png 168×176"),
        (lambda image: image.convert("L"), "gray, r.png RGB"),
        (lambda image: image.convert("CMYK"), "CMYK, r.png RGB"),
        (lambda image: image.putalpha(100) or image, "with transparency, r.png RGB"),
    ],
)
def test_pairs_that_are_none(files, command, make, word):
    image = make(Image.fromarray(DISTORTED))
    name = "x.tif" if image.mode == "CMYK" else "x.png"
    image.save(name)
    found = command(name, "--reference", "r.png")
    assert found.exit_code == 2 and found.output.startswith(f"error: {name}: ") and word in found.output
    assert found.output.count("\n") == 1


def test_ways_to_store_the_same_pixels_are_no_difference(files, command):
    gray = Image.fromarray(REFERENCE).convert("L")
    gray.save("gray.png"), gray.convert("RGB").save("rgb.png"), gray.convert("P").save("palette.png")
    opaque = gray.convert("RGBA")
    opaque.save("opaque.png")
    for name in ("rgb.png", "palette.png", "opaque.png"):
        assert command(name, "--reference", "gray.png").stdout.startswith(f"{name}: 1 MS-SSIM")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("d.png", "--pairs"), "no reference"),
        (("none.png", "--reference", "r.png"), "none.png: no such file"),
        (("d.png", "--reference", "none.png"), "none.png: no such file"),
        (("d.png", "--reference", "r.png", "--model", "ms_sim"), "model 'ms_sim'"),
        (("d.png", "--reference", "r.png", "--model", "psnr", "--model", "ssim"), "expected it alone"),
        (("d.png", "--reference", "r.png", "--model", "one.safetensors", "--views", "two"), "views 'two'"),
        (("d.png", "--reference", "r.png", "--model", "d.png"), "expected .safetensors"),
        (("small.png", "--reference", "small.png"), "161 or more"),
        ((".", "--pairs"), "none named like A0001_00_00.bmp"),
    ],
)
def test_one_line_says_what_is_wrong(files, command, arguments, word):
    Image.fromarray(REFERENCE[:100]).save("small.png")
    found = command(*arguments)
    assert found.exit_code == 2 and word in found.output
    assert found.output.startswith("error: ") and found.output.count("\n") == 1
    assert not (files / "output.txt").exists()


def test_weights_of_other_networks_are_refused(files, command):
    save_weights(models.create("pair_sorter"), "sorter.safetensors")
    save_full_reference(models.create("siamese_fr", **SMALL), "mos.safetensors", "MOS", "nothing")
    (files / "bn.safetensors").write_bytes((files / "one.safetensors").read_bytes())
    card = (files / "one.json").read_text()
    (files / "bn.json").write_text(card.replace('"width"', '"variant": "bn",\n "width"'))
    for name, word in (("sorter", "weights of pair_sorter"), ("bn", "weights of another")):
        found = command("d.png", "--reference", "r.png", "--model", f"{name}.safetensors")
        assert found.exit_code == 2 and word in found.output
    ensemble = ("--model", "one.safetensors", "--model", "mos.safetensors")
    found = command("d.png", "--reference", "r.png", *ensemble)
    assert found.exit_code == 2 and "scale Elo, MOS" in found.output


def test_a_score_that_is_no_number_is_an_error(files):
    scorer = score.Scorer("x", "y", True, lambda task: (float("nan"), float("nan")))
    results = list(score.scored(scorer, [score.Task(files / "d.png", files / "r.png")]))
    assert "the score is nan" in results[0].error
    with pytest.raises(InputError):
        score.read_pair(score.Task(files / "d.png", files / "missing.png"))


def test_the_network_that_comes_along_orders_degrees_of_distortion(repository, files, command):
    path = repository / "weights" / "siamese_fr.safetensors"
    network, card = load_full_reference(path)
    assert card.scale.name == "pseudo-label" and not set(card.photographs) & set(demo.PHOTOGRAPHS)
    photograph = demo.contents()["coffee-1"]  # learnt from Kodak's photographs only
    kinds, rng = ("jpeg", "blur", "noise", "webp", "contrast_loss", "streaming"), np.random.default_rng
    versions = [DISTORTIONS[kind](photograph, level, rng(0)) for kind in kinds for level in range(1, 6)]
    scores, _ = predict_pairs(network, [photograph] * 30, versions, tile=card.preprocessing.tile)
    assert (np.diff(scores.reshape(6, 5)) < 0).mean() > 0.9
    best, _ = predict_pairs(network, [photograph], [photograph], tile=card.preprocessing.tile)
    assert best[0] > np.median(scores)
    shown = command("d.png", "--reference", "r.png", "--model", str(path))
    assert shown.exit_code == 0 and "pseudo-label" in shown.output
