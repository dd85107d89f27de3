"""The site of `make docs`: built without the network, and a broken link or an unknown reference stops it."""

import logging
import re

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort


@pytest.mark.slow
def test_site_has_guide_and_public_names_and_loads_nothing_from_the_network(repository, tmp_path):
    build(load_config(str(repository / "mkdocs.yml"), site_dir=str(tmp_path)))
    assert {"index.html", "contributing.html", "glossary.html"} <= {file.name for file in tmp_path.iterdir()}
    api = {file.stem: file.read_text(encoding="utf-8") for file in (tmp_path / "api").iterdir()}
    assert 'id="iqasuite.evaluation.metrics.srocc"' in api["evaluation"]
    assert 'id="iqasuite.evaluation.subjects.agreement.icc"' in api["evaluation"]
    assert 'id="iqasuite.errors.InputError"' in api["base"]
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for address in re.findall(r'(?:src|<link[^>]* href|<a href)="([^"#?]+)', text):
            if "://" in address:
                assert f'<a href="{address}' in text, (page.name, address)
            elif address.startswith("../") and page.parent == tmp_path:  # `site/` stands beside `docs/`
                assert (repository / address[3:]).exists(), (page.name, address)
            elif page.name != "404.html":
                assert (page.parent / address).exists(), (page.name, address)


def test_broken_links_and_unknown_references_stop_the_build(repository, tmp_path, caplog):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.md").write_text("[text](missing.md), [text][iqasuite.missing]")
    config = load_config(
        str(repository / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(tmp_path / "site"), plugins=["autorefs"]
    )
    with caplog.at_level(logging.WARNING), pytest.raises(Abort):
        build(config)
    assert "'missing.md'" in caplog.text
    assert "'iqasuite.missing'" in caplog.text
