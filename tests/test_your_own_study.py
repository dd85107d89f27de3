"""What docs/your_own_study.md shows works as it stands there, and it names all there is."""

import re
import textwrap

import numpy as np
import pytest
import yaml
from PIL import Image

from iqasuite.datasets import study_folder
from iqasuite.datasets.rating_columns import ABOUT_IMAGE
from iqasuite.datasets.study_facts import Facts, StatedScale
from iqasuite.experiments.suite import check, read_suite
from iqasuite.training.aio import LEAST_VOTES


@pytest.fixture
def page(repository):
    return (repository / "docs" / "your_own_study.md").read_text(encoding="utf-8")


def block(page: str, start: str) -> str:
    """The indented example that begins with this line."""
    found = re.search(rf"^    {re.escape(start)}.*?(?=^\S|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, start
    return textwrap.dedent(found.group()).strip() + "\n"


def test_the_suite_fits_the_notebooks(page, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    path = tmp_path / "portraits.yaml"
    path.write_text(block(page, "suite: "), encoding="utf-8")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 12
    given = check(read_suite(path))
    assert len(given) == 5 + 2 * 3
    assert {parameters["dataset"] for parameters in given.values()} == {"studies/portraits"}


@pytest.mark.parametrize("table", ["observer,image,vote", "image,ann,ben", "image,mos"])
def test_the_tables_and_the_facts_are_read(page, tmp_path, table):
    for name in ("a_1", "b_1"):
        Image.fromarray(np.zeros((9, 16, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "ratings.csv").write_text(block(page, table))
    facts = yaml.safe_load(block(page, "name: "))
    if "codec" not in block(page, table):
        del facts["nuisance"]
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(facts))
    data = study_folder.load(tmp_path)
    assert data.name == "portraits" and data.fit == "letterbox" and data.display_size == (1080, 1920)
    assert data.images["mos"].tolist() == [4.5, 2.0] and data.images["content"].tolist() == ["bridge", "tower"]
    assert list(data.nuisances) == (["codec"] if "nuisance" in facts else [])


def test_all_columns_and_keys_are_named(page):
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE))))
    assert named >= {*ABOUT_IMAGE, *Facts.model_fields, "session", "duration", "timestamp"}
    assert set(yaml.safe_load(block(page, "name: "))) == set(Facts.model_fields)
    assert all(f"`{key}`" in page for key in StatedScale.model_fields)
    least = "at least {train} images of the training part, {val} of the validation part and {test} of the"
    assert least.format(**LEAST_VOTES) in page and len(page.splitlines()) <= 150
