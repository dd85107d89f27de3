import logging

import numpy as np
import pytest
from PIL import Image

from iqasuite import datasets
from iqasuite.datasets import study_folder
from iqasuite.datasets.dataset import first_votes
from iqasuite.datasets.frames import IMAGES, VOTES
from iqasuite.datasets.leakage import near_duplicates
from iqasuite.datasets.splits import audit, by_content
from iqasuite.errors import InputError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "My images (2)"


def picture(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((36, 32), Image.Resampling.BICUBIC).save(path)


def laid_out(folder, ratings: str, *files: str, facts: str = ""):
    """A folder with a CSV, images and maybe facts."""
    for seed, name in enumerate(files):
        picture(folder / name, seed)
    folder.mkdir(exist_ok=True)
    (folder / "ratings.csv").write_text(ratings)
    if facts:
        (folder / "dataset.yaml").write_text(facts)
    return folder


def refusal(folder, missing: str = "error") -> str:
    with pytest.raises(InputError) as error:
        study_folder.load(folder, missing)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


def test_what_is_loaded(folder):
    laid_out(
        folder,
        "image,anna,bob,content,reference,distortion,level\n"
        "jpeg/a.png,4,2,boat,sources/boat.png,jpeg,30\nsources/boat.png,5,5,boat,sources/boat.png,,\n",
        *("jpeg/a.png", "sources/boat.png"),
        facts="name: boats\nlicence: CC0\ncitation: Me\ndisplay_size: [1080, 1920]\nscale: {low: 1, high: 5}\n",
    )
    data = study_folder.load(folder)
    assert (data.name, data.root, data.licence, data.citation) == ("boats", folder, "CC0", "Me")
    assert data.display_size == (1080, 1920) and data.scale.name == "ACR" and data.has_pixels and data.absent == []
    assert list(data.images.columns) == list(IMAGES) and list(data.votes.columns) == list(VOTES)
    assert data.images["image"].tolist() == ["jpeg/a.png", "sources/boat.png"]
    assert data.images["reference"].tolist() == ["sources/boat.png", ""]  # nothing is its own reference
    assert data.images["mos"].tolist() == [3, 5] and data.images["mos_std"].tolist() == [pytest.approx(2**0.5), 0]
    assert data.images["level"].iloc[0] == 30 and np.isnan(data.images["level"].iloc[1])
    assert data.sources == {"boat": "boat"} and data.observers() == ["bob", "anna"]
    assert all(data.read(image).shape == (32, 36, 3) for image in data.images["image"]) and data.hash()


def test_by_its_folder_through_load(folder):
    laid_out(folder, "image,mos\na.png,3.5\nb.png,2\n", "a.png", "b.png")
    data = datasets.load(str(folder))
    assert "_My_images_2_-" in data.name and data.votes.empty and data.images["n_votes"].tolist() == [0, 0]
    assert data.nuisances.empty and data.fit == "crop" and data.display_size == (32, 36)


def test_names_that_mean_several_images_are_absent(folder):
    laid_out(folder, "image,mos\na.png,1\nc.png,2\n", "x/a.png", "y/a.png", "c.png")
    assert "1 of 2 images absent (line 2: a.png, may be x/a.png, y/a.png …)" in refusal(folder)
    assert study_folder.load(folder, "drop").absent == ["a.png"]


def test_sets_in_folders_of_one_name(tmp_path):
    places = [tmp_path / place / "images" for place in ("a/lab", "b/lab", "lab")]
    names = {study_folder.load(laid_out(place, "image,mos\n1.png,3\n", "1.png")).name for place in places}
    assert len(names) == 3 and all(name.startswith("lab_images-") for name in names)
    again = study_folder.load(laid_out(places[0], "image,mos\n1.png,4\n", "1.png"))
    assert again.name in names  # it is the folder's


@pytest.mark.parametrize("name", ["../secret.png", "x/../../secret.png", "/etc/secret.png", "C:\\secret.png", "."])
def test_nothing_outside_the_folder(folder, name):
    picture(folder.parent / "secret.png", 0)
    laid_out(folder, f"image,mos\na.png,2\n{name},1\n", "a.png")
    assert f"line 3: {name!r} is outside of the folder" in refusal(folder, "drop")
    laid_out(folder, f"image,mos,reference\na.png,2,{name}\n")
    assert f"{name!r} is outside of the folder" in refusal(folder, "drop")
    laid_out(folder, "image,mos\na.png,2\n", facts=f"ratings: '{name}'\n")
    assert f"ratings: {name!r} is outside of the folder" in refusal(folder)


def test_absent_images(folder, caplog):
    laid_out(folder, "image,P1,P2\na.png,1,2\nlost.png,3,4\nb.png,5,4\n", "a.png", "b.png")
    assert "1 of 3 images absent (line 3: lost.png …)" in refusal(folder) and "missing='drop'" in refusal(folder)
    data = study_folder.load(folder, "drop")
    assert data.absent == ["lost.png"] and data.images["image"].tolist() == ["a.png", "b.png"]
    assert set(data.votes["image"]) == {"a.png", "b.png"} and "1 of 3 images absent" in caplog.text
    laid_out(folder, "image,mos\nlost.png,3\n")
    assert "all 1 images absent" in refusal(folder, "drop")


def test_absent_references(folder):
    laid_out(folder, "image,mos,ref\na.png,1,src/one.png\nb.png,2,src/one.png\n", "a.png", "b.png")
    assert "1 of 1 references absent" in refusal(folder)
    data = study_folder.load(folder, "drop")
    assert data.images["reference"].tolist() == ["", ""] and data.images["content"].tolist() == ["one", "one"]


def test_contents(folder, caplog):
    laid_out(folder, "image,mos\nx/a.png,1\nx/b.png,2\n", "x/a.png", "y/a.png", "x/b.png", "y/b.png")
    assert study_folder.load(folder).images["content"].tolist() == ["a", "b"]
    assert "every image is a content of its own" in caplog.text
    caplog.clear()
    laid_out(folder, "image,mos,reference\nx/a.png,1,y/b.png\nx/b.png,2,y/b.png\ny/b.png,5,\n")
    assert study_folder.load(folder).images["content"].tolist() == ["b", "b", "b"] and not caplog.text
    laid_out(folder, "image,mos\nx/a.png,1\ny/a.png,2\n")  # one stem, two images
    assert study_folder.load(folder).images["content"].tolist() == ["x/a", "y/a"]
    laid_out(folder, "image,mos,scene\nx/a.png,1,dock\ny/a.png,2,\n")
    assert "line 3, column scene: empty" in refusal(folder)
    rows = "P,x/a.png,3,dock\nP,x/b.png,3,\nQ,x/a.png,2,boat\n"
    laid_out(folder, f"observer,image,vote,content\n{rows}")
    assert "line 4, column content: 'boat' for 'x/a.png', before 'dock'" in refusal(folder)
    laid_out(folder, "image,P,Q\nx/a.png,3,\nx/b.png,1,2\nx/a.png,,4\n")
    assert "line 4: image 'x/a.png' a second time (first in line 2)" in refusal(folder)
    laid_out(folder, "image,mos,level\nx/a.png,1,much\n")
    assert "line 2, column level: found 'much'" in refusal(folder)


def test_which_table(folder):
    laid_out(folder, "image,mos\na.png,3\n", "a.png")
    (folder / "other.csv").write_text("image,mos\na.png,4\n")
    assert "2 CSV files (other.csv, ratings.csv)" in refusal(folder)
    (folder / "dataset.yaml").write_text("ratings: other.csv\n")
    assert study_folder.load(folder).images["mos"].tolist() == [4]
    (folder / "dataset.yaml").write_text("ratings: none.csv\n")
    assert "ratings is 'none.csv'; expected a file in the folder" in refusal(folder)
    (folder / "dataset.yaml").unlink()
    for name in ("other.csv", "ratings.csv"):
        (folder / name).unlink()
    (folder / "._ratings.csv").write_bytes(b"what a file system left")
    assert "no CSV file in it" in refusal(folder)


def test_folders_that_are_none(folder, tmp_path):
    assert "no such folder" in refusal(folder)
    laid_out(folder, "image,mos\na.png,3\n")
    assert "no images in it or below" in refusal(folder)
    with pytest.raises(InputError, match="missing='maybe'"):
        study_folder.load(folder, "maybe")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("colour: red", "key 'colour' unknown; expected one of name, scale"),
        ("scale: {lowest: 1}", "scale: key 'lowest' unknown"),
        ("scale: {low: 1}", "scale is {'low': 1}; expected keys with values: two numbers low and high"),
        ("scale: {low: 5, high: 1}", "scale is {'low': 5, 'high': 1}"),
        ("scale: {low: .nan, high: 1}", "line 1, key 'low': found .nan; expected a finite number"),
        ("scale: {low: true, high: 5}", "low is True; expected a number"),
        ("scale: {higher_is_better: 'no'}", "higher_is_better is 'no'; expected true or false"),
        ("scale: 5", "scale is 5; expected keys with values"),
        ("display_size: [1080]", "display_size is [1080]; expected [height, width]"),
        ("display_size: [0, 10]", "display_size is [0, 10]"),
        ("display_size: [1000000, 10]", "display_size is [1000000, 10]"),
        ("scale: {low: 0, high: " + "9" * 30 + "}", "line 1, key 'high'"),
        ("ratings: " + "v" * 300, "ratings is 'vvv"),
        ("name: nul.x", "name is 'nul.x'"),
        ("licence: &x [*x]", "line 1, key 'licence'"),
        ("name: ../out", "name is '../out'"),
        ("name: 3", "name is 3; expected text"),
        (
            "name: koniq10k",
            "name is 'koniq10k'; expected text: letters, digits, and _ . - within, not the name of another data set",
        ),
        ("- a list", "list; expected keys"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system [true]", "not YAML"),
    ],
)
def test_broken_facts(folder, facts, words):
    laid_out(folder, "image,mos\na.png,3\n", "a.png", facts=facts)
    message = refusal(folder)
    assert message.startswith(str(folder / "dataset.yaml")) and words in message


