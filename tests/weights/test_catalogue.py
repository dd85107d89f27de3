"""The catalogue of trained models: what the cards say, and nothing outside of the weights folders."""

import json
import logging
import math
import os
import subprocess
import sys

import pytest

from iqasuite.errors import InputError
from iqasuite.weights import catalogue
from iqasuite.weights.card import Card, Scale, read_model_card

OLDER = {"architecture": "mobile_nr", "arguments": {}, "scale": {"name": "continuous", "low": 0, "high": 100}}
CARD = {"schema": 1, **OLDER}


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
    scale = Scale(name="scale", low=low, high=high)
    return catalogue.Entry("x", "x", Card(architecture="mobile_nr", arguments={}, scale=scale))


@pytest.mark.parametrize(
    ("score", "category"),
    [
        (0, "very poor"),
        (19.999, "very poor"),
        (20, "poor"),
        (40, "average"),
        (59.999, "average"),
        (60, "good"),
        (80, "excellent"),
        (100, "excellent"),
        (-7, "very poor"),
        (123, "excellent"),
    ],
)
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


def test_scales_of_older_cards_are_ends_a_name_or_both(weights):
    weights("votes", OLDER, scale=[1, 5])
    weights("pairs", OLDER, architecture="siamese_fr", scale="Elo")
    votes, pairs = catalogue.find("votes"), catalogue.find("pairs")
    assert (votes.scale, votes.low, votes.high) == ("ACR", 1.0, 5.0)
    assert pairs.scale == "Elo" and math.isnan(pairs.low) and pairs.needs_reference


def test_titles_fall_back_to_what_it_was_trained_on_and_to_the_architecture(weights):
    weights("a")
    weights("b", trained_on="KonIQ-10k")
    assert [e.title for e in catalogue.available()] == ["mobile_nr", "KonIQ-10k"]


def changed(card=CARD, **more):
    return json.dumps({**card, **more})


NO_CARDS = [  # what stands in the file, and what its error says
    ("", "expected a JSON card"),
    ("{", "expected a JSON card"),
    ("\x00\x01", "expected a JSON card"),
    ("[]", r"is \[\]"),
    ("null", "is None"),
    ("[" * 900 + "]" * 900, "recursion limit"),
    ('{"a":' * 10**5, "recursion limit"),
    ("3", "is 3"),
    ('{"a": NaN}', "expected value"),
    ('{"a": -Infinity}', "expected"),
    ('{"a": 1' + 5000 * "0" + "}", "out of range"),
    ('{"a": -1e999}', "'a' is -inf; expected finite"),
    ("{" + " " * 6_000_000 + "}", "5,000,000 bytes"),
    (changed(scores={"srocc": [10**350]}), "'scores' is .*; expected finite"),
    ('{"architecture": "mobile_nr"}', "arguments is missing"),
    ('{"architecture": "mobile_nr", "arguments": {}}', "scale is missing"),
    (changed(schema=2), "schema is 2; expected 1; a newer version of iqasuite reads it"),
    (changed(schema="1"), "schema is '1'; expected 1"),
    (changed(schema=None), "schema is None; expected 1"),
]
ODD_VALUES = [
    ("architecture", ["mobile_nr"], ""),
    ("arguments", [1], None),
    ("arguments", {"width": 1e9}, {"depth": 10_000}),
    ("arguments", {"a b": 1}, {"stem": {"patch_size": 9e4}}),
    ("arguments", {"dim": {"of": {"of": {"of": 1}}}}, {"scales": [[1]]}),
    ("arguments", {"scales": [1] * 99}, {"head": "x" * 999}),
    ("scale", {"name": "x"}, ["low", "high"]),
    ("scale", [], [1, 2, 3]),
    ("scale", 5, {"name": "x", "low": True, "high": 5}),
    ("scale", None, [0, 1e200]),
    ("scale", "ACR", {"name": "x", "low": 0, "high": 1e200}),
    ("preprocessing", {"shorter_side": 10**7}, [224]),
    ("preprocessing", {"views": None}, {"tile": 0}),
    ("preprocessing", {"display_size": [64]}, {"display_size": 64}),
    ("preprocessing", {"crop": 0}, {"views": 3000}),
    ("preprocessing", {"order": "reference, distorted"}, None),
    ("observer", 7, ["a"]),
    ("observer", None, "x" * 20_000),
    ("title", {"en": "x"}, 5),
    ("caution", 1, None),
    ("trained_on", [], False),
    ("licence", {}, None),
    ("dataset", ["a"], {}),
    ("fold", [0], "0"),
    ("run", 1, None),
    ("seen", ["1.png"], {"files": ["1.png"]}),
    ("seen", {"unlisted": 3}, None),
]
ODD_WHEN_OLDER = [  # what cards said before they had a schema, and where it stands now
    ("scale", [1, 2, 3], "scale"),
    ("scale", [0, 1e200], "scale"),
    ("scale", None, "scale"),
    ("view_size", 10**9, "preprocessing"),
    ("view_size", 64.5, "preprocessing"),
    ("view_size", "64", "preprocessing"),
    ("view_size", [64], "preprocessing"),
    ("crop", 0, "preprocessing"),
    ("crop", True, "preprocessing"),
    ("views", 3000, "preprocessing"),
    ("views", None, "preprocessing"),
    ("preprocessing", [224], "preprocessing"),
    ("preprocessing", {"tile": 0}, "preprocessing"),
    ("arguments", {"spectrum_patch": {"of": {"of": {"of": 1}}}}, "arguments"),
]
BROKEN = [
    *NO_CARDS,
    *((changed(**{key: odd}), f"{key}:? .*; expected") for key, *both in ODD_VALUES for odd in both),
    *((changed(OLDER, **{key: odd}), f"{now}:? .*; expected") for key, odd, now in ODD_WHEN_OLDER),
]


