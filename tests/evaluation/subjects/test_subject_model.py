"""The subject model: sureal's estimates on the same ratings, known parameters, and designs that say nothing."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sureal import subjective_model
from sureal.dataset_reader import RawDatasetReader

from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.subject_model import FLOOR, fit_subject_model


def simulated(observers=16, contents=6, each=10, ambiguity=0.0, seed=0, whole=True, missing=0.0):
    """Votes of the model itself and its parameters; bias of mean 0."""
    rng = np.random.default_rng(seed)
    images = contents * each
    truth = SimpleNamespace(
        quality=rng.uniform(1.5, 4.5, images),
        bias=rng.normal(0, 0.4, observers),
        inconsistency=rng.uniform(0.4, 0.9, observers),
        ambiguity=ambiguity * np.linspace(0, 1, contents),
    )
    truth.bias -= truth.bias.mean()
    content = np.repeat(np.arange(contents), each)
    noise = np.sqrt(truth.inconsistency**2 + truth.ambiguity[content][:, None] ** 2)
    votes = truth.quality[:, None] + truth.bias + noise * rng.normal(size=(images, observers))
    votes = np.clip(np.round(votes), 1, 5) if whole else votes
    row, column = np.nonzero(rng.random(votes.shape) >= missing)
    frame = pd.DataFrame(
        {"observer": [f"user{c + 1}" for c in column], "session": 1, "image": [f"i{r:03d}" for r in row]}
    ).assign(vote=votes[row, column])
    names = pd.Series([f"c{c}" for c in content], index=[f"i{r:03d}" for r in range(images)])
    return frame, names, truth


def by_sureal(votes, contents, ambiguity):
    """What sureal estimates: dict of its results, for images and observers in sorted and natural order."""
    table = votes.pivot(index="image", columns="observer", values="vote")
    table = table[sorted(table, key=lambda name: (len(name), name))]
    code, names = pd.factorize(contents[table.index], sort=True)
    shown = [
        {"content_id": int(code[k]), "asset_id": k, "path": f"shown{k}", "os": list(row)}
        for k, row in enumerate(table.to_numpy(float))
    ]
    refs = [{"content_id": k, "path": f"ref{k}"} for k in range(len(names))]
    dataset = SimpleNamespace(dataset_name="votes", ref_videos=refs, dis_videos=shown)
    model = subjective_model.MaximumLikelihoodEstimationModel
    if not ambiguity:
        model = subjective_model.MaximumLikelihoodEstimationModelContentOblivious
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        return model(RawDatasetReader(dataset)).run_modeling()


def assert_as_sureal(votes, contents, ambiguity):
    fitted = fit_subject_model(votes, contents if ambiguity else None)
    peer = by_sureal(votes, contents, ambiguity)
    np.testing.assert_allclose(fitted.quality["value"], peer["quality_scores"], atol=1e-3)
    np.testing.assert_allclose(fitted.bias["value"], peer["observer_bias"], atol=1e-3)
    assert fitted.log_likelihood / fitted.n == pytest.approx(peer["loglikelihood"], abs=1e-6)
    own = np.square(peer["observer_inconsistency"])
    if ambiguity:
        # Only sums of the two variances are determined: sureal's division is moved to an ambiguity of 0 somewhere.
        shared = np.square(peer["content_ambiguity"])
        np.testing.assert_allclose(fitted.ambiguity["value"], np.sqrt(shared - shared.min()), atol=1e-3)
        own = own + shared.min()
    np.testing.assert_allclose(fitted.inconsistency["value"], np.sqrt(own), atol=1e-3)


@pytest.mark.parametrize("ambiguity", [0.0, 0.9])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_estimates_are_those_of_sureal(ambiguity, missing):
    votes, contents, _ = simulated(ambiguity=ambiguity, missing=missing, seed=1)
    assert_as_sureal(votes, contents, ambiguity > 0)


def test_likelihood_is_above_sureals_where_that_stops_at_an_inconsistency_of_zero():
    votes, contents, _ = simulated(ambiguity=0.9, seed=0)
    peer = by_sureal(votes, contents, True)
    fitted = fit_subject_model(votes, contents)
    assert min(peer["observer_inconsistency"]) < 1e-6 < 0.1 < fitted.inconsistency["value"].min()
    assert fitted.log_likelihood / fitted.n > peer["loglikelihood"]


@pytest.mark.parametrize("ambiguity", [False, True])
def test_estimates_are_those_of_sureal_on_the_lab_votes(lab_folder, ambiguity):
    table = pd.read_csv(lab_folder / "test_1" / "per_user.csv")
    people = [name for name in table if name.startswith("user")]
    votes = table.melt("image_name", people, "observer", "vote").rename(columns={"image_name": "image"})
    contents = pd.Series(table["image_name"].str.split("_crf").str[0].to_numpy(), index=table["image_name"])
    assert (len(votes), contents.nunique()) == (371 * 21, 38)
    assert_as_sureal(votes, contents, ambiguity)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_intervals_cover_the_truth_about_95_times_in_100(missing):
    covered = {name: [] for name in ("quality", "bias", "inconsistency")}
    for seed in range(40):
        votes, _, truth = simulated(observers=21, contents=6, each=10, seed=seed, whole=False, missing=missing)
        fitted = fit_subject_model(votes)
        for name, hits in covered.items():
            frame = getattr(fitted, name)
            hits.append((frame["low"].to_numpy() <= getattr(truth, name)) & (frame["high"] >= getattr(truth, name)))
    for name, hits in covered.items():
        assert np.mean(np.concatenate(hits)) == pytest.approx(0.95, abs=0.03), name


def test_true_parameters_are_recovered_with_ambiguity():
    errors = []
    for seed in range(5):
        votes, contents, truth = simulated(20, 8, 60, ambiguity=1.0, seed=seed, whole=False)
        fitted = fit_subject_model(votes, contents)
        np.testing.assert_allclose(fitted.quality["value"], truth.quality, atol=1.2)
        np.testing.assert_allclose(fitted.bias["value"], truth.bias, atol=0.2)
        errors.append(fitted.ambiguity["value"].to_numpy()[2:] - truth.ambiguity[2:])
        inside = fitted.ambiguity["low"].le(truth.ambiguity) & fitted.ambiguity["high"].ge(truth.ambiguity)
        assert inside[3:].mean() >= 0.6
    np.testing.assert_allclose(np.mean(errors, axis=0), 0, atol=0.06)


def test_repeated_votes_count_as_votes():
    votes, _, _ = simulated(missing=0.2, whole=False)
    twice = fit_subject_model(pd.concat([votes, votes.assign(session=2)]))
    once = fit_subject_model(votes)
    for name in ("quality", "bias", "inconsistency"):
        pd.testing.assert_series_equal(getattr(twice, name)["value"], getattr(once, name)["value"], atol=1e-6)
    assert twice.n == 2 * once.n
    np.testing.assert_allclose(twice.log_likelihood, 2 * once.log_likelihood)


def test_a_person_who_agrees_with_everything_and_one_with_one_vote():
    votes, _, _ = simulated(observers=6, whole=False)
    agreeing = votes[votes["observer"].isin(["user1", "user2"])].assign(
        vote=votes.groupby("image")["vote"].transform("mean")
    )
    stranger = votes.iloc[[5]].assign(observer="user99", vote=5.0)
    fitted = fit_subject_model(pd.concat([agreeing, stranger]))
    assert fitted.inconsistency.loc[["user1", "user2"], "value"].tolist() == [FLOOR, FLOOR]
    assert fitted.inconsistency.loc[["user1", "user2"], ["std", "low", "high"]].isna().all(axis=None)
    assert fitted.inconsistency.loc["user99"].isna().all()
    assert np.isfinite(fitted.quality).all(axis=None) and np.isfinite(fitted.bias).all(axis=None)

    fitted = fit_subject_model(pd.concat([votes, stranger]))
    alone = fit_subject_model(votes)
    moved = fitted.quality["value"] - alone.quality["value"]
    np.testing.assert_allclose(moved, moved.iloc[0], atol=1e-6)  # one vote moves only the origin of the biases


def test_an_image_rated_once_is_as_uncertain_as_its_rater():
    votes, _, _ = simulated(whole=False)
    lonely = votes.iloc[[0]].assign(image="lonely", vote=3.0)
    fitted = fit_subject_model(pd.concat([votes, lonely]))
    rater = lonely["observer"].item()
    assert fitted.quality.loc["lonely", "value"] == pytest.approx(3.0 - fitted.bias.loc[rater, "value"])
    assert fitted.quality.loc["lonely", "std"] > fitted.inconsistency.loc[rater, "low"]
    assert fitted.quality.loc["lonely", "std"] > 3 * fitted.quality["std"].median()


def test_designs_that_say_nothing_are_refused():
    votes, contents, _ = simulated()
    first = votes["observer"].isin(["user1", "user2", "user3"])
    apart = votes.assign(image=np.where(first, "left " + votes["image"], votes["image"]))
    with pytest.raises(InputError, match="2 groups of observers without a common image"):
        fit_subject_model(apart)
    with pytest.raises(InputError, match="expected at least two"):
        fit_subject_model(votes[votes["observer"] == "user1"])
    with pytest.raises(InputError, match="no observer with two votes"):
        fit_subject_model(votes.drop_duplicates("observer"))
    with pytest.raises(InputError, match="contents: none for image"):
        fit_subject_model(votes, contents.iloc[1:])
    with pytest.raises(InputError, match="nan, expected numbers"):
        fit_subject_model(votes.assign(vote=np.nan))
