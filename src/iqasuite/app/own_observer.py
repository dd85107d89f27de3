"""What the Rate page says of the observer that the votes make, as HTML."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from iqasuite.app.drawing import html
from iqasuite.datasets.rating_session import RatingSession
from iqasuite.evaluation.subjects.own_observer import OwnObserver, own_observer, save_own, sentences, unseen_errors
from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
from iqasuite.training.few_shot import VOTES

_ROWS = 200  # of the table
_NAMES = {"bias": "bias (votes)", "slope": "use of the scale", "inconsistency": "inconsistency (votes)"}


def answer(session: RatingSession, votes: pd.DataFrame, scores: TrunkScores) -> Markup:
    """The observer of these votes: their numbers beside the population's, and what they would vote; it is saved, too.

    Raises:
        InputError: no vote on an image that could be scored, or the weights cannot be written.
    """
    votes = votes.assign(image=votes["image"].map(lambda name: session.images.get(name, name)))
    contents = session.dataset.sources_of_images()
    own = own_observer(votes, scores.frame(), session.others())
    errors = unseen_errors(own, contents)
    path = save_own(own, session.observer, scores, errors)
    rest = own.predictions()
    rows = [(str(image), f"{row.expected:.1f}", row.set) for image, row in rest.head(_ROWS).iterrows()]
    what = f"Predicted votes of {len(rest)} images without a vote, {len(rows)} shown, the best first"
    return Markup().join(
        [
            html.sentence(f"{session.observer}, after {own.fitted.observer.n} votes (95 % intervals)"),
            html.bullets(sentences(own, errors)),
            _drawn(own, rest),
            html.folded(what, html.table(("image", "expected vote", "9 in 10"), rows, (1,))) if rows else Markup(),
            html.sentence(f'Saved as {path}; iqasuite score FOLDER --model "{path.parent.name}/{path.stem}" uses it.'),
        ]
    )


def _drawn(own: OwnObserver, rest: pd.DataFrame) -> Markup:
    """The numbers over those of people in general, and the votes beside those that are predicted."""
    table = own.parameters()
    names = [_NAMES.get(str(name), f"sensitivity: {name}") for name in table.index]
    rows = [(name, *row) for name, row in zip(names, table.to_numpy().tolist(), strict=True)]
    given = [float((own.votes == vote).mean()) for vote in VOTES]
    predicted = rest[[f"p{vote}" for vote in VOTES]].mean().tolist() if len(rest) else []
    low, high = min(-1.0, table.to_numpy().min()), max(2.0, table.to_numpy().max())
    numbers = html.own_numbers(rows, low, high, "your numbers beside those of people in general")
    return numbers + html.own_votes(given, predicted, "votes given, and predicted for the other images")
