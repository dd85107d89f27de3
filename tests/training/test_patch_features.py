import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from PIL import Image

from iqasuite.datasets.card import Scale
from iqasuite.datasets.dataset import Dataset
from iqasuite.errors import InputError
from iqasuite.images.crops import normalise
from iqasuite.images.loading import read_image, resized
from iqasuite.images.patches import cut, patch_boxes, scan_order
from iqasuite.models import backbones
from iqasuite.training import feature_store, patch_features
from iqasuite.training.patch_features import Patches, PatchFeatures, extract

SHAPES = [(70, 50), (48, 32), (20, 90), (33, 33), (64, 64)]
SMALL = dict(patches=Patches(32), precision="float32", batch_size=4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = backbones.backbone("resnet18", pretrained=False).eval()
    for module in net.modules():  # as after training: statistics of its own, maps of moderate size
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net


@pytest.fixture
def files(tmp_path):
    rng, paths = np.random.default_rng(0), {}
    for i, shape in enumerate(SHAPES):
        paths[f"i{i}"] = tmp_path / f"i{i}.png"
        Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)).save(paths[f"i{i}"])
    return paths


@pytest.fixture
def forwards(monkeypatch):
    """Sizes of the batches that were computed."""
    computed, maps = [], backbones.Backbone.maps

    def counted(self, x, taps):
        if x.device.type != "meta":
            computed.append(len(x))
        return maps(self, x, taps)

    monkeypatch.setattr(backbones.Backbone, "maps", counted)
    return computed


@torch.no_grad()
def direct(network, image, size=32, overlap=0.5):
    """Global averages of the last map of an image's patches, one patch at a time."""
    patches = cut(image, patch_boxes(*image.shape[:2], size, overlap), size)
    x = normalise(torch.from_numpy(patches).permute(0, 3, 1, 2), network.mean, network.std)
    return torch.cat([network(patch[None]).mean((2, 3)) for patch in x]).numpy()


