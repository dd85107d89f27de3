"""Every kind of image file that people have: its true pixels, or a refusal that says what was found."""

import io
import logging
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iqasuite.errors import InputError
from iqasuite.images.loading import image_size, read_image, stored_as

COARSE = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
RGB = np.asarray(Image.fromarray(COARSE).resize((64, 40), Image.Resampling.BICUBIC))  # 64 wide, 40 high
GRAY = RGB[..., 1]
IMAGE = Image.fromarray(RGB)


def in_three(gray):
    return np.repeat(gray[..., None], 3, axis=2)


def refused(path, *words):
    """The one sentence about a file that is not read."""
    with pytest.raises(InputError) as error:
        read_image(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "expected" in message
    assert all(word in message for word in words), message
    return message


def png(width, height, bits, colour, rows, *others):
    """A PNG put together by hand: rows with their filter bytes, other chunks before the pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)]
    chunks += [*others, b"IDAT" + zlib.compress(rows), b"IEND"]
    sealed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


def exif(entries, below=None):
    """EXIF by hand: (tag, type, count, data) of the first directory, and (pointer tag, entries) of one below."""

    def directory(listed, place):
        tail, body = b"", b""
        start = place + 2 + 12 * len(listed) + 4
        for tag, kind, count, data in listed:
            held = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", start + len(tail))
            tail += data if len(data) > 4 else b""
            body += struct.pack("<HHI", tag, kind, count) + held
        return struct.pack("<H", len(listed)) + body + bytes(4) + tail

    if below is None:
        return b"Exif\0\0II*\0\x08\0\0\0" + directory(sorted(entries), 8)
    place = 8 + len(directory([*entries, (below[0], 4, 1, bytes(4))], 8))
    first = directory(sorted([*entries, (below[0], 4, 1, struct.pack("<I", place))]), 8)
    return b"Exif\0\0II*\0\x08\0\0\0" + first + directory(below[1], place)


TURNED = (0x112, 3, 1, struct.pack("<H", 6))


# What a sample is


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("kind", "factor"), [("uint8", 1), ("uint16", 257), ("uint32", 16843009), ("int16", 1), ("int32", 1)]
)
def test_gray_integers_of_tiff(tmp_path, kind, factor, compression, order):
    """As they are written, or refused where Pillow has no such kind; never anything else."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY.astype(kind) * np.array(factor, kind), byteorder=order, compression=compression)
    try:
        np.testing.assert_array_equal(read_image(path), in_three(GRAY))
    except InputError as error:
        assert order == ">" and kind not in {"uint8", "uint16"}, error


@pytest.mark.parametrize(
    ("kind", "white"), [("uint16", "minisblack"), ("uint16", "miniswhite"), ("uint32", "minisblack")]
)
def test_values_that_nobody_scaled_are_refused(tmp_path, kind, white, caplog):
    for bits in (8, 10, 12):
        scaled = (GRAY.astype(kind) * (2**bits - 1) // 255).astype(kind)
        tifffile.imwrite(tmp_path / "a.tif", scaled, photometric=white)
        refused(tmp_path / "a.tif", "not scaled", f"up to {scaled.max()}")
    Image.fromarray(GRAY.astype(np.uint16)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "not scaled")
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16), photometric="rgb")
    refused(tmp_path / "a.tif", "not scaled")
    tifffile.imwrite(tmp_path / "dark.tif", GRAY.astype(kind) << (6 if kind == "uint16" else 22))
    np.testing.assert_array_equal(read_image(tmp_path / "dark.tif"), in_three(GRAY >> 2))
    assert ("dark.tif" in caplog.text and "14 bits" in caplog.text) or kind == "uint32"
    tifffile.imwrite(tmp_path / "black.tif", np.zeros_like(GRAY, np.uint16), photometric="minisblack")
    assert not read_image(tmp_path / "black.tif").any()


