"""A Slurm of one controller and two nodes on this machine, on loopback, with all of its state in one folder.

    python tests/cluster/little_slurm.py up FOLDER     # prints the line that leads Slurm's commands to it
    python tests/cluster/little_slurm.py down FOLDER

Two partitions, `normal` and, before it, `urgent`, whose jobs put those of `normal` back into the queue. No accounting.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
NODES = ("node1", "node2")
PATIENCE = 600  # seconds after which something hangs, on a busy machine too
CONFIGURATION = r"""
ClusterName=little
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=5
MinJobAge=86400
GresTypes=gpu
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]},{ports[2]}] \
  CPUs={cores} RealMemory={memory} Gres=gpu:1
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""


def missing() -> list[str]:
    """Programs of Slurm and munge that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextmanager
def little_slurm(folder: Path, cores: int = 2, memory: int = 16_000):
    """The cluster while the block runs; gives the environment that leads Slurm's commands to it."""
    try:
        yield up(folder, cores, memory)
    finally:
        down(folder)


def up(folder: Path, cores: int = 2, memory: int = 16_000) -> dict[str, str]:
    """Start the cluster, and wait until both nodes are idle.

    Args:
        folder: empty or absent; on a path short enough for a socket (100 characters).
        cores, memory: of each node; memory in MB. The machine may have less of both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    known = {"host": socket.gethostname().partition(".")[0], "user": getpass.getuser(), "folder": folder}
    text = CONFIGURATION.format(**known, ports=_free_ports(3), cores=cores, memory=memory)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu Count=1 File=/dev/null\n")  # a GPU for the queue, not for programs
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))}
    environment = own | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}/bin:{_path()}"}
    _keep_configuration(folder / "bin" / "srun", environment)
    files = {kind: f"--{kind}={folder}/munge.{kind.partition('-')[0]}" for kind in ("socket", "key-file", "pid-file")}
    munged = ["munged", "--force", *files.values(), f"--log-file={folder}/munged.log", f"--seed-file={folder}/seed"]
    commands = [munged, ["slurmctld"], *(["slurmd", "-N", node] for node in NODES)]
    for command in commands:  # each goes into the background by itself
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise RuntimeError(f"{command[0]} did not start: {done.stderr}")
    _until(lambda: _output(["sinfo", "-h", "-N", "-p", "normal", "-o", "%T"], environment).split() == ["idle"] * 2)
    return environment


def down(folder: Path) -> None:
    """Stop the cluster's daemons, and with them its jobs. The folder stays, with the logs."""
    environment = dict(os.environ) | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    if (folder / "slurmctld.pid").is_file():
        subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=False, timeout=PATIENCE)
        with suppress(TimeoutError):
            _until(lambda: not _output(["squeue", "-h"], environment), patience=30)
    for file in [folder / "slurmctld.pid", *folder.glob("slurmd-*.pid"), folder / "munge.pid"]:
        number = int(file.read_text()) if file.is_file() else 0
        if number:
            os.kill(number, signal.SIGTERM)
            _until(lambda number=number: not Path(f"/proc/{number}").exists())


def _keep_configuration(program: Path, environment: dict[str, str]) -> None:
    """Snakemake's plugin takes SLURM_CONF from the step of a job; where Slurm is installed, /etc says the same."""
    program.parent.mkdir()
    real = shutil.which(program.name, path=_path())
    program.write_text(f'#!/bin/sh\nSLURM_CONF="{environment["SLURM_CONF"]}" exec {real} "$@"\n')
    program.chmod(0o755)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _output(command: list[str], environment: dict[str, str]) -> str:
    options = {"env": environment, "check": False, "capture_output": True, "text": True, "timeout": PATIENCE}
    return subprocess.run(command, **options).stdout


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _until(true, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("the little Slurm did not get there; see the logs in its folder")
        time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("up", "down"):
        sys.exit(__doc__)
    place = Path(sys.argv[2]).resolve()
    if sys.argv[1] == "down":
        down(place)
    elif lacking := missing():
        sys.exit(f"{', '.join(lacking)}: not installed; on Debian and Ubuntu: apt-get install slurm-wlm munge")
    else:
        print(f"export SLURM_CONF={up(place)['SLURM_CONF']}")
