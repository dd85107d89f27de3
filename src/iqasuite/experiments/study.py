"""A suite for a study of one's own: what its votes and images allow, with an estimate of the time on this machine."""

from __future__ import annotations

import logging
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from iqasuite.datasets import load
from iqasuite.datasets.adapters import NAMES, card
from iqasuite.datasets.dataset import Dataset
from iqasuite.datasets.splits import by_content
from iqasuite.errors import InputError
from iqasuite.experiments.suite import suites_folder
from iqasuite.paths import project_root, write_atomic
from iqasuite.yaml_files import valid_name

_log = logging.getLogger(__name__)
FOLDS, LEAST_SOURCES = 5, 10  # so many folds where there are so many sources, else three
QUICK = ", quick"  # in the method's name: too short a training to conclude from
_NOTEBOOK_S = 25.0  # seconds of one core that a notebook takes besides what it computes, AMD EPYC


@dataclass(frozen=True)
class Study:
    """A suite that is planned.

    Attributes:
        name: of the suite.
        text: its file's content.
        observers: those that get an AIO; empty where none has votes enough.
        minutes: that it takes with `jobs` runs at a time, about.
    """

    name: str
    text: str
    observers: tuple[str, ...]
    minutes: float

    @property
    def path(self) -> Path:
        """Its file."""
        return suites_folder() / f"{self.name}.yaml"


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice, as a file by hand has it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def plan(study: str, name: str = "", quick: bool = False, jobs: int = 1) -> Study:
    """A suite fitted to a data set: ratings, data set overview, a stem that learns from photographs, a network of all
    observers, an AIO for each who has rated enough, evaluation, attention; models of MOS alone where none has.

    Args:
        study: a folder with images and a CSV of ratings, or the name of a set.
        name: of the suite; "" = that of the folder, or of the set.
        quick: trainings of moments on one fold, for a look at what will come; the method's name has it.
        jobs: runs at a time, for the estimate.

    Raises:
        InputError: the set cannot be loaded, has no votes and no scores, or too few scenes for a split.
    """
    data = load(study, missing="drop")
    if data.absent:
        _log.warning("%s: %d images are absent and left out", data.name, len(data.absent))
    where = _where(study)
    name = valid_name(name or re.sub(r"[^A-Za-z0-9_-]+", "_", Path(where).name), "--name")
    n_folds, observers = _folds(data)
    runs, seconds = _runs(data, n_folds, observers, quick)
    content = {
        "suite": name,
        "title": f"{data.name}: {_title(data, observers)}",
        "description": _description(data, observers, quick),
        "parameters": {"dataset": where, "missing": "drop"} | ({"n_folds": n_folds} if n_folds else {}) | {"seed": 0},
        "highlights": _highlights(runs),
        "runs": runs,
    }
    head = "# Written by `iqasuite suite new`. It is yours: change it as you like, what has changed runs again.\n"
    text = head + yaml.dump(
        content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )
    return Study(name, text, tuple(observers), seconds / jobs / 60)


def write(planned: Study) -> Path:
    """Write the suite's file; one of the same content stays.

    Raises:
        InputError: another suite has this name.
    """
    path = planned.path
    if path.is_file() and path.read_text(encoding="utf-8") != planned.text:
        raise InputError(
            f"{path}: there is a suite of this name with other content; "
            f"expected another --name, or go on with it: iqasuite suite run {planned.name}"
        )
    return write_atomic(path, planned.text)


def _where(study: str) -> str:
    """The set as notebooks load it: by its name, or by the folder's path, below the project's root where it is."""
    if study in NAMES:
        return study
    folder = Path(study).resolve()
    return (folder.relative_to(project_root()) if folder.is_relative_to(project_root()) else folder).as_posix()


def _folds(data: Dataset) -> tuple[int, list[str]]:
    """Number of folds (0: none needed) and the observers who have rated enough images of each part of each fold."""
    from iqasuite.training.aio import votes_by_part

    sources = data.sources_of_images().nunique()
    if not data.has_pixels:
        return 0, []
    if sources < 3:
        raise InputError(f"{data.name}: {sources} scenes; expected 3 or more, one each to train, choose and test on")
    n_folds = FOLDS if sources >= LEAST_SOURCES else 3
    split, observers = by_content(data.images, n_folds, 0, data.sources), data.observers()
    for fold in range(n_folds) if observers else ():
        table = votes_by_part(data, split, fold)
        observers = [name for name in observers if name in set(table.loc[table["enough"], "observer"])]
    return n_folds, observers


def _runs(data: Dataset, n_folds: int, observers: list[str], quick: bool) -> tuple[list[dict], float]:
    """Runs of the suite, and about how many seconds of one core they take."""
    boot = {"n_boot": 200} if quick else {}
    runs = [_entry("ratings", "01_look_at_the_ratings", boot)] if len(data.votes) else []
    if not data.has_pixels:
        return runs, _NOTEBOOK_S
    runs.append(_entry("sheet", "02_data_sets", {"planted": 0, "against": []} if quick else {"planted": 10}))
    seconds = 0.0
    if observers:
        network, seconds = _network(data)
        looked_at = {"runs": "aios_0_*" if len(observers) > 1 else "aios_0"}
        runs += _observers(network, n_folds, quick)
        runs.append(_entry("evaluate", "05_evaluate_aios", boot, needs=["aios_*", "everybody_*"], cores="all"))
        runs.append(_entry("attention", "06_attention_maps", looked_at, needs=["aios_0"], cores="all"))
        n_votes = data.votes["observer"].isin(observers).sum()
        trained, epochs = (1, (3, 2)) if quick else (n_folds, (24, 15))
        steps = 2 * trained * (epochs[0] * len(data.images) + epochs[1] * n_votes) / 32
        seconds += (0.3 if quick else 1) * 120 + 0.03 * steps
    else:
        of_mos = {"n_folds": n_folds} | boot
        runs.append(_entry("patches", "07_patch_features", of_mos))
        runs.append(_entry("benchmark", "13_benchmark", of_mos, needs=["patches"]))
        seconds += 1.0 * len(data.images)
    n_runs = len(runs) + (2 * n_folds - 2 if observers and not quick else 0)
    return runs, seconds + n_runs * _NOTEBOOK_S


