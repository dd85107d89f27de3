"""The distortions of the large databases, made anew, and two of today: 36 of them, five levels each, mild to strong.

Beside these stand nine that need the package `av`, stills of video: three codecs, each at three coded sizes.

After the lists of TID2013 and KADID-10k, with resolution loss, ringing, AVIF and what streaming does to images; none of
their code or images. Images are uint8 RGB arrays (H, W, 3) in and out, 16 pixels or more a side.
`DISTORTIONS[name](image, level, rng)` makes a level; with generators in the same state the same places are hit at every
level, so that levels differ in strength only. The mean squared error grows with the level; in an image that repeats
itself not always under `chromatic_aberration`.

References: N. Ponomarenko et al., "Image database TID2013", Signal Processing: Image Communication 30, 2015; H. Lin,
V. Hosu, D. Saupe, "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from iqasuite.errors import InputError
from iqasuite.images.distortions import blur, colour, compression, noise, stills, structure, tone
from iqasuite.images.distortions.pixels import SMALLEST

N_LEVELS = 5
Distortion = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _fixed(function: Callable[[np.ndarray, float], np.ndarray]) -> Distortion:
    return lambda image, strength, rng: function(image, strength)


# Name -> function, and the strengths of its five levels, whose unit the function's docstring says.
_STRENGTHS: dict[str, tuple[Distortion, tuple[float, ...]]] = {
    "jpeg": (_fixed(compression.jpeg), (75, 45, 25, 14, 7)),
    "blur": (_fixed(blur.gaussian_blur), (0.6, 1.0, 1.6, 2.6, 4.2)),
    "noise": (noise.white_noise, (5.0, 10.0, 18.0, 30.0, 50.0)),
    "resolution": (_fixed(blur.resolution_loss), (1.4, 1.9, 2.6, 4.0, 6.5)),
    "motion_blur": (blur.motion_blur, (3, 5, 9, 15, 25)),
    "lens_blur": (_fixed(blur.lens_blur), (0.9, 1.5, 2.4, 3.9, 6.3)),
    "jpeg2000": (_fixed(compression.jpeg2000), (8, 16, 32, 64, 128)),
    "webp": (_fixed(compression.webp), (70, 40, 20, 8, 1)),
    "avif": (_fixed(compression.avif), (70, 50, 32, 17, 3)),
    "streaming": (compression.streaming, (1.3, 1.9, 2.8, 4.2, 6.5)),
    "sparse_sampling": (_fixed(compression.sparse_sampling), (20, 12, 7, 4, 2)),
    "ringing": (_fixed(compression.ringing), (0.6, 0.42, 0.3, 0.2, 0.12)),
    "pixelation": (_fixed(blur.pixelation), (2, 3, 4, 6, 9)),
    "jitter": (structure.jitter, (0.4, 0.8, 1.4, 2.4, 4.0)),
    "impulse_noise": (noise.impulse_noise, (0.002, 0.007, 0.02, 0.06, 0.15)),
    "multiplicative_noise": (noise.multiplicative_noise, (0.04, 0.08, 0.14, 0.24, 0.4)),
    "colour_noise": (noise.colour_noise, (7, 14, 24, 40, 65)),
    "correlated_noise": (noise.correlated_noise, (4, 8, 13, 21, 34)),
    "high_frequency_noise": (noise.high_frequency_noise, (6, 11, 19, 32, 52)),
    "denoising": (noise.denoising, (8, 15, 25, 40, 60)),
    "brightening": (_fixed(tone.brightening), (1.12, 1.3, 1.55, 1.95, 2.6)),
    "darkening": (_fixed(tone.darkening), (1.12, 1.3, 1.55, 1.95, 2.6)),
    "mean_shift": (tone.mean_shift, (8, 16, 28, 45, 70)),
    "contrast_loss": (_fixed(tone.contrast_loss), (0.85, 0.7, 0.53, 0.36, 0.2)),
    "contrast_gain": (_fixed(tone.contrast_gain), (1.15, 1.35, 1.65, 2.1, 3.0)),
    "quantisation": (_fixed(tone.quantisation), (24, 16, 10, 7, 4)),
    "colour_quantisation": (_fixed(colour.colour_quantisation), (64, 32, 16, 9, 5)),
    "dithering": (_fixed(colour.dithering), (64, 32, 16, 9, 5)),
    "colour_diffusion": (_fixed(colour.colour_diffusion), (2, 4, 7, 12, 20)),
    "colour_cast": (colour.colour_cast, (6, 12, 20, 32, 50)),
    "desaturation": (_fixed(colour.saturation), (0.75, 0.55, 0.35, 0.17, 0.0)),
    "oversaturation": (_fixed(colour.saturation), (1.3, 1.7, 2.2, 3.0, 4.5)),
    "chromatic_aberration": (colour.chromatic_aberration, (1, 2, 3, 5, 8)),
    "sharpening": (_fixed(structure.sharpening), (0.7, 1.5, 2.8, 5.0, 9.0)),
    "patch_shift": (structure.patch_shift, (8, 16, 32, 60, 110)),
    "colour_blocks": (structure.colour_blocks, (2, 4, 8, 14, 24)),
}
_CRF = {"h264": (23, 29, 35, 41, 47), "h265": (23, 29, 35, 41, 47), "av1": (28, 38, 47, 55, 62)}
_SIZES = {"": 1, "_half": 2, "_quarter": 4}  # "h265_half" is coded at half the side
STILLS = tuple(codec + size for codec in stills.CODECS for size in _SIZES)
for _codec, _crf in _CRF.items():
    for _size, _factor in _SIZES.items():
        _STRENGTHS[_codec + _size] = (_fixed(partial(stills.still, codec=_codec, factor=_factor)), _crf)
LEVELS = {name: strengths for name, (_, strengths) in _STRENGTHS.items()}


def distorted(name: str, image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """An image after a distortion at a level.

    Args:
        name: one of DISTORTIONS or STILLS.
        image: uint8 (H, W, 3), 16 pixels or more a side.
        level: 1 (mild) to 5 (strong).
        rng: of whatever is drawn; the same state gives the same image.

    Returns:
        uint8 array of the same shape.

    Raises:
        InputError: unknown distortion or level, another shape or type, a codec that Pillow was built without or
            that comes with a package which is not there.
    """
    if name not in _STRENGTHS:
        raise InputError(f"distortion {name!r}: expected one of {', '.join(_STRENGTHS)}")
    if level not in range(1, N_LEVELS + 1):
        raise InputError(f"{name}: level {level!r}, expected 1 to {N_LEVELS}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < SMALLEST:
        raise InputError(
            f"{name}: image {image.dtype} {image.shape}, expected uint8 (H, W, 3) of {SMALLEST} pixels or more a side"
        )
    function, strengths = _STRENGTHS[name]
    return function(image, strengths[int(level) - 1], rng)


ALL: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    name: partial(distorted, name) for name in LEVELS
}
DISTORTIONS = {name: make for name, make in ALL.items() if name not in STILLS}