@pytest.mark.parametrize(
    "kind", ["int8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", "complex64"]
)
@pytest.mark.parametrize("shape", ["gray", "rgb"])
def test_values_without_a_range_are_refused(tmp_path, kind, shape):
    values = RGB.astype(float) / 255 if kind[0] in "fc" else RGB.astype(np.int64) - 128
    values = (values * (1 if kind[0] in "fc" or kind == "int8" else 200)).astype(kind)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values if shape == "rgb" else values[..., 0],
        photometric=shape.replace("gray", "minisblack"),
    )
    assert "expected PNG" not in refused(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["bool", "uint8", "uint16"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero_is_no_negative(tmp_path, kind, compression):
    gray = np.where(GRAY > 128, 255, 0).astype(np.uint8) if kind == "bool" else GRAY
    stored = {"bool": gray == 0, "uint8": 255 - gray, "uint16": 65535 - gray.astype(np.uint16) * 257}[kind]
    compression = compression if kind != "bool" else None
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), in_three(gray))


def test_a_tiff_that_does_not_say_which_end_is_black(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 261, 3, 1)))
    refused(tmp_path / "a.tif", "black or white")


def test_twelve_bits_are_packed(tmp_path):
    values = np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    tags = [(256, 8), (257, 8), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, 8), (279, 96)]
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags)
    (tmp_path / "a.tif").write_bytes(head + bytes(4) + packed.astype(np.uint8).tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), in_three((values >> 4).astype(np.uint8)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_modes_of_tiff(tmp_path, mode, compression):
    if mode == "I;16":
        image, expected = Image.fromarray(GRAY.astype(np.uint16) << 8), in_three(GRAY)
    elif mode == "LAB":
        image = Image.merge("LAB", [Image.new("L", (8, 8), level) for level in (137, 128, 128)])
        expected = np.full((8, 8, 3), 128)  # L* = 53.6
    else:
        image = IMAGE.convert("P").convert("PA") if mode == "PA" else IMAGE.convert(mode)
        expected = np.asarray(image.convert("RGB"))
    image.save(tmp_path / "a.tif", compression=compression)
    try:
        assert np.abs(read_image(tmp_path / "a.tif").astype(int) - expected).max() <= 3
    except InputError as error:
        assert mode == "YCbCr" and compression == "raw" and "YCbCr" in str(error)


def test_sixteen_bits_of_colour_and_transparency(tmp_path):
    for channels in (3, 4):
        values = np.dstack([RGB, np.full_like(GRAY, 255)])[..., :channels].astype(np.uint16) * 257
        extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", **extra)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        (tmp_path / "a.png").write_bytes(png(64, 40, 16, 2 if channels == 3 else 6, rows))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    half = np.dstack([GRAY, np.where(np.arange(64) < 32, 0, 255) + 0 * GRAY]).astype(np.uint16) * 257
    (tmp_path / "la.png").write_bytes(png(64, 40, 16, 4, b"".join(b"\0" + row.astype(">u2").tobytes() for row in half)))
    expected = np.where(np.arange(64) < 32, 255, GRAY)
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), in_three(expected))
    assert "with transparency" in stored_as(tmp_path / "la.png") and stored_as(tmp_path / "a.tif") == "RGB"


def test_one_transparent_colour_is_white(tmp_path):
    """PNG's tRNS chunk: a gray level or a colour, of 16 bits and of fewer than 8."""
    for bits, pixels, clear, expected in [
        (16, struct.pack(">2H", 30000, 60000), 30000, [255, 60000 >> 8]),
        (8, bytes([7, 100]), 7, [255, 100]),
        (4, b"\x0c", 0, [255, 204]),
        (1, b"\x40", 0, [255, 255]),
    ]:
        (tmp_path / "a.png").write_bytes(png(2, 1, bits, 0, b"\0" + pixels, b"tRNS" + struct.pack(">H", clear)))
        assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == expected, bits
    clear = b"tRNS" + struct.pack(">3H", 65535, 256, 0)
    colours = struct.pack(">6H", 65535, 256, 0, 25600, 51200, 0)
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, b"\0" + colours, clear))
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [100, 200, 0]]]


