"""`iqasuite score`: scores of images, alone or beside their references."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqasuite.cli.options import BatchSize, Format, Output, Precision, check_precision, model_names, observer_names
from iqasuite.cli.results import Target, say_error, watched
from iqasuite.errors import InputError

if TYPE_CHECKING:
    from iqasuite.inference.score import Scorer
    from iqasuite.weights.catalogue import Entry

_MODEL = (
    "Name (iqasuite models), weights, or metric (psnr, ms_ssim, …; compares). Repeated: a column each, of networks "
    "that compare an ensemble. Default: lite2_nr, with a reference ms_ssim."
)
_IMAGES = "Files, folders, patterns; - = names from standard input."
_VIEWS = "Of networks that compare: one, eight (default; turned, mirrored), study."
Images = Annotated[list[str], typer.Argument(metavar="IMAGES...", help=_IMAGES)]
Models = Annotated[list[str], typer.Option(help=_MODEL, autocompletion=model_names)]
Reference = Annotated[Path | None, typer.Option(help="What the images are compared with: a file for all, or a folder.")]
Pairs = Annotated[bool, typer.Option("--pairs", help="Compare, references are in the same folder.")]
Observers = Annotated[
    list[str],
    typer.Option(
        metavar="NAME", help="Artificial observer, or all of them: a column each.", autocompletion=observer_names
    ),
]
Category = Annotated[bool, typer.Option("--category", help="Also in words: very poor … excellent.")]
Distribution = Annotated[bool, typer.Option("--distribution", help="Also shares p1…p5 of the votes.")]
Interval = Annotated[bool, typer.Option("--interval", help="Also low and high, which hold eight in ten mean opinions.")]
Maps = Annotated[Path | None, typer.Option("--map", metavar="FOLDER", help="Draw which places count into this folder.")]
Null = Annotated[bool, typer.Option("-0", "--null", help="Names from standard input end with NUL.")]
Views = Annotated[str | None, typer.Option(help=_VIEWS)]


def score_images(
    images: Images,
    model: Models = [],  # noqa: B006
    reference: Reference = None,
    pairs: Pairs = False,
    observer: Observers = [],  # noqa: B006
    category: Category = False,
    distribution: Distribution = False,
    interval: Interval = False,
    maps: Maps = None,
    form: Format = None,
    output: Output = None,
    null: Null = False,
    batch_size: BatchSize = 16,
    precision: Precision = "auto",
    views: Views = None,
) -> None:
    """Score images, alone or beside their references.

    Images are compared with references where there is a --reference, where --pairs says so, or where a --model is one
    that compares; otherwise each is scored alone. A folder stands for all images in and below it. One folder that is
    compared (not with one file for all) is a folder of pairs as in the NTIRE 2021 challenge: A0001_00_00.bmp is a
    distorted image of A0001.bmp, and OUTPUT (output.txt) gets lines "name,score", unless --format or another ending of
    OUTPUT asks for a table.

    The column of one model is "score", columns of several have their names. "--observer all" takes every artificial
    observer of the set and adds their mean and spread; SET/NAME and SET/all where there are several sets.

    Exit status 1: some images could not be scored; they are named, the others are scored. 2: nothing was begun.

    \b
    Example: iqasuite score holiday/ --category
    Example: iqasuite score "shots/**/*.jpg" --output scores.csv
    Example: find . -name '*.png' -print0 | iqasuite score -0 - --format jsonl
    Example: iqasuite score portrait.jpg --observer all --map maps/
    Example: iqasuite score --reference photograph.png --model vif distorted1.jpg distorted2.jpg
    Example: iqasuite score --pairs validation/ --output output.txt
    """
    if null and "-" not in images:
        raise InputError("--null without the name -; expected names from standard input")
    check_precision(precision)
    named, target = Named(images, null), Target(output, form)
    if reference is None and not pairs and not any(map(compares, model)):
        if views is not None:
            raise InputError(f"--views {views}: only where images are compared; expected --reference, or no --views")
        from iqasuite.inference import opinions

        together = any(name.rpartition("/")[2] == opinions.ALL for name in observer)
        wanted = partial(opinions.Wanted, category, distribution, together, interval)
        raise typer.Exit(_score_alone(named, model, observer, wanted, maps, target, batch_size, precision))
    alone = {"--observer": observer, "--category": category, "--distribution": distribution}
    alone |= {"--interval": interval, "--map": maps}
    for name, value in alone.items():
        if value:
            raise InputError(f"{name}: not where images are compared; expected it without reference")
    raise typer.Exit(_compare(named, reference, model or ["ms_ssim"], views or "eight", target))


@dataclass(frozen=True)
class Named:
    """Names as they were given; those on standard input end with NUL, or with the line."""

    names: list[str]
    null: bool

    def files(self) -> tuple[Iterator[str], int | None]:
        """Image files in the order of the names, and how many; None where a list is still coming."""
        from iqasuite.inference.image_files import named, streamed

        found = [name if name == "-" else named([name]) for name in self.names]  # errors come before anything begins
        total = None if "-" in self.names else sum(map(len, found))
        separator = b"\0" if self.null else b"\n"
        return chain.from_iterable(streamed(sys.stdin.buffer, separator) if f == "-" else f for f in found), total

    @property
    def folder(self) -> Path | None:
        """The folder, where the only name is that of one."""
        single = len(self.names) == 1 and self.names[0] != "-"
        return Path(self.names[0]) if single and Path(self.names[0]).is_dir() else None


def _score_alone(
    named: Named,
    models: list[str],
    observers: list[str],
    wanted: Callable,
    maps: Path | None,
    target: Target,
    batch_size: int,
    precision: str,
) -> int:
    from iqasuite.inference import opinions

    target.format()  # a wrong one is an error before anything begins
    entries = opinions.chosen(models, observers)
    if not (models or observers) and entries[0].card.caution:
        default = f"default model {entries[0].name}: {entries[0].card.caution}"
        typer.echo(f"{default} Another model: --model NAME (iqasuite models lists them).", err=True)
    what = wanted(_map_writer(maps))
    files, total = named.files()
    from iqasuite.inference.predictor import Predictor

    predictors = [Predictor(entry, precision) for entry in entries]
    rows = opinions.rows(predictors, map(Path, files), what, batch_size)
    return target.write_rows(rows, opinions.columns(entries, what), opinions.legend(entries), total)


def _map_writer(folder: Path | None) -> Callable | None:
    if folder is None:
        return None
    from iqasuite.paths import check_writable
    from iqasuite.report.figures.maps import save_map  # matplotlib takes a second

    check_writable(folder)
    return partial(save_map, folder=folder)


def network_of(model: str) -> Entry | None:
    """The network of a name or file; None where the name is that of a metric."""
    from iqasuite.weights import catalogue

    try:
        return catalogue.find(model)
    except InputError as error:
        if Path(model).suffix == ".safetensors":
            raise
        from iqasuite.models.metrics.piq_metrics import METRICS  # takes seconds: only where a name may be one

        if model in METRICS:
            return None
        raise InputError(f"{error}, or of the metrics {', '.join(METRICS)}") from None


def compares(model: str) -> bool:
    """Whether a model compares images."""
    network = network_of(model)
    return network is None or network.needs_reference


def _compare(named: Named, reference: Path | None, models: list[str], views: str, target: Target) -> int:
    from iqasuite.inference import score

    folder = named.folder
    if folder is not None and (reference is None or reference.is_dir()):
        return _compare_folder(folder, reference, models, views, target)
    target.format()  # a wrong one is an error before anything begins
    files, total = named.files()
    alone = (score.Task(Path(file)) for file in files)  # of which a network that compares says that it cannot
    tasks = alone if reference is None else score.paired(files, reference)
    scorer = score.scorer_for(models, views)
    if total == 1 and len(named.names) == 1 and folder is None and target == Target(None, None):
        task = next(iter(tasks))
        typer.echo(score.line(scorer, score.Scored(task, *score.finite(scorer, task))))
        return 0
    return target.write_rows(map(score.row, score.scored(scorer, tasks)), score.COLUMNS, [_legend(scorer)], total)


def _legend(scorer: Scorer) -> str:
    return f"score: {scorer.scale}, {scorer.meaning}"


def _compare_folder(folder: Path, references: Path | None, models: list[str], views: str, target: Target) -> int:
    """Pairs of the challenge's naming; without a format they become the challenge's file."""
    from iqasuite.inference import score
    from iqasuite.paths import write_atomic

    output = target.output
    challenge = target.form is None and (output is None or output.suffix.lower() not in (".csv", ".jsonl"))
    output = output or (Path("output.txt") if challenge else None)
    if output is not None and output.is_dir():
        raise InputError(f"{output}: a folder; expected --output FILE for the scores")
    tasks, problems = score.challenge_tasks(folder, references)
    scorer = score.scorer_for(models, views)
    for problem in problems:
        say_error(problem)
    results = score.scored(scorer, tasks)
    if not challenge:
        status = target.write_rows(map(score.row, results), score.COLUMNS, [_legend(scorer)], len(tasks))
        return max(status, int(bool(problems)))
    assert output is not None  # as `challenge` chooses one
    done = [result for result in watched(results, len(tasks), "pair") if not say_error(result.error)]
    if done:
        write_atomic(output, score.challenge_lines(done))
        typer.echo(f"{output}: {len(done):,} of {len(tasks):,} pairs; {_legend(scorer).removeprefix('score: ')}")
    return int(not done or len(done) < len(tasks) or bool(problems))
