"""Runs of a suite: order, parameters, failures, resume, interrupts; nothing half-done passes for done."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from iqasuite.errors import InputError
from iqasuite.experiments import batch, filing, processes, sharing
from iqasuite.experiments.suite import Run, read_suite
from iqasuite.report.provenance import record, write_run

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
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no thread starts it)
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
@pytest.mark.parametrize(
    ("whom", "by", "status"),
    [
        ("everybody", signal.SIGINT, batch.INTERRUPTED),  # Ctrl-C in a terminal
        ("command", signal.SIGTERM, batch.INTERRUPTED),
        ("command", signal.SIGKILL, -signal.SIGKILL),
        ("snakemake", signal.SIGKILL, 128 + signal.SIGKILL),
    ],
)
def test_a_batch_that_is_ended_leaves_nobody_at_work_and_nothing_half_done(project, repository, whom, by, status):
    (project.root / "Snakefile").write_bytes((repository / "Snakefile").read_bytes())
    cells = (
        "from pathlib import Path; import os; Path('pid').write_text(str(os.getpid()))",
        "import time; time.sleep(9999)",
    )
    project.notebook("sleep", "", *cells)
    project.suite("runs:\n  - {name: long, notebook: sleep}")
    process = started("suite", "run", "small")
    pid_file = project.root / "pid"
    until(lambda: pid_file.is_file() and pid_file.read_text())
    assert process.poll() is None
    everybody = psutil.Process(process.pid).children(recursive=True)
    assert int(pid_file.read_text()) in [each.pid for each in everybody]
    if whom == "everybody":
        os.killpg(process.pid, by)
    else:
        snakemake = next(each for each in everybody if "snakemake" in each.cmdline())
        os.kill(process.pid if whom == "command" else snakemake.pid, by)
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == status, errors
    until(lambda: not [each for each in everybody if each.is_running() and each.status() != psutil.STATUS_ZOMBIE])
    left = {path.name for path in (project.root / "results").rglob("*") if path.is_file()}
    assert left == (set() if (whom, by) == ("command", signal.SIGKILL) else {"index.html", "README.md", "page.css"})
    assert not (project.root / batch.marker("small", "long")).exists()
    with sharing.only_one(project.root / "work/small/.lock", "still locked"):
        pass


def until(true):
    deadline = time.monotonic() + HANGS
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_a_run_is_executed_once_at_a_time(project, monkeypatch):
    project.notebook("first")
    project.suite("runs:\n  - {name: one, notebook: first}")
    monkeypatch.setattr(batch, "_run_notebook", lambda *_: pytest.fail("executed beside another"))
    monkeypatch.setattr(batch, "PATIENCE", 0)
    with (
        sharing.only_one(project.root / "work/small/runs/.one.lock", ""),
        pytest.raises(InputError, match="run one of"),
    ):
        batch.run_notebook("small", "one")


def test_processes_above_are_told_by_machine_number_and_start(monkeypatch):
    monkeypatch.delenv(processes.ABOVE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    mine = processes.below_me()[processes.ABOVE]
    machine, me = mine.split()
    number, _, start = me.partition("@")
    assert int(number) == os.getpid() and processes._is_there(me)
    assert not processes._is_there(f"{number}@{float(start) - 5}")  # another process had that number
    monkeypatch.setenv(processes.ABOVE, f"{machine} 1@2.0")
    assert processes.below_me()[processes.ABOVE] == f"{machine} 1@2.0 {me}"
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # started from here, and the cluster's to end
    assert processes.below_me()[processes.ABOVE] == f"{machine}7 {me}"
    processes.end_with_those_above()
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv(processes.ABOVE, "another-machine/ 1@2.0")
    assert processes.below_me()[processes.ABOVE] == mine
    processes.end_with_those_above()  # its processes are none of this machine's: nothing ends


def test_what_a_run_prints_reaches_the_screen_now_and_then(monkeypatch, caplog):
    monkeypatch.setattr(filing, "EVERY", 0)
    said = filing.Printed("features", bars=True)
    with caplog.at_level("INFO"):
        said.write("one\n\rtokens: 1 of 3\rtokens: 2 of 3")
        said.write("\n \n")
        said.write("UserWarning: no bar\n")
    assert caplog.messages == ["features: tokens: 2 of 3"]
    monkeypatch.setattr(filing, "EVERY", 1000)
    said = filing.Printed("features")
    said.write("too soon\n")
    assert caplog.messages == ["features: tokens: 2 of 3"]


def test_of_a_progress_bar_nothing_stays_in_the_notebook():
    output = nbformat.v4.new_output("stream", name="stderr", text="a\r\n\rtokens: 1 of 3\rtokens: 3 of 3\r    \rb\n")
    filing.clean_output(output)
    assert output["text"] == "a\r\nb\n"


def test_a_bar_that_came_bit_by_bit_leaves_no_lines(project):
    project.notebook("count", "", "1 + 1")
    project.suite("runs:\n  - {name: one, notebook: count}")
    suite = read_suite("small")
    notebook = nbformat.read(project.root / "notebooks" / "count.ipynb", as_version=4)
    bits = ["\repoch 1: 1 of 3", "\repoch 1: 3 of 3", "\r      \r", "done\n"]
    streams = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in bits]
    notebook.cells[-1].outputs = [*streams, nbformat.v4.new_output("stream", name="stdout", text="kept\n"), streams[2]]
    filing.file_notebook(notebook, suite, suite.runs[0])
    filed = nbformat.read(project.root / "results" / "small" / "notebooks" / "one.ipynb", as_version=4)
    assert [output.text for output in filed.cells[-1].outputs] == ["done\n", "kept\n"]


def test_a_very_long_line_is_filed_as_fast_as_any_other():
    output = nbformat.v4.new_output("stream", name="stdout", text="word " * 300_000)
    filing.clean_output(output)
    assert output["text"] == "word " * 300_000


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
    filing.clean_output(output)
    assert output["data"] == {"text/plain": "./a", "image/png": "ab/cd"}
    error = nbformat.v4.new_output(
        "error", ename="E", evalue=f"{project.root}/b", traceback=[f"in {project.root}/c.py"]
    )
    filing.clean_output(error)
    assert error["evalue"] == "./b" and error["traceback"] == ["in ./c.py"]


def test_a_run_that_was_ended_before_its_notebook_was_filed_does_not_pass_for_done(project, monkeypatch):
    project.notebook("write", "")
    project.suite("runs:\n  - {name: one, notebook: write}")
    described = project.root / "results/small/runs/one.json"

    def execute(suite, run, *_):
        write_run(suite.name, record(run.name, {}))
        return nbformat.v4.new_notebook(), ""

    def full(*_):
        assert described.is_file()
        raise InputError("one.ipynb: cannot be written")

    monkeypatch.setattr(batch, "_execute", execute)
    with monkeypatch.context() as patched, pytest.raises(InputError, match="one.ipynb"):
        patched.setattr(batch, "file_notebook", full)
        batch.run_notebook("small", "one")
    assert not described.exists()
    batch.run_notebook("small", "one")
    batch._wait_for_runs(read_suite("small"))
    assert described.exists()
    (project.root / batch.marker("small", "one")).unlink()  # as after a kill
    batch._wait_for_runs(read_suite("small"))
    assert not described.exists()


def test_a_run_forgets_what_the_one_before_left(project):
    for file in (
        "figures/one/a.webp",
        "tables/one/a.csv",
        "runs/one.json",
        "notebooks/one.ipynb",
        "figures/two/a.webp",
    ):
        path = project.root / "results" / "small" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    batch._forget("small", "one")
    left = [path for path in (project.root / "results").rglob("*") if path.is_file()]
    assert left == [project.root / "results/small/figures/two/a.webp"]


@pytest.mark.parametrize(
    ("total", "jobs", "wanted", "threads"),
    [
        *((8, 2, None, 4), (2, 2, None, 1), (1, 4, None, 1), (8, 4, 0, 8), (8, 4, 3, 3), (2, 2, 16, 2)),
        *((2, 1, None, 2), (8, 0, None, 4), (2, 0, 0, 4), (2, 0, 16, 16)),  # 0 jobs: a cluster
    ],
)
def test_parallel_runs_share_the_cores(monkeypatch, total, jobs, wanted, threads):
    monkeypatch.setattr(sharing, "cores", lambda: total)
    assert sharing.threads_of(Run("one", "first", cores=wanted), jobs) == threads


def test_one_job_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert sharing.gpus() == ["0", "2"] and sharing.default_jobs() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sharing, "cores", lambda: 3)
    assert sharing.gpus() == [] and sharing.default_jobs() == 3


def test_a_job_has_as_many_gpus_as_its_trainings_have_processes(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5,6,7")
    monkeypatch.setenv("IQASUITE_TRAINING_PROCESSES", "2")
    assert sharing.gpus() == ["0,2", "5,6"] and sharing.default_jobs() == 2
    with sharing.one_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sharing, "cores", lambda: 5)
    assert sharing.default_jobs() == 2


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g Device 0: (UUID: y)'\necho 'GPU 1: A (UUID: z)'\n"
    )
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sharing.gpus() == ["0", "1"]
    program.unlink()
    assert sharing.gpus() == []


def test_two_runs_take_two_gpus(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with sharing.one_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
        lock, gpu = sharing.free_gpu(["4", "7"])
        assert gpu == "7"
        lock.release()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with sharing.one_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["profile", "'mine'", "config.yaml"]),
        ("jobs: 2", ["config.yaml", "executor", "None", "slurm"]),
        ("executor: abacus", ["config.yaml", "'abacus'", "pip install snakemake-executor-plugin-abacus"]),
    ],
)
def test_a_profile_that_cannot_work_is_said_before_anything_runs(project, content, words):
    project.notebook("first")
    project.suite("runs:\n  - {name: one, notebook: first}")
    if content:
        (project.root / "profiles" / "mine").mkdir(parents=True)
        (project.root / "profiles" / "mine" / "config.yaml").write_text(content)
    with pytest.raises(InputError) as error:
        batch.run_suite("small", profile="mine")
    assert all(word in str(error.value) for word in words), error.value
    assert not (project.root / "work").exists()


def test_a_suite_runs_once_at_a_time(project, monkeypatch):
    project.notebook("first")
    project.suite("runs:\n  - {name: one, notebook: first}")
    with sharing.only_one(project.root / "work" / "small" / ".lock", ""), pytest.raises(InputError, match="already"):
        batch.run_suite("small")
    with pytest.raises(InputError, match="jobs: found 0"):
        batch.run_suite("small", jobs=0)
