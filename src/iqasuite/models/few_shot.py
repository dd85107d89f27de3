"""What is personal about one observer, kept as weights: the numbers that stand behind another network's quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from iqasuite.errors import InputError
from iqasuite.models.network import Network


class FewShotObserver(Network):
    """An observer learnt from few votes (`training.few_shot`), of whom the trunk is another weights file.

    `inference.predictor` puts it behind its trunk; by itself it sees no image.

    Args:
        trunk: name of the weights whose predicted quality it starts from.
        trunk_hash: SHA-256 of that file: another network's quality has other errors.
        quality_sd: standard error of the trunk's quality, in votes.
        population: arguments of `training.few_shot.Population`; where it has features, `curves` and `spread` say how
            they stand apart from quality (`training.levels.Apart`).
        level: of `training.levels.LEVELS`.
    """

    def __init__(
        self, trunk: str, trunk_hash: str, quality_sd: float, population: Mapping[str, Any], level: str = "few-shot"
    ):
        super().__init__()
        self.trunk, self.trunk_hash, self.quality_sd, self.level = trunk, trunk_hash, quality_sd, level
        self.population = {key: tuple(v) if isinstance(v, list) else v for key, v in population.items()}
        features = len(self.population.get("features", ()))
        n = 6 + features
        self.estimate: Tensor
        self.covariance: Tensor
        self.register_buffer("estimate", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("covariance", torch.zeros(n, n, dtype=torch.float64))
        if features:
            self.register_buffer("curves", torch.zeros(3, features, dtype=torch.float64))
            self.register_buffer("spread", torch.ones(features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        raise InputError("a few-shot observer sees images through its trunk only; expected iqasuite score")
