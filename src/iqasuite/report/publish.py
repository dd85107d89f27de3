"""Weights of a suite made ready to be given away: small, with a card that says what they reach and where from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from iqasuite.errors import InputError
from iqasuite.evaluation.metrics import accuracy, mae, qwk, srocc
from iqasuite.inference.predictions import hard_predictions, read_table
from iqasuite.names import natural_order
from iqasuite.paths import project_root, safe_name, work_root
from iqasuite.weights.files import load_weights, read_card, save_weights

AIO_LIMITS = (
    "One observer's habits on a few photographs and the distortions of that set: on other images it is a guess. It "
    "does not know what an image shows, and it is no statement about any real observer's taste beyond these votes."
)


def publish(suite: str, pattern: str, name: str) -> list[Path]:
    """Copy weights of a suite's runs to the project's `weights/`, in half precision, with their cards.

    Args:
        suite: whose `work/<suite>/weights/` they are in.
        pattern: of the files' names without ending, such as "aios_0_*". One that matches AIOs of several observers
            makes a set of AIOs.
        name: of the file, or of the set's folder, in which files are named by observer (`paths.safe_name`).

    Returns:
        The files, AIOs by observer.

    Raises:
        InputError: nothing matches, several files of nobody in particular, two AIOs of one observer, or an AIO without
            predictions of its test part.
    """
    folder = project_root() / "weights"
    found = sorted((work_root(suite) / "weights").glob(f"{pattern}.safetensors"))
    observers = {path: read_card(path).observer for path in found}
    observers = {path: observer for path, observer in observers.items() if observer != "everybody"}
    if not observers or (len(observers) > 1 and not all(observers.values())):
        matches = f"{len(observers)} files, {sum(map(bool, observers.values()))} of them of one observer"
        raise InputError(f"{suite}: {pattern!r} matches {matches}; expected one file, or AIOs of several observers")
    if len(set(observers.values())) < len(observers):
        raise InputError(f"{suite}: {pattern!r} matches two AIOs of one observer; expected those of one fold")
    if len(observers) == 1:
        return [_write(path, folder / f"{name}.safetensors", {}) for path in observers]
    order = natural_order(list(observers.values()))
    paths = sorted(observers, key=lambda path: order.index(observers[path]))
    made = {path: folder / name / f"{safe_name(observers[path])}.safetensors" for path in paths}
    return [_write(path, to, _of_aio(suite, path, observers[path])) for path, to in made.items()]


def _write(source: Path, target: Path, more: dict) -> Path:
    model, _ = load_weights(source)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and not torch.isfinite(tensor.half()).all():
            raise InputError(f"{source}: numbers too large for half precision; expected at most 65504")
    return save_weights(model.half(), target, {**more, "precision": "weights stored in float16"})


def _of_aio(suite: str, path: Path, observer: str) -> dict:
    """What the card of an AIO says besides: its test part, which it never saw, beside the most frequent vote."""
    card = read_card(path)
    table = work_root(suite) / "predictions" / f"{card.run or path.stem}.csv"
    if not table.is_file():
        raise InputError(f"{table}: no such file; expected the predictions of {path.name}")
    rows = read_table(table)
    rows = rows[(rows["observer"] == observer) & (rows["part"] == "test")].dropna(subset="target")
    if rows.empty:
        raise InputError(f"{table}: no predictions of the test part for {observer!r}")
    votes, predicted = rows["target"].to_numpy(int), hard_predictions(rows)
    most = np.full(len(votes), np.bincount(votes).argmax())
    simulated = ", a simulated observer" if card.dataset == "demo" else ""
    scores = {
        "test images": len(rows),
        "accuracy": round(accuracy(predicted, votes), 4),
        "accuracy of the most frequent vote there": round(accuracy(most, votes), 4),
        "qwk": round(qwk(predicted, votes), 4),
        "mae": round(mae(predicted.astype(float), votes.astype(float)), 4),
        "srocc": round(srocc(rows["prediction"].to_numpy(), rows["target"].to_numpy()), 4),
    }
    return {
        "title": f"Artificial observer of {observer}{simulated} ({card.dataset})",
        "trained_on": f"votes of {observer}{simulated} on {card.dataset}, training and validation part of fold "
        f"{card.fold}; before that, votes of all observers and pseudo-classes of JPEG quality",
        "scores": scores,
        "limits": AIO_LIMITS,
        "licence": "MIT",
    }