def test_netpbm(tmp_path):
    for name, head, body, expected in [
        ("a.pgm", b"P5\n2 1\n4095\n", struct.pack(">2H", 0, 4095), [0, 255]),
        ("a.pgm", b"P5\n2 1\n100\n", bytes([0, 100]), [0, 255]),
        ("a.pbm", b"P1\n2 1\n", b"1 0\n", [0, 255]),
    ]:
        (tmp_path / name).write_bytes(head + body)
        assert read_image(tmp_path / name)[0, :, 0].tolist() == expected
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0, 1))
    refused(tmp_path / "a.pfm", "floating-point")


def test_cmyk_and_ycck_jpeg(tmp_path):
    IMAGE.convert("CMYK").save(tmp_path / "a.jpg", quality=98, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - RGB).mean() < 4
    assert stored_as(tmp_path / "a.jpg") == "CMYK"


def test_ycck_jpeg(tmp_path):
    """Photoshop's: luma and chroma of the inks, which are stored inverted."""
    planes = [255 - np.asarray(plane) for plane in Image.fromarray(255 - RGB).convert("YCbCr").split()]
    image = Image.merge("CMYK", [*map(Image.fromarray, planes), Image.new("L", (64, 40), 0)])
    image.save(tmp_path / "a.jpg", quality=100, subsampling=0)
    data = (tmp_path / "a.jpg").read_bytes()
    transform = data.index(b"Adobe") + 11
    (tmp_path / "a.jpg").write_bytes(data[:transform] + b"\2" + data[transform + 1 :])
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - RGB).mean() < 2


def test_palettes_of_tiff(tmp_path):
    """Of 16 bits as the format has it, and of 8 as some programs write it."""
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    for scale in (257, 1):
        tifffile.imwrite(tmp_path / "a.tif", GRAY, photometric="palette", colormap=colours * np.uint16(scale))
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.moveaxis(colours[:, GRAY], 0, -1))


@pytest.mark.parametrize("ending", ["jp2", "j2k"])
def test_jpeg_2000(tmp_path, ending):
    IMAGE.save(tmp_path / f"a.{ending}", "JPEG2000")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}"), RGB)
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(tmp_path / f"b.{ending}", "JPEG2000")
    np.testing.assert_array_equal(read_image(tmp_path / f"b.{ending}"), in_three(GRAY))


@pytest.mark.parametrize("ending", ["bmp", "dib", "tga", "qoi", "pcx", "sgi", "ico", "webp", "gif", "png", "ppm"])
def test_what_every_viewer_shows(tmp_path, ending):
    image = IMAGE.convert("P", palette=Image.Palette.ADAPTIVE) if ending == "gif" else IMAGE
    options = {"lossless": True} if ending == "webp" else {"sizes": [(64, 40)]} if ending == "ico" else {}
    image.save(tmp_path / f"a.{ending}", **options)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}"), np.asarray(image.convert("RGB")))
    assert image_size(tmp_path / f"a.{ending}") == (64, 40)


FITS = b"".join(
    line.ljust(80)
    for line in (b"SIMPLE  = T", b"BITPIX  = 16", b"NAXIS   = 2", b"NAXIS1  = 4", b"NAXIS2  = 4", b"END", *[b""] * 30)
)
TWELVE_BITS = b"\xff\xd8\xff\xc0\0\x11\x0c\0\x08\0\x08\3\1\x11\0\2\x11\0\3\x11\0"


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("a.exr", b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
        ("a.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance"),
        ("a.jxl", b"\xff\x0a\xfa\x7f", "JPEG XL"),
        ("a.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        ("IMG.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("a.heif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", "vector"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "vector"),
        ("a.pdf", b"%PDF-1.4\n", "PDF"),
        ("a.CR3", b"\0\0\0\x18ftypcrx \0\0\0\1", "raw"),
        ("a.tif", b"\0\0\0\x18ftypcrx \0\0\0\1", "raw"),
        ("a.raf", b"FUJIFILMCCD-RAW 0201", "raw"),
        ("a.jpg", b"FUJIFILMCCD-RAW 0201", "raw"),
        ("a.orf", b"IIRO\x08\0\0\0", "raw"),
        ("a.fits", FITS, "FITS"),
        ("a.jpg", TWELVE_BITS, "JPEG"),
    ],
)
def test_what_is_refused_is_named(tmp_path, name, head, words):
    (tmp_path / name).write_bytes(head + bytes(200))
    assert "damaged image" not in refused(tmp_path / name, words)
    with pytest.raises(InputError, match=name):
        image_size(tmp_path / name)


