"""`iqasuite score`, `iqasuite evaluate`: numbers for pictures, and how good such numbers are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from iqasuite.cli.models import data_names, model_names, observer_names
from iqasuite.errors import InputError
from iqasuite.inference.tables import FORMATS

_SHOWN = 20  # names of failed pictures in the last line
Format = Annotated[str | None, typer.Option("--format", metavar="|".join(FORMATS), help="Default: a table to read.")]


def score_images(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="Files, folders, patterns; - = names from standard input.")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            help="Name (iqasuite models), weights, or metric (psnr, ms_ssim, …; compares). Repeated: a column each, "
            "of networks that compare an ensemble. Default: mobile_nr, with a reference ms_ssim.",
            autocompletion=model_names,
        ),
    ] = [],  # noqa: B006
    reference: Annotated[
        Path | None, typer.Option(help="What the pictures are compared with: a file for all, or a folder.")
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Compare, references are in the same folder.")] = False,
    observer: Annotated[
        list[str],
        typer.Option(
            metavar="NAME", help="Artificial observer, or all of them: a column each.", autocompletion=observer_names
        ),
    ] = [],  # noqa: B006
    category: Annotated[bool, typer.Option("--category", help="Also in words: very poor … excellent.")] = False,
    distribution: Annotated[bool, typer.Option("--distribution", help="Also shares p1…p5 of the votes.")] = False,
    maps: Annotated[
        Path | None, typer.Option("--map", metavar="FOLDER", help="Draw which places count into this folder.")
    ] = None,
    form: Format = None,
    output: Annotated[
        Path | None, typer.Option(help="File: .csv, .jsonl or .txt. Written whole or not at all.")
    ] = None,
    null: Annotated[bool, typer.Option("-0", "--null", help="Names from standard input end with NUL.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time on a GPU.")] = 16,
    precision: Annotated[str, typer.Option(metavar="auto|float32", help="auto: bfloat16 where it is quick.")] = "auto",
    views: Annotated[
        str | None, typer.Option(help="Of networks that compare: one, eight (default; turned, mirrored), study.")
    ] = None,
) -> None:
    """Score pictures, alone or beside their originals.

    Pictures are compared with originals where there is a --reference, where --pairs says so, or where a --model is one
    that compares; otherwise each is scored alone. A folder stands for all pictures in and below it. One folder that is
    compared (not with one file for all) is a folder of pairs as in the NTIRE 2021 challenge: A0001_00_00.bmp is a
    version of A0001.bmp, and OUTPUT (output.txt) gets lines "name,score", unless --format or another ending of OUTPUT
    asks for a table.

    The column of one model is "score", columns of several have their names. "--observer all" takes every artificial
    observer of the set and adds their mean and spread; SET/NAME and SET/all where there are several sets.

    Exit status 1: some pictures could not be scored; they are named, the others are scored. 2: nothing was begun.

    \b
    Example: iqasuite score holiday/ --category
    Example: iqasuite score "shots/**/*.jpg" --output scores.csv
    Example: find . -name '*.png' -print0 | iqasuite score -0 - --format jsonl
    Example: iqasuite score portrait.jpg --observer all --map maps/
    Example: iqasuite score --reference photograph.png --model vif copy1.jpg copy2.jpg
    Example: iqasuite score --pairs validation/ --output output.txt
    """
    from iqasuite.inference.tables import format_of

    if null and "-" not in images:
        raise InputError("--null without the name -; expected names from standard input")
    _check_precision(precision)
    if reference is not None or pairs or any(map(_compares, model)):
        alone = {"--observer": observer, "--category": category, "--distribution": distribution, "--map": maps}
        for name, value in alone.items():
            if value:
                raise InputError(f"{name}: not where pictures are compared; expected it without reference")
        raise typer.Exit(_compare(images, reference, model, views or "eight", form, output, null))
    if views is not None:
        raise InputError(f"--views {views}: only where pictures are compared; expected --reference, or no --views")
    from iqasuite.inference import opinions

    form = format_of(output, form)
    entries = opinions.chosen(model, observer)
    if not (model or observer) and entries[0].caution:
        default = f"default model {entries[0].name}: {entries[0].caution}"
        typer.echo(f"{default} Another model: --model NAME (iqasuite models lists them).", err=True)
    together = any(name.rpartition("/")[2] == opinions.ALL for name in observer)
    wanted = opinions.Wanted(category, distribution, together, _map_writer(maps))
    paths, total = _named(images, null)
    columns, legend = opinions.columns(entries, wanted), opinions.legend(entries)
    from iqasuite.inference.predictor import Predictor

    predictors = [Predictor(entry, precision) for entry in entries]
    rows = opinions.rows(predictors, map(Path, paths), wanted, batch_size)
    raise typer.Exit(_write(rows, columns, legend, form, output, total))


def _map_writer(folder: Path | None) -> Callable | None:
    if folder is None:
        return None
    from iqasuite.report.figures.maps import save_map  # matplotlib takes a second

    folder.mkdir(parents=True, exist_ok=True)
    return partial(save_map, folder=folder)


def _check_precision(precision: str) -> None:
    if precision not in ("auto", "float32"):
        raise InputError(f"--precision {precision}: expected auto or float32")


def _compares(model: str) -> bool:
    """Whether a model compares pictures; an unknown one is said so by whoever loads it."""
    from iqasuite.weights import catalogue

    try:
        return catalogue.find(model).needs_reference
    except InputError as error:
        if Path(model).suffix == ".safetensors":
            raise
        from iqasuite.models.metrics.piq_metrics import METRICS  # takes seconds: only where a name may be one

        if model in METRICS:
            return True
        raise InputError(f"{error}, or of the metrics {', '.join(METRICS)}") from None


def _named(images: list[str], null: bool) -> tuple[Iterator[str], int | None]:
    """Picture files in the order of the names, and how many; None where a list is still coming."""
    from iqasuite.inference.image_files import named, streamed

    found = [name if name == "-" else named([name]) for name in images]  # what is wrong is said before anything begins
    total = None if "-" in images else sum(map(len, found))
    separator = b"\0" if null else b"\n"
    return chain.from_iterable(streamed(sys.stdin.buffer, separator) if f == "-" else f for f in found), total


def _compare(
    images: list[str],
    reference: Path | None,
    models: list[str],
    views: str,
    form: str | None,
    output: Path | None,
    null: bool,
) -> int:
    from iqasuite.inference import score
    from iqasuite.inference.tables import format_of

    models = models or ["ms_ssim"]
    single = len(images) == 1 and images[0] != "-"
    folder = Path(images[0]) if single and Path(images[0]).is_dir() else None
    if folder is not None and (reference is None or reference.is_dir()):
        return _compare_folder(folder, reference, models, views, form, output)
    form_given, form = form, format_of(output, form)
    paths, total = _named(images, null)
    alone = (score.Task(Path(path)) for path in paths)  # of which a network that compares says that it cannot
    tasks = alone if reference is None else score.paired(paths, reference)
    scorer = score.scorer_for(models, views)
    if single and folder is None and total == 1 and form_given is None and output is None:
        task = next(iter(tasks))
        typer.echo(score.line(scorer, score.Scored(task, *score.finite(scorer, task))))
        return 0
    rows = map(score.row, score.scored(scorer, tasks))
    return _write(rows, score.COLUMNS, [f"score: {scorer.scale}, {scorer.meaning}"], form, output, total)


def _compare_folder(
    folder: Path, references: Path | None, models: list[str], views: str, form: str | None, output: Path | None
) -> int:
    """Pairs of the challenge's naming; without a format they become the challenge's file."""
    from iqasuite.inference import score
    from iqasuite.inference.tables import format_of

    challenge = form is None and (output is None or output.suffix.lower() not in (".csv", ".jsonl"))
    output = output or (Path("output.txt") if challenge else None)
    if output is not None and output.is_dir():
        raise InputError(f"{output}: a folder; expected --output FILE for the scores")
    tasks, problems = score.challenge_tasks(folder, references)
    scorer = score.scorer_for(models, views)
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    results, legend = score.scored(scorer, tasks), f"{scorer.scale}, {scorer.meaning}"
    if not challenge:
        rows = map(score.row, results)
        status = _write(rows, score.COLUMNS, [f"score: {legend}"], format_of(output, form), output, len(tasks))
        return max(status, int(bool(problems)))
    assert output is not None  # as `challenge` chooses one
    return max(_write_challenge(results, output, legend, len(tasks)), int(bool(problems)))


def _write_challenge(results: Iterable, output: Path, legend: str, total: int) -> int:
    from iqasuite.inference import score
    from iqasuite.paths import write_atomic

    done = [result for result in _watched(results, total, "pair", True) if not _failed(result.error)]
    if done:
        write_atomic(output, score.challenge_lines(done))
        typer.echo(f"{output}: {len(done):,} of {total:,} pairs; {legend}")
    return 0 if len(done) == total and done else 1


def _failed(error: str | None) -> bool:
    """Whether there is an error, which is then said."""
    if error:
        typer.echo(f"error: {error}", err=True)
    return bool(error)


def _watched(items: Iterable, total: int | None, unit: str, quiet_lines: bool) -> Iterable:
    """Items with a progress bar, where somebody looks on and no lines go by."""
    from tqdm import tqdm

    seen = sys.stderr.isatty() and (quiet_lines or not sys.stdout.isatty())
    return tqdm(items, total=total, unit=unit, leave=False, disable=not seen)


def _write(
    rows: Iterable, columns: dict[str, str], legend: list[str], form: str, output: Path | None, total: int | None
) -> int:
    """Write rows as they come, name what failed; the exit status."""
    from iqasuite.inference.tables import lines, printable
    from iqasuite.paths import replacing

    failed: list[str] = []
    counted = {"all": 0, "failed": 0}

    def noted() -> Iterator:
        for row in _watched(rows, total, "picture", output is not None):
            counted["all"] += 1
            if "error" in row:
                counted["failed"] += 1
                failed[:] = [*failed, row["image"]][:_SHOWN]
                typer.echo(f"error: {printable(row['error'])}", err=True)
            yield row

    if form == "table":
        columns = {name: width for name, width in columns.items() if name != "error"}
    with replacing(output, "w", encoding="utf-8", newline="") if output else nullcontext(sys.stdout) as file:
        for line in chain(legend if form == "table" else [], lines(noted(), columns, form)):
            file.write(f"{line}\n")
        if output and counted["failed"] == counted["all"]:
            _say_failed(failed, counted)
            raise typer.Exit(1)  # and with it goes the file that holds nothing
    if output:
        good = counted["all"] - counted["failed"]
        typer.echo(f"{output}: {good:,} of {counted['all']:,} pictures; {'; '.join(legend)}")
    return _say_failed(failed, counted)


def _say_failed(failed: list[str], counted: dict[str, int]) -> int:
    from iqasuite.inference.tables import printable

    if counted["all"] == 0:
        typer.echo("error: no pictures named on standard input", err=True)
        return 1
    if failed:
        more = f" … and {counted['failed'] - len(failed):,} more" if counted["failed"] > len(failed) else ""
        names = ", ".join(map(printable, failed))
        typer.echo(f"error: {counted['failed']:,} of {counted['all']:,} not scored: {names}{more}", err=True)
    return int(bool(failed))


def evaluate(
    model: Annotated[
        str, typer.Option(help="Name or weights (iqasuite models), or a metric.", autocompletion=model_names)
    ],
    test_data: Annotated[
        str,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Data set, or folder of images with a CSV of ratings.",
            autocompletion=data_names,
        ),
    ],
    part: Annotated[str | None, typer.Option(metavar="train|val|test", help="Only this part of --split.")] = None,
    split: Annotated[Path | None, typer.Option(help="Split (CSV), as iqasuite train leaves it.")] = None,
    fold: Annotated[int, typer.Option(help="Of the split.")] = 0,
    observer: Annotated[
        str | None, typer.Option(help="Against this person's votes (an AIO: its own person's), not the mean.")
    ] = None,
    missing: Annotated[str, typer.Option(metavar="error|drop", help="Where images of the set are absent.")] = "error",
    form: Format = None,
    output: Annotated[Path | None, typer.Option(help="File for the numbers: .csv, .jsonl or .txt.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="CSV for what was predicted of each image.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time on a GPU.")] = 16,
    precision: Annotated[str, typer.Option(metavar="auto|float32", help="auto: bfloat16 where it is quick.")] = "auto",
) -> None:
    """Say how well a model agrees with a set's people.

    Errors and correlations have 95 % intervals and stand beside a trivial rule, the mean of these very images; below
    them is the SROCC of four statistics of the image, such as its sharpness, that took no training. MSE is on the set's
    own scale, to which the model's scale is stretched, end to end. Intervals are over contents, which are resampled as
    wholes. Models that compare are asked about the images that have a reference, both at the display size of a set that
    has one, and have no MSE. What cannot be known, such as an interval from two contents, is a dash, and a line says
    why.

    Where the model has seen some of the images in training, as far as its card says, a warning counts them.

    \b
    Example: iqasuite evaluate --test-data live_challenge --model mobile_nr
    Example: iqasuite evaluate --test-data my_study/ --model w.safetensors --part test --split w_split.csv
    """
    from iqasuite.inference.tables import format_of

    form = format_of(output, form)
    from iqasuite import datasets as sets
    from iqasuite.experiments import evaluating
    from iqasuite.weights import seen

    entry = None if _is_metric(model) else _found(model)
    predictor = None if entry is None or entry.needs_reference else _predictor_of(entry, precision)
    the_split, part = evaluating.read_split(split, part)
    data = sets.load(test_data, missing=missing)
    if observer is None:
        own = entry is not None and entry.card.get("dataset") == data.name and entry.observer in data.observers()
        # People of one name in two sets are not one person.
        observer = entry.observer if entry is not None and own else ""
    observer = data.check_observer(observer) if observer else ""
    rows = evaluating.rated(data, observer)
    if the_split is not None:
        rows = evaluating.in_part(rows, the_split, fold, part)
    if predictor is None:
        found = evaluating.compared_rows(model, data, rows, part, _watch_pictures)
    else:
        drop = missing == "drop"
        found = evaluating.predicted_rows(
            predictor, data, rows, observer, part, batch_size, drop, _warn, _watch_pictures
        )
    rows = rows[rows["image"].isin(found["image"])]
    if entry is not None and (why := seen.warning(entry, data, rows["image"].tolist(), part, the_split)):
        _warn(why)
    both = evaluating.pd.concat([found, evaluating.baseline_rows(found, rows["target"])], ignore_index=True)
    scores = evaluating.scores(both, rows, same_scale=predictor is not None)
    if why := evaluating.unknown(scores, found, rows):
        _warn(why)
    ranked = evaluating.above_statistics(data, found, rows)
    if predictions is not None:
        from iqasuite.csv_texts import frame_csv
        from iqasuite.paths import write_atomic

        write_atomic(predictions, frame_csv(found))
    _write_scores(scores, ranked, evaluating.heading(data, model, rows, observer, part), form, output)


def _is_metric(name: str) -> bool:
    from iqasuite.weights import catalogue

    try:
        catalogue.find(name)
    except InputError:
        return _compares(name)  # says what is wrong with one that is neither
    return False


def _found(name: str):
    from iqasuite.weights import catalogue

    return catalogue.find(name)


def _predictor_of(entry, precision: str):
    from iqasuite.inference.predictor import Predictor

    _check_precision(precision)
    return Predictor(entry, precision)


def _warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)


def _watch_pictures(items: Iterable, total: int) -> Iterable:
    return _watched(items, total, "picture", True)


def _write_scores(scores, ranked, heading: str, form: str, output: Path | None) -> None:
    """Scores for people (one row a metric, the baseline beside; then the rank baselines) or for programs, in one table.

    For programs a difference has its own metric, such as "srocc above sharpness".
    """
    from iqasuite.experiments import evaluating
    from iqasuite.inference.tables import lines
    from iqasuite.paths import replacing

    if form == "table":
        of_model = lines(evaluating.beside_baseline(scores), evaluating.COLUMNS, form)
        beside = lines(evaluating.beside_model(ranked), evaluating.RANK_COLUMNS, form)
        below = ["", "SROCC of rank baselines, statistics of each image that took no training"]
        tables: list[Iterable[str]] = [[heading], of_model, below, beside]
    else:
        every = evaluating.pd.concat([scores, ranked.iloc[1:]]).drop(columns=["protocol", "seeds"])
        columns = dict.fromkeys([*(c for c in every if c != "dataset"), "dataset"], "<0")
        tables = [lines(every.to_dict("records"), columns, form)]
    with replacing(output, "w", encoding="utf-8", newline="") if output else nullcontext(sys.stdout) as file:
        for line in chain(*tables):
            file.write(f"{line}\n")
    if output:
        typer.echo(f"{output}: {heading}")