def test_facts_under_another_name(folder):
    laid_out(folder, "image,mos\na.png,3\n", "a.png")
    (folder / "dataset.yml").write_text("name: x\n")
    assert "dataset.yml: expected the name dataset.yaml" in refusal(folder)


def test_the_rest_of_the_suite_takes_it(folder, caplog):
    """Split, audit and first votes of a study of 9 scenes × 3 versions, 4 people, one session repeated."""
    rng = np.random.default_rng(0)
    rows, files = [], []
    for scene in range(9):
        for version in range(3):
            name = f"{version}/{scene}.png"
            picture(folder / name, seed=scene)
            files.append(name)
            for person in "ABCD":
                vote = 2 * version + 1 + rng.integers(0, 3)
                rows += [(person, name, vote, session, scene) for session in ((1, 2) if person == "A" else (1,))]
    text = "observer,image,vote,session,content\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    laid_out(folder, text)
    with caplog.at_level(logging.INFO):
        data = study_folder.load(folder)
    assert data.scale.high == 7 and "1 to 7" in caplog.text
    split = by_content(data.images, 3, sources=data.sources)
    assert audit(split, data.images, data.sources, near_duplicates(data.images, data.paths())).empty
    first = first_votes(data.votes)
    assert len(first) == 27 * 4 and len(data.votes) == 27 * 5
    assert (data.images["n_votes"] == 4).all() and data.images["mos"].between(1, 7).all()
    assert set(data.votes["vote"]) == {1, 2, 3, 4, 5}
    assert first.groupby("image")["vote"].mean().corr(data.images.set_index("image")["mos"]) > 0.9