# Several images in a file


@pytest.mark.parametrize("name", ["photo.dng", "photo.NEF", "photo.tif"])
@pytest.mark.parametrize("marked", [0, 1])
@pytest.mark.parametrize("big", [False, True])
def test_thumbnails_are_not_the_image(tmp_path, name, marked, big):
    with tifffile.TiffWriter(tmp_path / name, bigtiff=big) as file:
        file.write(RGB[::4, ::4].copy(), photometric="rgb", subifds=1, subfiletype=marked)
        file.write(RGB, photometric="rgb", subfiletype=0)
    refused(tmp_path / name, "develop", name)
    with tifffile.TiffWriter(tmp_path / "chain.tif", bigtiff=big) as file:
        file.write(RGB[::4, ::4].copy(), photometric="rgb", subfiletype=1)
        file.write(RGB, photometric="rgb", subfiletype=0)
    refused(tmp_path / "chain.tif", "thumbnail")


def test_reduced_images_behind_the_first_do_no_harm(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(RGB, photometric="rgb", subifds=1)
        file.write(RGB[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "pyramid.tif"), RGB)


def test_a_dng_by_its_tags(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    refused(tmp_path / "a.tif", "raw file", "develop")


def test_an_image_marked_as_a_thumbnail_of_nothing(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)
    assert "thumbnail" in caplog.text and str(tmp_path / "a.tif") in caplog.text


@pytest.mark.parametrize("ending", ["tif", "mpo", "gif", "webp", "png", "avif"])
def test_the_first_of_several(tmp_path, ending, caplog):
    options = {"gif": {}, "webp": {"lossless": True}, "avif": {"quality": 100, "subsampling": "4:4:4"}}.get(ending, {})
    flat = [Image.new("RGB", (64, 40), colour) for colour in ("red", "blue", "lime")]
    flat[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=flat[1:], **options)
    read = read_image(tmp_path / f"a.{ending}")
    assert np.abs(read.astype(int) - np.array([255, 0, 0])).max() <= 3
    assert f"a.{ending}: 3 frames, only the first" in caplog.text


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("big", [False, True])
def test_several_pages_cut_short(tmp_path, compression, big, caplog):
    """Pages behind the first may be damaged; the first is read where it is whole, and refused where it is not."""
    pages = [Image.fromarray(np.roll(RGB, shift, 0)) for shift in range(3)]
    pages[0].save(tmp_path / "whole.tif", save_all=True, append_images=pages[1:], compression=compression, big_tiff=big)
    data, outcomes = (tmp_path / "whole.tif").read_bytes(), set()
    for share in np.linspace(0.02, 0.98, 25):
        (tmp_path / "cut.tif").write_bytes(data[: int(share * len(data))])
        try:
            np.testing.assert_array_equal(read_image(tmp_path / "cut.tif"), RGB)
            outcomes.add("read")
        except InputError as error:
            assert "cut.tif" in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_big_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", bigtiff=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)
    tifffile.imwrite(tmp_path / "b.tif", RGB, photometric="rgb", bigtiff=True, byteorder=">")
    refused(tmp_path / "b.tif", "TIFF")


# How an image is turned


def turned(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif", "mpo"])
@pytest.mark.parametrize("value", range(1, 9))
def test_all_orientations_and_their_sizes(tmp_path, ending, value):
    path = tmp_path / f"a.{ending}"
    options = {"tif": {"tiffinfo": {0x0112: value}}}.get(ending, {"exif": turned(value), "quality": 100})
    if ending == "webp":
        options["lossless"] = True
    IMAGE.save(path, **options, **({"save_all": True, "append_images": [IMAGE]} if ending == "mpo" else {}))
    upright = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: np.rot90(RGB, 2).transpose(1, 0, 2),
        8: np.rot90(RGB),
    }[value]
    read = read_image(path)
    assert read.shape == upright.shape and np.abs(read.astype(int) - upright).mean() < 6
    assert image_size(path) == read.shape[1::-1]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_turned_tiff_of_every_mode(tmp_path, mode, compression):
    image = Image.fromarray(GRAY.astype(np.uint16) << 8) if mode == "I;16" else IMAGE.convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    image.save(tmp_path / "b.tif", compression=compression, tiffinfo={0x0112: 6})
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), np.rot90(read_image(tmp_path / "a.tif"), -1))
    assert image_size(tmp_path / "b.tif") == (40, 64)


