"""A suite on a Slurm of two nodes: a job killed in mid-training and a drained node change no result."""

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import little_slurm as slurm

HANGS = 2000  # seconds after which something hangs; how fast a cluster is does not matter here
RUNS = """
runs:
  - {name: train, notebook: train, cores: 1, resources: {gpus: 1, memory_mb: 1000, minutes: 10}}
  - {name: score, notebook: score, cores: 1, needs: [train], resources: {memory_mb: 1000}}
"""
TRAIN = """
import time

import pandas as pd
import torch
from torch import nn

from iqasuite.experiments.run import Run
from iqasuite.training.batches import ArrayBatches
from iqasuite.training.loop import Followed, Schedule, fit

this = Run.from_notebook()


def epoch_ended(line):  # its checkpoint is written; the third waits until it is told to go on
    with (this.work / "epochs").open("a") as file:
        file.write(line.partition(":")[0] + "\\n")
    while line.startswith("epoch 3/") and not (this.work / "go_on").exists():
        time.sleep(0.1)


generator = torch.Generator().manual_seed(0)
images, targets = torch.randn(24, 3, 8, 8, generator=generator), torch.rand(24, 1, generator=generator)
torch.manual_seed(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Dropout(0.2), nn.Linear(8, 1))
followed = Followed(this.checkpoints / "training.pt", epoch_ended)
fit(model, ArrayBatches(images, targets, 4), None, nn.functional.mse_loss, Schedule(epochs=5), followed=followed)
predicted = model(images).detach().flatten().double().numpy()
this.predictions(pd.DataFrame({"target": targets.flatten().double().numpy(), "prediction": predicted}), "outputs")
this.finish()
"""
SCORE = """
import pandas as pd

from iqasuite.experiments.run import Run

this = Run.from_notebook()
predictions = pd.read_csv(this.work / "outputs" / "train.csv")
this.table(predictions.corr(), "correlation", "Of targets and predictions.")
this.finish()
"""


@pytest.fixture
def cluster(tmp_path_factory):
    """Environment in which Slurm's commands reach a cluster of two nodes with one core each."""
    if lacking := slurm.missing():
        pytest.skip(f"Slurm is not installed ({', '.join(lacking)}): apt-get install slurm-wlm munge")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed: pip install 'iqasuite[cluster]'")
    with slurm.little_slurm(tmp_path_factory.mktemp("slurm"), cores=1, memory=2_000) as environment:
        yield environment


@pytest.mark.slow
def test_a_killed_job_and_a_drained_node_change_no_result(project, repository, cluster):
    shutil.copy(repository / "Snakefile", project.root)
    shutil.copytree(repository / "profiles", project.root / "profiles")
    project.notebook("train", "", TRAIN)
    project.notebook("score", "", SCORE)
    work = {name: project.root / "work" / project.suite(RUNS, name) for name in ("here", "there")}
    work["here"].mkdir(parents=True)
    (work["here"] / "go_on").touch()
    command = [sys.executable, "-m", "iqasuite", "suite", "run"]
    here = subprocess.run([*command, "here"], env=cluster, capture_output=True, text=True, timeout=HANGS)
    assert here.returncode == 0, here.stderr

    there = subprocess.Popen([*command, "there", "--profile", "slurm"], env=cluster, stderr=subprocess.PIPE, text=True)
    until(lambda: epochs(work["there"]) == epochs(work["here"])[:3] or there.poll() is not None)
    ((killed, state, node),) = jobs(cluster)
    assert state == "RUNNING"
    asked = said(cluster, "scontrol", "show", "job", killed)
    assert all(words in asked for words in ("TimeLimit=00:10:00", "mem=1000M", "gres:gpu:1", "Requeue=1")), asked
    said(cluster, "scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    said(cluster, "scancel", killed)
    until(lambda: jobs(cluster)[0][1] == "CANCELLED")
    (work["there"] / "go_on").touch()
    _, errors = there.communicate(timeout=HANGS)
    assert there.returncode == 0, errors
    assert "2 of 2 runs ok" in errors

    assert epochs(work["there"]) == epochs(work["here"])  # the third checkpoint was gone on from
    until(lambda: "COMPLETING" not in {state for _, state, _ in jobs(cluster)})
    _, *later = jobs(cluster)
    (other,) = {"node1", "node2"} - {node}
    assert [(state, place) for _, state, place in later] == [("COMPLETED", other)] * 2
    for file in ("work/{}/outputs/train.csv", "results/{}/tables/score/correlation.csv"):
        one, two = (project.root / file.format(name) for name in ("here", "there"))
        assert one.read_bytes() == two.read_bytes()


def epochs(work: Path) -> list[str]:
    """What the training has written of its epochs, in all of its jobs."""
    return (work / "epochs").read_text().splitlines() if (work / "epochs").is_file() else []


def jobs(environment) -> list[list[str]]:
    """Number, state and node of each job, the ended ones too, in the order in which they came."""
    lines = said(environment, "squeue", "--noheader", "--states=all", "--format=%i %T %N").splitlines()
    return sorted((line.split() for line in lines), key=lambda job: int(job[0]))


def said(environment, *command: str) -> str:
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=HANGS).stdout


def until(true):
    deadline = time.monotonic() + HANGS
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
