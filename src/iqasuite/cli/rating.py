"""`iqasuite rate`: images rated in the browser, and an observer learnt from the votes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqasuite.cli.options import data_names
from iqasuite.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from iqasuite.datasets.dataset import Dataset

_SET = typer.Argument(metavar="FOLDER|NAME", help="Folder of images, or data set.", autocompletion=data_names)


def rate(
    folder: Annotated[str, _SET],
    observer: Annotated[str, typer.Option(help="Who rates; without it the page asks.")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port; the next free one where it is taken.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Rate images one at a time, on a page that only this computer can open.

    Keys 1 to 5 vote, Backspace takes a vote back. Each vote is saved at once, in
    playlists/SET/OBSERVER/OBSERVER_1.csv; the same command goes on later. Every observer has an order of their own and
    sees no votes but their own. From the votes comes an artificial observer: on the page after 5, 10, 20 votes or
    whenever it is asked for, or with iqasuite train --data FOLDER --observer NAME.

    \b
    Example: iqasuite rate holiday/ --observer Anna
    Example: iqasuite score holiday/ --observer Anna
    """
    from iqasuite.app import rating

    rating.serve(set_to_rate(folder), observer, port, open_browser, typer.echo)


def set_to_rate(name: str) -> Dataset:
    """The images of a folder, with or without a table of ratings, or those of a data set."""
    from iqasuite.datasets import adapters, load, study_folder

    return (
        study_folder.unrated(name) if name not in adapters.NAMES or Path(name).is_dir() else load(name, missing="drop")
    )


def voted_set(name: str, observer: str) -> tuple[Dataset, pd.DataFrame] | None:
    """A set with an observer's votes of `iqasuite rate` in place of its own, and those of others who rated it so."""
    from iqasuite.datasets.rating_session import RatingSession

    dataset = set_to_rate(name)
    session = RatingSession(dataset, observer)
    votes = session.votes()
    if votes.empty:
        return None
    votes = votes.assign(image=votes["image"].map(lambda image: session.images.get(image, image)))
    return replace(dataset, votes=votes[votes["image"].isin(dataset.images["image"])]), session.others()


def train_from_votes(data: str, observer: str, network: str = "") -> None:
    """Learn an observer from the votes of `iqasuite rate`, or from those of a rated set, and say what was learnt.

    `network`: weights of the observer's own, of `iqasuite train --output`, that may take the default model's place.
    """
    if not observer:
        raise InputError("--output: missing; expected the file of the weights, or --observer NAME")
    from iqasuite.datasets import load
    from iqasuite.datasets.rating_session import checked_observer
    from iqasuite.datasets.splits import part, read_split
    from iqasuite.evaluation.subjects import own_observer as own
    from iqasuite.evaluation.subjects.trunk_scores import TrunkScores
    from iqasuite.training.levels import TRUNK

    voted = voted_set(data, observer)
    dataset = load(data, missing="drop") if voted is None else voted[0]
    name = checked_observer(observer) if voted else dataset.check_observer(observer)
    mine = dataset.votes["observer"] == name
    scores, contents = TrunkScores(dataset), dataset.sources_of_images()
    scores.complete(dataset.images["image"])
    found = own.own_observer(dataset.votes[mine], scores.frame(), voted[1] if voted else dataset.votes[~mine])
    if network:
        behind = TrunkScores(dataset, str(Path(network).resolve()) if Path(network).is_file() else network)
        behind.complete(found.votes.index)
        split = read_split(behind.entry.path.with_name(f"{behind.entry.path.stem}_split.csv"))
        found = own.behind_own_network(found, behind, part(split, 0, "train"), contents)
        scores = behind if found.fitted.level == TRUNK else scores
    errors = own.unseen_errors(found, contents)
    for sentence in own.sentences(found, errors):
        typer.echo(sentence)
    typer.echo(own.save_own(found, name, scores, errors))