def test_images_of_several_sizes_are_said(folder, caplog):
    laid_out(folder, "image,mos,content\na.png,1,a\nb.png,2,b\nc.png,3,c\n", "a.png", "b.png", "c.png")
    Image.new("RGB", (20, 10)).save(folder / "a.png")
    with caplog.at_level(logging.WARNING):
        assert study_folder.load(folder).display_size == (32, 36)
    assert "images of 2 sizes, 2 of 36×32 (width×height)" in caplog.text and "dataset.yaml" in caplog.text
    assert "1 of 3 images have another shape than 36×32" in caplog.text and "fit: letterbox" in caplog.text
    assert "cropped to their centre (56 % of the image at least)" in caplog.text  # of 20×10, 11.25×10
    assert study_folder.load(folder).read("a.png", (32, 36)).max() == 0
    caplog.clear()
    (folder / "dataset.yaml").write_text("fit: letterbox\ndisplay_size: [20, 40]\n")
    data = study_folder.load(folder)
    assert data.fit == "letterbox" and data.read("a.png", data.display_size).max() == 0
    assert (data.read("b.png", data.display_size)[:, [0, -1]] == 128).all()
    assert "2 of 3 images have another shape than 40×20" in caplog.text and "fit: crop" in caplog.text


def test_a_copy_stored_small_shows_the_part_that_its_reference_shows(folder):
    """Although its sides were rounded to those of the display."""
    laid_out(folder, "image,mos,reference\nsmall.png,1,whole.png\n", facts="display_size: [100, 100]\n")
    pixels = np.random.default_rng(0).integers(0, 256, (34, 33, 3), dtype=np.uint8)
    whole = Image.fromarray(pixels).resize((1000, 1020), Image.Resampling.BICUBIC)
    whole.save(folder / "whole.png")
    whole.resize((50, 51), Image.Resampling.BICUBIC).save(folder / "small.png")
    data = study_folder.load(folder)
    reference = data.read("whole.png", (100, 100)).astype(float)
    paired, alone = (data.read("small.png", (100, 100), of) for of in ("whole.png", None))
    assert np.abs(paired - reference).mean() < np.abs(alone - reference).mean()


