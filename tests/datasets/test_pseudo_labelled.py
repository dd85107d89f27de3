import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import norm, rankdata, spearmanr

from iqasuite import datasets
from iqasuite.datasets import demo, pseudo_labelled, splits
from iqasuite.datasets.frames import IMAGES
from iqasuite.datasets.pairs import rated_pairs
from iqasuite.datasets.pseudo_labelled import consensus, make
from iqasuite.errors import InputError
from iqasuite.images.distortions.registry import DISTORTIONS
from iqasuite.images.loading import read_image
from iqasuite.images.photographs import photograph as installed
from iqasuite.images.photographs import photographs as files_of
from iqasuite.models.metrics import piq_metrics
from iqasuite.paths import unfinished

KINDS = ("blur", "noise", "patch_shift", "jpeg2000")
METRICS = piq_metrics.qualities(("psnr", "gmsd", "haarpsi"))
SETTINGS = {"distortions": KINDS, "size": 48}


@pytest.fixture(scope="module")
def photographs():
    return [installed(name) for name in ("china", "coffee", "flower")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pseudo")


@pytest.fixture(scope="module")
def pairs(photographs, root):
    return make(photographs, METRICS, **SETTINGS, root=root)


def test_every_photograph_kind_and_level_is_there_once(pairs):
    images = pairs.images
    assert tuple(images.columns) == IMAGES and len(pairs) == len(images) == 3 * 4 * 5
    assert (images.groupby(["content", "distortion", "level"]).size() == 1).all()
    assert set(images["content"]) == {"china", "coffee", "flower"} and set(images["distortion"]) == set(KINDS)
    assert (images["n_votes"] == 0).all() and images["mos_std"].isna().all()  # nobody voted
    assert images["mos"].mean() == pytest.approx(0, abs=1e-9) and images["mos"].std(ddof=0) == pytest.approx(1)
    np.testing.assert_allclose(images["mos"], consensus(pairs.metrics), atol=1e-9)


def test_labels_fall_with_the_level(pairs):
    labels = pairs.images.pivot(index=["content", "distortion"], columns="level", values="mos").to_numpy()
    assert labels.shape == (12, 5) and (np.diff(labels, axis=1) <= 0).mean() > 0.95
    assert (labels[:, 0] - labels[:, -1] > 0.5).all()


def test_crops_are_of_their_photographs_and_distorted_as_they_say(pairs, photographs):
    rows = np.arange(len(pairs))
    references, distorted = pairs.pairs(rows)
    assert references.shape == distorted.shape == (60, 48, 48, 3) and references.dtype == distorted.dtype == np.uint8
    assert len(pairs.references) == 12  # five levels share one
    for content, photograph in zip(("china", "coffee", "flower"), photographs, strict=True):
        whole = read_image(photograph)
        for row in np.flatnonzero(pairs.images["content"] == content)[::5]:
            windows = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (48, 48))
            crop = references[row, ..., 0]
            assert any((windows[:, :, 0] == c[0, 0]).any() and _inside(windows, c) for c in (crop, crop[:, ::-1]))
    for row in np.flatnonzero(pairs.images["distortion"] == "blur"):
        level = int(pairs.images["level"][row])
        expected = DISTORTIONS["blur"](references[row], level, np.random.default_rng(0))
        np.testing.assert_array_equal(distorted[row], expected)
    for name, function in METRICS.items():
        values = function(*(torch.from_numpy(x[::7]).permute(0, 3, 1, 2) for x in (references, distorted)))
        np.testing.assert_allclose(pairs.metrics[name][::7], values, rtol=1e-3, atol=1e-4)


def _inside(windows, crop):
    candidates = np.argwhere((windows[..., 0, 0] == crop[0, 0]) & (windows[..., -1, -1] == crop[-1, -1]))
    return any(np.array_equal(windows[y, x], crop) for y, x in candidates)


