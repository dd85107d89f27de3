"""Stills of video: one frame coded by H.264, H.265 or AV1 at a constant rate factor (CRF), through PyAV.

The wheel of `av` holds x264, x265 and SVT-AV1; a still is what a viewer of a stream sees of one key frame. As services
do, the frame may be coded at a smaller size than it is shown at.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.distortions.pixels import SMALLEST

CODECS = {
    "h264": ("libx264", {"preset": "veryfast", "tune": "psnr"}),
    "h265": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:no-wpp=1"}),
    "av1": ("libsvtav1", {"preset": "9", "svtav1-params": "lp=1"}),
}

_WRITTEN = {"mode": "w", "format": "matroska"}


def still(image: np.ndarray, crf: float, codec: str = "h265", factor: float = 1.0) -> np.ndarray:
    """The image after coding as the only frame of a video.

    Args:
        image: uint8 (H, W, 3).
        crf: constant rate factor, 0 to 51 of "h264" and "h265", 0 to 63 of "av1"; larger is worse.
        codec: one of `CODECS`.
        factor: each side is coded smaller by so much, down to 64 pixels, and brought back (both bicubic).

    Returns:
        uint8 array of the same shape.

    Raises:
        InputError: unknown codec, no package `av`, or one that was built without this encoder.
    """
    if codec not in CODECS:
        raise InputError(f"codec {codec!r}: expected one of {', '.join(CODECS)}")
    size = image.shape[1], image.shape[0]
    # 4:2:0 wants even sides, and SVT-AV1 64 pixels or more; smaller images are coded enlarged.
    width, height = (max(64, SMALLEST, 2 * round(side / factor / 2)) for side in size)
    coded = Image.fromarray(image)
    if (width, height) != size:
        coded = coded.resize((width, height), Image.Resampling.BICUBIC)
    decoded = Image.fromarray(_decoded(_encoded(np.asarray(coded), crf, codec)))
    return np.array(decoded if decoded.size == size else decoded.resize(size, Image.Resampling.BICUBIC))


def _encoded(image: np.ndarray, crf: float, codec: str) -> io.BytesIO:
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 writes its settings to the terminal otherwise
    av = _av()
    encoder, options = CODECS[codec]
    file = io.BytesIO()
    try:
        with av.open(file, **_WRITTEN) as container:
            stream = container.add_stream(encoder, rate=25, options={**options, "crf": f"{crf:g}"})
            stream.width, stream.height, stream.pix_fmt, stream.thread_count = *image.shape[1::-1], "yuv420p", 1
            for frame in (av.VideoFrame.from_ndarray(image, "rgb24"), None):  # None = that was the last
                for packet in stream.encode(frame):
                    packet.dts = packet.pts  # x265 4.2 leaves it unset where there is one frame alone
                    container.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{codec}: this av cannot write it ({error}); expected a build with {encoder}") from error
    file.seek(0)
    return file


def _decoded(file: io.BytesIO) -> np.ndarray:
    with _av().open(file) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError("stills of video: no package av; expected `pip install av`") from error
    return av
