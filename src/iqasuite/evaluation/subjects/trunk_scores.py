"""What a trunk predicts for the images of a set, computed once and stored: an observer is fitted on it in no time."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pandas as pd

from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.nameable import NAMES
from iqasuite.inference.opinions import default
from iqasuite.inference.predictor import Predictor
from iqasuite.inference.stream import predicted_by
from iqasuite.paths import cache_root, file_hash, locked, read_json, write_atomic
from iqasuite.training.levels import score_frame
from iqasuite.weights.catalogue import find

_log = logging.getLogger(__name__)
_AT_ONCE = 16  # images that are read ahead


class TrunkScores:
    """The quality (1–5) that a trunk predicts for images of a set, their nameable features, and the trunk's main axes.

    Values are stored in the cache folder under the contents of weights and images, so they are never stale.

    Args:
        dataset: whose images.
        trunk: name of a model that needs no reference; "" = the default model.

    Attributes:
        entry, trunk_hash: the trunk, and the SHA-256 of its weights.
        values: image -> quality and `Prediction.features`, of the images that are done.
        failed: image -> why it has none.

    Raises:
        InputError: no such model.
    """

    def __init__(self, dataset: Dataset, trunk: str = ""):
        self.dataset, self.entry = dataset, find(trunk) if trunk else default()
        self.trunk_hash = file_hash(self.entry.path)
        self.values: dict[str, list[float]] = {}
        self.failed: dict[str, str] = {}
        self._file = cache_root() / "trunk_scores" / f"{self.trunk_hash[:16]}.json"
        self._contents: dict[str, str] = {}
        self._stored = self._read()

    @cached_property
    def _predictor(self) -> Predictor:
        predictor = Predictor(self.entry, precision="float32")
        predictor.measures = True
        return predictor

    def complete(self, images: Iterable[str]) -> None:
        """Have the values of these images, from the store or computed and stored; what cannot be read is `failed`."""
        missing = [image for image in images if image not in self.values and image not in self.failed]
        unknown = [image for image in missing if not self._known(image)]
        for start in range(0, len(unknown), _AT_ONCE):
            some = unknown[start : start + _AT_ONCE]
            for image, result in predicted_by([self._predictor], some, self.dataset.read, _AT_ONCE):
                if isinstance(result, str):
                    self.failed[image] = result
                    continue
                prediction, _ = result[0]
                assert prediction.features is not None  # they are measured
                self.values[image] = [prediction.vote, *prediction.features.tolist()]
                self._stored[self._contents[image]] = self.values[image]
            self._store()

    def frame(self) -> pd.DataFrame:
        """Index image, columns as of `training.levels.score_frame`, of the images that are done."""
        values = np.array(list(self.values.values()) or np.zeros((0, 1 + len(NAMES))))
        return score_frame(values[:, 0], values[:, 1:], pd.Index(list(self.values), name="image", dtype=object))

    def _known(self, image: str) -> bool:
        try:
            content = file_hash(self.dataset.path(image))
        except InputError as error:
            self.failed[image] = str(error)
            return True
        self._contents[image] = content + json.dumps(self.dataset.regions.get(image, ""))
        if self._contents[image] in self._stored:
            self.values[image] = self._stored[self._contents[image]]
        return image in self.values

    def _read(self) -> dict[str, list[float]]:
        try:
            stored = read_json(self._file)
        except (OSError, ValueError):
            return {}
        return {key: row for key, row in stored.items() if isinstance(row, list) and len(row) > len(NAMES)}

    def _store(self) -> None:
        try:
            with locked(self._file):
                self._stored = self._read() | self._stored
                write_atomic(self._file, json.dumps(self._stored))
        except InputError as error:  # they are computed again next time
            _log.warning("%s", error)
