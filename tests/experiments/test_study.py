"""A study of one's own: a suite is planned for it, and one command brings it from votes to gallery."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from iqasuite.errors import InputError
from iqasuite.experiments import study
from iqasuite.experiments.suite import check, read_suite
from iqasuite.images.photographs import photographs

SIZES = ((120, 96), (96, 120), (104, 104))  # width, height


def votes_of(people, images, qualities, share=0.9, seed=0):
    """Long table: everybody votes on some images with a bias and noise of their own; the first two on four only."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(people):
        n = 4 if number < 2 else round(share * len(images))
        bias, noise = rng.normal(0, 0.4), rng.uniform(0.3, 0.6)
        for i in rng.permutation(len(images))[:n]:
            vote = int(np.clip(round(qualities[i] + bias + rng.normal(0, noise)), 1, 5))
            rows.append((f"person {number + 1}", images[i], vote, images[i].split("_")[0]))
    rows.append(rows[-1])  # one image rated twice
    return pd.DataFrame(rows, columns=["observer", "image", "vote", "content"])


def make_study(folder, scenes=6, versions=14, people=5):
    """Blurred photographs of three sizes, each scene of one size, and the votes on them."""
    images, qualities = [], []
    folder.mkdir(parents=True)
    known = photographs("demo")
    for scene in range(scenes):
        whole = Image.open(known[scene % len(known)]).convert("RGB").resize(SIZES[scene % 3], Image.Resampling.BICUBIC)
        for version in range(versions):
            name, strength = f"s{scene}_{version}.png", 3 * version / versions
            whole.filter(ImageFilter.GaussianBlur(strength)).save(folder / name)
            images.append(name)
            qualities.append(4.8 - 1.2 * strength)
    votes_of(people, images, qualities).to_csv(folder / "ratings.csv", index=False)
    return folder


@pytest.fixture
def own(tmp_path):
    return make_study(tmp_path / "our study")


@pytest.fixture
def in_project(tmp_path, repository, monkeypatch):
    """The notebooks in a folder of their own, where suites may be written."""
    (tmp_path / "notebooks" / "suites").mkdir(parents=True)
    for path in (repository / "notebooks").glob("*.ipynb"):
        shutil.copy(path, tmp_path / "notebooks")
    shutil.copy(repository / "Snakefile", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IQASUITE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_suite_is_planned_that_fits_its_notebooks(own, in_project):
    planned = study.plan(str(own), quick=True)
    assert planned.name == "our_study" and planned.observers == ("person 3", "person 4", "person 5")
    assert planned.minutes > 0 and "&id" not in planned.text
    path = study.write(planned)
    suite = read_suite(path)
    parameters = check(suite)
    assert parameters["stem"]["dataset"] == "our study" and parameters["stem"]["missing"] == "drop"
    assert [run.name for run in suite.runs] == [
        *("ratings", "sheet", "stem", "everybody_0", "aios_0", "evaluate", "attention")
    ]
    of_the_study = {"01_look_at_the_ratings", "02_data_sets", "05_evaluate_aios", "06_attention_maps"}
    assert of_the_study < {run.notebook for run in suite.runs}  # the smoke suite's test leaves them to this file's
    assert study.QUICK in parameters["aios_0"]["network"]["method"] and "QUICK" in suite.description
    assert "2 of them" in suite.description
    assert study.write(study.plan(str(own), quick=True)) == path  # the same command goes on
    with pytest.raises(InputError, match=r"our_study\.yaml: there is a suite of this name .* another --name"):
        study.write(study.plan(str(own)))
    full = study.write(study.plan(str(own), name="whole"))
    assert [run.name for run in read_suite(full).runs if run.template == "aios_{fold}"] == [
        "aios_0",
        "aios_1",
        "aios_2",
    ]


def test_votes_too_few_for_aios_and_scores_alone_give_models_of_mos(own, in_project):
    votes = pd.read_csv(own / "ratings.csv")
    votes.drop_duplicates(["observer", "image"]).groupby("observer").head(12).to_csv(own / "ratings.csv", index=False)
    planned = study.plan(str(own))
    assert planned.observers == ()
    assert [run.name for run in read_suite(study.write(planned)).runs] == ["ratings", "sheet", "patches", "benchmark"]
    mos = votes.groupby(["image", "content"])["vote"].mean().rename("mos").reset_index()
    mos.to_csv(own / "ratings.csv", index=False)
    planned = study.plan(str(own), name="scores")
    runs = read_suite(study.write(planned)).runs
    check(read_suite(planned.path))
    assert [run.name for run in runs] == ["sheet", "patches", "benchmark"]


def test_what_cannot_be_split_or_named_is_refused(own, in_project):
    for name in ("../x", "a/b", "", "con"):
        if name:
            with pytest.raises(InputError, match="--name: found"):
                study.plan(str(own), name=name)
    votes = pd.read_csv(own / "ratings.csv").assign(content="one scene")
    votes.to_csv(own / "ratings.csv", index=False)
    with pytest.raises(InputError, match="1 scenes; expected 3 or more"):
        study.plan(str(own))
    with pytest.raises(InputError, match="nowhere"):
        study.plan("nowhere")


def test_folds_go_by_scenes_and_people_by_votes_on_every_part(tmp_path, in_project):
    wide = study.plan(str(make_study(tmp_path / "ten scenes", scenes=10, versions=6)))
    assert "n_folds: 5" in wide.text and wide.observers == ("person 3", "person 4", "person 5")
    half = votes_of(6, [f"s{i // 14}_{i % 14}.png" for i in range(84)], np.full(84, 3.0), share=0.3)
    half.to_csv(make_study(tmp_path / "half") / "ratings.csv", index=False)
    assert study.plan(str(tmp_path / "half")).observers == ()  # a third of 84 images, three folds: some 8 to learn from


@pytest.mark.slow
def test_a_study_goes_from_votes_to_gallery_by_one_command(own, in_project):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("IQASUITE_")}
    done = subprocess.run(
        [sys.executable, "-m", "iqasuite", "suite", "new", str(own), "--quick", "--jobs", "1"],
        cwd=in_project,
        env=environment | {"IQASUITE_CACHE": str(in_project / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "3 observers get an artificial one" in done.stdout and "minutes on this machine" in done.stdout
    results = in_project / "results" / "our_study"
    states = {path.stem: json.loads(path.read_text())["status"] for path in (results / "runs").glob("*.json")}
    assert len(states) == 7 and set(states.values()) == {"ok"}
    page = (results / "index.html").read_text(encoding="utf-8")
    assert "person 3" in page or "quick" in page
    scores = pd.read_csv(results / "scores.csv", keep_default_na=False)
    predicted = scores[scores["model"].str.endswith(study.QUICK)]
    assert set(predicted["observer"]) - {"", "mean"} == {"person 3", "person 4", "person 5"}
    assert (scores["model"].str.contains(study.QUICK) | scores["model"].str.contains("baseline:|ceiling:")).all()
    left_out = pd.read_csv(results / "tables" / "aios_0" / "left_out.csv")
    assert left_out["observer"].tolist() == ["person 1", "person 2"]
