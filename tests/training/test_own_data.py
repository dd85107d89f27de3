"""A folder of one's own, from its CSV to an artificial observer's votes on images it has not seen."""

import numpy as np
import pandas as pd
from PIL import Image

from iqasuite.datasets import load
from iqasuite.datasets.splits import by_content, part
from iqasuite.evaluation.baselines import baseline_predictions
from iqasuite.evaluation.scores import score_frame
from iqasuite.evaluation.subjects.repetition import retest
from iqasuite.images.distortions.blur import gaussian_blur
from iqasuite.inference.predict import predict
from iqasuite.inference.predictions import predictions_frame
from iqasuite.training.aio import Fold, Plan, train_observer
from iqasuite.training.inputs import stem_tokens
from iqasuite.training.loop import Schedule


def test_from_a_csv_to_an_aio(tmp_path, network):
    rng = np.random.default_rng(0)
    rows = []
    for content in range(6):
        sharp = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        sharp = np.asarray(Image.fromarray(sharp).resize((64, 64), Image.Resampling.BICUBIC))
        for level, sigma in enumerate((0.1, 1, 2, 4, 8)):
            Image.fromarray(gaussian_blur(sharp, sigma)).save(tmp_path / f"s{content}_{level}.png")
            rows += [(name, f"s{content}_{level}.png", 9 - 2 * level, f"s{content}") for name in ("anna", "bert")]
    rows += [("anna", f"s0_{level}.png", (7, 5, 3, 1, 3)[level], "s0") for level in range(5)]  # in a second session
    table = pd.DataFrame(rows, columns=["subject", "file", "rating", "scene"])
    table["session"] = [1] * 60 + [2] * 5
    (tmp_path / "dataset.yaml").write_text("name: blurred\nscale: {low: 1, high: 9}\n")
    table.rename(columns={"scene": "content"}).to_csv(tmp_path / "ratings.csv", index=False)

    data = load(str(tmp_path))
    assert data.name == "blurred" and data.display_size == (64, 64) and data.images["mos"].max() == 9
    assert sorted(data.votes["vote"].unique()) == [1, 2, 3, 4, 5]  # fifths of 1–9
    split = by_content(data.images, 3, sources=data.sources)
    model = network()
    inputs = stem_tokens(model, data, data.display_size)
    plan = Plan("finetune", schedule=Schedule(epochs=20, lr=3e-3, precision="no"))
    train_observer(model, inputs, Fold(data, split, 0), "anna", plan)
    images = part(split, 0, "test")
    target = data.votes[data.votes["observer"] == "anna"].drop_duplicates("image").set_index("image")["vote"]
    p = predict(model, inputs, images)
    found = predictions_frame(data.name, "AIO", "corrected", 0, 0, "test", "anna", images, target[images].to_numpy(), p)
    rules = baseline_predictions(data, split, 0)  # no nuisance: majority and the other person only
    assert set(rules["model"]) == {"baseline: majority", "ceiling: mean of the other people"}
    contents = data.images.set_index("image")["content"]
    scores = score_frame(pd.concat([found, rules]), contents, n_boot=20).set_index(["model", "observer", "metric"])
    assert scores.loc[("AIO", "anna", "srocc"), "value"] > 0.5  # blur is seen
    assert retest(data.votes).query("metric == 'accuracy'")["value"].tolist() == [0.0]
