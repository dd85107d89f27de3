"""Runs of a suite: Snakemake decides which and when, papermill executes each notebook, nothing half-done is left."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil

from iqasuite.errors import InputError
from iqasuite.experiments import processes
from iqasuite.experiments.filing import Printed, file_notebook
from iqasuite.experiments.sharing import default_jobs, one_gpu, only_one
from iqasuite.experiments.suite import Run, Suite, check, read_suite
from iqasuite.paths import (
    check_writable,
    project_root,
    read_json,
    remove_unfinished_below,
    results_root,
    work_root,
    writable,
    write_atomic,
)
from iqasuite.report.provenance import cores, read_runs, record, without_machine_paths, write_run
from iqasuite.yaml_files import read_yaml, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode

log = logging.getLogger(__name__)
# Without it, reading any notebook builds 38 grammars for checks that no notebook asks for: a second for every run.
cast("dict", sys.modules).setdefault("rfc3987_syntax", None)
INTERRUPTED = 130  # exit status of a program that Ctrl-C ended
PATIENCE = 10.0  # seconds that a run waits for another process that executes it and is being ended


class RunFailed(Exception):
    """A notebook stopped with an error; the message is its last line."""


def marker(suite: str, run: str) -> Path:
    """File that says that a run is done, relative to the project's root.

    It lies in `work/`, beside the weights and predictions that later runs read, and not in the committed `results/`:
    a fresh clone has results without the means to go on from them.
    """
    return Path("work") / suite / "runs" / f"{run}.json"


def parameter_texts(suite: Suite) -> dict[str, str]:
    """What each run is given, as one text a run: Snakemake runs those again whose text has changed."""
    return {name: json.dumps(parameters, sort_keys=True) for name, parameters in check(suite).items()}


def run_suite(name: str, jobs: int | None = None, keep_going: bool = True, profile: str = "") -> int:
    """Run what is not yet done of a suite, then build its gallery, also when runs failed.

    Args:
        name: name or path of the suite.
        jobs: runs at one time; where None, `default_jobs()`, or what the profile says.
        keep_going: go on with runs that do not need a failed one.
        profile: of Snakemake, a folder or the name of one in `profiles/`, that hands each run to a cluster.

    Returns:
        Exit status: 0 when every run is done, 130 after Ctrl-C or SIGTERM: the runs at work are then ended.

    Raises:
        InputError: the suite is wrong, or its folders cannot be written (nothing has run then); it is running already;
            no such profile, or the package of its executor is not installed.
    """
    suite = read_suite(name)
    check(suite)
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs: found {jobs}; expected 1 or more")
    where = _on_cluster(profile, jobs) if profile else _on_this_machine(jobs or default_jobs())
    check_writable(results_root(suite.name))
    with only_one(work_root(suite.name) / ".lock", f"suite {suite.name} is running already"), _sigterm_as_ctrl_c():
        status = _interruptible(_snakemake(suite, where, keep_going), _environment(), bool(profile))
        if status == INTERRUPTED:
            log.error("interrupted; the same command goes on from here")
        _wait_for_runs(suite)
        from iqasuite.experiments import gallery

        page = gallery.build(suite)
    done = sum(described["status"] == "ok" for described in read_runs(suite.name).values())
    log.info("%d of %d runs ok; gallery: %s", done, len(suite.runs), page.relative_to(project_root()).as_posix())
    return status


def run_notebook(suite_name: str, run_name: str, threads: int = 1) -> Path:
    """Execute one run of a suite and file what it leaves.

    `results/<suite>/notebooks/<run>.ipynb` is the executed notebook, with its error where it failed;
    `results/<suite>/runs/<run>.json` its provenance; `work/<suite>/runs/<run>.json` exists only where it succeeded.

    Args:
        suite_name, run_name: of the suite, and of its run.
        threads: cores that the notebook may use.

    Raises:
        InputError: the suite, the run or its parameters are wrong, another process executes this run, or the disk is
            full.
        RunFailed: the notebook stopped with an error.
    """
    processes.end_with_those_above()
    suite = read_suite(suite_name)
    run = suite.run(run_name)
    parameters = check(suite)[run.name]
    check_writable(results_root(suite.name))
    message = f"run {run.name} of suite {suite.name} is being executed by another process"
    patience = -1 if "SLURM_JOB_ID" in os.environ else PATIENCE  # as long as the cluster gives it
    with only_one(_lock_of(suite, run), message, patience):
        _forget(suite.name, run.name)
        try:
            return _run_notebook(suite, run, parameters, threads)
        finally:
            _forget_what_did_not_end(suite.name, run.name)


def _run_notebook(suite: Suite, run: Run, parameters: dict[str, Any], threads: int) -> Path:
    started = time.time()
    with one_gpu():
        notebook, error = _execute(suite, run, parameters, threads)
    elapsed = time.time() - started
    file_notebook(notebook, suite, run)
    written = results_root(suite.name) / "runs" / f"{run.name}.json"  # by the notebook, unless it stopped before
    described = read_json(written) if written.is_file() else record(run.name, parameters, started=started)
    in_cells = sum(cell.metadata.get("papermill", {}).get("duration") or 0 for cell in notebook.cells)
    described |= {
        "status": "failed" if error else "ok",
        "error": without_machine_paths(error),
        "notebook": run.notebook,
        "foreach": dict(run.foreach),
        "wall_notebook_s": round(elapsed, 2),
        "overhead_s": round(elapsed - in_cells, 2),  # kernel start, reading, writing: what the batch adds
    }
    path = write_run(suite.name, described)
    if error:
        raise RunFailed(f"run {run.name} failed after {elapsed:.0f} s: {described['error']}")
    write_atomic(project_root() / marker(suite.name, run.name), path.read_bytes())
    done = sum((project_root() / marker(suite.name, each.name)).is_file() for each in suite.runs)
    log.info("run %s: ok, %.0f s (%d of %d done)", run.name, elapsed, done, len(suite.runs))
    return path


def _execute(suite: Suite, run: Run, parameters: dict[str, Any], threads: int) -> tuple[NotebookNode, str]:
    """The executed notebook and the last line of its error, "" where there is none."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    os.environ.update(_environment() | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    logging.getLogger("papermill").setLevel(logging.WARNING)
    executed = work_root(suite.name) / "notebooks" / f"{run.name}.ipynb"
    error = ""
    try:
        with writable(executed):
            executed.parent.mkdir(parents=True, exist_ok=True)
            papermill.execute_notebook(
                str(run.notebook_file),
                str(executed),
                parameters,
                kernel_name="python3",
                cwd=str(project_root()),
                progress_bar=False,
                autosave_cell_every=0,
                start_timeout=1200,  # a busy machine starts a kernel slowly
                stdout_file=Printed(run.name),
                stderr_file=Printed(run.name, bars=True),
                extra_arguments=["--log-level=ERROR"],
            )
    except PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}".splitlines()[0]
    except DeadKernelError:
        error = "DeadKernelError: the notebook's process was ended from outside; the usual reason is too little memory"
    return nbformat.read(executed, as_version=4), error


