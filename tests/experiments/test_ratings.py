"""What votes say about a set: several tests of the same images, and rules on contents that they were not fitted to."""

from dataclasses import replace

import pandas as pd

from iqasuite.evaluation.baselines import CEILING, MAJORITY
from iqasuite.experiments import ratings


def test_parts_of_an_image_have_one_mean(demo_set):
    votes = pd.DataFrame({"image": ["a#0", "a#1", "b#0"], "vote": [1, 4, 3]})
    assert ratings.quadrants_mean(replace(demo_set, votes=votes)).to_dict() == {"a": 2.5, "b": 3.0}


def test_a_test_beside_itself_is_the_same_and_a_part_of_it_is_not(demo_set):
    few = replace(demo_set, votes=demo_set.votes[demo_set.votes["observer"].isin(["Obs1", "Obs2"])])
    table = ratings.compared_tests({"all": demo_set, "again": demo_set, "two": few}, n_boot=20).set_index("test")
    assert table.loc["all"].equals(table.loc["again"].rename("all")) and table["observers"].tolist() == [5, 5, 2]
    assert table.loc["two", "SOS a"] != table.loc["all", "SOS a"]


def test_rules_are_scored_where_there_are_sources_enough(demo_set):
    one = replace(demo_set, images=demo_set.images[demo_set.images["content"] == "chelsea-1"])
    assert ratings.rule_scores(one)[1] is None
    scores, split = ratings.rule_scores(demo_set)
    means = scores[(scores["observer"] == "mean") & (scores["metric"] == "accuracy")].set_index("model")["value"]
    assert split["fold"].nunique() == 5 and means[CEILING] > means[MAJORITY] + 0.2
    assert ratings.rated_by_all(demo_set.votes).all()
    assert not ratings.rated_by_all(demo_set.votes.iloc[1:].query("session <= 3 or observer != 'Obs1'")).all()
