# Order, resume, retries and parallel jobs of one suite. Started by `iqasuite suite run`, which checks the suite first.
# One rule: a run is a notebook, its parameters and the runs it needs; the marker says that it is done.
import os
import sys

from iqasuite.experiments import processes
from iqasuite.experiments.batch import marker, parameter_texts
from iqasuite.experiments.sharing import default_jobs, threads_of
from iqasuite.experiments.suite import read_suite

SUITE = read_suite(config["suite"])
RUNS = {run.name: run for run in SUITE.runs}
PARAMETERS = parameter_texts(SUITE)
JOBS = int(config["jobs"]) if "jobs" in config else default_jobs()  # 0: a cluster, which says itself how many
PYTHON = sys.executable

processes.end_with_those_above()
os.environ.update(processes.below_me())


wildcard_constraints:
    run="[^/]+",


rule all:
    input:
        [marker(SUITE.name, run) for run in RUNS],


rule notebook:
    input:
        notebook=lambda wildcards: RUNS[wildcards.run].notebook_file,
        needs=lambda wildcards: [marker(SUITE.name, run) for run in RUNS[wildcards.run].needs],
    output:
        marker(SUITE.name, "{run}"),
    params:
        parameters=lambda wildcards: PARAMETERS[wildcards.run],
    threads: lambda wildcards: threads_of(RUNS[wildcards.run], JOBS)
    resources:
        slots=1,
        gpu=lambda wildcards: RUNS[wildcards.run].resources["gpus"],
        mem_mb=lambda wildcards: RUNS[wildcards.run].resources["memory_mb"],
        runtime=lambda wildcards: RUNS[wildcards.run].resources["minutes"],
    shell:
        '"{PYTHON}" -m iqasuite run-notebook "{SUITE.path}" "{wildcards.run}" --threads {threads}'
