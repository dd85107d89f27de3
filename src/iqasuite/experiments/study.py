"""A suite for a study of one's own: what its votes and images allow, in a time that this machine can say beforehand."""

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
        people: observers that get an AIO; empty where nobody has votes enough.
        minutes: that it takes with `jobs` runs at a time, about.
    """

    name: str
    text: str
    people: tuple[str, ...]
    minutes: float

    @property
    def path(self) -> Path:
        """Its file."""
        return suites_folder() / f"{self.name}.yaml"


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice, as a person would."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def plan(study: str, name: str = "", quick: bool = False, jobs: int = 1) -> Study:
    """A suite fitted to a data set: ratings, sheet, a stem that learns from photographs, everybody, an AIO for each
    person who has rated enough, evaluation, attention; models of MOS alone where nobody has.

    Args:
        study: a folder with images and a CSV of ratings, or the name of a set.
        name: of the suite; "" = that of the folder, or of the set.
        quick: trainings of moments on one fold, for a look at what will come; the method's name says so.
        jobs: runs at a time, for the estimate.

    Raises:
        InputError: the set cannot be loaded, has no votes and no scores, or too few scenes for a split.
    """
    data = load(study, missing="drop")
    if data.absent:
        _log.warning("%s: %d images are absent and left out", data.name, len(data.absent))
    where = _where(study)
    name = valid_name(name or re.sub(r"[^A-Za-z0-9_-]+", "_", Path(where).name), "--name")
    n_folds, people = _folds(data)
    runs, seconds = _runs(data, n_folds, people, quick)
    content = {
        "suite": name,
        "title": f"{data.name}: {_title(data, people)}",
        "description": _description(data, people, quick),
        "parameters": {"dataset": where, "missing": "drop"} | ({"n_folds": n_folds} if n_folds else {}) | {"seed": 0},
        "highlights": _highlights(runs),
        "runs": runs,
    }
    head = "# Written by `iqasuite suite new`. It is yours: change it as you like, what has changed runs again.\n"
    text = head + yaml.dump(
        content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )
    return Study(name, text, tuple(people), seconds / jobs / 60)


def write(planned: Study) -> Path:
    """Write the suite's file; one that says the same stays.

    Raises:
        InputError: another suite has this name.
    """
    path = planned.path
    if path.is_file() and path.read_text(encoding="utf-8") != planned.text:
        raise InputError(
            f"{path}: there is a suite of this name that says something else; "
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
    """Number of folds (0: none needed) and who has rated enough images of each part of each fold."""
    from iqasuite.training.aio import votes_by_part

    sources = len({data.sources.get(content, content) for content in data.images["content"]})
    if not data.has_pixels:
        return 0, []
    if sources < 3:
        raise InputError(f"{data.name}: {sources} scenes; expected 3 or more, one each to train, choose and test on")
    n_folds = FOLDS if sources >= LEAST_SOURCES else 3
    split, people = by_content(data.images, n_folds, 0, data.sources), data.observers()
    for fold in range(n_folds) if people else ():
        table = votes_by_part(data, split, fold)
        people = [person for person in people if person in set(table.loc[table["enough"], "observer"])]
    return n_folds, people


def _runs(data: Dataset, n_folds: int, people: list[str], quick: bool) -> tuple[list[dict], float]:
    """Runs of the suite, and about how many seconds of one core they take."""
    runs: list[dict] = []
    boot = {"n_boot": 200} if quick else {}
    if len(data.votes):
        runs.append({"name": "ratings", "notebook": "01_look_at_the_ratings", "parameters": boot})
    if not data.has_pixels:
        return runs, _NOTEBOOK_S
    runs.append(
        {
            "name": "sheet",
            "notebook": "02_data_sets",
            "parameters": {"planted": 0, "against": []} if quick else {"planted": 10},
        }
    )
    seconds = 0.0
    if people:
        network, seconds = _network(data)
        runs += _observers(network, n_folds, quick)
        runs.append(
            {
                "name": "evaluate",
                "notebook": "05_evaluate_aios",
                "needs": ["aios_*", "everybody_*"],
                "cores": "all",
                "parameters": boot,
            }
        )
        runs.append(
            {
                "name": "attention",
                "notebook": "06_attention_maps",
                "needs": ["aios_0"],
                "cores": "all",
                "parameters": {"runs": "aios_0_*" if len(people) > 1 else "aios_0"},
            }
        )
        n_votes = data.votes["observer"].isin(people).sum()
        trained, epochs = (1, (3, 2)) if quick else (n_folds, (24, 15))
        steps = 2 * trained * (epochs[0] * len(data.images) + epochs[1] * n_votes) / 32
        seconds += (0.3 if quick else 1) * 120 + 0.03 * steps
    else:
        of_mos = {"n_folds": n_folds}
        runs.append({"name": "patches", "notebook": "07_patch_features", "parameters": of_mos | boot})
        runs.append(
            {"name": "benchmark", "notebook": "13_benchmark", "needs": ["patches"], "parameters": of_mos | boot}
        )
        seconds += 1.0 * len(data.images)
    n_runs = len(runs) + (2 * n_folds - 2 if people and not quick else 0)
    return [{key: value for key, value in run.items() if value != {}} for run in runs], seconds + n_runs * _NOTEBOOK_S


def _observers(network: dict, n_folds: int, quick: bool) -> list[dict]:
    """The stem, the network of everybody and the AIOs, as in suite lab."""
    aio = {"method": f"ViT-IQA, {network['stem'].replace('+', ' + ')} stem{QUICK if quick else ''}", "tune": "trunk"}
    stem = {"samples": 500, "epochs": 3} if quick else {"samples": 6000, "epochs": 30}
    everybody = {"epochs": 3, "patience": 0} if quick else {"epochs": 24, "patience": 10}
    aios = {"epochs": 2, "patience": 0} if quick else {"epochs": 15, "patience": 6}
    folds = {"fold": [0] if quick else f"0..{n_folds - 1}"}
    return [
        {
            "name": "stem",
            "notebook": "03_train_vit_iqa",
            "cores": "all",
            "parameters": {
                "objective": "encodings",
                "photographs": _photographs(),
                "network": network,
                "training": {"batch_size": 256, "lr": 2e-3, **stem},
            },
        },
        {
            "name": "everybody_{fold}",
            "notebook": "04_finetune_aio",
            "needs": ["stem"],
            "foreach": dict(folds),
            "parameters": {
                "observer": "everybody",
                "network": {**aio, "start": "stem"},
                "training": {"lr": 1e-3, **everybody},
                "viewing": {"hidden": 0.3},
            },
        },
        {
            "name": "aios_{fold}",
            "notebook": "04_finetune_aio",
            "needs": ["everybody_{fold}"],
            "foreach": dict(folds),
            "parameters": {
                "observer": "all",
                "network": {**aio, "start": "everybody_{fold}"},
                "training": {"lr": 1.5e-4, "dropout": 0.0, **aios},
            },
        },
    ]


def _photographs() -> list[str]:
    """Sets of photographs to learn coding from: the demo's, and Kodak's where they are here."""
    return ["demo", *(["kodak24"] if card("kodak24").folder().is_dir() else [])]


def _network(data: Dataset) -> tuple[dict, float]:
    """The network for images of this size with the weights that are at hand, and seconds that its stem takes for all.

    The spectrum's patches are as large as six a side allow, up to the 240 pixels of suite lab.
    """
    import torch

    from iqasuite.models import create
    from iqasuite.models.backbones import at_hand

    assert data.display_size is not None  # a study of one's own has one
    height, width = data.display_size
    shorter = min(height, width)
    network = {
        "size": "tiny",
        "dim": 192,
        "depth": 3,
        "dim_head": 48,
        "mlp_dim": 384,
        "stem": "spectrum",
        "cells": 6,
        "spectrum_patch": max(16, min(240, shorter // 6 // 8 * 8)),
        "image_size": shorter,
        "head": "ordinal",
        "dropout": 0.2,
        "emb_dropout": 0.2,
    }
    if at_hand("mobilenet_v2"):
        network |= {"stem": "spectrum+mobilenet_v2", "scales": sorted({min(384, shorter), min(720, shorter)})}
        network["components"] = min(128, len(data.images))
    else:
        _log.warning("no weights of mobilenet_v2 at hand: the stem is the spectrum alone")
    model = create("vit_iqa", **network).eval()
    began = time.perf_counter()
    with torch.inference_mode():
        model.get_submodule("stem")(torch.zeros(1, 3, height, width))
    return network, (time.perf_counter() - began) * len(data.images)


def _title(data: Dataset, people: list[str]) -> str:
    if people:
        return f"{len(people)} {'people and their artificial observers' if len(people) > 1 else 'person'}"
    return "what people said" if not data.has_pixels else "models of the mean opinion"


def _description(data: Dataset, people: list[str], quick: bool) -> str:
    from iqasuite.training.aio import LEAST_VOTES

    n_people = data.votes["observer"].nunique()
    text = f"{len(data.images)} images of {data.images['content'].nunique()} scenes"
    text += f", {len(data.votes)} votes of {n_people} people." if n_people else "; mean opinion scores."
    if n_people > len(people) and data.has_pixels:
        least = ", ".join(f"{number} {part}" for part, number in LEAST_VOTES.items())
        text += f" {n_people - len(people)} of them rated fewer than {least} images of some fold and get no AIO."
    if people:
        text += " Folds are by scene: no network has seen the pictured scene before. One training."
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
