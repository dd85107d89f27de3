"""What the Rate page says of the observer that the votes make, as HTML."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from iqasuite.app.drawing import data_uri, html
from iqasuite.datasets.rating_session import RatingSession
from iqasuite.evaluation.subjects.own_observer import own_observer, save_own, sentences, unseen_errors
from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
from iqasuite.report.figures.own_observer import own_observer_figure
from iqasuite.report.figures.style import png_of

_ROWS = 200  # of the table


def answer(session: RatingSession, votes: pd.DataFrame, scores: TrunkScores) -> Markup:
    """The observer of these votes: their numbers beside the population's, and what they would vote; it is saved, too.

    Raises:
        InputError: no vote on an image that could be scored, or the weights cannot be written.
    """
    votes = votes.assign(image=votes["image"].map(lambda name: session.images.get(name, name)))
    contents = session.dataset.sources_of_images()
    own = own_observer(votes, scores.frame())
    errors = unseen_errors(own, contents)
    path = save_own(own, session.observer, scores, errors)
    rest = own.predictions()
    rows = [(str(image), f"{row.expected:.1f}", row.set) for image, row in rest.head(_ROWS).iterrows()]
    what = f"Predicted votes of {len(rest)} images without a vote, {len(rows)} shown, the best first"
    return Markup().join(
        [
            html.sentence(f"{session.observer}, after {own.observer.n} votes (95 % intervals)"),
            html.bullets(sentences(own, errors)),
            html.picture(data_uri(png_of(own_observer_figure(own))), "your numbers beside those of people in general"),
            html.folded(what, html.table(("image", "expected vote", "9 in 10"), rows, (1,))) if rows else Markup(),
            html.sentence(
                f"Saved as {path.parent.name}/{path.stem}: iqasuite score FOLDER --observer "
                f'"{path.parent.name}/{session.observer}"'
            ),
        ]
    )
