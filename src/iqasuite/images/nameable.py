"""What one may say of an image without a network: how blurred, blocky, noisy, detailed and contrasty it is."""

from __future__ import annotations

import numpy as np

NAMES = ("blur", "blockiness", "noise", "resolution", "contrast")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = 8  # pixels, of JPEG and of most video


def nameable_features(pixels: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """`NAMES` of an image, higher = more of it; each on a logarithmic scale but blockiness.

    Args:
        pixels: 8-bit RGB, shape (H, W, 3), 16 pixels or more a side, as an observer or a network sees them.
        own: the same image as its file has it, for blockiness, which is that of blocks of 8 that begin at the corner;
            None = `pixels`.

    Returns:
        blur (minus the logarithm of the mean Laplacian), blockiness (steps across the borders of blocks over those
        within, less 1), noise (Immerkær's estimate), resolution (share of the spectrum above half of what the pixels
        can hold) and contrast (standard deviation of luma), shape (5,), float64.

    Reference: J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64, 1996; Z. Wang,
    A. Bovik & B. Evans, "Blind measurement of blocking artifacts in images", ICIP 2000.
    """
    luma = pixels.astype(np.float32) @ _LUMA
    second = luma[2:] - 2 * luma[1:-1] + luma[:-2]
    across = luma[:, 2:] - 2 * luma[:, 1:-1] + luma[:, :-2]
    noise = second[:, 2:] - 2 * second[:, 1:-1] + second[:, :-2]
    spectrum = np.abs(np.fft.rfft2(luma - luma.mean())) ** 2
    y, x = np.fft.fftfreq(luma.shape[0])[:, None], np.fft.rfftfreq(luma.shape[1])
    fine = spectrum[np.hypot(y, x) > 0.25].sum() / (spectrum.sum() + 1)
    logs = np.log10([np.abs(second).mean() + np.abs(across).mean() + 0.1, np.abs(noise).mean() + 0.1, fine + 1e-8])
    blocks = _blockiness(luma if own is None else own.astype(np.float32) @ _LUMA)
    return np.array([-logs[0], blocks, logs[1], logs[2], np.log10(luma.std(dtype=float) + 1)])


def _blockiness(luma: np.ndarray) -> float:
    steps = np.abs(np.diff(luma, axis=1)).mean(0), np.abs(np.diff(luma, axis=0)).mean(1)
    borders = np.s_[_BLOCK - 1 :: _BLOCK]
    return float(np.mean([s[borders].mean() / (np.delete(s, borders).mean() + 0.5) for s in steps]) - 1)