@pytest.mark.parametrize(("card", "said"), BROKEN, ids=lambda text: repr(text[-40:]))
def test_a_broken_card_is_named_and_keeps_nobody_from_the_others(weights, caplog, card, said):
    weights("good")
    broken = weights("broken", card)
    with caplog.at_level(logging.WARNING):
        assert [e.name for e in catalogue.available()] == ["good"]
    assert len(caplog.messages) == 1 and "broken.json" in caplog.text
    for asked in (lambda: catalogue.entry_of(broken, "broken"), lambda: catalogue.find("broken")):
        with pytest.raises(InputError, match=rf"broken\.json: .*{said}") as error:
            asked()
        assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_bytes_in_another_encoding_are_no_card(weights):
    path = weights("wide")
    path.with_suffix(".json").write_bytes(json.dumps(CARD).encode("utf-16"))
    with pytest.raises(InputError, match=r"wide\.json.*JSON card"):
        catalogue.find("wide")


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders there")
def test_what_stands_in_a_cards_place_and_is_no_file_is_named(weights, caplog):
    weights("good")
    weights("folder", None).with_suffix(".json").mkdir()
    weights("gone", None).with_suffix(".json").symlink_to("nowhere")
    weights("loop", None).with_suffix(".json").symlink_to("loop.json")
    os.mkfifo(weights("pipe", None).with_suffix(".json"))
    (weights.folder / "empty.safetensors").mkdir()  # and weights that are none
    (weights.folder / "empty.json").write_text(json.dumps(CARD))
    (weights.folder / "round.safetensors").symlink_to("round.safetensors")
    with caplog.at_level(logging.WARNING):
        assert [e.name for e in catalogue.available()] == ["good"]
    assert [text.rpartition("/")[2].partition(":")[0] for text in caplog.messages] == [
        "folder.json",
        "gone.json",
        "loop.json",
        "pipe.json",
    ]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_a_card_that_may_not_be_read_is_named(weights):
    weights("secret").with_suffix(".json").chmod(0)
    with pytest.raises(InputError, match=r"secret\.json: Permission denied"):
        catalogue.find("secret")


def test_cards_may_say_more_and_odd_scores_are_left_out(weights):
    more = {"vectors": 10**40, "anything": [{"deep": [[]]}], "fold": None, "observer": "../Ann\n"}
    shown = {"shorter_side": 64, "order": "reference, distorted", "tile": None}
    scores = {"srocc": 0.5, "plcc": None, "n": [1, 2], "x": {"y": 1}}
    weights("a", OLDER, scores=scores, preprocessing=shown, **more)
    found = catalogue.find("a")
    assert found.reached == {"srocc": "0.5"} and found.observer == "../Ann\n" and found.card.vectors == 10**40
    weights("b", scores="good", rank_baselines=[1])
    assert catalogue.find("b").reached == {} and catalogue.find("b").rank_baselines == {}


def test_every_card_of_the_project_is_read(repository):
    cards = sorted((repository / "weights").rglob("*.json"))
    assert len(cards) >= 10
    for card in cards:
        said = json.loads(card.read_text(encoding="utf-8"))
        assert said["schema"] == 1 and read_model_card(card).facts() == said


def test_a_card_of_before_there_was_a_schema_is_brought_to_todays_form(weights):
    arguments = {"size": "tiny", "depth": 2, "stem": "spectrum", "spectrum_patch": 32, "patch_size": 16, "cells": 3}
    arguments |= {"image_size": 96, "freeze_stem": False, "head": "ordinal", "n_classes": 5, "pool": "mean"}
    shown = {"shorter_side": 256, "mean": [0.5, 0.5, 0.5], "order": "reference, distorted"}
    older = {"architecture": "vit_iqa", "arguments": arguments, "view_size": [256, 320], "crop": 192, "views": 2}
    card = read_model_card(weights("a", OLDER | older | {"preprocessing": shown, "epochs": 3}).with_suffix(".json"))
    assert card.arguments == {
        "image_size": 96,
        "stem": {"name": "spectrum", "patch_size": 32, "cells": 3, "freeze": False},
        "trunk": {"size": "tiny", "depth": 2, "pool": "mean"},
        "head": {"name": "ordinal", "n_classes": 5},
    }
    shown = {"shorter_side": 256, "display_size": [256, 320], "crop": 192, "views": 2}
    assert card.facts()["preprocessing"] == shown and card.preprocessing.shown_at == 256 and card.epochs == 3
    plain = {"architecture": "vit_iqa", "arguments": {"patch_size": 8, "spectrum_patch": 240}, "view_size": 64}
    card = read_model_card(weights("b", OLDER | plain).with_suffix(".json"))
    assert card.arguments == {"stem": {"patch_size": 8}} and card.preprocessing.display_size == [64, 64]
    assert card.preprocessing.shown_at == 64 and card.facts()["schema"] == 1
    new = {"architecture": "vit_iqa", "arguments": {"trunk": {"size": "tiny"}, "image_size": 64}}
    card = read_model_card(weights("c", OLDER | new).with_suffix(".json"))
    assert card.arguments == new["arguments"] and card.preprocessing.shown_at == 256


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
    heavy = "('torch', 'numpy', 'pandas', 'PIL')"
    code = f"import sys, iqasuite.weights.catalogue; print([m for m in {heavy} if m in sys.modules])"
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
    assert a.card.caution == "An example." and b.card.caution == ""
