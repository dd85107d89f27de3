"""`iqasuite suite …`, `gallery`: batches of notebooks and their pages."""

from __future__ import annotations

from typing import Annotated

import typer

from iqasuite.cli.options import Jobs

app = typer.Typer(help="Batches of notebooks.", no_args_is_help=True)


def _suites(incomplete: str) -> list[str]:
    from iqasuite.experiments.suite import known_suites

    return [name for name in known_suites() if name.startswith(incomplete)]


SuiteName = Annotated[
    str,
    typer.Argument(metavar="SUITE", help="Name of a file in notebooks/suites, or its path.", autocompletion=_suites),
]


@app.command("list")
def list_suites() -> None:
    """List the suites and what they are."""
    from iqasuite.experiments.suite import known_suites, read_suite

    for name in known_suites():
        suite = read_suite(name)
        typer.echo(f"{name:10} {len(suite.runs):4} runs   {suite.title}")


@app.command("check")
def check_suite(name: SuiteName) -> None:
    """Check a suite's runs, needs and parameters against its notebooks; run nothing."""
    from iqasuite.experiments.suite import check, read_suite

    suite = read_suite(name)
    check(suite)
    typer.echo(
        f"{suite.name}: {len(suite.runs)} runs of {len({run.notebook for run in suite.runs})} notebooks, all well"
    )


@app.command("run")
def run_suite(
    name: SuiteName,
    jobs: Jobs = None,
    keep_going: Annotated[bool, typer.Option(help="Go on with runs that do not need a failed one.")] = True,
    profile: Annotated[str, typer.Option(metavar="FOLDER", help="Runs go to a cluster: profiles/slurm.")] = "",
) -> None:
    """Run what is not done yet of a suite, then build its gallery."""
    from iqasuite.experiments import batch

    raise typer.Exit(batch.run_suite(name, jobs, keep_going, profile))


@app.command("new")
def new_suite(
    study: Annotated[str, typer.Argument(metavar="FOLDER", help="With images and a CSV of ratings; or a set's name.")],
    name: Annotated[str, typer.Option(help="Of the suite (default: that of the folder).")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Train for moments only, to see what there will be.")] = False,
    only_write: Annotated[bool, typer.Option("--only-write", help="Write the suite, run nothing.")] = False,
    jobs: Jobs = None,
) -> None:
    """A suite for a study of your own: written to notebooks/suites, fitted to the study, and run.

    Votes in, gallery out. A line estimates first how long it takes on this machine. The same command goes on where it
    was stopped.

    \b
    Example: iqasuite suite new studies/portraits
    """
    from iqasuite.experiments import batch
    from iqasuite.experiments import study as studies
    from iqasuite.experiments.sharing import default_jobs

    jobs = default_jobs() if jobs is None else jobs
    planned = studies.plan(study, name, quick, max(1, jobs))
    path = studies.write(planned)
    typer.echo(f"{path}: {len(planned.observers)} observers get an artificial one" if planned.observers else path)
    typer.echo(f"about {studies.duration(planned.minutes)} on this machine; then: iqasuite suite run {planned.name}")
    if not only_write:
        raise typer.Exit(batch.run_suite(planned.name, jobs))


@app.command("publish")
def publish_weights(
    name: SuiteName,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Of names in work/SUITE/weights: 'aios_0_*'.")],
    published: Annotated[str, typer.Argument(metavar="NAME", help="Of the file, or of the set of AIOs, in weights/.")],
) -> None:
    """Copy a run's weights to weights/, in half precision, with a card of what they reach on unseen data.

    \b
    Example: iqasuite suite publish demo "aios_0_*" demo_aios
    """
    from iqasuite.experiments.suite import read_suite
    from iqasuite.report.publish import publish

    for path in publish(read_suite(name).name, pattern, published):
        typer.echo(path)


@app.command("recompute")
def recompute_scores(name: SuiteName) -> None:
    """Compute a suite's scores anew from the predictions in its results, and say how far they differ.

    Nothing is trained; the set's own votes or scores are needed.

    \b
    Example: iqasuite suite recompute demo
    """
    from iqasuite.experiments import kept_predictions as kept

    compared = kept.recompute(name)
    difference = kept.largest_difference(compared)
    typer.echo(f"{name}: {len(compared)} scores computed anew; they differ by {difference:.2g} at most")
    if difference > kept.TOLERANCE:
        typer.echo(f"error: more than the {kept.TOLERANCE:g} that rounding explains", err=True)
        raise typer.Exit(1)


def run_notebook(suite: str, run: str, threads: int = 1) -> None:
    """One run of a suite: what the Snakefile calls."""
    from iqasuite.experiments import batch

    try:
        batch.run_notebook(suite, run, threads)
    except batch.RunFailed as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def build_gallery(
    name: Annotated[
        str,
        typer.Argument(metavar="[SUITE]", help="Whose pages; none: the page above all suites.", autocompletion=_suites),
    ] = "",
) -> None:
    """Build the pages of a suite from what its runs have left in results/; without one, results/index.html."""
    from iqasuite.experiments import gallery, landing

    typer.echo(gallery.build(name) if name else landing.build())
