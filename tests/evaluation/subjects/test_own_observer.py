"""The observer of one session: simulated people are found again, few votes are few, weights score at once."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite import models
from iqasuite.datasets import study_folder
from iqasuite.datasets.rating_session import RatingSession
from iqasuite.datasets.splits import save_split
from iqasuite.errors import InputError
from iqasuite.evaluation.subjects.own_observer import (
    MORE,
    behind_own_network,
    own_observer,
    save_own,
    sentences,
    unseen_errors,
)
from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
from iqasuite.images.nameable import NAMES
from iqasuite.inference.opinions import chosen
from iqasuite.inference.predictor import Predictor
from iqasuite.training.few_shot import PEOPLE, VOTES, fit_observer
from iqasuite.training.levels import score_frame
from iqasuite.weights.files import save_weights

CARD = {"trained_on": "nothing", "scale": {"name": "ACR", "low": 1, "high": 5}, "preprocessing": {"shorter_side": 64}}


def scores(n: int, seed: int = 0) -> pd.DataFrame:
    """Predicted quality and features of n images."""
    rng = np.random.default_rng(seed)
    names = pd.Index([f"{k:03d}.png" for k in range(n)], name="image")
    return score_frame(rng.uniform(1, 5, n), 7 + 3 * rng.standard_normal((n, 5)), names)


def votes_of(
    table: pd.DataFrame, bias: float = 0.0, sd: float = 0.6, taste: float = 0.0, seed: int = 1
) -> pd.DataFrame:
    """Votes frame of a person who sees the quality, `bias` better, and minds blur."""
    blur = table["blur"]
    z = table["quality"] + bias - taste * (blur - blur.mean()) / blur.std()
    vote = (z + np.random.default_rng(seed).normal(0, PEOPLE.inconsistency, len(table))).round().clip(1, 5).astype(int)
    frame = pd.DataFrame(
        {"observer": "Ana", "session": 1, "position": 1, "image": table.index, "vote": vote.to_numpy()}
    )
    return frame.assign(duration=1.0, timestamp=pd.Timestamp("2024-05-01"))


def test_the_bias_of_simulated_people_lies_in_its_interval():
    table, inside, widths = scores(300), 0, []
    rng = np.random.default_rng(3)
    for k in range(40):
        bias = rng.normal(0, PEOPLE.bias_sd)
        own = own_observer(votes_of(table.sample(20, random_state=k), bias, seed=k), table)
        row = own.parameters().loc["bias"]
        inside += row["low"] < bias < row["high"]
        widths.append(row["high"] - row["low"])
    assert inside >= 36 and np.mean(widths) < 4 * PEOPLE.bias_sd  # 95 %, and narrower than people are


def test_more_votes_say_more_and_what_they_will_say_is_foretold():
    table = scores(400)
    votes = votes_of(table, 0.5)
    few, many = (own_observer(votes.iloc[:n], table) for n in (20, 70))
    foretold = few.worth_of_more()
    assert list(foretold.index) == [0, *MORE] and foretold.is_monotonic_decreasing
    assert foretold[50] == pytest.approx(many.worth_of_more()[0], rel=0.25)


def test_a_dislike_of_blur_is_seen_and_predicted_and_others_are_not():
    table = scores(200)
    own = own_observer(votes_of(table.iloc[:80], taste=0.5), table)
    row = own.parameters().loc["blur"]
    assert -0.8 < row["low"] < -0.5 < row["high"] < -0.2 and own.fitted.apart is not None
    said = sentences(own, unseen_errors(own))
    assert any("predictions use it" in line and "blur" in line for line in said)
    rest = table.iloc[80:]
    truth = votes_of(table, taste=0.5, seed=9)["vote"].iloc[80:].to_numpy()
    plain = fit_observer(PEOPLE, table["quality"], own.votes, None, own.fitted.quality_sd)
    without = plain.distribution(rest["quality"].to_numpy(), None, own.fitted.quality_sd) @ VOTES
    with_it = own.predictions().loc[rest.index, "expected"]
    assert np.abs(with_it - truth).mean() < np.abs(without - truth).mean() - 0.05
    nobody = own_observer(votes_of(table.iloc[:80]), table)
    assert nobody.fitted.apart is None and list(nobody.parameters().index[3:]) == list(NAMES)


def test_others_who_rated_the_set_are_the_population():
    table, off = scores(120), 0.9  # votes that the trunk is too high on this set
    rng = np.random.default_rng(2)
    biases = rng.normal(-off, 0.3, 9)
    others = pd.concat(
        votes_of(table.iloc[:60], bias, seed=20 + k).assign(observer=f"o{k}") for k, bias in enumerate(biases[1:])
    )
    votes, rest = votes_of(table.iloc[:3], biases[0]), table.iloc[60:]
    truth = votes_of(rest, biases[0], seed=30)["vote"].to_numpy()
    alone, among = own_observer(votes, table), own_observer(votes, table, others)
    assert (alone.others, among.others) == (0, 8)
    assert among.fitted.observer.population.bias == pytest.approx(-off, abs=0.35)
    errors = [np.abs(own.predictions().loc[rest.index, "expected"] - truth).mean() for own in (alone, among)]
    assert errors[1] < errors[0]
    assert any("the 8 others" in line for line in sentences(among, unseen_errors(among)))
    few = own_observer(votes, table, others[others["observer"] == "o1"])
    assert few.others == 0 and few.fitted.observer.population == PEOPLE


def test_a_network_of_ones_own_takes_the_trunks_place_where_it_predicts_better():
    table, rng = scores(90), np.random.default_rng(8)
    off = table.assign(quality=(table["quality"] + rng.normal(0, 1.2, 90)).clip(1, 5))
    own, contents = own_observer(votes_of(table, -0.5), off), pd.Series(table.index, table.index)
    for quality, level in ((table, "trunk"), (off, own.fitted.level)):
        network = SimpleNamespace(frame=lambda q=quality: q[["quality"]], entry=SimpleNamespace(name="mine"))
        behind = behind_own_network(own, network, table.index[:50], contents)
        assert behind.fitted.level == level
        said = " ".join(sentences(behind, unseen_errors(behind)))
        assert ("your network alone" in said) == (level == "trunk") != ("it is not used" in said)
    with pytest.raises(InputError, match="mine: 2 votes it has not learnt from"):
        behind_own_network(own, network, table.index[2:], contents)


def test_unseen_votes_are_predicted_better_than_by_rules_that_know_less():
    table = scores(80)
    errors = unseen_errors(own_observer(votes_of(table, -0.7), table))["value"]
    assert errors["your observer"] < errors["people in general"] < errors["your mean vote"]


def test_the_error_of_the_trunk_is_told_from_the_observers_inconsistency():
    table = scores(200)
    wrong = table.assign(quality=(table["quality"] + np.random.default_rng(5).normal(0, 1, 200)))
    assert own_observer(votes_of(table), table).fitted.quality_sd <= 0.45
    assert 0.7 < own_observer(votes_of(table), wrong).fitted.quality_sd < 1.6


@pytest.mark.parametrize(("n", "vote"), [(1, None), (2, None), (5, None), (12, 4)])
def test_few_or_equal_votes_have_sentences_and_no_numbers_that_are_none(n, vote):
    table = scores(30)
    votes = votes_of(table).iloc[:n]
    own = own_observer(votes if vote is None else votes.assign(vote=vote), table)
    errors = unseen_errors(own)
    assert np.isfinite(own.parameters().to_numpy()).all() and len(errors) == (3 if n >= 5 else 0)
    said = " ".join(sentences(own, errors))
    assert "nan" not in said
    assert ("little more is known" in said) == (n < 3) and (f"All {n} votes are 4" in said) == (vote == 4)
    p = own.predictions()
    assert len(p) == 30 - n and np.allclose(p[[f"p{v}" for v in VOTES]].sum(axis=1), 1)


def test_images_shown_again_tell_the_agreement_and_are_not_fitted_twice():
    table = scores(30)
    votes = votes_of(table)
    again = votes.iloc[:4].assign(session=2, vote=[votes["vote"][0], *(6 - votes["vote"][1:4])])
    own = own_observer(pd.concat([votes, again]), table)
    same = int((again["vote"].to_numpy() == votes["vote"][:4].to_numpy()).sum())
    assert (own.same, own.repeated, own.fitted.observer.n) == (same, 4, 30)


def test_votes_on_images_without_a_score_are_left_out():
    table = scores(30)
    assert own_observer(votes_of(table), table.iloc[:7]).fitted.observer.n == 7
    with pytest.raises(InputError, match="none on an image that the model could score"):
        own_observer(votes_of(table), table.iloc[:0])


@pytest.fixture
def rated(project, monkeypatch):
    """A project with a small default model, and a folder of images, ten of which Zoë rated."""
    import torch

    monkeypatch.delenv("IQASUITE_WEIGHTS", raising=False)
    torch.manual_seed(0)
    save_weights(models.create("mobile_nr", width=0.25), project.root / "weights" / "mobile_nr.safetensors", CARD)
    folder, rng = project.root / "holiday", np.random.default_rng(2)
    folder.mkdir()
    for k in range(12):
        Image.fromarray(rng.integers(0, 20 * k + 30, (70, 90, 3), dtype=np.uint8)).save(folder / f"{k:02d}.png")
    session = RatingSession(study_folder.unrated(folder), "Zoë")
    for k in range(10):
        session.record(session.coming(session.votes()), 1 + k % 5, 1.0)
    return session


def test_weights_predict_what_the_observer_does_and_are_found_by_name(rated):
    trunk = TrunkScores(rated.dataset)
    trunk.complete(rated.images)
    own = own_observer(rated.votes(), trunk.frame())
    path = save_own(own, "Zoë", trunk, unseen_errors(own))
    (entry,) = chosen([], ["Zoë"])
    assert (
        entry.path.samefile(path) and entry.set_name == path.parent.name and "9 votes" in entry.title
    )  # and one again
    predictor = Predictor(entry)
    for image in own.predictions().index:
        prediction = predictor.predict([rated.dataset.read(image)])[0]
        np.testing.assert_allclose(prediction.distribution, own.predictions().loc[image, "p1":"p5"], atol=1e-5)
    assert predictor.map(rated.dataset.read("00.png")).kind == "quality"
    save_weights(models.create("mobile_nr", width=0.25), path.parents[1] / "mobile_nr.safetensors", CARD)
    with pytest.raises(InputError, match="was fitted behind another mobile_nr"):
        Predictor(entry)


def test_scores_are_stored_and_never_stale(rated, monkeypatch):
    first = TrunkScores(rated.dataset)
    first.complete(rated.images)
    expected = Predictor(first.entry).predict([rated.dataset.read("03.png")])[0].vote
    assert first.frame().loc["03.png", "quality"] == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr("iqasuite.evaluation.subjects.trunk_scores.Predictor", None)  # is not needed again
    second = TrunkScores(rated.dataset)
    second.complete(rated.images)
    pd.testing.assert_frame_equal(first.frame().sort_index(), second.frame().sort_index())
    monkeypatch.undo()
    Image.new("RGB", (90, 70), "red").save(rated.dataset.root / "03.png")
    (rated.dataset.root / "04.png").write_text("no image")
    third = TrunkScores(rated.dataset)
    third.complete(rated.images)
    assert third.frame().loc["03.png", "contrast"] == 0 and "04.png" in third.failed and len(third.frame()) == 11


def test_the_commands_train_and_score(rated, project):
    from typer.testing import CliRunner

    from iqasuite.cli import app

    run = CliRunner().invoke
    trained = run(app, ["train", "--data", "holiday", "--observer", "Zoë"])
    assert trained.exit_code == 0, trained.output
    assert "Bias:" in trained.output and trained.output.strip().endswith("Zoë.safetensors")
    scored = run(app, ["score", "holiday", "--observer", "Zoë", "--format", "jsonl"])
    assert scored.exit_code == 0, scored.output
    rows = [json.loads(line) for line in scored.stdout.splitlines() if line.startswith("{")]
    assert len(rows) == 12 and all(1 <= row["score"] <= 5 for row in rows)
    network = project.root / "networks" / "Zoë.safetensors"
    save_weights(models.create("mobile_nr", width=0.25), network, CARD)
    images = rated.dataset.images[["image", "content"]]
    save_split(
        images.assign(fold=0, part=["train"] * 3 + ["val"] * 4 + ["test"] * 5), network.with_name("Zoë_split.csv")
    )
    behind = run(app, ["train", "--data", "holiday", "--observer", "Zoë", "--start", str(network)])
    assert behind.exit_code == 0 and "that it has not learnt from" in behind.output, behind.output
    for arguments, message in (
        (["--observer", "Bo"], "no CSV file in it"),
        ([], "--output: missing"),
        (["--observer", "a\nb"], "printable"),
    ):
        refused = run(app, ["train", "--data", "holiday", *arguments])
        assert refused.exit_code != 0 and message in refused.output + str(refused.exception), refused.output