def test_it_is_made_once_and_the_same_again(pairs, photographs, root, tmp_path, monkeypatch):
    other = make(photographs, METRICS, **SETTINGS, root=tmp_path)
    pd.testing.assert_frame_equal(other.images, pairs.images)
    np.testing.assert_array_equal(other.pairs(range(60))[1], pairs.pairs(range(60))[1])
    monkeypatch.setattr(pseudo_labelled, "_build", lambda *_: pytest.fail("made a second time"))
    again = make(photographs, METRICS, **SETTINGS, root=root)
    pd.testing.assert_frame_equal(again.images, pairs.images)
    assert again.distorted.path == pairs.distorted.path


def test_another_seed_or_place_is_another_crop_and_the_rest_stays(pairs, photographs, tmp_path):
    few = {"distortions": ("noise",), "size": 48, "root": tmp_path}
    same, other = make(photographs[:1], METRICS, **few), make(photographs[:1], METRICS, **few, seed=1)
    two = make(photographs[:1], METRICS, **few, places=2)
    row = np.flatnonzero((pairs.images["content"] == "china") & (pairs.images["distortion"] == "noise"))
    np.testing.assert_array_equal(same.pairs(range(5))[1], pairs.pairs(row)[1])
    np.testing.assert_array_equal(two.pairs(range(5))[1], same.pairs(range(5))[1])
    assert not np.array_equal(other.pairs([0])[0], same.pairs([0])[0])
    assert len(two) == 10 and not np.array_equal(two.pairs([0])[0], two.pairs([5])[0])


def test_splits_go_by_photograph(pairs):
    split = splits.by_content(pairs.images, 3)
    for _, fold in split.groupby("fold"):
        assert fold.groupby("content")["part"].nunique().eq(1).all() and set(fold["part"]) == {"train", "val", "test"}


@pytest.mark.parametrize("name", ["NA", "null", "007", "1e5", "é"])
def test_a_photograph_may_have_any_name(photographs, tmp_path, name):
    path = tmp_path / f"{name}.png"
    Image.open(photographs[0]).crop((0, 0, 96, 80)).save(path)
    few = {"distortions": ("blur",), "size": 48, "root": tmp_path / "made"}
    for _ in range(2):  # made, and found again
        assert set(make([path], METRICS, **few).images["content"]) == {name}


def test_a_damaged_set_is_made_again(photographs, tmp_path):
    few = {"distortions": ("blur",), "size": 48, "root": tmp_path}
    first = make(photographs[:1], METRICS, **few)
    before = first.pairs(range(5))[1]
    with open(first.distorted.path, "r+b") as file:
        file.truncate(1000)
    left = tmp_path / f"{unfinished(first.distorted.path.parent)}x"  # what a killed process leaves
    left.mkdir()
    np.testing.assert_array_equal(make(photographs[:1], METRICS, **few).pairs(range(5))[1], before)
    assert not left.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photographs": []}, "pseudo-labels of 0 photographs"),
        ({"metrics": {}}, "0 metrics"),
        ({"distortions": ("blur", "fog")}, "distortion 'fog': expected some of jpeg"),
        ({"size": 8}, "size=8, places=1, share=1: expected 16 or more"),
        ({"places": 0}, "places=0"),
        ({"size": 5000}, "china.jpg: 640×427 pixels; expected 5000 or more"),
        ({"metrics": {"broken": lambda r, d: torch.full((len(r),), torch.nan)}}, "metric 'broken' gives nan"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(photographs, tmp_path, change, message):
    given = {"photographs": photographs, "metrics": METRICS, **SETTINGS, "root": tmp_path} | change
    with pytest.raises(InputError, match=message):
        make(**given)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"]


def test_two_photographs_of_one_name_are_refused(photographs, tmp_path):
    with pytest.raises(InputError, match="two are named 'china'"):
        make([*photographs, photographs[0]], METRICS, **SETTINGS, root=tmp_path)


def test_consensus_is_the_mean_of_normal_scores_by_hand():
    values = np.array([[1.0, 30], [2, 20], [3, 50], [3, 40]])
    scores = np.stack([norm.ppf((rankdata(column) - 0.5) / 4) for column in values.T], axis=1).mean(axis=1)
    np.testing.assert_allclose(consensus(values), (scores - scores.mean()) / scores.std())
    np.testing.assert_allclose(consensus(np.exp(values / 10)), consensus(values))  # any monotone scale
    assert (consensus(np.ones((3, 2))) == 0).all()


def test_consensus_refuses_what_has_no_rank():
    with pytest.raises(InputError, match="not finite"):
        consensus(np.array([[1.0, np.nan], [2, 3]]))
    for values in (np.ones(3), np.ones((0, 2))):
        with pytest.raises(InputError, match=r"expected \(n, k\)"):
            consensus(values)


def test_pairs_of_a_rated_set_are_brought_to_one_size(tmp_path, tiny_lab):
    from iqasuite.datasets.adapters import tta_h265_lab

    rng = np.random.default_rng(0)
    for source in "ab":
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).save(
            tiny_lab / "images" / "src_cropped" / f"{source}.mkv_1frame.png"
        )
    rated = tta_h265_lab.load(tiny_lab)
    found = list(rated_pairs(rated, 30))
    assert {name for name, *_ in found} == set(rated.images["image"])
    for name, reference, distorted, mos in found:
        assert reference.shape == distorted.shape == (30, 45, 3) and reference.dtype == distorted.dtype == np.uint8
        assert mos == rated.images.set_index("image")["mos"][name]
    rated.display_size = None
    assert next(rated_pairs(rated))[1].shape == (60, 90, 3)
    whole = rated.read(rated.images["reference"][0])
    np.testing.assert_array_equal(next(rated_pairs(rated))[1], whole)
    rated.images["reference"] = ""
    with pytest.raises(InputError, match="tta_h265_lab: no image has a reference"):
        next(rated_pairs(rated))
    with pytest.raises(InputError, match="side=0"):
        next(rated_pairs(demo.load(), 0))


