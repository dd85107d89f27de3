"""The catalogue of trained models: what the cards say, and nothing outside of the weights folders."""

import json
import logging
import math
import subprocess
import sys

import pytest

from iqasuite import catalogue
from iqasuite.errors import InputError

CARD = {"architecture": "mobile_nr", "arguments": {}, "scale": {"name": "continuous", "low": 0, "high": 100}}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Writes weights files (empty ones: the catalogue does not open them) with their cards into a weights folder."""
    folder = tmp_path / "weights_here"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)  # and the project's own weights/ is not there
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(folder))

    def write(name, card=CARD, **more):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        if card is not None:
            text = card if isinstance(card, str) else json.dumps({**card, **more})
            path.with_suffix(".json").write_text(text, encoding="utf-8")
        return path

    write.folder = folder
    return write


def entry(low=0.0, high=100.0):
    return catalogue.Entry("x", "x", "mobile_nr", "", "scale", low, high, False, {})


@pytest.mark.parametrize(
    ("score", "category"),
    [(0, "very poor"), (19.999, "very poor"), (20, "poor"), (40, "average"), (59.999, "average"), (60, "good"),
     (80, "excellent"), (100, "excellent"), (-7, "very poor"), (123, "excellent")],
)  # fmt: skip
def test_categories_are_fifths_of_the_scale_with_their_lower_ends(score, category):
    assert entry().category(score) == category
    assert entry(1, 5).category(1 + score / 25) == category


def test_of_a_scale_that_falls_the_low_end_is_the_best_number():
    assert [entry(9, 0).category(score) for score in (8, 6, 4, 3, 1)] == list(catalogue.CATEGORIES)


def test_votes_and_scores_meet_at_the_ends_and_in_the_middle():
    assert [entry(0, 100).score_of(vote) for vote in (1, 2, 3, 5)] == [0, 25, 50, 100]
    assert [entry(0.24, 7.21).score_of(vote) for vote in (1, 5)] == [0.24, pytest.approx(7.21)]


def test_an_entry_says_what_its_card_says(weights):
    path = weights("mobile_nr", title="A network", observer="everybody")
    found = catalogue.find("mobile_nr")
    assert (found.name, found.path, found.architecture, found.title) == ("mobile_nr", path, "mobile_nr", "A network")
    assert (found.scale, found.low, found.high, found.observer) == ("continuous", 0.0, 100.0, "")
    assert found.set_name == "" and not found.needs_reference


def test_scales_are_ends_a_name_or_both(weights):
    weights("votes", scale=[1, 5])
    weights("pairs", architecture="siamese_fr", scale="Elo")
    votes, pairs = catalogue.find("votes"), catalogue.find("pairs")
    assert (votes.scale, votes.low, votes.high) == ("ACR", 1.0, 5.0)
    assert pairs.scale == "Elo" and math.isnan(pairs.low) and pairs.needs_reference


def test_titles_fall_back_to_what_it_was_trained_on_and_to_the_architecture(weights):
    weights("a")
    weights("b", trained_on="KonIQ-10k")
    assert [e.title for e in catalogue.available()] == ["mobile_nr", "KonIQ-10k"]


@pytest.mark.parametrize(
    "card",
    ["", "{", "[]", "null", "3", '{"architecture": "mobile_nr"}', '{"architecture": "mobile_nr", "arguments": {}}',
     '{"architecture": "mobile_nr", "arguments": {}, "scale": {"name": "x"}}',
     '{"architecture": "mobile_nr", "arguments": {}, "scale": []}',
     '{"architecture": "mobile_nr", "arguments": {}, "scale": ["low", "high"]}',
     '{"architecture": "mobile_nr", "arguments": {}, "scale": null}', "\x00\x01"],
)  # fmt: skip
def test_a_broken_card_is_named_and_keeps_nobody_from_the_others(weights, caplog, card):
    weights("good")
    broken = weights("broken", card)
    with caplog.at_level(logging.WARNING):
        assert [e.name for e in catalogue.available()] == ["good"]
    assert "broken.json" in caplog.text
    with pytest.raises(InputError, match=r"broken\.json.*architecture, arguments and scale"):
        catalogue.entry_of(broken, "broken")
    with pytest.raises(InputError, match=r"broken\.json"):
        catalogue.find("broken")


def test_weights_without_a_card_or_of_another_kind_are_none_of_it(weights, caplog):
    weights("mobilenet_v2", None)
    weights("sorter", architecture="conv_sorter")
    weights("good")
    with caplog.at_level(logging.WARNING):
        assert [e.name for e in catalogue.available()] == ["good"]
    assert not caplog.text


def test_the_first_weights_folder_wins_and_the_project_s_is_the_second(weights, tmp_path):
    weights("both", title="given")
    own = tmp_path / "weights"
    own.mkdir()
    for name in ("both", "own"):
        (own / f"{name}.safetensors").write_bytes(b"")
        (own / f"{name}.json").write_text(json.dumps({**CARD, "title": "the project's"}))
    assert {e.name: e.title for e in catalogue.available()} == {"both": "given", "own": "the project's"}
    assert catalogue.find("both").title == "given" and catalogue.find("own").title == "the project's"


@pytest.mark.parametrize(
    "name",
    ["../outside", "aios/../../outside", "link", "none", "", ".", "..", "aios", "a\x00b", "/etc/hostname"],
)
def test_no_name_leads_out_of_the_folder(weights, tmp_path, name):
    weights("good")
    weights("aios/Obs1", observer="Obs1")
    (tmp_path / "outside.safetensors").write_bytes(b"")
    (tmp_path / "outside.json").write_text(json.dumps(CARD))
    (weights.folder / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(InputError) as error:
        catalogue.find(name)
    assert "good" in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_given_by_its_path_is_taken(weights, tmp_path):
    path = weights("good").rename(tmp_path / "mine.safetensors")
    (weights.folder / "good.json").rename(tmp_path / "mine.json")
    assert catalogue.find(path).path == path and catalogue.find("mine.safetensors").architecture == "mobile_nr"
    assert catalogue.available() == []


def test_sets_of_aios_are_folders_and_people_are_in_their_order(weights):
    for person in ("Obs10", "Obs2", "Obs1"):
        weights(f"aios/{person}", observer=person)
    weights("others/A", observer="A")
    weights("alone", observer="B")
    weights("mean")
    assert catalogue.sets() == ["aios", "others"]
    assert [e.observer for e in catalogue.observers_of("aios")] == ["Obs1", "Obs2", "Obs10"]
    assert catalogue.available()[0].name == "mean"
    assert catalogue.find("aios/Obs2").set_name == "aios" and catalogue.find("alone").set_name == ""
    with pytest.raises(InputError, match="'nobody'.*aios, others"):
        catalogue.observers_of("nobody")


def test_without_any_weights_the_error_says_so(weights):
    with pytest.raises(InputError, match="none is here"):
        catalogue.find("mobile_nr")
    assert catalogue.available() == [] and catalogue.sets() == []


def test_importing_the_catalogue_loads_no_torch():
    code = "import sys, iqasuite.catalogue; print([m for m in ('torch', 'numpy', 'pandas', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_was_reached_is_told_with_its_interval(tmp_path):
    scores = {"srocc, median [95 %]": [0.61234, 0.5, 0.7], "n": 62, "note": "text", "flag": True, "pair": [1, 2]}
    card = {"architecture": "x", "arguments": {}, "scale": [1, 5], "scores": scores}
    (tmp_path / "a.json").write_text(json.dumps(card))
    entry = catalogue.entry_of(tmp_path / "a.safetensors", "a")
    assert entry.reached == {"srocc, median": "0.6123 [0.5, 0.7]", "n": "62"}


def test_cards_say_what_statistics_reach_and_what_is_to_be_said_with_every_score(weights):
    beside = {"srocc, test": {"n": 9, "sharpness": [0.5, 0.25, 0.75]}}
    weights("a", rank_baselines=beside, caution="An example.")
    weights("b", rank_baselines="none")
    a, b = catalogue.find("a"), catalogue.find("b")
    assert a.rank_baselines == {"srocc, test": {"n": "9", "sharpness": "0.5 [0.25, 0.75]"}} and b.rank_baselines == {}
    assert a.caution == "An example." and b.caution == ""