def test_store_is_what_one_patch_at_a_time_gives(network, files, tmp_path):
    features = extract(files, network, root=tmp_path / "store", **SMALL)
    assert features.images == list(files) and features.dim == 512 and len(features) == 5
    for image, path in files.items():
        pixels = read_image(path)
        expected = direct(network, pixels)
        assert features[image].dtype == np.float32
        np.testing.assert_allclose(features[image], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        assert np.array_equal(features.boxes(image), patch_boxes(*pixels.shape[:2], 32, 0.5))
        assert np.prod(features.grid(image)) == len(expected)
        order = scan_order(*features.grid(image), "spiral")
        assert np.array_equal(features.sequence(image, "spiral"), features[image][order])
    pooled = features.pooled(["i3", "i0"])
    assert pooled.shape == (2, 1024)
    np.testing.assert_allclose(pooled[1, :512], features["i0"].mean(0), rtol=1e-6)
    np.testing.assert_allclose(pooled[0, 512:], features["i3"].std(0), rtol=1e-6, atol=1e-7)


def test_images_are_brought_to_the_size_at_which_they_are_shown(network, files, tmp_path):
    features = extract(files, network, root=tmp_path / "store", shown_at=(40, 60), **SMALL)
    expected = direct(network, resized(read_image(files["i2"]), (40, 60)))
    np.testing.assert_allclose(features["i2"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert {features.grid(image) for image in features} == {(2, 3)}


def test_each_fit_has_features_of_its_own(network, files, tmp_path, forwards):
    """But images of the aspect at which they are shown are the same in both, and are not computed a second time."""
    images = pd.DataFrame({"image": [path.name for path in files.values()], "content": "noise", "mos": 1.0})
    sets = [
        Dataset("s", files["i0"].parent, images, pd.DataFrame(), Scale(1, 5), fit=fit) for fit in ("crop", "letterbox")
    ]
    for data in sets:
        features = extract(data, network, root=tmp_path / "store", shown_at=(48, 48), **SMALL)
        expected = direct(network, data.read("i2.png", (48, 48)))
        np.testing.assert_allclose(features["i2.png"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        assert features.path == extract(data, network, root=tmp_path / "store", shown_at=(48, 48), **SMALL).path
    n_patches, squares = np.prod(features.grid("i2.png")), 2  # of the images of SHAPES
    assert sum(forwards) == (2 * len(files) - squares) * n_patches


def test_patches_that_lie_wholly_in_a_part(network, files, tmp_path):
    features = extract(files, network, root=tmp_path / "store", images=["i0"], **SMALL)  # 70 × 50, patches of 32
    boxes, lower = features.boxes("i0"), (0.5, 0.0, 1.0, 1.0)
    inside = (boxes[:, 0] >= 35) & (boxes[:, 2] <= 70)
    assert 0 < inside.sum() < len(boxes)
    np.testing.assert_array_equal(features.within("i0", lower), features["i0"][inside])
    np.testing.assert_array_equal(features.within("i0", lower, "snake")[::-1], features["i0"][inside])
    np.testing.assert_array_equal(features.within("i0", (0, 0, 1, 1), "spiral"), features.sequence("i0", "spiral"))
    with pytest.raises(InputError, match="i0: no patch lies wholly in"):
        features.within("i0", (0.0, 0.0, 0.3, 1.0))


def test_spectrum_needs_no_weights_and_computes_in_float32(files, tmp_path, monkeypatch):
    monkeypatch.setattr(patch_features, "computes_in_bf16", lambda device: True)
    features = extract(files, "spectrum", Patches(32, pooling="moments"), root=tmp_path / "store")
    assert features.settings["precision"] == "float32"
    pixels = torch.from_numpy(read_image(files["i1"])[:32, :32].copy()).permute(2, 0, 1)[None] / 255
    expected = backbones.moments([backbones.backbone("spectrum").maps(pixels, (-1,))[0]])[0]
    np.testing.assert_allclose(features["i1"][0], expected, rtol=2e-3, atol=2e-3)


def test_regions_and_rotated_files(network, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (80, 60, 3), dtype=np.uint8)
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=lying)
    names = ["left", "right"]
    regions = {"left": ("a.png", (0, 0, 1, 0.45)), "right": ("a.png", (0, 0.45, 1, 1))}
    images = pd.DataFrame({"image": names, "content": "noise", "mos": [1.0, 2.0]})
    dataset = Dataset("parts", tmp_path, images, pd.DataFrame(), Scale(1, 5), regions=regions)
    features = extract(dataset, network, root=tmp_path / "store", **SMALL)
    for name in names:
        expected = direct(network, dataset.read(name))
        np.testing.assert_allclose(features[name], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert not np.array_equal(features["left"][:2], features["right"][:2])
    assert list(extract(dataset, network, root=tmp_path / "store", images=["right"], **SMALL)) == ["right"]


def test_second_call_computes_nothing(network, files, tmp_path, forwards):
    first = extract(files, network, root=tmp_path / "store", **SMALL)
    total = sum(len(first[image]) for image in first)
    assert sum(forwards) == total and max(forwards) == 4 and len(forwards) == -(-total // 4)  # across images
    again = extract(files, network, root=tmp_path / "store", **SMALL)
    assert sum(forwards) == total and again.path == first.path


@pytest.mark.parametrize(
    "change",
    [
        dict(patches=Patches(32, overlap=0.0)),
        dict(patches=Patches(24)),
        dict(patches=Patches(32, taps=(2,))),
        dict(patches=Patches(32, pooling="moments")),
        dict(precision="bf16"),
        dict(shown_at=(40, 40)),
    ],
)
def test_other_settings_are_another_store(network, files, tmp_path, forwards, change):
    some = {"i3": files["i3"]}
    extract(some, network, root=tmp_path / "store", **SMALL)
    before = len(forwards)
    extract(some, network, root=tmp_path / "store", **(SMALL | change))
    assert len(forwards) > before


def test_other_weights_are_another_store(network, files, tmp_path):
    torch.manual_seed(1)
    other = backbones.backbone("resnet18", pretrained=False)
    paths = [extract([files["i3"]], net, root=tmp_path / "store", **SMALL).path for net in (network, other)]
    assert paths[0] != paths[1]


def test_changed_file_is_noticed_and_alone_computed(network, files, tmp_path, forwards):
    before = extract(files, network, root=tmp_path / "store", **SMALL)
    pixels = np.random.default_rng(9).integers(0, 255, (*SHAPES[3], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(files["i3"])
    forwards.clear()
    after = extract(files, network, root=tmp_path / "store", **SMALL)
    assert sum(forwards) == len(after["i3"]) and after.path != before.path
    expected = direct(network, pixels)
    np.testing.assert_allclose(after["i3"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    for image in set(files) - {"i3"}:
        assert np.array_equal(after[image], before[image])
    forwards.clear()
    subset = extract({"other name": files["i1"]}, network, root=tmp_path / "store", **SMALL)
    assert not forwards and np.array_equal(subset["other name"], before["i1"])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 3])
def test_resumed_after_a_kill_is_the_same_store(network, files, tmp_path, monkeypatch, forwards, after):
    whole = extract(files, network, root=tmp_path / "whole", **SMALL)
    needed, features = sum(forwards), Patches.features
    forwards.clear()

    def dying(*args):
        if len(forwards) == after:
            raise Killed
        return features(*args)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Patches, "features", dying)
        extract(files, network, root=tmp_path / "store", **SMALL)
    part = next((tmp_path / "store").glob("*/rows.part"))
    with open(part, "ab") as file:
        file.write(b"torn block")
    resumed = extract(files, network, root=tmp_path / "store", **SMALL)
    assert sum(forwards) <= needed + SMALL["batch_size"]
    assert (resumed.path / "rows.f16").read_bytes() == (whole.path / "rows.f16").read_bytes()
    assert (resumed.path / "index.json").read_text() == (whole.path / "index.json").read_text()
    assert {path.name for path in resumed.path.iterdir()} == {"rows.f16", "index.json"}


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bf16", 1e-3)])
def test_batch_composition_does_not_matter(network, files, tmp_path, monkeypatch, precision, tolerance):
    monkeypatch.setattr(PatchFeatures, "__init__", lambda self, path: None)
    found = []
    for batch_size in (1, 3, 64):
        with monkeypatch.context() as patched:
            patched.setattr(
                feature_store,
                "_make",
                lambda folder, index, size, compute: found.append(np.concatenate(list(compute(index["images"], 0)))),
            )
            extract(
                files,
                network,
                root=tmp_path / str(batch_size),
                **(SMALL | dict(precision=precision, batch_size=batch_size)),
            )
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=tolerance, atol=tolerance * np.abs(found[0]).max())


def test_bf16_is_near_float32(network, files, tmp_path):
    bf16, float32 = (
        extract(files, network, root=tmp_path / "store", **(SMALL | dict(precision=precision)))
        for precision in ("bf16", "float32")
    )
    a, b = (np.concatenate([f[image] for image in f]) for f in (bf16, float32))
    assert 0 < np.abs(a - b).max() < 0.05 * np.abs(b).max()


def test_damaged_store_is_made_again(network, files, tmp_path, caplog):
    features = extract(files, network, root=tmp_path / "store", **SMALL)
    expected, path = features["i0"], features.path / "rows.f16"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = extract(files, network, root=tmp_path / "store", **SMALL)
    assert "damaged" in caplog.text and np.array_equal(again["i0"], expected)
    index = features.path / "index.json"
    for content in ("[]", "[" * 3000, index.read_text().replace('"i0"', '"other"'), index.read_text()[:-9]):
        index.write_text(content)
        assert np.array_equal(extract(files, network, root=tmp_path / "store", **SMALL)["i0"], expected)


def test_no_room_leaves_nothing(network, files, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(InputError, match="MiB are free"):
        extract(files, network, root=tmp_path / "store", **SMALL)
    assert not list((tmp_path / "store").glob("*/rows*"))


def test_second_process_waits(network, files, tmp_path, monkeypatch):
    features = extract(files, network, root=tmp_path / "store", **SMALL)
    with FileLock(f"{features.path}.lock"):
        monkeypatch.setattr("filelock.FileLock", lambda path: FileLock(path, timeout=0.01))
        extract(files, network, root=tmp_path / "store", **SMALL)  # what is whole is read
        (features.path / "index.json").unlink()
        with pytest.raises(TimeoutError):
            extract(files, network, root=tmp_path / "store", **SMALL)


def test_bad_input_is_named(network, files, tmp_path):
    store = dict(root=tmp_path / "store")
    for given, message in [
        ((files, network, Patches(32, 1.5)), "overlap"),
        (([], network), "0 images"),
        (([files["i0"]] * 2, network), "once"),
        ((files, network, Patches(32, taps=(9,))), "taps"),
        (([tmp_path / "none.png"], network), "none.png"),
        ((files, "swin_t"), "swin_t"),
    ]:
        with pytest.raises(InputError, match=message):
            extract(*given, **store)
    with pytest.raises(InputError, match="median"):
        Patches(pooling="median")
    with pytest.raises(InputError, match="unknown"):
        extract(files, network, images=["unknown"], **store)
    (tmp_path / "broken.png").write_bytes(Path(files["i0"]).read_bytes()[:300])
    with pytest.raises(InputError, match="broken.png"):
        extract([files["i1"], tmp_path / "broken.png"], network, **SMALL, **store)
    with pytest.raises(InputError, match="vectors|patches"):
        extract(files, network, **SMALL, **store).vectors(["i0"])
    with pytest.raises(InputError, match="nobody"):
        extract(files, network, **SMALL, **store)["nobody"]


def test_index_says_what_the_rows_are(network, files, tmp_path):
    index = json.loads((extract(files, network, root=tmp_path, **SMALL).path / "index.json").read_text())
    assert index["settings"]["size"] == [32, 32] and len(index["settings"]["weights"]) == 64
    assert index["first_rows"][-1] == sum(r * c for r, c in index["grids"]) and index["sizes"] == [
        list(s) for s in SHAPES
    ]
