import io

import numpy as np
import pytest
import torch
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.distortions.compression import JPEG_CLASSES, jpeg_class
from iqasuite.images.jpeg_stream import JPEGStream
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photographs


@pytest.mark.parametrize("native", [True, False])
def test_deterministic_in_seed_and_step(native):
    files = photographs("demo", ["coffee", "china"])
    stream = JPEGStream(files, 128, seed=1, native=native)
    images, classes = stream.batch(11, 5)
    assert images.shape == (11, 3, 128, 128) and images.dtype == torch.uint8 and images.is_contiguous()
    assert classes.dtype == torch.int64 and classes.shape == (11,)
    stream.batch(3, 0)
    again = JPEGStream(files, 128, seed=1, native=native).batch(11, 5)
    assert torch.equal(again[0], images) and torch.equal(again[1], classes)
    for other in (stream.batch(11, 6), JPEGStream(files, 128, seed=2, native=native).batch(11, 5)):
        assert not torch.equal(other[0], images)


def test_classes_are_balanced():
    stream = JPEGStream(photographs("demo", ["flower"]), 32)
    for n in (1, 5, 23, 50):
        counts = torch.bincount(stream.batch(n, 0)[1], minlength=6)[1:]
        assert counts.sum() == n and counts.max() - counts.min() <= 1
    first = torch.stack([stream.batch(1, step)[1] for step in range(100)])
    assert torch.bincount(first.flatten(), minlength=6)[1:].min() > 5  # the odd one out is not always the same


def test_quality_is_uniform_within_its_class(monkeypatch):
    asked = []
    monkeypatch.setattr("iqasuite.images.jpeg_stream.jpeg", lambda image, quality: asked.append(quality) or image)
    _, classes = JPEGStream(photographs("demo", ["flower"]), 16).batch(5000, 0)
    asked = np.array(asked)
    for label, (low, high) in JPEG_CLASSES.items():
        of_class = asked[classes.numpy() == label]
        assert len(of_class) == 1000 and of_class.min() == low and of_class.max() == high
        counts = np.bincount(of_class - low)
        assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < len(counts) + 5 * np.sqrt(2 * len(counts))


def test_native_crops_are_compressed_as_they_are(tmp_path):
    """With a crop as large as the photograph only the mirror and the quality are open: every image is one of these."""
    photograph = read_image(photographs("demo", ["coffee"])[0])[:64, :64]
    Image.fromarray(photograph).save(tmp_path / "p.png")
    possible = set()
    for quality in range(2, 101):
        for view in (photograph, photograph[:, ::-1]):
            file = io.BytesIO()
            Image.fromarray(view).save(file, "JPEG", quality=quality)
            possible.add((jpeg_class(quality), np.asarray(Image.open(file)).tobytes()))
    images, classes = JPEGStream([tmp_path / "p.png"], 64).batch(40, 0)
    for image, label in zip(images.permute(0, 2, 3, 1), classes.tolist(), strict=True):
        assert (label, image.numpy().tobytes()) in possible


def test_decoded_once(monkeypatch):
    decoded = []
    monkeypatch.setattr("iqasuite.images.jpeg_stream.read_image", lambda path: decoded.append(path) or read_image(path))
    files = photographs("demo")
    stream = JPEGStream(files, 64)
    for step in range(3):
        stream.batch(16, step)
    assert decoded == files and len(stream) == 7


def test_photographs_by_name_and_folder(tmp_path):
    assert len(photographs("demo")) == 7 and photographs("demo", ["china"])[0].name == "china.jpg"
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in photographs(tmp_path)] == ["a.JPG", "b.png"]
    assert [p.name for p in photographs(tmp_path, ["b"])] == ["b.png"]
    with pytest.raises(InputError, match="'mars' unknown; expected some of astronaut"):
        photographs("demo", ["mars"])
    with pytest.raises(InputError, match="is no folder; expected demo, kodak24 or a folder"):
        photographs(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none; expected images"):
        photographs(tmp_path / "empty")


def test_unusable_photographs(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "low.png")
    with pytest.raises(InputError, match="low.png: 300×200 pixels; expected 256 or more"):
        JPEGStream([tmp_path / "low.png"])
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(InputError, match="text.png: not an image"):
        JPEGStream([tmp_path / "text.png"])
    with pytest.raises(InputError, match="none given"):
        JPEGStream([])


def test_kodak(kodak_folder, monkeypatch):
    monkeypatch.setenv("IQASUITE_DATA", str(kodak_folder.parent))
    files = photographs("kodak24")
    assert len(files) == 24 and JPEGStream(files[:2]).batch(4, 0)[0].shape == (4, 3, 256, 256)


def test_mixed_crops_keep_their_classes_and_are_compressed_last():
    files = photographs("demo", ["coffee", "china"])
    plain, mixed = (JPEGStream(files, 64, seed=1, varied=True, mixed=share) for share in (0.0, 1.0))
    (images, facts), (others, theirs) = plain.described(20, 0), mixed.described(20, 0)
    assert facts["class"].tolist() == theirs["class"].tolist() and not torch.equal(images, others)
    steps = others.double().diff(dim=3)[..., :, :].abs()
    at_borders, within = steps[..., 7::8].mean(dim=(1, 2, 3)), steps[..., 3::8].mean(dim=(1, 2, 3))
    coarse = torch.from_numpy((theirs["quality"] < 10).to_numpy(copy=True))
    assert (at_borders[coarse] > 1.3 * within[coarse]).all()  # JPEG's blocks begin at the corner of the crop