def test_orientation_behind_the_pixels_of_a_png(tmp_path):
    IMAGE.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    chunk = b"eXIf" + exif([TURNED])[6:]
    sealed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(data[:-12] + sealed + data[-12:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(RGB, -1))
    assert image_size(tmp_path / "a.png") == (40, 64)


def test_sizes_are_read_without_decoding(tmp_path, monkeypatch):
    for ending in ("png", "jpg", "webp", "tif", "bmp"):
        IMAGE.save(tmp_path / f"a.{ending}")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    assert {image_size(path) for path in tmp_path.iterdir()} == {(64, 40)}


# Metadata that is broken, pixels that are whole


GPS = {
    "version in text": [(0, 2, 4, b"2.2\0")],
    "latitude in text": [(2, 2, 12, b"48,51,29.6N\0")],
    "latitude in bytes": [(2, 7, 24, bytes(24))],
    "below the sea": [(6, 10, 1, struct.pack("<2i", -5, 1))],
    "divided by zero": [(2, 5, 3, bytes(24))],
}


BROKEN = {
    "no EXIF": b"Exif\0\0nonsense at all",
    "pointer to nowhere": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "cut": exif([TURNED])[:16],
    "empty": b"Exif\0\0",
    "count of none": exif([(0x11A, 5, 0, b""), (0x112, 3, 0, b"")]),
    "text": exif([(0x112, 2, 2, b"6\0")]),
    "huge count": exif([(0x112, 3, 2**32 - 1, bytes(4))]),
    "resolution in text": exif([(0x11A, 2, 3, b"72\0"), (0x128, 2, 2, b"2\0")]),
}


def save_with(path, metadata):
    """RGB with any EXIF; Pillow writes AVIF only with EXIF that it can read, so that is put in afterwards."""
    if path.suffix == ".avif":
        placeholder = exif([(0x10E, 2, len(metadata), b"x" * len(metadata))])
        IMAGE.save(path, exif=placeholder, quality=100)
        data = path.read_bytes()
        assert placeholder[6:] in data
        found = metadata.removeprefix(b"Exif\0\0").ljust(len(placeholder) - 6, b"\0")
        path.write_bytes(data.replace(placeholder[6:], found))
    else:
        IMAGE.save(path, exif=metadata, quality=100)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("kind", GPS)
def test_odd_places(tmp_path, ending, kind):
    """Turned as the EXIF beside them says; AVIF is turned by its own box alone."""
    save_with(tmp_path / f"a.{ending}", exif([TURNED], (0x8825, GPS[kind])))
    read = read_image(tmp_path / f"a.{ending}")
    assert image_size(tmp_path / f"a.{ending}") == read.shape[1::-1]
    assert np.abs(read.astype(int) - (RGB if ending == "avif" else np.rot90(RGB, -1))).mean() < 6


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_exif_is_ignored(tmp_path, ending, kind, recwarn):
    save_with(tmp_path / f"a.{ending}", BROKEN[kind])
    recwarn.clear()
    read = read_image(tmp_path / f"a.{ending}")
    assert np.abs(read.astype(int) - RGB).mean() < 6 and image_size(tmp_path / f"a.{ending}") == (64, 40)
    assert not recwarn.list


def test_odd_chunks_of_png(tmp_path):
    text = PngInfo()
    text.add_text("parameters", "a" * (1 << 21), zip=True)
    IMAGE.save(tmp_path / "text.png", pnginfo=text, exif=turned(6))
    IMAGE.save(tmp_path / "profile.png", icc_profile=bytes((1 << 20) + 100), exif=turned(6))
    for name in ("text.png", "profile.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), np.rot90(RGB, -1))
        assert image_size(tmp_path / name) == (40, 64)
    rows = b"".join(b"\0" + row.tobytes() for row in RGB)
    for chunk in (
        b"pHYs",
        b"gAMA\0",
        b"cHRM\1\2",
        b"sRGB",
        b"iCCP\0",
        b"iTXt\0\1",
        b"acTL\0\0",
        b"tEXt\0",
        b"zTXta\0\7x",
        b"fcTL\0\0",
    ):
        (tmp_path / "a.png").write_bytes(png(64, 40, 8, 2, rows, chunk))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
        data = (tmp_path / "a.png").read_bytes()
        place = data.index(chunk)  # its checksum is wrong
        end = place + len(chunk)
        (tmp_path / "a.png").write_bytes(data[:end] + b"oops" + data[end + 4 :])
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    IMAGE.convert("P").save(tmp_path / "palette.png", transparency=3)
    data = (tmp_path / "palette.png").read_bytes()
    chunk = b"\0\0\0\2tIMEab" + b"oops"
    before = read_image(tmp_path / "palette.png")
    (tmp_path / "palette.png").write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), before)