def test_images_of_one_shape_in_several_sizes_are_not_said_to_be_fitted(folder, caplog):
    laid_out(folder, "image,mos,content\na.png,1,a\nb.png,2,b\n", "a.png", "b.png")
    Image.new("RGB", (18, 16)).save(folder / "a.png")
    study_folder.load(folder)
    assert "images of 2 sizes" in caplog.text and "another shape" not in caplog.text


SHOTS = "observer,image,vote,source,codec,bit rate\n" + "".join(
    f"{person},{image}.png,{vote},{source},{codec},{rate}\n"
    for vote, person in enumerate("PQ", 2)
    for image, source, codec, rate in (("a", "boat", "x265", "1.5"), ("b", "dock", "", ""), ("c", "dock", "NA", "inf"))
)


def test_declared_nuisances(folder):
    """Numbers with gaps, categories with gaps, a column that is the content besides."""
    laid_out(folder, SHOTS, "a.png", "b.png", "c.png", facts="nuisance: [Bit_rate, codec, source]\n")
    data = study_folder.load(folder)
    assert list(data.nuisances) == ["bit rate", "codec", "source"]
    assert data.nuisances["codec"].tolist() == ["x265", "", "NA"]
    np.testing.assert_array_equal(data.nuisances["bit rate"], [1.5, np.nan, np.nan])
    assert data.images["content"].tolist() == data.nuisances["source"].tolist() == ["boat", "dock", "dock"]
    assert data.nuisances.index.tolist() == data.images["image"].tolist() and data.observers() == ["P", "Q"]