def _forget(suite: str, run: str) -> None:
    """Remove what an earlier run of that name left, so that nothing of it passes for this one's."""
    for kind in ("figures", "tables", "notebooks"):
        shutil.rmtree(results_root(suite) / kind / run, ignore_errors=True)
    for file in (f"runs/{run}.json", f"notebooks/{run}.ipynb", f"notebooks/{run}.html"):
        (results_root(suite) / file).unlink(missing_ok=True)
    (project_root() / marker(suite, run)).unlink(missing_ok=True)


def _forget_what_did_not_end(suite: str, run: str) -> None:
    """Remove the provenance of a run that says ok and was then ended before its notebook was filed."""
    described = results_root(suite) / "runs" / f"{run}.json"
    if (project_root() / marker(suite, run)).is_file() or not described.is_file():
        return
    if read_json(described)["status"] == "ok":
        described.unlink()


def _snakemake(suite: Suite, where: list[str], keep_going: bool) -> list[str]:
    if importlib.util.find_spec("snakemake") is None:
        raise ModuleNotFoundError("No module named 'snakemake'", name="snakemake")
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(project_root() / "Snakefile")),
        *("--directory", str(project_root())),
        *("--rerun-incomplete", "--nolock"),
        *(["--keep-going"] if keep_going else []),
        *("--config", f"suite={suite.path.as_posix()}", *where),
    ]


