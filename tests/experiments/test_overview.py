"""A data set overview: what it says of the demo set, of which everything is known."""

import pandas as pd
import pytest

from iqasuite.datasets import splits
from iqasuite.experiments import overview
from iqasuite.images.file_facts import file_facts


def test_facts_are_those_of_the_set(demo_set):
    facts = overview.facts(demo_set).set_index("fact")["demo"]
    assert facts["images available"] == "338" and facts["contents"] == "13, of 7 sources"
    assert facts["own scale"] == "ACR 1 to 5, higher = better" and facts["single votes"].endswith("of 5 observers")
    assert "structure" in facts.index


def test_a_content_that_decides_everything_has_all_of_the_variance():
    images = pd.DataFrame({"content": ["a", "a", "b", "b"], "mos": [1.0, 1.0, 5.0, 5.0]})
    assert overview.between_contents(images) == pytest.approx(1.5)  # 8 / (16 / 3): by chance above 1
    assert overview.between_contents(images.assign(mos=[1.0, 5.0, 1.0, 5.0])) == 0


def test_files_of_one_height_tell_nothing_by_it(demo_set):
    jpeg = demo_set.images[demo_set.images["distortion"] == "jpeg"]
    files = file_facts({image: demo_set.path(image) for image in jpeg["image"]})
    told = overview.told_by_files(files, jpeg.set_index("image")["mos"])
    assert set(told) == {"bytes", "bits_per_pixel"} and told["bytes"] > 0.5


def test_ours_shares_nothing_and_the_others_do(demo_set):
    ours = splits.by_content(demo_set.images, 3, 0, demo_set.sources)
    compared = overview.splits_to_compare(demo_set, ours)
    kinds = {name: set(splits.audit(s, demo_set.images, demo_set.sources)["kind"]) for name, s in compared.items()}
    assert not kinds["by source (ours)"] and kinds["by content"] == {"source"}
    assert kinds["by image, at random"] == {"content", "reference", "source"}


def test_the_headline_counts_copies_of_all_kinds(demo_set):
    recall = pd.DataFrame({"kind": ["a", "b"], "n": [10, 30], "found": [1.0, 0.5]})
    found = overview.headline(demo_set.images, 2, {"kodak24": recall}, {"bits_per_pixel": 0.5}, recall)
    assert found == {
        "images": 338,
        "contents": 13,
        "near-duplicate pairs": 2,
        "pairs shared with kodak24": 2,
        "srocc of bits per pixel": 0.5,
        "planted copies found": 0.625,
    }
