"""`iqasuite train`: from a rated set to weights that `iqasuite score` takes, and a card that says how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iqasuite.cli.models import data_names, model_names


def train(
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Rated set, or folder of images with a CSV of ratings.",
            autocompletion=data_names,
        ),
    ],
    output: Annotated[Path, typer.Option(help="Weights (.safetensors); card and split go beside.")],
    model: Annotated[
        str | None, typer.Option(metavar="mobile_nr|trcnn|trcnn_faithful", help="Network; default mobile_nr.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Highest, at the start.")] = 1e-3,
    crop: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side of random training crops in pixels; 0 = whole images; default: 224, or what images hold.",
        ),
    ] = None,
    shown_at: Annotated[
        int | None,
        typer.Option(min=32, help="Shorter side in pixels at which images are shown; default: their own, at most 500."),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Backbone: scratch, mobilenet_v2, mobilenet_v3_small, …")] = None,
    width: Annotated[float | None, typer.Option(help="Of mobile_nr from scratch; 1 = 64 to 512 channels.")] = None,
    pretrained: Annotated[bool, typer.Option(help="Start the backbone from its ImageNet weights.")] = True,
    ranking: Annotated[
        str, typer.Option(metavar="plcc|soft_spearman|hinge|none", help="Term of the loss that looks at the order.")
    ] = "plcc",
    observer: Annotated[str | None, typer.Option(help="Learn this person's votes instead of the mean: an AIO.")] = None,
    seed: Annotated[int, typer.Option(help="Of split, first weights, order and crops.")] = 0,
    start: Annotated[
        str | None, typer.Option(help="Fine-tune these weights (name or file).", autocompletion=model_names)
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Default: OUTPUT with the ending .checkpoint.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there already.")] = False,
    missing: Annotated[str, typer.Option(metavar="error|drop", help="Where images of the set are absent.")] = "error",
    precision: Annotated[str, typer.Option(metavar="auto|float32", help="auto: bfloat16 where it is quick.")] = "auto",
) -> None:
    """Train a network on a rated set.

    The set is split by content in three parts, saved beside the weights: the training part is learnt from, the
    validation part chooses the epoch, the test part is read once, at the end, and its scores go into the card, with
    their 95 % intervals by content, and beside them a rule that looks at no picture and the SROCC of four statistics of
    the image, such as its sharpness. Where weights that training starts from have seen images of the test part, a
    warning counts them before anything is learnt. Nothing is written before the end
    but a checkpoint after each epoch: after Ctrl-C or a crash the same command with --resume goes on.

    \b
    Example: iqasuite train --data demo --output w.safetensors --epochs 5 --shown-at 128 --crop 96 --width 0.25
    Example: iqasuite train --data koniq10k --model trcnn --base mobilenet_v2 --output trcnn.safetensors
    Example: iqasuite train --data my_study/ --observer Anna --start mobile_nr --output aios/Anna.safetensors
    """
    from iqasuite.experiments import train_program as program

    given = {"base": base, "width": width}
    settings = program.Settings(
        data=data,
        output=output,
        model=model,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        crop=crop,
        shown_at=shown_at,
        arguments={k: v for k, v in given.items() if v is not None},
        pretrained=pretrained,
        ranking=ranking,
        observer=observer or "",
        seed=seed,
        start=start,
        checkpoint=checkpoint or output.with_suffix(".checkpoint"),
        missing=missing,
        precision=precision,
    )
    program.check(settings, resume, overwrite)
    try:
        program.run(settings, typer.echo, lambda text: typer.echo(f"warning: {text}", err=True))
    except KeyboardInterrupt:
        if settings.checkpoint.exists():
            typer.echo(f"interrupted; {settings.checkpoint} is kept: the same command with --resume goes on", err=True)
        raise
    except program.TrainingError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
