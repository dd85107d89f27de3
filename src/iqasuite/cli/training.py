"""`iqasuite train`: from a rated set to weights that `iqasuite score` takes, and a card that says how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqasuite.cli.options import Missing, Overwrite, Precision, RatedSet, check_precision, model_names
from iqasuite.cli.rating import train_from_votes, voted_set
from iqasuite.cli.results import warn

if TYPE_CHECKING:
    from iqasuite.experiments.train_program import Settings

_CROP = "Side of random training crops in pixels; 0 = whole images; default: 224, or what images hold."
_SHOWN_AT = "Shorter side in pixels at which images are shown; default: their own, at most 500."
_ARCHITECTURES, _RANKING = "mobile_nr|trcnn|trcnn_faithful", "plcc|soft_spearman|hinge|none"
Weights = Annotated[
    Path | None, typer.Option(help="Weights (.safetensors); card and split go beside. Needed but for --observer.")
]
Network = Annotated[str | None, typer.Option(metavar=_ARCHITECTURES, help="Network; default mobile_nr.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training part.")]
Step = Annotated[int, typer.Option(min=1, help="Images a step.")]
LearningRate = Annotated[float, typer.Option(help="Highest, at the start.")]
Crop = Annotated[int | None, typer.Option(min=0, help=_CROP)]
ShownAt = Annotated[int | None, typer.Option(min=32, help=_SHOWN_AT)]
Base = Annotated[str | None, typer.Option(help="Backbone: scratch, mobilenet_v2, mobilenet_v3_small, …")]
Width = Annotated[float | None, typer.Option(help="Of mobile_nr from scratch; 1 = 64 to 512 channels.")]
Pretrained = Annotated[bool, typer.Option(help="Start the backbone from its ImageNet weights.")]
Ranking = Annotated[str, typer.Option(metavar=_RANKING, help="Term of the loss that looks at the order.")]
Observer = Annotated[str, typer.Option(help="Learn this observer's votes instead of the mean: an AIO.")]
Seed = Annotated[int, typer.Option(help="Of split, first weights, order and crops.")]
Start = Annotated[str | None, typer.Option(help="Fine-tune these weights (name or file).", autocompletion=model_names)]
Checkpoint = Annotated[Path | None, typer.Option(help="Default: OUTPUT with the ending .checkpoint.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")]


def train(
    data: RatedSet,
    output: Weights = None,
    model: Network = None,
    epochs: Epochs = 20,
    batch_size: Step = 16,
    learning_rate: LearningRate = 1e-3,
    crop: Crop = None,
    shown_at: ShownAt = None,
    base: Base = None,
    width: Width = None,
    pretrained: Pretrained = True,
    ranking: Ranking = "plcc",
    observer: Observer = "",
    seed: Seed = 0,
    start: Start = None,
    checkpoint: Checkpoint = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    missing: Missing = "error",
    precision: Precision = "auto",
) -> None:
    """Train a network on a rated set.

    The set is split by content in three parts, saved beside the weights: one is learnt from, one chooses the epoch,
    the test part is read once, at the end. Its scores go into the card, with 95 % intervals by content, a rule that
    looks at no image, and the SROCC of four statistics of the image. A warning counts test images that the weights of
    --start have seen. A checkpoint is written after each epoch: the same command with --resume goes on.
    With --observer and without --output an observer is learnt from few votes of iqasuite rate or the set, in seconds:
    what is personal, behind the default model or that of --start, goes into weights/SET/OBSERVER.safetensors.

    \b
    Example: iqasuite train --data demo --output w.safetensors --epochs 5 --shown-at 128 --crop 96 --width 0.25
    Example: iqasuite train --data my_study/ --observer Anna --start mobile_nr --output aios/Anna.safetensors
    Example: iqasuite train --data my_study/ --observer Anna --start aios/Anna.safetensors
    """
    if output is None:
        return train_from_votes(data, observer, start or "")
    from iqasuite.experiments.train_program import Settings

    settings = Settings(
        data=data,
        output=output,
        model=model,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        crop=crop,
        shown_at=shown_at,
        arguments={name: given for name, given in (("base", base), ("width", width)) if given is not None},
        pretrained=pretrained,
        ranking=ranking,
        observer=observer,
        seed=seed,
        start=start,
        checkpoint=checkpoint or output.with_suffix(".checkpoint"),
        missing=missing,
        precision=precision,
    )
    _run(settings, resume, overwrite)


def _run(settings: Settings, resume: bool, overwrite: bool) -> None:
    from iqasuite.experiments import train_program as program

    check_precision(settings.precision)
    program.check(settings, resume, overwrite)
    try:
        rated = voted_set(settings.data, settings.observer) if settings.observer else None
        program.run(settings, typer.echo, warn, rated and rated[0])
    except KeyboardInterrupt:
        if settings.checkpoint.exists():
            typer.echo(f"interrupted; {settings.checkpoint} is kept: the same command with --resume goes on", err=True)
        raise
    except program.TrainingError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
