"""The benchmark's statistics: scores of splits, medians and their coverage, paired tests, what selection claims."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from iqasuite.datasets.dataset import Scale
from iqasuite.datasets.frames import SCORES
from iqasuite.errors import InputError
from iqasuite.evaluation import benchmark, metrics
from iqasuite.inference.predictions import predictions_frame


def bench(noises, contents=20, each=5, folds=3, seeds=(0,), rng_seed=0, shared=0.3, names=None):
    """Predictions = MOS + error of the content that all methods share + own noise; test and val of every split."""
    rng = np.random.default_rng(rng_seed)
    n = contents * each
    images = np.array([f"i{k:04d}" for k in range(n)])
    content = np.arange(n) // each
    mos = rng.uniform(1, 5, n)
    common = rng.normal(0, shared, contents)[content]
    frames = []
    for fold in range(folds):
        place = rng.permutation(contents)[content] / contents
        for number, noise in enumerate(noises):
            for seed in seeds:
                score = mos + common + rng.normal(0, noise, n)
                for part, mask in (("val", place < 0.3), ("test", place >= 0.7)):
                    name = names[number] if names else f"m{number}"
                    frames.append(
                        predictions_frame(
                            "sim", name, "c", seed, fold, part, "", images[mask], mos[mask], predicted=score[mask]
                        )
                    )
    return pd.concat(frames, ignore_index=True), pd.Series([f"c{c}" for c in content], index=images)


def test_split_scores_are_the_plain_metrics_of_each_run():
    predictions, _ = bench([0.3, 0.8], seeds=(0, 4))
    found = benchmark.split_scores(predictions)
    assert len(found) == 2 * 3 * 2 * 5 and (found["n"] == 30).all()
    run = "model == 'm1' and seed == 4 and fold == 2"
    own = found.query(run).set_index("metric")["value"]
    test = predictions.query(run + " and part == 'test'")
    x, y = test["prediction"].to_numpy(), test["target"].to_numpy()
    assert own["srocc"] == pytest.approx(spearmanr(x, y).statistic)
    assert own["krcc"] == pytest.approx(kendalltau(x, y).statistic)
    assert own["plcc"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert own["rmse"] == pytest.approx(np.sqrt(np.mean((x - y) ** 2)))


def test_the_logistic_comes_from_validation_and_not_from_test(caplog):
    predictions, _ = bench([0.4], folds=1)
    val, test = (predictions[predictions["part"] == part] for part in ("val", "test"))
    curve = metrics.logistic_map(val["prediction"].to_numpy(), val["target"].to_numpy())
    expected = metrics.plcc(curve(test["prediction"].to_numpy()), test["target"].to_numpy())

    def score(frame):
        return benchmark.split_scores(frame).set_index("metric").loc["plcc_logistic", "value"]

    assert score(predictions) == pytest.approx(expected)
    assert score(predictions) != pytest.approx(metrics.plcc_logistic(test["prediction"], test["target"]), abs=1e-6)
    # What is on test does not move the curve: targets there may be of any order.
    upside_down = pd.concat([val, test.assign(target=6 - test["target"])])
    assert score(upside_down) == pytest.approx(-expected)
    with caplog.at_level(logging.WARNING):
        assert np.isnan(score(test))
    assert "1 of 1 runs" in caplog.text and "m0" in caplog.text


def test_median_scores_average_seeds_first_and_are_a_scores_frame():
    predictions, contents = bench([0.3, 0.8], folds=4, seeds=(0, 1, 2))
    found = benchmark.median_scores(predictions, contents, n_boot=60)
    assert tuple(found.columns) == SCORES and (found["seeds"] == "0,1,2").all() and (found["observer"] == "").all()
    scores = benchmark.split_scores(predictions)
    for row in found.itertuples():
        own = scores[(scores["model"] == row.model) & (scores["metric"] == row.metric)]
        table = own.pivot(index="fold", columns="seed", values="value")
        assert row.value == pytest.approx(np.median(table.mean(axis=1)))
        assert row.low <= row.value <= row.high
        assert row.n == predictions[predictions["part"] == "test"]["image"].nunique()


def test_a_split_repeated_does_not_make_the_median_surer():
    predictions, contents = bench([0.6], folds=1)
    copies = pd.concat([predictions.assign(fold=fold) for fold in range(10)])
    once, ten = (benchmark.median_scores(f, contents, 200, names=["srocc"]).iloc[0] for f in (predictions, copies))
    assert (once["low"], once["high"], once["n"]) == pytest.approx((ten["low"], ten["high"], ten["n"]))


def test_interval_of_the_median_covers_the_truth_about_as_often_as_it_says():
    def normal(contents, folds, seed):
        rng = np.random.default_rng(seed)
        n = contents * 3
        content = np.arange(n) // 3
        quality = rng.normal(size=n)
        score = quality + rng.normal(0, 0.5, contents)[content] + rng.normal(0, 0.5, n)
        images = np.array([f"i{k}" for k in range(n)])
        frames = []
        for fold in range(folds):
            mask = rng.permutation(contents)[content] < contents * 0.4
            frames.append(
                predictions_frame(
                    "d", "m", "c", 0, fold, "test", "", images[mask], quality[mask], predicted=score[mask]
                )
            )
        return pd.concat(frames), pd.Series([f"c{c}" for c in content], index=images)

    r = 1 / np.sqrt(1.5)  # correlation of quality with score; both normal, so SROCC is 6/π asin(r / 2)
    truth = 6 / np.pi * np.arcsin(r / 2)
    hits = 0
    for seed in range(60):
        row = benchmark.median_scores(*normal(40, 3, seed), n_boot=100, seed=seed, names=["srocc"]).iloc[0]
        hits += row["low"] <= truth <= row["high"]
    assert 0.85 <= hits / 60 <= 1


def test_paired_differences_are_those_of_scipy_and_the_best_comes_first():
    predictions, contents = bench([0.9, 0.3, 0.6], folds=3, seeds=(0, 1))
    table = benchmark.paired_significance(predictions, contents, n_boot=100)
    assert list(zip(table["model"], table["other"], strict=True)) == [("m1", "m2"), ("m1", "m0"), ("m2", "m0")]
    assert (table["difference"] > 0).all()
    scores = benchmark.split_scores(predictions).query("metric == 'srocc'")
    mean = scores.groupby("model")["value"].mean()
    for row in table.itertuples():
        assert row.difference == pytest.approx(mean[row.model] - mean[row.other])
        assert row.low < row.difference < row.high and row.p <= row.p_holm <= 1
    by_error = benchmark.paired_significance(predictions, contents, "rmse", n_boot=20)
    assert by_error.iloc[0]["model"] == "m1" and (by_error["difference"] > 0).all()


@pytest.mark.parametrize("metric", ["srocc", "plcc_logistic", "krcc", "rmse"])
def test_less_noise_is_significant_and_a_copy_is_not(metric):
    predictions, contents = bench([0.3, 0.8], contents=60, folds=3)
    copy = predictions[predictions["model"] == "m1"].assign(model="copy")
    table = benchmark.paired_significance(pd.concat([predictions, copy]), contents, metric, n_boot=200)
    table = table.set_index(["model", "other"])
    assert table.loc[("m0", "m1"), "p_holm"] < 0.001 and table.loc[("m0", "m1"), "low"] > 0
    same = table.loc[("m1", "copy") if ("m1", "copy") in table.index else ("copy", "m1")]
    assert same["difference"] == 0 and same["p"] == 1 and same["low"] == same["high"] == 0


@pytest.mark.parametrize(("metric", "at_least", "at_most"), [("plcc", 0.005, 0.12), ("srocc", 0, 0.09)])
def test_equal_methods_are_called_different_about_as_rarely_as_promised(metric, at_least, at_most):
    p = []
    for seed in range(80):
        predictions, contents = bench([0.5, 0.5], contents=100, each=2, folds=1, rng_seed=seed)
        p.append(benchmark.paired_significance(predictions, contents, metric, n_boot=80)["p"].iloc[0])
    assert at_least <= np.mean(np.array(p) < 0.05) <= at_most


def test_methods_with_fewer_splits_are_ranked_on_what_all_have_in_common():
    predictions, contents = bench([0.3, 0.6, 0.9], folds=4)
    fewer = predictions[(predictions["model"] != "m0") | (predictions["fold"] < 2)]
    complete, common = benchmark.on_common_splits(fewer)
    assert set(complete["model"]) == {"m1", "m2"} and complete["fold"].nunique() == 4
    assert set(common["model"]) == {"m0", "m1", "m2"} and set(common["fold"]) == {0, 1}
    scores = benchmark.median_scores(common, contents, 20, names=["srocc"])
    assert (scores["folds"] == "0,1").all() and scores["n"].nunique() == 1
    everything, nothing = benchmark.on_common_splits(predictions)
    assert len(everything) == len(predictions) and nothing.empty
    assert (common["part"] == "val").sum() == 3 * 2 * 30  # the logistic is fitted there
    with pytest.raises(InputError, match="no test image of a split in common"):
        benchmark.on_common_splits(predictions[(predictions["model"] == "m0") == (predictions["fold"] == 0)])


def test_trainings_that_differ_widen_the_interval_and_errors_on_another_scale_are_no_errors():
    predictions, contents = bench([0.3], folds=1, contents=60, seeds=(0,))
    noisy, _ = bench([1.5], folds=1, contents=60, seeds=(0,), names=["m0"])
    several = pd.concat([predictions, noisy.assign(seed=1), noisy.assign(seed=2)])
    one, both = (benchmark.median_scores(f, contents, 300, names=["srocc"]).iloc[0] for f in (predictions, several))
    assert both["high"] - both["low"] > 2 * (one["high"] - one["low"])
    shifted = predictions.assign(prediction=predictions["prediction"].clip(1, 5))
    elsewhere = predictions.assign(prediction=100 * predictions["prediction"], model="metric")
    found = benchmark.median_scores(pd.concat([shifted, elsewhere]), contents, 20, scale=Scale(1, 5))
    rmse = found[found["metric"] == "rmse"].set_index("model")["value"]
    assert np.isfinite(rmse["m0"]) and np.isnan(rmse["metric"])


def test_methods_tested_on_other_images_are_not_compared():
    predictions, contents = bench([0.3, 0.8])
    with pytest.raises(InputError, match="29 of the 30"):
        gone = predictions.index[(predictions["model"] == "m1") & (predictions["part"] == "test")][0]
        benchmark.paired_significance(predictions.drop(gone), contents)
    apart = predictions[(predictions["model"] == "m0") == (predictions["fold"] == 0)]
    with pytest.raises(InputError, match="no fold in common"):
        benchmark.paired_significance(apart, contents)
    with pytest.raises(InputError, match="only model 'm0'"):
        benchmark.paired_significance(predictions[predictions["model"] == "m0"], contents)
    with pytest.raises(InputError, match="several targets"):
        shifted = predictions.assign(target=predictions["target"] + (predictions["model"] == "m1"))
        benchmark.paired_significance(shifted, contents)
    with pytest.raises(InputError, match="metric 'accuracy'"):
        benchmark.paired_significance(predictions, contents, "accuracy")
    with pytest.raises(InputError, match="twice, expected once"):
        benchmark.split_scores(pd.concat([predictions, predictions.tail(1)]))
    with pytest.raises(InputError, match="observer 'user1'"):
        benchmark.split_scores(predictions.assign(observer="user1"))
    with pytest.raises(InputError, match="expected rows of part 'test'"):
        benchmark.split_scores(predictions[predictions["part"] == "val"])


def test_per_distortion_is_the_median_within_each_kind():
    predictions, _ = bench([0.5], folds=3, seeds=(0, 1))
    names = sorted(predictions["image"].unique())
    images = pd.DataFrame({"image": names, "distortion": [("jpeg", "blur", "")[k % 3] for k in range(len(names))]})
    found = benchmark.per_distortion(predictions, images)
    assert found["distortion"].tolist() == ["blur", "jpeg"]
    test = predictions[predictions["part"] == "test"].merge(images).query("distortion == 'jpeg'")
    runs = test.groupby(["fold", "seed"])[["prediction", "target"]].apply(
        lambda g: spearmanr(*g.T.to_numpy()).statistic
    )
    assert found.loc[1, "srocc"] == pytest.approx(runs.groupby("fold").mean().median())
    assert found.loc[1, "n"] == test["image"].nunique()
    with pytest.raises(InputError, match="distortion"):
        benchmark.per_distortion(predictions, images.assign(distortion=""))


def test_cross_dataset_table():
    rows = [("koniq", "a", 0.9), ("koniq", "b", 0.8), ("live", "a", 0.5), ("live", "b", 0.7), ("live", "c", 0.99)]
    scores = pd.DataFrame(rows, columns=["dataset", "model", "value"]).assign(
        protocol="trained on koniq", observer="", part="test", metric="srocc", n=5, low=np.nan, high=np.nan, seeds="0"
    )
    found = benchmark.cross_dataset_table(scores)
    assert found["model"].tolist() == ["b", "a", "c"]
    assert found["mean"].tolist()[:2] == pytest.approx([0.75, 0.7]) and np.isnan(found["mean"].iloc[2])
    with pytest.raises(InputError, match="'a' twice on 'koniq'"):
        benchmark.cross_dataset_table(pd.concat([scores, scores.head(1)]))
