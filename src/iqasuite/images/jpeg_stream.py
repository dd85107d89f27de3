"""An endless stream of photographs compressed on the fly into five JPEG classes: what the objective observer learns.

Labels cost nothing (the class is the quality's, `distortions.JPEG_CLASSES`), and no two batches are alike.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.distortions.compression import JPEG_CLASSES, jpeg
from iqasuite.images.loading import read_image
from iqasuite.paths import cache_root, check_writable, file_hash, writable

BLOCK = 8  # pixels a side of JPEG's blocks
SMALLER = 1.67  # factor by which varied crops are made smaller at most


class JPEGStream:
    """Batches of compressed crops, the classes balanced, the quality uniform within each.

    The photographs are decoded once, into a temporary file that is mapped and goes when the stream goes.

    Args:
        photographs: image files, `crop` pixels or more on each side.
        crop: side of the crops in pixels.
        seed: of everything drawn.
        native: True crops first and compresses the crop, so that blocks keep their size of 8 pixels; False is the
            ViT-IQA authors' way: the whole photograph is compressed, then a random part of it (8–100 % of the area,
            3:4 to 4:3) resized to the crop. Both are mirrored half of the time.
        shifted: native crops are cut out of a compressed part that is 8 pixels larger, at a random place: their blocks
            do not begin at their corner.
        varied: native crops are turned by a quarter half of the time, and half of them come from a photograph made
            smaller, by up to 1.67: more kinds of contents from as many photographs.
        mixed: share of the native crops that are mixed with one of another photograph and changed in gamma, contrast,
            brightness and saturation before they are compressed.

    Raises:
        InputError: no photographs, one that cannot be read or is too small.
    """

    def __init__(
        self,
        photographs: list[Path],
        crop: int = 256,
        seed: int = 0,
        native: bool = True,
        shifted: bool = False,
        varied: bool = False,
        mixed: float = 0.0,
    ) -> None:
        self.crop, self.seed, self.native, self.shifted = crop, seed, native, shifted
        self.varied, self.mixed = varied, mixed
        self._photographs = decode_once(photographs, crop + BLOCK * shifted)
        self.key = str(
            (crop, native, *(["shifted"] if shifted else []), [file_hash(path) for path in photographs])
        )  # what is drawn from, and how

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self._photographs)

    def batch(self, n: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch number `step`, the same for the same seed, n and step.

        Returns:
            uint8 images, shape (n, 3, crop, crop), and their classes 1 (worst) to 5, int64, shape (n,).
        """
        images, facts = self.described(n, step)
        return images, torch.from_numpy(facts["class"].to_numpy(np.int64, copy=True))

    def described(self, n: int, step: int) -> tuple[torch.Tensor, pd.DataFrame]:
        """The images of `batch`, and for each its class, its quality (2 to 100) and the number of its photograph."""
        rng = np.random.default_rng([self.seed, step])
        classes = rng.permutation(np.resize(rng.permutation(np.arange(1, 6)), n))
        images = np.empty((n, self.crop, self.crop, 3), dtype=np.uint8)
        view = self._crop_and_compress if self.native else self._compress_and_crop
        facts = []
        for i, label in enumerate(classes):
            low, high = JPEG_CLASSES[int(label)]
            number, quality = int(rng.integers(len(self._photographs))), int(rng.integers(low, high + 1))
            images[i] = view(self._photographs[number], quality, rng)
            facts.append((label, quality, number))
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        return pixels, pd.DataFrame(facts, columns=["class", "quality", "photograph"])

    def _crop_and_compress(self, photograph: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
        part = self._part(photograph, rng)
        if self.mixed and rng.random() < self.mixed:
            other = self._part(self._photographs[int(rng.integers(len(self._photographs)))], rng)
            part = _mixed(part, other, rng)
        compressed = jpeg(part[:, ::-1] if rng.random() < 0.5 else part, quality)
        top, left = rng.integers(1, BLOCK, 2) if self.shifted else (0, 0)
        return compressed[top : top + self.crop, left : left + self.crop]

    def _part(self, photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random part, as large as the crop or a block larger where crops are shifted."""
        size = side = self.crop + BLOCK * self.shifted
        if self.varied and rng.random() < 0.5:
            side = round(size * rng.uniform(1, min(SMALLER, min(photograph.shape[:2]) / size)))
        top, left = (rng.integers(whole - side + 1) for whole in photograph.shape[:2])
        part = photograph[top : top + side, left : left + side]
        if side > size:
            part = np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC))
        return part.swapaxes(0, 1) if self.varied and rng.random() < 0.5 else part

    def _compress_and_crop(self, photograph: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
        whole = jpeg(photograph, quality)
        height, width = whole.shape[:2]
        area = height * width * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = min(width, round(math.sqrt(area * ratio))), min(height, round(math.sqrt(area / ratio)))
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        cut = Image.fromarray(whole[top : top + h, left : left + w])
        part = np.asarray(cut.resize((self.crop, self.crop), Image.Resampling.BILINEAR))
        return part[:, ::-1] if rng.random() < 0.5 else part


def _mixed(part: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`part` with up to half of `other`, changed in gamma, contrast, brightness and saturation; uint8."""
    share = rng.uniform(0.0, 0.5)
    both = (1 - share) * part.astype(np.float32) + share * other
    both = 255 * (both / 255) ** math.exp(rng.uniform(-0.5, 0.5))
    middle = both.mean()
    both = (both - middle) * math.exp(rng.uniform(-0.5, 0.3)) + middle + rng.uniform(-20, 20)
    grey = both.mean(axis=2, keepdims=True)
    both = grey + rng.uniform(0.0, 1.4) * (both - grey)
    return both.clip(0, 255).round().astype(np.uint8)


def decode_once(paths: list[Path], crop: int) -> list[np.ndarray]:
    """uint8 (H, W, 3) views into one mapped file without a name, so that memory does not grow with their number."""
    if not paths:
        raise InputError("photographs: none given; expected one or more image files")
    check_writable(cache_root())
    shapes = []
    with writable(cache_root()), tempfile.TemporaryFile(dir=cache_root()) as file:
        for path in paths:
            image = read_image(path)
            if min(image.shape[:2]) < crop:
                size = f"{image.shape[1]}×{image.shape[0]}"
                raise InputError(f"{path}: {size} pixels; expected {crop} or more on each side")
            file.write(image.data)
            shapes.append(image.shape)
        file.flush()
        pixels = np.memmap(file, dtype=np.uint8, mode="r")
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [pixels[e - math.prod(shape) : e].reshape(shape) for e, shape in zip(ends, shapes, strict=True)]
