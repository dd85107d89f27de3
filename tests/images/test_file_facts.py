import numpy as np
import pytest
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.file_facts import file_facts, image_facts


def test_facts_of_files(tmp_path):
    paths = {name: tmp_path / name for name in ("flat.png", "noise.png")}
    Image.new("RGB", (40, 20)).save(paths["flat.png"])
    noise = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(paths["noise.png"])
    facts = file_facts(paths)
    assert facts.loc["flat.png", ["width", "height"]].tolist() == [40, 20]
    assert facts.loc["noise.png", "bytes"] == paths["noise.png"].stat().st_size
    assert facts.loc["noise.png", "bits_per_pixel"] > 24 > 4 > facts.loc["flat.png", "bits_per_pixel"]
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match="text.png: not an image"):
        file_facts({"text.png": tmp_path / "text.png"})


def test_sizes_are_those_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    paths = {name: tmp_path / name for name in ("a.jpg", "a.png", "a.webp", "a.avif")}
    for path in paths.values():
        Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert file_facts(paths)[["width", "height"]].drop_duplicates().to_numpy().tolist() == [[20, 40]]


def write(folder, name, pixels):
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(folder / name)
    return folder / name


def test_statistics_of_pictures_are_known_where_the_picture_is(tmp_path):
    ramp = np.broadcast_to(np.arange(100)[None, :, None] * 2, (60, 100, 3))
    halves = np.zeros((40, 40, 3))
    halves[:, 20:] = 200
    paths = {
        "gray": write(tmp_path, "gray.png", np.full((30, 40, 3), 90)),
        "red": write(tmp_path, "red.png", np.broadcast_to([255, 0, 0], (30, 40, 3))),
        "ramp": write(tmp_path, "ramp.png", ramp),
        "halves": write(tmp_path, "halves.png", halves),
        "pixel": write(tmp_path, "pixel.png", np.full((1, 1, 3), 7)),
    }
    facts = image_facts(paths)
    assert facts.index.tolist() == list(paths) and facts.index.name == "image"
    assert facts.loc["gray"].tolist() == pytest.approx([90, 0, 0, 0], abs=1e-4)
    assert facts.loc["pixel"].tolist() == pytest.approx([7, 0, 0, 0], abs=1e-4)
    assert facts.loc["red"].tolist() == pytest.approx(
        [0.299 * 255, 0, 0, 0.3 * np.hypot(255, 127.5)], rel=1e-4, abs=1e-4
    )
    assert facts.loc["ramp", ["brightness", "sharpness"]].tolist() == pytest.approx([99, 2 * 99 / 100], rel=1e-5)
    assert facts.loc["halves", ["brightness", "contrast", "sharpness"]].tolist() == pytest.approx(
        [100, 100, 5], rel=1e-5
    )


def test_colourfulness_is_that_of_its_authors_formula(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3))
    r, g, b = pixels.reshape(-1, 3).T.astype(float)
    rg, yb = r - g, (r + g) / 2 - b
    expected = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    facts = image_facts({"noise": write(tmp_path, "noise.png", pixels)})
    assert facts.loc["noise", "colourfulness"] == pytest.approx(expected, rel=1e-5)


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match="text.png: not an image"):
        image_facts({"text": tmp_path / "text.png"})
    with pytest.raises(InputError, match="absent.png: no such file"):
        image_facts({"absent": tmp_path / "absent.png"})
    assert image_facts({}).empty
