"""Caches that several processes make at once, or that were damaged: one result, the same bytes, no leftovers."""

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROCESSES = 4
MAKE = """
    import json, logging, sys, time
    from pathlib import Path
    import numpy as np
    logging.basicConfig(level=logging.INFO)
    files, root, go = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])

    def until_all_are_here():
        go.with_name(f"ready-{sys.argv[4]}").touch()
        while not go.exists():
            time.sleep(0.01)
"""
SAID = {"images": "caching 6 images", "features": "features of 6 of 6 images", "demo": "making the demo set"}  # by one
MAKERS = {
    "images": """
        from iqasuite.images.cache import open_cache
        until_all_are_here()
        open_cache(files, (32, 32), root, "stretch")
    """,
    "features": """
        from iqasuite.training.feature_store import store
        index = {"settings": {"made": "here"}, "dim": 8, "images": files, "contents": files}
        index |= {"grids": [(2, 2)] * len(files), "sizes": [(32, 32)] * len(files)}
        rows = np.arange(32.0 * len(files)).reshape(-1, 8)
        until_all_are_here()
        store(root, index, 2, lambda some, first: (rows[i : i + 2] for i in range(first, len(rows), 2)))
    """,
    "demo": """
        from iqasuite.datasets import demo
        until_all_are_here()
        demo.make(root / "demo")
    """,
    "split": """
        import pandas as pd
        from iqasuite.datasets.frames import IMAGES
        from iqasuite.datasets.splits import kept_split
        images = pd.DataFrame({"image": files, "content": files}).reindex(columns=list(IMAGES)).fillna({"n_votes": 0})
        until_all_are_here()
        kept_split(root / "split.csv", images.assign(reference="", distortion=""), 3)
    """,
}


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "files" / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("what", MAKERS)
def test_many_processes_make_one_cache(what, files, tmp_path, share, tools):
    if what in ("demo", "features") and not share:
        pytest.skip("IQASUITE_CAMPAIGN is not set: each process imports torch")
    program = textwrap.dedent(MAKE) + textwrap.dedent(MAKERS[what])

    def made(folder: Path, n: int) -> dict[str, bytes]:
        folder.mkdir()
        go, root = folder / "go", folder / "root"
        arguments = [json.dumps(files), str(root), str(go)]
        command, to = [sys.executable, "-c", program, *arguments], {"stderr": subprocess.PIPE, "text": True}
        running = [subprocess.Popen([*command, str(i)], **to) for i in range(n)]
        while len(list(folder.glob("ready-*"))) < n and all(process.poll() is None for process in running):
            time.sleep(0.01)
        go.touch()
        said = "".join(process.communicate()[1] for process in running)
        assert [process.returncode for process in running] == [0] * n, said
        assert what not in SAID or said.count(SAID[what]) == 1, said
        return {k: v for k, v in tools.snapshot(root).items() if not k.endswith(".lock")}

    alone, together = made(tmp_path / "alone", 1), made(tmp_path / "together", PROCESSES if share else 2)
    assert alone == together and not any("unfinished" in name for name in alone)


def of_images(files, root):
    from iqasuite.images.cache import open_cache

    return lambda: open_cache(files, (32, 32), root, "stretch")[range(len(files))]


def of_features(files, root):
    from iqasuite.training.feature_store import opened, store

    index = {"settings": {"made": "here"}, "dim": 8, "images": files, "contents": files}
    index |= {"grids": [(2, 2)] * len(files), "sizes": [(32, 32)] * len(files)}
    rows = np.arange(32.0 * len(files)).reshape(-1, 8)

    def read():
        made = store(root, index, 2, lambda some, first: (rows[i : i + 2] for i in range(first, len(rows), 2)))
        found = opened(made)
        assert found[0]["images"] == files
        return np.array(found[1])

    return read


def of_pseudo_labels(files, root):
    from iqasuite.datasets.pseudo_labelled import make

    def mse(reference, distorted):
        return -((reference - distorted) ** 2).mean((1, 2, 3))

    def read():
        made = make([Path(file) for file in files[:1]], {"mse": mse}, ["blur"], 32, root=root)
        assert made.metrics.shape == (5, 1)
        return np.stack([made.references[made.reference_of], made.distorted[range(5)]])

    return read


def of_scores(files, root):
    from iqasuite.images.cache import _file_hashes

    return lambda: np.array(_file_hashes([Path(file) for file in files], root / "hashes.json"))


CACHES = {"images": of_images, "features": of_features, "pseudo_labels": of_pseudo_labels, "hashes": of_scores}


@pytest.mark.parametrize("what", CACHES)
def test_a_damaged_cache_is_refused_or_made_again(what, files, tmp_path, hostile_cache):
    folder = tmp_path / "cache"

    def same(found, expected):  # what so small a store of pixels or features holds has checksums, the others have none
        if what in ("images", "features"):
            return np.array_equal(found, expected)
        return found.shape == expected.shape and found.dtype.kind == expected.dtype.kind

    hostile_cache(folder, CACHES[what](files, folder), same)


def test_a_damaged_demo_set_is_refused_or_read(tmp_path, share, tools, tried):
    if not share:
        pytest.skip("IQASUITE_CAMPAIGN is not set: the demo set takes seconds")
    from iqasuite.datasets import demo

    root = tmp_path / "demo"
    demo.make(root)
    before = tools.snapshot(root)
    for name in ("images.csv", "truth.csv", "playlists/Obs1/Obs1_1.csv"):
        original = (root / name).read_bytes()

        def check(content, name=name):
            (root / name).write_bytes(content)
            tools.refused(lambda: demo.load(root), Path(name).name, "demo")

        tried(tools.mutated(original), check)
        (root / name).write_bytes(original)
    assert len(demo.load(root).truth) and tools.snapshot(root) == before
