"""`results/try.html`: the committed mobile network in one page, which scores an image in the browser.

The page holds the weights and computes in plain JavaScript (`templates/try.js`): nothing leaves the machine, and it
works when it is opened as a file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from iqasuite.experiments.page_templates import environment
from iqasuite.paths import project_root, write_atomic
from iqasuite.report import notebook_page

NETWORK = "mobile_nr"


def build(root: Path) -> Path | None:
    """Write the page into `root`; None, and no page, where the project has not these weights.

    Args:
        root: folder of `page.css`.
    """
    file = project_root() / "weights" / f"{NETWORK}.safetensors"
    if not file.is_file():
        return None
    network, card = described(file)
    script = (notebook_page.TEMPLATES / "try.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    content = json.dumps(network, separators=(",", ":")).replace("<", "\\u003c")
    given = {"network": Markup(content), "try_script": Markup(script), "try_hash": f"sha256-{digest}", "card": card}
    return write_atomic(root / "try.html", environment().get_template("try.html.j2").render(given))


def described(file: Path) -> tuple[dict[str, Any], Any]:
    """A mobile network as the page computes it, and its card.

    Args:
        file: weights of `models.mobile_nr.MobileNR` from scratch, with moments.

    Returns:
        shorter_side, mean, std, scale (low, high); convolutions (channels in and out, kernel, stride, groups, whether
        ReLU6 follows, whether the input of the pair is added) and dense layers (in, out, whether ReLU follows) in
        their order; weights, float16 in base64: of each layer the weights, then the biases.
    """
    from torch import nn

    from iqasuite.weights.files import load_weights

    network, card = load_weights(file)
    network.fold()
    convolutions: list[dict[str, Any]] = []
    dense: list[dict[str, Any]] = []
    numbers: list[np.ndarray] = []

    def keep(layer: Any) -> None:
        numbers.extend(part.detach().float().numpy().ravel() for part in (layer.weight, layer.bias))

    for block in network.features:  # type: ignore[union-attr]
        own = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
        for place, layer in enumerate(own):
            keep(layer)
            adds = place == len(own) - 1 > 0 and layer.in_channels == layer.out_channels and own[0].stride == (1, 1)
            shape = {"in": layer.in_channels, "out": layer.out_channels, "kernel": layer.kernel_size[0]}
            convolutions.append(shape | {"stride": layer.stride[0], "groups": layer.groups, "adds": adds})
    layers = [layer for layer in network.head.modules() if isinstance(layer, nn.Linear)]  # type: ignore[union-attr]
    for place, linear in enumerate(layers):
        keep(linear)
        dense.append({"in": linear.in_features, "out": linear.out_features, "relu": place < len(layers) - 1})
    halves = np.concatenate(numbers).astype("<f2")
    facts = {"shorter_side": card.preprocessing.shown_at, "low": card.scale.low, "high": card.scale.high}
    shown = {"mean": network.mean.tolist(), "std": network.std.tolist()}
    layers_of = {"convolutions": convolutions, "dense": dense}
    return facts | shown | layers_of | {"weights": base64.b64encode(halves.tobytes()).decode()}, card
