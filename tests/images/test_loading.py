"""Whatever a file holds: either RGB comes out, or one line that names the file."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.loading import FITS, read_image, resized

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


def stretched(image, size):
    return np.array(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def disc(height, width, radius):
    y, x = np.mgrid[:height, :width]
    inside = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 < radius**2
    return np.where(inside, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


@pytest.mark.parametrize(("fit", "scale"), [("crop", 2.0), ("letterbox", 0.75)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_circle_stays_a_circle_in_every_fit(fit, scale, turned):
    image, size = disc(400, 200, 60), (300, 400)
    if turned:
        image, size = image.transpose(1, 0, 2), size[::-1]
    seen = resized(image, size, fit)[..., 0] < 64
    assert seen.any(1).sum() == pytest.approx(seen.any(0).sum(), abs=1) == pytest.approx(120 * scale, abs=3)
    rows, columns = np.nonzero(seen)
    assert (rows.mean(), columns.mean()) == pytest.approx(((size[0] - 1) / 2, (size[1] - 1) / 2), abs=0.6)


def test_what_a_fit_keeps():
    image = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resized(image, (20, 20)), image[10:30])  # the default is the centre
    np.testing.assert_array_equal(resized(image, (40, 30), "letterbox")[:, 5:25], image)
    assert (resized(image, (40, 30), "letterbox")[:, [*range(5), *range(25, 30)]] == 128).all()
    covered = stretched(image, (120, 60))  # scaled first and cropped then, the result differs by rounding alone
    assert np.abs(resized(image, (60, 60)).astype(int) - covered[30:90]).max() <= 1


@pytest.mark.parametrize(
    "shape", [(480, 640), (481, 640), (479, 640), (480, 641), (480, 639), (240, 320), (27, 36), (241, 320)]
)
@pytest.mark.parametrize("fit", FITS)
def test_images_of_the_aspect_are_resized_as_before(shape, fit):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resized(image, (480, 640), fit), stretched(image, (480, 640)))


@pytest.mark.parametrize("shape", [(482, 640), (478, 640), (480, 642), (640, 480), (243, 320)])
def test_more_than_a_pixel_is_another_aspect(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    plain, *others = (resized(image, (480, 640), fit) for fit in ("stretch", "crop", "letterbox"))
    np.testing.assert_array_equal(plain, stretched(image, (480, 640)))
    assert not any(np.array_equal(plain, other) for other in others)


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (1, 1), (1, 2), (3, 60_000), (60_000, 3)])
@pytest.mark.parametrize("size", [(480, 640), (32, 36), (1, 1), (1000, 3)])
@pytest.mark.parametrize("fit", FITS)
def test_extreme_shapes_have_the_size_asked_for(shape, size, fit):
    seen = resized(np.full((*shape, 3), 200, np.uint8), size, fit)
    assert seen.shape == (*size, 3) and set(np.unique(seen)) <= {128, 200} and (seen == 200).any()


@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_a_version_shows_the_same_part_as_its_reference(fit):
    """Also where it was stored small, and its sides were rounded to another aspect, or to that of the size."""
    reference = disc(1020, 1000, 400)
    for small in ((51, 50), (512, 500)):
        version = stretched(reference, small)
        pair = [resized(image, (100, 100), fit, reference.shape[:2]) for image in (reference, version)]
        alone = resized(version, (100, 100), fit)
        errors = [np.abs(image.astype(float) - pair[0]).mean() for image in (pair[1], alone)]
        assert errors[0] <= errors[1]
    assert errors[0] < 0.5
    with pytest.raises(InputError, match="fit='squeeze': expected one of crop, letterbox, stretch"):
        resized(reference, (100, 100), "squeeze")