def test_nuisances_of_other_tables(folder):
    """Beside votes in columns, where none is a person; where all rows are numbered; where another column is content."""
    text = "image,P,Q,no,size,src,scene\na.png,1,2,1,90,m,boat\nb.png,3,4,2,70,n,dock\n"
    laid_out(folder, text, "a.png", "b.png", facts="nuisance: ['no', size, src]\n")
    data = study_folder.load(folder)
    assert data.nuisances.to_numpy().tolist() == [[1, 90, "m"], [2, 70, "n"]] and data.observers() == ["P", "Q"]
    assert data.images["content"].tolist() == ["boat", "dock"]
    laid_out(
        folder, "image,mos,n_votes,level,qp\na.png,1,9,2,30\nb.png,3,8,1,20\n", facts="nuisance: [qp, n_votes, level]"
    )
    data = study_folder.load(folder)
    assert data.nuisances.to_numpy().tolist() == [[30, 9, 2], [20, 8, 1]]
    assert data.images["n_votes"].tolist() == [9, 8] and data.images["level"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ("generator", "line 1: nuisance 'generator' is no column of observer, image, vote"),
        ("[codec, bit rate, bit-rate]", "nuisances 'bit rate' and 'bit-rate' are one column"),
        ("vote", "nuisance 'vote' is the column vote"),
        ("image", "nuisance 'image' is the column image"),
        (
            "[a, b, c, d, e, f]",
            "nuisance is ['a', 'b', 'c', 'd', 'e', 'f']; expected the name of a column, or a list of them",
        ),
        ("[codec, codec]", "names of different columns, 5 at most"),
        ("[1]", "names of different columns, 5 at most"),
        ("{codec: 1}", "expected the name of a column, or a list of them"),
        ("", "nuisance is None"),
        ("mood", "line 5, column mood: 'fine' for 'a.png', before 'good'; expected the same in all its rows"),
        ("nothing", "column nothing: no value for any image"),
        ("infinite", "column infinite: no value for any image"),
    ],
)
def test_nuisances_that_are_none(folder, declared, words):
    columns = {"mood": "good bad fine", "nothing": "  ", "infinite": "inf inf inf"}.get(declared)
    rows = SHOTS.splitlines()
    if columns is not None:  # another value in each row of a person, the other way round for the next
        cells = [declared, *columns.split(" "), *columns.split(" ")[::-1]]
        rows = [f"{','.join(row.split(',')[:4])},{cell}" for row, cell in zip(rows, cells, strict=True)]
    elif "bit" not in declared and "codec" not in declared:
        rows = [",".join(row.split(",")[:4]) for row in rows]
    laid_out(folder, "\n".join(rows) + "\n", "a.png", "b.png", "c.png", facts=f"nuisance: {declared}\n")
    assert words in refusal(folder)


def test_an_unreadable_header_does_not_hide_the_others(folder, caplog):
    laid_out(folder, "image,mos,content\na.png,1,a\nb.png,2,b\n", "a.png", "b.png")
    (folder / "a.png").write_bytes(b"no image")
    assert study_folder.load(folder).display_size == (32, 36) and "a.png: not an image" in caplog.text
    (folder / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="none of its images can be read"):
        study_folder.load(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_study_from_other_systems(folder, encoding):
    """Decomposed names of files, people and scenes that pandas takes for missing, what archivers leave, a first line
    that states the separator, an ending in capitals.
    """
    laid_out(folder, "", "e\u0301te\u0301/a.png", "e\u0301te\u0301/b.PNG", facts="citation: Angstrom\n")
    (folder / "ratings.csv").unlink()
    for name in ("._ratings.CSV", "e\u0301te\u0301/._a.png", "__MACOSX/a.png", "Thumbs.db"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5")
    text = "sep=;\r\nimage;NA;null;scene\r\n\u00e9t\u00e9/a.png;3;NA;None\r\n\u00e9t\u00e9\\B.png;;2;nan\r\n"
    (folder / "RATINGS.CSV").write_bytes(text.encode(encoding))
    data = study_folder.load(folder)
    assert data.observers() == ["NA", "null"] and data.images["content"].tolist() == ["None", "nan"]
    assert data.images["image"].tolist() == ["e\u0301te\u0301/a.png", "e\u0301te\u0301/b.PNG"] and data.hash()
    assert data.votes[["observer", "vote"]].to_numpy().tolist() == [["NA", 3], ["null", 2]]
