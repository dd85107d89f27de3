"""Scores computed anew from kept predictions: the same where nothing was touched, others where something was."""

import lzma

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.experiments import batch, gallery, kept_predictions

MADE = """
import numpy as np
from iqasuite.datasets import load
from iqasuite.experiments.run import Run
from iqasuite.inference.predictions import predictions_frame
run = Run.from_notebook()
data = load(dataset)
data.images[["image", "content"]].assign(fold=0, part="test").to_csv(run.results / "tables" / "split" / "split.csv")
rng, images = np.random.default_rng(seed), data.images["image"].tolist()
votes = data.votes[data.votes["observer"] == "=Ana"].set_index("image")["vote"].reindex(images)
for kind, observer in (("predictions", "=Ana"), ("mos_predictions", "")):
    scores = data.images["mos"] + rng.normal(0, 0.3, len(images))
    about = data.name, "ours", "corrected", 0, 0, "test", observer
    run.predictions(predictions_frame(*about, images, votes, scores), kind)
run.finish()
"""
SCORED = """
from iqasuite.datasets import load
from iqasuite.evaluation.scores import score_frame
from iqasuite.experiments.run import Run
from iqasuite.inference.predictions import read_predictions
run, data = Run.from_notebook(), load(dataset)
predicted = read_predictions(run.work / "predictions", data.name)
run.scores(score_frame(predicted, data.sources_of_images(), 50, seed), "x")
run.finish()
"""


@pytest.fixture
def finished(project):
    """A suite of two observers' own folder whose predictions were scored; its targets are those of the folder."""
    rng, rows = np.random.default_rng(0), []
    (project.root / "studies" / "ours").mkdir(parents=True)
    for scene in range(6):
        for version in range(4):
            name = f"s{scene}_{version}.png"
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
                project.root / "studies/ours" / name
            )
            rows += [
                (who, name, int(np.clip(version + 1 + rng.integers(2), 1, 5)), f"s{scene}") for who in ("=Ana", "B")
            ]
    table = pd.DataFrame(rows, columns=["observer", "image", "vote", "content"])
    table.to_csv(project.root / "studies" / "ours" / "ratings.csv", index=False)
    given = "dataset: str = 'studies/ours'\nseed: int = 0\n"
    project.notebook("09_predicted", given, MADE)
    project.notebook("05_evaluate_aios", given, SCORED)
    project.suite("runs:\n  - {name: made, notebook: 09_predicted}\n  - {name: scored, notebook: 05_evaluate_aios}\n")
    (project.root / "results" / "small" / "tables" / "split").mkdir(parents=True)
    for run in ("made", "scored"):
        batch.run_notebook("small", run)
    return project


@pytest.mark.slow
def test_scores_come_again_from_predictions_alone(finished):
    gallery.build("small")
    kept = sorted((finished.root / "results" / "small" / "predictions").iterdir())
    assert [path.name for path in kept] == ["mos_predictions.csv.xz", "predictions.csv.xz"]
    before = kept[1].read_bytes()
    text = lzma.decompress(before).decode()
    assert text.startswith("run,dataset,model,protocol,seed,fold,part,observer,image,prediction,p1,")  # no target
    compared = kept_predictions.recompute("small")
    assert set(compared["observer"]) == {"=Ana", "mean"} and compared["value"].notna().any()
    assert kept_predictions.largest_difference(compared) < kept_predictions.TOLERANCE
    gallery.build("small")
    assert kept[1].read_bytes() == before
    first = text.splitlines()[1]
    others = first.rsplit(",", 6)[0] + ",5.0" + ",,,,,"
    kept[1].write_bytes(lzma.compress(text.replace(first, others).encode()))
    assert kept_predictions.largest_difference(kept_predictions.recompute("small")) > 0.02


def test_what_cannot_be_computed_anew_is_said(project):
    project.notebook("first")
    project.suite("runs:\n  - {name: one, notebook: first}")
    with pytest.raises(InputError, match="suite small: 0 files of predictions"):
        kept_predictions.recompute("small")
