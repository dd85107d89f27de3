"""The notebook's cell: its buttons vote and undo in the same session as the page."""

import numpy as np
import pytest
from PIL import Image

from iqasuite.datasets import study_folder

pytest.importorskip("ipywidgets")


def test_buttons_vote_undo_and_end(project):
    from iqasuite.app.rating_cell import RatingCell

    folder = project.root / "holiday"
    folder.mkdir()
    for k in range(3):
        Image.fromarray(np.full((40, 50, 3), 80 * k, np.uint8)).save(folder / f"{k}.png")
    (folder / "3.png").write_text("no image")
    cell = RatingCell(study_folder.unrated(folder), "Ana")
    votes, (undo, _, line) = cell.widget.children[2].children, cell.widget.children[3].children
    assert [button.description for button in votes][1::3] == ["2 insufficient", "5 excellent"]
    for vote in (2, 5):
        votes[vote - 1].click()
    undo.click()
    for vote in (4, 1):
        votes[vote - 1].click()
    assert cell.session.votes()["vote"].tolist() == [2, 4, 1] and votes[0].disabled
    assert "All images are rated" in line.value or "3.png" in line.value
    again = RatingCell(study_folder.unrated(folder), "Ana")
    assert again.session.left(again.session.votes()) == 0
