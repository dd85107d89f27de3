import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets.frames import validate
from iqasuite.errors import InputError
from iqasuite.report.figures.style import one_panel
from iqasuite.report.outputs import captions, gather_scores, save_figure, save_scores, save_table

ROW = {
    "dataset": "demo",
    "protocol": "corrected",
    "observer": "",
    "part": "test",
    "n": 9,
    "metric": "srocc",
    "low": 0.1,
    "high": 0.9,
    "seeds": "0,1",
}


def scores(**values):
    return pd.DataFrame([ROW | {"model": model, "value": value} for model, value in values.items()])


def test_the_suites_scores_are_those_of_all_its_runs(project):
    assert gather_scores("small") is None
    save_scores(scores(b=0.5, c=0.6), "small", "two", "Scores of two.")
    path = save_scores(scores(a=0.4, b=0.7), "small", "one", "Scores of one.")
    assert path == project.root / "results" / "small" / "scores.csv"
    found = validate(pd.read_csv(path), "scores")
    assert found[["model", "value"]].to_numpy().tolist() == [["a", 0.4], ["b", 0.7], ["c", 0.6]]  # b as run one has it
    assert captions(path.parent / "tables" / "one") == {"scores": "Scores of one."}
    save_scores(scores(a=0.3), "small", "one", "Scores of one.")  # scored again: what it said before is gone
    assert pd.read_csv(path)[["model", "value"]].to_numpy().tolist() == [["a", 0.3], ["b", 0.5], ["c", 0.6]]


def test_what_is_no_scores_frame_is_refused_and_changes_nothing(project):
    path = save_scores(scores(a=0.4), "small", "one", "Scores.")
    before = path.read_bytes()
    with pytest.raises(InputError, match="run two"):
        save_scores(scores(b=0.4).drop(columns="metric"), "small", "two", "Scores.")
    assert path.read_bytes() == before and not (path.parent / "tables" / "two").exists()


def test_a_saved_figure_is_shown_again_as_it_was_saved_until_it_changes(project):
    figure, axes = one_panel(3, 2)
    axes.plot([1, 2])
    saved = save_figure(figure, "small", "one", "a", "A line.")
    assert saved.name == "a.webp" and pixels(figure._repr_png_()) == pixels(saved.read_bytes())
    axes.set_title("Another")
    assert pixels(figure._repr_png_()) != pixels(saved.read_bytes())
    coarse = save_figure(figure, "small", "one", "b", "The same, coarse.", dpi=50)
    assert pixels(figure._repr_png_()) == pixels(coarse.read_bytes())


def pixels(file):
    image = Image.open(io.BytesIO(file))
    return image.size, image.convert("RGB").tobytes()


def test_tables_have_six_significant_digits_and_whole_numbers_stay(project):
    frame = pd.DataFrame({"n": [12345678], "x": [1 / 3], "p": [1.23456789e-9], "whole": [12345678.0], "none": [np.nan]})
    read = pd.read_csv(save_table(frame.assign(wide=np.inf), "small", "one", "t", "A table."))
    assert read.iloc[0].tolist()[:4] == [12345678, 0.333333, 1.23457e-9, 12345678.0]
    assert np.isnan(read["none"][0]) and np.isinf(read["wide"][0]) and read["whole"].dtype == float


def test_a_table_without_columns_is_refused_before_anything_is_written(project):
    with pytest.raises(InputError, match="table orders of run many: it has no columns"):
        save_table(pd.DataFrame(), "small", "many", "orders", "Orders.")
    assert not (project.root / "results").exists()
    save_table(pd.DataFrame(columns=["order"]), "small", "many", "orders", "Orders.")  # no rows are an answer


@pytest.mark.parametrize("value", [5e-324, 1.23e-306, -2e-320, 1.7e308])
def test_numbers_at_the_ends_of_their_range_stay_numbers(project, value):
    path = save_table(pd.DataFrame({"p": [value]}), "small", "one", "table", "T.")
    assert pd.read_csv(path)["p"].iloc[0] == pytest.approx(value, rel=1e-5, abs=1e-300)