@pytest.mark.parametrize(
    "segment",
    [
        b"\xe1http://ns.adobe.com/xap/1.0/\0<x",
        b"\xe2MPF\0II*\0\x08\0\0\0\xff\xff",
        b"\xe2MPF\0",
        b"\xe2ICC_PROFILE\0\0\0",
        b"\xedPhotoshop 3.0\0008BIM\4",
        b"\xfe\xff\xff",
        b"\xe2FPXR\0",
        b"\xe2MPF\0II*\0\x08\0\0\0\1\0\x01\xb0\4\0\1\0\0\0\2\0\0\0\0\0\0\0",
    ],
)
def test_odd_segments_of_jpeg(tmp_path, segment):
    IMAGE.save(tmp_path / "a.jpg", quality=95, exif=turned(6))
    data, expected = (tmp_path / "a.jpg").read_bytes(), read_image(tmp_path / "a.jpg")
    sealed = b"\xff" + segment[:1] + struct.pack(">H", len(segment) + 1) + segment[1:]
    (tmp_path / "a.jpg").write_bytes(data[:2] + sealed + data[2:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), expected)
    assert image_size(tmp_path / "a.jpg") == (40, 64)


def test_odd_tags_of_tiff(tmp_path, recwarn):
    def tiff(*entries):
        tags = [
            (256, 4, 1, 64),
            (257, 4, 1, 40),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, 1000),
            (277, 3, 1, 1),
            (278, 4, 1, 40),
            (279, 4, 1, GRAY.size),
            *entries,
        ]
        body = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
        return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body + bytes(4)).ljust(1000, b"\0") + GRAY.tobytes()

    for entry in [
        (34665, 4, 1, 10**9),
        (34853, 4, 1, 2**32 - 1),
        (34853, 2, 4, 7),
        (700, 3, 2, 5),
        (700, 4, 1, 5),
        (282, 5, 0, 0),
        (282, 2, 4, 55),
        (296, 2, 3, 12),
        (34675, 7, 10**9, 8),
        (330, 4, 1, 10**9),
        (330, 2, 2, 9),
        (305, 2, 10**9, 10**9),
        (33723, 4, 0, 0),
        (34377, 1, 7, 3),
        (274, 3, 0, 0),
        (274, 2, 1, 54),
    ]:
        (tmp_path / "a.tif").write_bytes(tiff(entry))
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), in_three(GRAY), err_msg=str(entry))
        assert image_size(tmp_path / "a.tif") == (64, 40)
        if entry[0] != 274:
            (tmp_path / "a.tif").write_bytes(tiff(entry, (274, 3, 1, 6)))
            np.testing.assert_array_equal(
                read_image(tmp_path / "a.tif"), np.rot90(in_three(GRAY), -1), err_msg=str(entry)
            )
            assert image_size(tmp_path / "a.tif") == (40, 64)
    assert not recwarn.list


