"""What every adapter's card must say, so that `data list` and `data get` can go by it."""

import pytest

from iqasuite.datasets import adapters

NAMES = ("tid2008", "tid2013", "kadid10k", "csiq", "live", "live_challenge", "koniq10k", "pipal", "pieapp", "spaq")
NAMES += ("cid2013", "kodak24")


@pytest.mark.parametrize("name", NAMES)
def test_card(name):
    card = adapters.card(name)
    assert card.name == name and card.title and card.structure and card.citation and card.licence
    assert card.homepage.startswith(("https://", "http://"))
    assert card.downloads or card.manual
    assert card.folders[0] == name
    assert card.n_images > 0 and card.votes in ("none", "distributions", "per observer")
    for download in card.downloads:
        assert download.url.startswith(("https://", "hf:")) and download.file
    docstring = adapters.adapter(name).__doc__
    assert len(docstring.strip().splitlines()) <= 7  # a title, and six lines on what it is


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_an_error_that_names_it(tmp_path, name):
    from iqasuite.errors import InputError

    with pytest.raises(InputError, match=str(tmp_path)):
        adapters.adapter(name).load(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        adapters.adapter(name).load(tmp_path / "nowhere")
