"""Trees in the official layouts: images that the test draws, under official names."""

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqasuite.datasets.layout import Files

FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG"}


@pytest.fixture(scope="session")
def tables(real_data) -> Path:
    """Folder of the real score tables."""
    return real_data("tables")


@pytest.fixture(scope="session")
def collected(tables):
    """A real table by name: columns dis_img_path (without the set's folder), dis_type, ref_img_path, score."""

    def read(name: str) -> pd.DataFrame:
        table = pd.read_csv(tables / f"{name}.txt")
        for column in ("dis_img_path", "ref_img_path"):
            if column in table:
                table[column] = table[column].str.split("/", n=1).str[1]
        return table

    return read


@pytest.fixture(scope="session")
def draw():
    """Writes 8×8 images of these names below a root; thousands of them are links to one file a folder."""

    def write(root: Path, names) -> None:
        first = {}
        for name in names:
            path = root / name
            key = path.parent, path.suffix
            if key in first:
                os.link(first[key], path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(len(first)).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, FORMATS[path.suffix.lower()])
            path.write_bytes(encoded.getvalue())
            first[key] = path

    return write


@pytest.fixture(scope="session")
def check_whole():
    """What every complete set must hold, by its card."""

    def check(data, card) -> None:
        images = data.images
        assert data.name == card.name and not data.absent and data.scale == card.scale
        assert len(images) == card.n_images and (card.name == "kodak24" or images["mos"].notna().all())
        references = set(images["reference"]) - {""}
        assert len(references) == (0 if card.name == "kodak24" else card.n_references)
        assert (images.groupby("content")["reference"].nunique() == 1).all()  # a content is one reference
        if references:
            assert images["content"].nunique() == len(references) and not references & set(images["image"])
            assert (images["reference"] != "").all()
        on_disk = Files(data.root)
        for name in {*images["image"].iloc[:: max(1, len(images) // 50)], *sorted(references)[:5]}:
            assert data.path(name).is_file() and on_disk.find(name) == name
        assert set(data.sources) == set(images["content"])
        if data.official_split is not None:
            split = data.official_split
            assert sorted(split["image"]) == sorted(images["image"])
            assert (split.groupby("content")["part"].nunique() == 1).all()
            assert set(split["part"]) == {"train", "val", "test"}

    return check


@pytest.fixture(scope="session")
def check_absent():
    """Deletes one image of a set: an error names it, "drop" lists it."""

    def check(load, root: Path) -> None:
        from iqasuite.errors import InputError

        before = load(root).images
        gone = before["image"].iloc[-1]
        (root / gone).unlink()
        with pytest.raises(InputError, match=f"1 of {len(before)} .*absent.*missing='drop'") as error:
            load(root)
        assert Path(gone).name.lower() in str(error.value).lower()
        after = load(root, missing="drop")
        assert [Path(name).name.lower() for name in after.absent] == [Path(gone).name.lower()]
        assert len(after.images) == len(before) - 1 and gone not in set(after.images["image"])

    return check
