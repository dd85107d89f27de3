"""TID2008 and TID2013: one layout."""

import numpy as np
import pandas as pd
import pytest

from iqasuite.datasets.adapters import tid2008, tid2013
from iqasuite.errors import InputError

SETS = [(tid2008, "TID2008", 17, 4), (tid2013, "TID2013", 24, 5)]


@pytest.fixture
def tiny(tmp_path, draw):
    """Two references, distortions 1 and 10, two levels; names in the table and of the files differ in case."""
    names = [f"i{c:02d}_{d:02d}_{level}.bmp" for c in (1, 25) for d in (1, 10) for level in (1, 2)]
    draw(tmp_path, [f"tid/distorted_images/{name}" for name in names])
    draw(tmp_path, ["tid/reference_images/I01.BMP", "tid/reference_images/i25.bmp"])
    score = [6.0, 5.5, 5.25, 2.0, 6.5, 5.5, 5.25, 1.0]
    lines = [f"{s:.5f} {name.replace('i', 'I', 1)}" for s, name in zip(score, names, strict=True)]
    (tmp_path / "tid" / "mos_with_names.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "tid" / "mos_std.txt").write_text("0.13\n" * 8)
    return tmp_path


@pytest.mark.parametrize("module", [tid2008, tid2013])
def test_tiny(tiny, module, check_absent):
    data = module.load(tiny)
    assert data.images["content"].tolist() == ["I01"] * 4 + ["I25"] * 4
    assert data.images["image"][0] == "tid/distorted_images/i01_01_1.bmp"
    assert set(data.images["reference"]) == {"tid/reference_images/I01.BMP", "tid/reference_images/i25.bmp"}
    assert data.images["distortion"].tolist() == ["gaussian noise", "gaussian noise", "jpeg", "jpeg"] * 2
    assert data.images["level"].tolist() == [1, 2] * 4 and data.images["mos"].tolist()[:4] == [6.0, 5.5, 5.25, 2.0]
    np.testing.assert_allclose(data.images["mos_std"], 0.13 * np.sqrt(module.EXPERIMENTS / 25))  # of votes, not means
    check_absent(module.load, tiny)


def test_without_official_table_the_mirrors_is_read(tiny):
    scores = pd.read_csv(tiny / "tid" / "mos_with_names.txt", sep=" ", names=["mos", "dist_name"])
    (tiny / "meta_info").mkdir()
    table = scores.assign(ref_name="I01.BMP", std=0.13)[["ref_name", "dist_name", "mos", "std"]]
    table.to_csv(tiny / "meta_info" / "meta_info_TID2013Dataset.csv", index=False)
    official = tid2013.load(tiny).images
    (tiny / "tid" / "mos_with_names.txt").unlink()
    pd.testing.assert_frame_equal(tid2013.load(tiny).images, official)
    with pytest.raises(InputError, match="no mos_with_names.txt in it"):
        tid2008.load(tiny)


def test_strange_names_are_refused(tiny):
    (tiny / "tid" / "mos_with_names.txt").write_text("5.0 i01_99_1.bmp\n")
    with pytest.raises(InputError, match="i01_99_1.bmp.*expected names like"):
        tid2013.load(tiny)
    (tiny / "tid" / "mos_with_names.txt").write_text("5.0\n")
    with pytest.raises(InputError, match="mos_with_names.txt: 1 words in a line; expected score, name"):
        tid2013.load(tiny)


def test_spread_of_the_votes_from_the_error_of_their_mean():
    votes = np.random.default_rng(0).integers(4, 7, (200, 36))
    mean, std = pd.Series(votes.mean(1)), votes.std(1)
    np.testing.assert_allclose(tid2013.spread(mean, pd.Series(std / 6), 36), std)
    np.testing.assert_allclose(tid2013.spread(mean, pd.Series(std), 36), std)


@pytest.mark.parametrize(("module", "name", "kinds", "levels"), SETS)
def test_official_table(tmp_path, draw, collected, check_whole, module, name, kinds, levels):
    table = collected(name)
    draw(tmp_path, [*table["dis_img_path"], *table["ref_img_path"].unique()])
    listed = table["dis_img_path"].str.split("/").str[-1].str.swapcase()
    (tmp_path / "mos_with_names.txt").write_text(
        "".join(f"{s} {n}\n" for s, n in zip(table["score"], listed, strict=True))
    )
    data = module.load(tmp_path)
    check_whole(data, module.CARD)
    images = data.images
    assert (
        images["mos"].tolist() == table["score"].tolist() and images["image"].tolist() == table["dis_img_path"].tolist()
    )
    assert images["distortion"].nunique() == kinds and images["level"].nunique() == levels
    by_level = images.groupby(["distortion", "level"])["mos"].mean().unstack()
    falls = (by_level.diff(axis=1).iloc[:, 1:] < 0).mean(axis=1)
    assert set(falls[falls < 0.7].index) == {"block-wise distortion", "contrast change"}  # the two that the text names
    assert by_level.loc["jpeg2000", 1] - by_level.loc["jpeg2000", levels] > 4
    ours = {"AWGN": "gaussian noise", "JPEG": "jpeg", "GBLUR": "gaussian blur", "Mean_Shift": "mean shift"}
    for theirs, kind in ours.items():
        assert set(images["distortion"][table["dis_type"] == theirs]) == {kind}


def test_official_files_of_tid2013(tmp_path, draw, collected, tables, check_whole):
    table = collected("TID2013")
    references = [f"reference_images/I{i:02d}.BMP" for i in range(1, 25)] + ["reference_images/i25.bmp"]
    draw(tmp_path, [*table["dis_img_path"], *references])
    for name in ("mos_with_names.txt", "mos_std.txt"):
        (tmp_path / name).write_bytes((tables / "tid2013_original_layout" / name).read_bytes())
    data = tid2013.load(tmp_path)
    check_whole(data, tid2013.CARD)
    theirs = table.assign(image=table["dis_img_path"]).set_index("image")["score"]
    np.testing.assert_allclose(data.images.set_index("image")["mos"], theirs[data.images["image"]], atol=1e-4)
    mos, std = data.images["mos"], data.images["mos_std"]
    least = np.sqrt((mos % 1) * (1 - mos % 1))  # of whole votes
    published = np.loadtxt(tmp_path / "mos_std.txt")
    assert (published < least - 0.02).mean() > 0.9  # so they are not the votes' own
    assert (std < least - 0.02).mean() < 0.01 and 0.7 < std.mean() < 0.9