def _on_this_machine(jobs: int) -> list[str]:
    """The end of Snakemake's command: values for its Snakefile, then options."""
    return [f"jobs={jobs}", *("--cores", str(max(cores(), jobs)), "--resources", f"slots={jobs}", "--quiet", "all")]


def _on_cluster(profile: str, jobs: int | None) -> list[str]:
    """The same for a profile, whose executor must be installed; a number of jobs goes before the profile's."""
    folder = Path(profile) if Path(profile).is_dir() else project_root() / "profiles" / profile
    file = folder / "config.yaml"
    if not file.is_file():
        raise InputError(
            f"profile: found {profile!r}; expected a folder with config.yaml, or the name of one in profiles/"
        )
    content = read_yaml(file)
    executor = content.get("executor") if isinstance(content, dict) else None
    if not isinstance(executor, str):
        raise InputError(f"{file}: executor: found {shown(executor)}; expected a name such as slurm")
    package = f"snakemake-executor-plugin-{executor}"
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        raise InputError(
            f"{file}: executor: found {executor!r}, which is not installed; expected: pip install {package}"
        )
    return ["jobs=0", *("--workflow-profile", str(folder.resolve())), *(["--jobs", str(jobs)] if jobs else [])]


def _environment() -> dict[str, str]:
    """Environment of every run: plain lines, this interpreter's kernel and nobody else's, the same hashes each time."""
    return dict(os.environ) | {
        "IQASUITE_BATCH": "1",
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # NumPy's own threads wait for each other more than they work, beside torch's and those of other runs: ten times
        # slower at worst; what is large is computed by torch
        "OPENBLAS_NUM_THREADS": "1",
        # glibc returns every large block to the kernel and fetches it again: up to a third of a training step's time
        "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    }


def _interruptible(command: list[str], environment: dict[str, str], on_cluster: bool = False) -> int:
    """Exit status of a command; Ctrl-C ends it and all that it started, and is an exit status, too.

    On a cluster it reaches Snakemake once and through here, and Snakemake has a minute to cancel its jobs.
    """
    own = {"process_group": 0, "preexec_fn": _not_deaf_to_ctrl_c} if on_cluster else {}
    process = psutil.Popen(command, env=environment | processes.below_me(), cwd=project_root(), **own)
    try:
        status = process.wait()
        return status if status >= 0 else 128 - status  # as shells say that a signal ended it
    except KeyboardInterrupt:
        if on_cluster:
            process.send_signal(signal.SIGINT)
            with suppress(psutil.TimeoutExpired):
                process.wait(60)
        processes.end(process)
        return INTERRUPTED


def _not_deaf_to_ctrl_c() -> None:
    """A shell starts what goes to the background deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Being asked to end (kill, a cluster's scheduler) ends the batch as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _lock_of(suite: Suite, run: Run) -> Path:
    return work_root(suite.name) / "runs" / f".{run.name}.lock"


def _wait_for_runs(suite: Suite) -> None:
    """Until no run of the suite is at work: where Snakemake was killed, they end a moment later.

    Of a run that was killed itself nothing passes for done, and no half-written file stays in the results.
    """
    for run in suite.runs:
        if _lock_of(suite, run).exists():
            with only_one(_lock_of(suite, run), f"run {run.name} does not end", patience=60):
                _forget_what_did_not_end(suite.name, run.name)
    remove_unfinished_below(results_root(suite.name))
