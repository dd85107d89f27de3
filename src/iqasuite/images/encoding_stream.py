"""An endless stream of photographs encoded at a low resolution and shown large: what blur and coding look like.

Streamed and downloaded images are encoded at some size and quality and shown at another. Both are known where we
encode ourselves, so a network can learn to see them from pixels alone, on photographs without ratings, before it is
given the few votes of a study. The counterpart of `stream.JPEGStream` for sets such as `tta_h265_lab`.
"""

from __future__ import annotations

import io
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, features

from iqasuite.errors import InputError
from iqasuite.images.jpeg_stream import decode_once

TARGETS = ("log upscaling factor", "coding PSNR / dB")
_QUALITIES = {"AVIF": (15, 95), "WEBP": (2, 95), "JPEG": (8, 96)}
_OPTIONS = {"AVIF": {"speed": 9, "max_threads": 1}, "WEBP": {"method": 2}, "JPEG": {}}
_SHARES = {"AVIF": 0.58, "WEBP": 0.15, "JPEG": 0.15}  # the rest is not encoded at all
_SHRINK = (1.25, 4.0)  # photographs are made smaller first: as sharp as video frames brought down from 4K are
_EDGE = 12  # encoded pixels kept around what is shown, so that its border is as any other place
_ROUGHEST_MSE = 0.6  # below the rounding error to 8 bits: PSNR stops at 50 dB
_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)


class EncodingStream:
    """Batches of patches of encoded, upscaled photographs, with the factor of upscaling and the loss of coding.

    Each sample: a part of a photograph is shrunk, encoded (AVIF, a relative of H.265 and H.266; WebP; JPEG; or not at
    all) at a random quality and upscaled bicubically; 2 × 2 neighbouring patches of it are given. The photographs are
    decoded once.

    Args:
        photographs: image files, 288 pixels or more on each side.
        patch: side of a patch in shown pixels.
        factors: smallest and largest upscaling factor, drawn log-uniformly.
        seed: of everything drawn.

    Raises:
        InputError: no photographs, one that cannot be read or is too small, or all too small for such patches.
    """

    def __init__(
        self, photographs: list[Path], patch: int = 240, factors: tuple[float, float] = (2.35, 16.0), seed: int = 0
    ) -> None:
        self.patch, self.factors, self.seed = patch, factors, seed
        self._photographs = decode_once(photographs, 288)
        largest = max(min(photograph.shape[:2]) for photograph in self._photographs)
        if _sides(patch, factors[1], _SHRINK[0])[1] > largest:
            raise InputError(
                f"encoding stream: patch {patch} at factors up to {factors[1]:g} needs larger photographs than these, "
                f"whose shorter side is {largest} at most; expected a smaller patch, or larger factors"
            )
        self._codecs = [c for c in _QUALITIES if c == "JPEG" or features.check(c.lower())]

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self._photographs)

    def batch(self, n: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch number `step`, the same for the same seed, n and step.

        Returns:
            uint8 patches, shape (n, 4, 3, patch, patch), and float targets, shape (n, 2): `TARGETS`.
        """
        generators = [np.random.default_rng([self.seed, step, i]) for i in range(n)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow works outside of the interpreter's lock
            samples = list(pool.map(self._sample, generators))
        patches = torch.from_numpy(np.stack([pixels for pixels, _ in samples]))
        p = self.patch
        patches = patches.unfold(1, p, p).unfold(2, p, p).flatten(1, 2)  # (n, 4, 3, p, p)
        return patches.contiguous(), torch.tensor([targets for _, targets in samples], dtype=torch.float32)

    def _sample(self, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
        factor, part, coded_side = self._part(rng)
        small = part.resize((coded_side, coded_side), _FILTERS[rng.integers(len(_FILTERS))])
        decoded = self._coded(small, rng)
        error = np.asarray(decoded, np.float32) - np.asarray(small, np.float32)
        psnr = 10 * math.log10(255**2 / max(float((error**2).mean()), _ROUGHEST_MSE))
        visible = 2 * self.patch / factor  # in encoded pixels
        left, top = rng.uniform(_EDGE / 2, coded_side - visible - _EDGE / 2, size=2)
        box = (left, top, left + visible, top + visible)
        upscaled = decoded.resize((2 * self.patch, 2 * self.patch), Image.Resampling.BICUBIC, box=box)
        return np.asarray(upscaled), (math.log(factor), psnr)

    def _part(self, rng: np.random.Generator) -> tuple[float, Image.Image, int]:
        """An upscaling factor, the part of a photograph to encode, and the side it is encoded at."""
        while True:
            photograph = self._photographs[rng.integers(len(self._photographs))]
            factor = math.exp(rng.uniform(math.log(self.factors[0]), math.log(self.factors[1])))
            shrink = math.exp(rng.uniform(math.log(_SHRINK[0]), math.log(_SHRINK[1])))
            coded_side, side = _sides(self.patch, factor, shrink)
            if side <= min(photograph.shape[:2]):
                break
        top, left = (rng.integers(length - side + 1) for length in photograph.shape[:2])
        part = photograph[top : top + side, left : left + side]
        part = part[:, ::-1] if rng.random() < 0.5 else part
        if rng.random() < 0.3:
            curve = 255 * (np.arange(256) / 255) ** rng.uniform(0.7, 1.4)
            part = curve.round().astype(np.uint8)[part]
        return factor, Image.fromarray(np.ascontiguousarray(part)), coded_side

    def _coded(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        draw, below = rng.random(), 0.0
        for codec in self._codecs:
            below += _SHARES[codec]
            if draw < below:
                buffer, (low, high) = io.BytesIO(), _QUALITIES[codec]
                image.save(buffer, codec, quality=int(rng.integers(low, high + 1)), **_OPTIONS[codec])
                return Image.open(buffer).convert("RGB")
        return image


def _sides(patch: int, factor: float, shrink: float) -> tuple[int, int]:
    """Side of what is encoded, even, and of the part of the photograph that it is made of, in pixels."""
    coded_side = max(64, math.ceil(2 * patch / factor) + 2 * _EDGE)
    coded_side += coded_side % 2
    return coded_side, math.ceil(coded_side * shrink)