# Whatever a decoder does


@pytest.mark.parametrize(
    "error",
    [
        TypeError("Missing dimensions"),
        struct.error("unpack"),
        OverflowError("big"),
        KeyError(7),
        RuntimeError("codec\nfailed"),
        AssertionError(),
        RecursionError("deep"),
        MemoryError(),
        Image.DecompressionBombError("huge"),
        ZeroDivisionError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        PermissionError(13, "Permission denied"),
    ],
)
def test_any_exception_is_the_files(tmp_path, monkeypatch, error):
    def fail(*args, **options):
        raise error

    IMAGE.save(tmp_path / "a.png")
    for place in ("PIL.Image.open", "PIL.ImageFile.ImageFile.load"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(InputError, match=r"a\.png: ") as caught:
                read_image(tmp_path / "a.png")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ending", ["jpg", "png", "webp", "tif", "gif", "bmp", "avif", "jp2", "tga", "qoi", "ppm", "mpo"]
)
def test_damage_anywhere_is_an_image_or_an_error(tmp_path, ending, recwarn):
    rng = np.random.default_rng(1)
    more = {"save_all": True, "append_images": [IMAGE]} if ending in ("mpo", "tif", "gif") else {}
    IMAGE.save(
        tmp_path / f"whole.{ending}", **({"exif": turned(6)} if ending in ("jpg", "png", "avif") else {}), **more
    )
    data = (tmp_path / f"whole.{ending}").read_bytes()
    path = tmp_path / f"a.{ending}"
    for trial in range(120):
        bad = bytearray(data)
        if trial % 3 == 0:
            del bad[rng.integers(len(bad)) :]
        for _ in range(rng.integers(1, 5)):
            if bad:
                bad[rng.integers(min(len(bad), 400) if trial % 2 else len(bad))] = rng.integers(256)
        path.write_bytes(bytes(bad))
        for use in (read_image, image_size):
            try:
                use(path)
            except InputError as error:
                assert str(path) in str(error) and "\n" not in str(error)
    assert not recwarn.list


def test_warnings_of_decoders_name_their_file(tmp_path, caplog, recwarn):
    names = [f"{i}.jpg" for i in range(12)]
    for name in names:
        IMAGE.save(tmp_path / name, exif=exif([TURNED])[:16])
    before, shown = list(warnings.filters), warnings.showwarning
    threads = [threading.Thread(target=read_image, args=(tmp_path / name,)) for name in names]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        warnings.warn("of another part", UserWarning, stacklevel=1)
        for thread in threads:
            thread.join()
    assert sorted(r.getMessage().split(": ")[0] for r in caplog.records) == sorted(
        str(tmp_path / name) for name in names
    )
    assert warnings.filters == before and warnings.showwarning is shown
    assert [str(w.message) for w in recwarn.list] == ["of another part"]


def test_bare_files_are_the_same_image():
    from iqasuite.images.metadata import without_metadata

    for kind, options in {
        "PNG": {"exif": turned(8)},
        "JPEG": {"exif": turned(8), "comment": b"c"},
        "TIFF": {"tiffinfo": {0x0112: 8, 305: "s"}},
        "AVIF": {"exif": turned(8)},
    }.items():
        file = io.BytesIO()
        IMAGE.save(file, kind, **options)
        with Image.open(io.BytesIO(without_metadata(file.getvalue()))) as bare, Image.open(file) as whole:
            bare.load(), whole.load()
            np.testing.assert_array_equal(np.asarray(bare), np.asarray(whole))
            assert bare.getexif().get(0x0112) == whole.getexif().get(0x0112)
    for data in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0+", b"GIF89a", b""):
        without_metadata(data)