def _entry(name: str, notebook: str, parameters: dict, **more: object) -> dict:
    """A run of a suite's file; `more` are its keys needs, cores and foreach."""
    return {"name": name, "notebook": notebook, **more} | ({"parameters": parameters} if parameters else {})


def _observers(network: dict, n_folds: int, quick: bool) -> list[dict]:
    """The stem, the network of all observers and the AIOs, as in suite lab."""
    aio = {
        "method": f"ViT-IQA, {network['stem']['name'].replace('+', ' + ')} stem{QUICK if quick else ''}",
        "tune": "trunk",
    }
    stem = {"steps": 2, "epochs": 3} if quick else {"steps": 24, "epochs": 30}
    everybody = {"epochs": 3, "patience": 0} if quick else {"epochs": 24, "patience": 10}
    aios = {"epochs": 2, "patience": 0} if quick else {"epochs": 15, "patience": 6}
    folds = {"fold": [0] if quick else f"0..{n_folds - 1}"}
    of_stem = {
        "objective": "encodings",
        "photographs": ["demo", *(["kodak24"] if card("kodak24").folder().is_dir() else [])],
        "network": network,
        "training": {"batch_size": 256, "lr": 2e-3, **stem},
    }
    of_everybody = {
        "observer": "everybody",
        "network": {**aio, "start": "stem"},
        "training": {"lr": 1e-3, **everybody},
        "viewing": {"hidden": 0.3},
    }
    of_aios = {
        "observer": "all",
        "network": {**aio, "start": "everybody_{fold}"},
        "training": {"lr": 1.5e-4, "dropout": 0.0, **aios},
    }
    return [
        _entry("stem", "03_train_vit_iqa", of_stem, cores="all"),
        _entry("everybody_{fold}", "04_finetune_aio", of_everybody, needs=["stem"], foreach=folds),
        _entry("aios_{fold}", "04_finetune_aio", of_aios, needs=["everybody_{fold}"], foreach=folds),
    ]


def _network(data: Dataset) -> tuple[dict, float]:
    """The network for images of this size and the seconds that its stem takes for all.

    The spectrum's patches are as large as six a side allow, up to the 240 pixels of suite lab.
    """
    import torch

    from iqasuite.models import create

    assert data.display_size is not None  # a study of one's own has one
    height, width = data.display_size
    shorter = min(height, width)
    stem: dict = {"name": "spectrum+efficientnet_lite2", "cells": 6, "taps": [3, 4, 5]}
    stem |= {"scales": sorted({min(720, shorter), min(1080, shorter)}), "components": min(128, len(data.images))}
    stem["patch_size"] = max(16, min(240, shorter // 6 // 8 * 8))
    trunk = {"size": "tiny", "dim": 192, "depth": 3, "dim_head": 48, "mlp_dim": 384, "dropout": 0.2, "emb_dropout": 0.2}
    network = {"image_size": shorter, "stem": stem, "trunk": trunk, "head": {"name": "ordinal"}}
    model = create("vit_iqa", **network).eval()
    began = time.perf_counter()
    with torch.inference_mode():
        model.get_submodule("stem")(torch.zeros(1, 3, height, width))
    return network, (time.perf_counter() - began) * len(data.images)


def _title(data: Dataset, observers: list[str]) -> str:
    if observers:
        return f"{len(observers)} observers and their AIOs" if len(observers) > 1 else "an observer and their AIO"
    return "the votes" if not data.has_pixels else "models of the MOS"


def _description(data: Dataset, observers: list[str], quick: bool) -> str:
    from iqasuite.training.aio import LEAST_VOTES

    n_observers = data.votes["observer"].nunique()
    text = f"{len(data.images)} images of {data.images['content'].nunique()} scenes"
    text += f", {len(data.votes)} votes of {n_observers} observers." if n_observers else "; mean opinion scores."
    if n_observers > len(observers) and data.has_pixels:
        least = ", ".join(f"{number} {part}" for part, number in LEAST_VOTES.items())
        text += f" {n_observers - len(observers)} of them rated fewer than {least} images of some fold and get no AIO."
    if observers:
        text += " Folds are by scene: no network has seen the scene before. One training."
    return text + (" QUICK: trained for moments, to see what there will be; conclude nothing from it." if quick else "")


def _highlights(runs: list[dict]) -> list[str]:
    names = {run["name"] for run in runs}
    shown = {
        "evaluate": ("methods", "mos", "specificity_summary", "observer_scores", "specificity", "bias"),
        "benchmark": ("methods", "medians"),
        "ratings": ("votes", "agreement"),
        "attention": ("comparison",),
    }
    return [f"{run}/{figure}" for run, figures in shown.items() if run in names for figure in figures]


def duration(minutes: float) -> str:
    """About so long, in words."""
    if minutes < 90:
        return f"{max(1, math.ceil(minutes))} minutes"
    return f"{minutes / 60:.1f} hours"