def test_the_demo_has_its_pairs(demo_set):
    _name, reference, distorted, mos = next(rated_pairs(demo_set))
    assert reference.shape == distorted.shape == (256, 256, 3) and 1 <= mos <= 5
    assert sum(1 for _ in rated_pairs(demo_set, 16)) == (demo_set.images["reference"] != "").sum() == 13 * 25


def test_kodak_photographs_are_taken(kodak_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_DATA", str(kodak_folder.parent))
    paths = files_of("kodak24")
    made = make(paths[:2], METRICS, distortions=("blur",), root=tmp_path)
    assert made.distorted.shape == (10, 288, 288, 3) and made.images["content"].nunique() == 2


def correlations(root, side, names):
    rated = datasets.load("tta_h265_lab", root, missing="drop")
    rows = []
    for _, reference, distorted, mos in rated_pairs(rated, side):
        pair = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (reference, distorted)]
        rows.append([mos, *(piq_metrics.quality(name, *pair).item() for name in names)])
    mos, *values = np.array(rows).T
    assert len(mos) == 40
    return {name: spearmanr(v, mos)[0] for name, v in zip(names, values, strict=True)}


def test_metrics_and_people_agree_on_the_rated_pairs_seen_small(lab_folder):
    found = correlations(lab_folder, 360, ("psnr", "ms_ssim"))
    assert found["psnr"] == pytest.approx(0.944, abs=0.003)
    assert found["ms_ssim"] == pytest.approx(0.962, abs=0.003)


@pytest.mark.slow
def test_psnr_agrees_with_people_on_the_rated_pairs_as_measured_before(lab_folder):
    assert correlations(lab_folder, 1080, ("psnr",))["psnr"] == pytest.approx(0.908, abs=0.001)


def test_a_share_of_the_pairs_is_the_same_part_of_the_whole(pairs, photographs, tmp_path):
    some = make(photographs, METRICS, **SETTINGS, share=0.5, root=tmp_path)
    assert 0 < len(some) < len(pairs) and len(some) % 5 == 0
    rows = pairs.images.set_index("image").index.get_indexer(some.images["image"])
    assert (rows >= 0).all()
    np.testing.assert_array_equal(some.distorted[range(len(some))], pairs.distorted[rows.tolist()])
