"""Panels drawn from a population pass as people who are like it, and not as people who are not."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from iqasuite.experiments import few_shot, panel, synthetic_panels
from iqasuite.report import figures
from iqasuite.training.few_shot import PEOPLE

CONTENTS = pd.Series([f"c{k // 4:02d}" for k in range(72)], [f"i{k:03d}" for k in range(72)])


@pytest.fixture(scope="module")
def quality():
    return pd.Series(np.random.default_rng(0).uniform(1, 5, 72), CONTENTS.index)


@pytest.fixture(scope="module")
def people(quality):
    """People who are as the population says."""
    votes = synthetic_panels.drawn_panel(PEOPLE, quality, None, 24, seed=100).add_prefix("person ")
    none = pd.DataFrame(index=quality.index)
    return panel.Panel(SimpleNamespace(name="simulated"), votes, CONTENTS, quality, none, None)


@pytest.fixture(scope="module")
def synthetic(people):
    return synthetic_panels.synthetic_panels(people, 3)


def test_people_like_the_population_cannot_be_told_apart(people, synthetic):
    row = synthetic_panels.told_apart(people.votes, synthetic, CONTENTS, 200).iloc[0]
    assert row["low"] < 0.5 + 0.1 and row["auc"] < 0.72 and (row["people"], row["synthetic"]) == (24, 72)
    table = synthetic_panels.compared(people.votes, synthetic).set_index("statistic")
    assert table["people"].to_numpy() == pytest.approx(table["synthetic"].to_numpy(), rel=0.5)
    assert next(iter(table.index)) == "SOS parameter a" and (table["low"] <= table["high"]).all()


def test_people_who_share_tastes_within_contents_are_told_apart(people, synthetic):
    rng = np.random.default_rng(1)
    taste = pd.DataFrame(rng.normal(0, 1.0, (18, 24)), CONTENTS.unique(), people.votes.columns)
    own = (people.votes + taste.loc[CONTENTS].to_numpy()).round().clip(1, 5)
    assert synthetic_panels.told_apart(own, synthetic, CONTENTS, 200)["low"].iloc[0] > 0.7


def test_a_panel_keeps_the_holes_of_people_and_its_pp_lines_are_drawn(people, synthetic):
    votes = people.votes.mask(np.random.default_rng(2).random(people.votes.shape) < 0.2)
    of = panel.Panel(people.data, votes, CONTENTS, people.quality, people.features)
    (drawn,) = synthetic_panels.synthetic_panels(of, 1)
    assert (drawn.notna().to_numpy() == votes.notna().to_numpy()).all()
    lines = synthetic_panels.pp_lines({"people": people.votes, "synthetic": synthetic[0]}, 49)
    assert lines.groupby("panel")["share"].last().tolist() == [1, 1] and (lines["low"] <= lines["high"]).all()
    (axes,) = figures.pp_plot(lines).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["people", "synthetic"]


def test_the_mean_of_a_panel_predicts_the_mos_as_its_trunk_does(people):
    group = CONTENTS.str[1:].astype(int) % 3
    parts = [np.where(group == f, "test", np.where(group == (f + 1) % 3, "val", "train")) for f in range(3)]
    frames = [
        CONTENTS.rename_axis("image").rename("content").reset_index().assign(fold=f, part=p)
        for f, p in enumerate(parts)
    ]
    vectors = pd.DataFrame({"a": people.quality, "b": people.quality**2})
    groups = few_shot.groups_of(list(people.votes), 2)
    cases = few_shot.cases(people.votes, pd.concat(frames), groups, vectors, None, "ridge")
    table = synthetic_panels.mos_table(cases, CONTENTS, 100)
    value = table.set_index(["prediction", "metric"])["value"]
    direct, of_aios = (value[name] for name in (synthetic_panels.DIRECT, synthetic_panels.OF_AIOS))
    assert direct["srocc"] > 0.95 and of_aios["srocc"] == pytest.approx(direct["srocc"], abs=1e-6)
    assert of_aios["rmse"] < direct["rmse"] + 0.1 and value[synthetic_panels.OF_SYNTHETIC]["srocc"] > 0.95
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
