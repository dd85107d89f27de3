"""Runs of a suite: order, parameters, failures, resume, interrupts; nothing half-done passes for done."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
from PIL import Image

from iqasuite import batch
from iqasuite.errors import InputError
from iqasuite.suite import Run

HANGS = 1200  # seconds after which something hangs; how fast a batch is does not matter here
WRITE = (
    "from pathlib import Path\nPath('seen').mkdir(exist_ok=True)\n(Path('seen') / run).open('a').write(f'{value}\\n')"
)
MACHINE = "import os\nprint(os.getcwd(), os.environ['OMP_NUM_THREADS'], hash('a'))"


def started(*arguments):
    """The iqasuite command in a process group of its own, as a terminal would start it, and not deaf to Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-m", "iqasuite", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture
def chain(project, repository):
    """Three runs: `first`, `wrong` that fails, and `last` that needs `first`."""
    (project.root / "Snakefile").write_bytes((repository / "Snakefile").read_bytes())
    project.notebook("write", "value: int = 0  # written\n", WRITE, MACHINE)
    project.notebook("fail", "", "from iqasuite.errors import InputError", "raise InputError('votes.csv: no votes')")
    project.suite("""
parameters: {value: 1}
runs:
  - {name: last, notebook: write, needs: [first], parameters: {value: 2}}
  - {name: first, notebook: write}
  - {name: wrong, notebook: fail, needs: [first]}
  - {name: never, notebook: write, needs: [wrong]}
""")
    return project.root


@pytest.mark.slow
def test_a_batch_goes_on_after_a_failure_and_resumes(chain):
    process = started("suite", "run", "small", "--jobs", "2")
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 1
    assert "error: run wrong failed" in errors and "InputError: votes.csv: no votes" in errors
    assert "2 of 4 runs ok; gallery: results/small/index.html" in errors
    assert sorted(path.name for path in chain.glob("seen/*")) == ["first", "last"]
    assert (chain / "seen" / "last").read_text() == "2\n"
    results = chain / "results" / "small"
    assert json.loads((results / "runs" / "wrong.json").read_text())["status"] == "failed"
    assert "no votes" in (results / "notebooks" / "wrong.ipynb").read_text()
    assert (results / "notebooks" / "wrong.html").is_file()
    done = json.loads((results / "runs" / "last.json").read_text())
    assert done["status"] == "ok" and done["parameters"]["value"] == 2
    assert 0 < done["overhead_s"] <= done["wall_notebook_s"]
    executed = (results / "notebooks" / "last.ipynb").read_text()
    assert str(chain) not in executed and sys.prefix not in executed

    suite = chain / "notebooks" / "suites" / "small.yaml"
    suite.write_text(suite.read_text().replace("{value: 2}", "{value: 3}").replace("notebook: fail", "notebook: write"))
    process = started("suite", "run", "small", "--jobs", "2")
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    assert (chain / "seen" / "first").read_text() == "1\n"  # done before, not run again
    assert (chain / "seen" / "last").read_text() == "2\n3\n"  # its parameter has changed
    assert (chain / "seen" / "never").read_text() == "1\n"  # waited for `wrong`


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_done(project, repository):
    (project.root / "Snakefile").write_bytes((repository / "Snakefile").read_bytes())
    cells = (
        "from pathlib import Path; import os; Path('pid').write_text(str(os.getpid()))",
        "import time; time.sleep(9999)",
    )
    project.notebook("sleep", "", *cells)
    project.suite("runs:\n  - {name: long, notebook: sleep}")
    process = started("suite", "run", "small")
    pid_file = project.root / "pid"
    deadline = time.monotonic() + HANGS
    while not (pid_file.is_file() and pid_file.read_text()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == batch.INTERRUPTED, errors
    assert not [path for path in (project.root / "results").rglob("*") if path.is_file()]
    assert not (project.root / batch.marker("small", "long")).exists()
    deadline = time.monotonic() + HANGS
    while _alive(int(pid_file.read_text())):
        assert time.monotonic() < deadline, "the notebook's process still runs"
        time.sleep(0.2)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_notebook_whose_process_dies_is_a_failed_run(project):
    project.notebook("die", "", "import os; os._exit(9)")
    project.suite("runs:\n  - {name: one, notebook: die}")
    with pytest.raises(batch.RunFailed, match="run one failed .* too little memory"):
        batch.run_notebook("small", "one")
    assert json.loads((project.root / "results/small/runs/one.json").read_text())["status"] == "failed"


def test_outputs_lose_paths_and_widgets(project):
    data = {"text/plain": f"{project.root}/a", "application/vnd.jupyter.widget-view+json": {}, "image/png": "ab/cd"}
    output = nbformat.v4.new_output("display_data", data)
    batch._clean_output(output)
    assert output["data"] == {"text/plain": "./a", "image/png": "ab/cd"}
    error = nbformat.v4.new_output(
        "error", ename="E", evalue=f"{project.root}/b", traceback=[f"in {project.root}/c.py"]
    )
    batch._clean_output(error)
    assert error["evalue"] == "./b" and error["traceback"] == ["in ./c.py"]


def test_grids_of_photographs_are_kept_as_jpeg(project):
    pixels = np.random.default_rng(0).integers(96, 160, (400, 300, 3), dtype=np.uint8)
    pixels[100:200] = 250  # what a photograph has beside noise
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(written.getvalue()).decode()})
    batch._clean_output(output)
    assert list(output["data"]) == ["image/jpeg"]
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(output["data"]["image/jpeg"]))))
    assert kept.shape == pixels.shape and np.abs(kept.astype(int) - pixels).mean() < 3


def test_a_run_forgets_what_the_one_before_left(project):
    for file in ("figures/one/a.png", "tables/one/a.csv", "runs/one.json", "notebooks/one.ipynb", "figures/two/a.png"):
        path = project.root / "results" / "small" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    batch._forget("small", "one")
    left = [path for path in (project.root / "results").rglob("*") if path.is_file()]
    assert left == [project.root / "results/small/figures/two/a.png"]


@pytest.mark.parametrize(
    ("total", "jobs", "wanted", "threads"),
    [(8, 2, None, 4), (2, 2, None, 1), (1, 4, None, 1), (8, 4, 0, 8), (8, 4, 3, 3), (2, 2, 16, 2), (2, 1, None, 2)],
)
def test_parallel_runs_share_the_cores(monkeypatch, total, jobs, wanted, threads):
    monkeypatch.setattr(batch, "cores", lambda: total)
    assert batch.threads_of(Run("one", "first", cores=wanted), jobs) == threads


def test_one_job_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert batch.gpus() == ["0", "2"] and batch.default_jobs() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(batch, "cores", lambda: 3)
    assert batch.gpus() == [] and batch.default_jobs() == 3


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g Device 0: (UUID: y)'\necho 'GPU 1: A (UUID: z)'\n"
    )
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert batch.gpus() == ["0", "1"]
    program.unlink()
    assert batch.gpus() == []


def test_two_runs_take_two_gpus(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with batch._one_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
        lock, gpu = batch._free_gpu(["4", "7"])
        assert gpu == "7"
        lock.release()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with batch._one_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"


def test_a_suite_runs_once_at_a_time(project, monkeypatch):
    project.notebook("first")
    project.suite("runs:\n  - {name: one, notebook: first}")
    with batch._only_one(project.root / "work" / "small" / ".lock", ""), pytest.raises(InputError, match="already"):
        batch.run_suite("small")
    with pytest.raises(InputError, match="jobs: found 0"):
        batch.run_suite("small", jobs=0)
