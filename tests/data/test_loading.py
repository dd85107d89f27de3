"""Whatever a file holds: either RGB comes out, or one line that names the file."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from iqasuite.data.loading import read_image
from iqasuite.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png(width: int, height: int, bits: int, body: bytes) -> bytes:
    """An RGB file put together by hand: of any size, or with 16 bits a channel, neither of which Pillow would write."""
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(body),
        b"IEND",
    ]
    sealed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


def test_rgb_comes_back(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image.flags.writeable
    np.testing.assert_array_equal(image, RGB)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_truncated(tmp_path, ending, kept):
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[ending])
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(file.getvalue()[: int(kept * len(file.getvalue()))])
    with pytest.raises(InputError, match=f"cut.{ending}") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_not_an_image_empty_missing_folder_video(tmp_path):
    (tmp_path / "a.png").write_text("no image at all, but text " * 20)
    (tmp_path / "empty.png").touch()
    (tmp_path / "film.mkv").write_bytes(b"\x1aE\xdf\xa3")
    for name, words in {
        "a.png": "not an image",
        "empty.png": "0 bytes",
        "none.png": "no such file",
        "a\0b.png": "no such file",
        "a.png/b.png": "no such file",
        "x" * 300 + ".png": "cannot be read",
        ".": "no such file",
        "film.mkv": "ffmpeg -i film.mkv -frames:v 1 film.png",
    }.items():
        with pytest.raises(InputError, match=words):
            read_image(tmp_path / name)


def test_decompression_bomb(tmp_path, recwarn):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, 8, bytes(64)))
    with pytest.raises(InputError, match="bomb.png: too large"):
        read_image(path)
    path.write_bytes(png(10_000, 10_000, 8, bytes(64)))  # Pillow only warns here
    with pytest.raises(InputError, match="10000×10000 pixels; expected at most 50000000"):
        read_image(path, max_pixels=50e6)
    assert not recwarn.list


def test_sixteen_bits_in_tiff(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "whole.tif", values.astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "whole.tif"), values)
    planes = np.moveaxis(values, -1, 0)
    tifffile.imwrite(tmp_path / "planes8.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planes8.tif"), values)
    tifffile.imwrite(
        tmp_path / "planes16.tif", planes.astype(np.uint16) * 257, photometric="rgb", planarconfig="separate"
    )
    with pytest.raises(InputError, match="planes16.tif: 16-bit TIFF with separate planes"):
        read_image(tmp_path / "planes16.tif")


def test_gray_and_palette(tmp_path):
    gray = RGB[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.repeat(gray[..., None], 3, axis=2))
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(tmp_path, mode):
    image = Image.fromarray(np.dstack([RGB, np.zeros((20, 30), np.uint8)]), "RGBA") if mode == "RGBA" else None
    if mode == "LA":
        image = Image.fromarray(np.dstack([RGB[..., 0], np.zeros((20, 30), np.uint8)]), "LA")
    if mode == "P":
        image = Image.new("P", (30, 20), 3)
        image.putpalette([0] * 12)
        image.info["transparency"] = 3
    image.save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert read_image(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]
