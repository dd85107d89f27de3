"""Images to try the page with: photographs that come inside scikit-image, and distorted ones made by our own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from iqasuite.images.distortions.compression import jpeg_bytes, png_bytes
from iqasuite.images.distortions.registry import LEVELS, distorted
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photograph
from iqasuite.paths import write_atomic

# Photograph, then kinds of distortion with their levels from 1 (mild) to 5 (strong).
CHOSEN = (("coffee", ("jpeg", 5), ("blur", 4), ("noise", 4)), ("chelsea", ("jpeg2000", 5), ("contrast_loss", 5)))


def examples_in(folder: Path) -> dict[str, Path]:
    """Photographs and distorted images made of them, written to `folder`: file name ("coffee jpeg.jpg") -> file."""
    made = {}
    for name, *distortions in CHOSEN:
        reference = read_image(photograph(name))
        made[f"{name} reference.png"] = png_bytes(reference)
        for kind, level in distortions:
            if kind == "jpeg":
                made[f"{name} jpeg.jpg"] = jpeg_bytes(reference, int(LEVELS["jpeg"][level - 1]))
            else:
                made[f"{name} {kind}.png"] = png_bytes(distorted(kind, reference, level, np.random.default_rng(0)))
    return {name: write_atomic(folder / name, content) for name, content in made.items()}
