"""Whatever is in a file, its reader returns something valid or refuses it in one line; it writes nothing else."""

import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from iqasuite import datasets
from iqasuite.csv_texts import frame_csv
from iqasuite.datasets import frames, tables
from iqasuite.datasets.extraction import extract
from iqasuite.datasets.matlab_sessions import read_mat_session
from iqasuite.datasets.playlists import read_playlist
from iqasuite.images.loading import image_size, read_image, stored_as

LONG = "Image Name,Vote,Duration,Timestamp\na.png,5,1.5,24-Jan-2023 10:51:16\nb.png,1,0.25,24-Jan-2023 10:51:19\n"
PLAYLISTS = {
    "long": LONG.encode(),
    "short": b"Image Name,Vote\na.png,5\nb.png,1\n",
    "semicolons": b"sep=;\nImage Name;Vote\na.png;5\nb.png;1\n",
    "wide": LONG.encode("utf-16"),
}
IMAGES = ["i01_01_1", "i01_02_1", "i02_01_2", "i02_02_2"]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for name in ("CACHE", "DATA", "WEIGHTS"):
        monkeypatch.setenv(f"IQASUITE_{name}", str(tmp_path / f"of_{name.lower()}"))


def pixels(seed=0, shape=(16, 12, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists(kind, tmp_path, hostile_file):
    file = tmp_path / "Obs1_1.csv"
    file.write_bytes(PLAYLISTS[kind])
    hostile_file(file, lambda: frames.validate(read_playlist(file), "votes"))


@pytest.mark.parametrize("kind", ["images", "votes", "split", "predictions", "scores"])
def test_frames(kind, tmp_path, hostile_file):
    file = tmp_path / "frame.csv"
    row = dict.fromkeys(frames._columns(kind), "1") | {"part": "test", "timestamp": "2023-01-24 10:51:16"}
    file.write_text(frame_csv(pd.DataFrame([row, row | {"image": "b"}])[list(frames._columns(kind))]))
    hostile_file(file, lambda: frames.validate(frames.read_frame(file, kind), kind))


STUDY = {
    "long": "observer,image,vote,session,timestamp,bit rate\n"
    + "".join(f"{o},{i}.png,{3 + (o == 'A')},1,2023-01-24 10:51:16,{k}\n" for o in "AB" for k, i in enumerate(IMAGES)),
    "wide": "image,Anna,Bo\n" + "".join(f"{i}.png,{1 + k},{5 - k}\n" for k, i in enumerate(IMAGES)),
    "scores": "image,mos,mos_std,n_votes,content\n" + "".join(f"{i}.png,{k},0.5,9,{k}\n" for k, i in enumerate(IMAGES)),
}
NEEDED = {"long": "nuisance: [bit rate]\n", "wide": "name: mine\n", "scores": "scale: {low: 0, high: 5}\n"}
FACTS = "name: mine\nscale: {low: 1, high: 5}\ndisplay_size: [16, 12]\nfit: letterbox\nlicence: none\ncitation: us\n"


@pytest.mark.parametrize("what", [*STUDY, "facts"])
def test_studies(what, tmp_path, hostile_file):
    folder = tmp_path / "study"
    folder.mkdir()
    for seed, name in enumerate(IMAGES):
        Image.fromarray(pixels(seed)).save(folder / f"{name}.png")
    (folder / "ratings.csv").write_text(STUDY["wide" if what == "facts" else what])
    (folder / "dataset.yaml").write_text(FACTS if what == "facts" else NEEDED[what])
    hostile_file(folder / ("dataset.yaml" if what == "facts" else "ratings.csv"), lambda: datasets.load(str(folder)))


def as_cell(values):
    cell = np.empty((len(values), 1), dtype=object)
    cell[:, 0] = values
    return cell


@pytest.mark.parametrize("version", ["6", "7", "7.3"])
def test_mat_sessions(version, tmp_path, hostile_file):
    file = tmp_path / "Obs1_1.mat"
    names, votes = [f"{name}.png" for name in IMAGES], np.array([1.0, 5, 3, np.nan])
    times = [f"24-Jan-2023 10:51:1{i}" for i in range(4)]
    if version == "7.3":
        import h5py

        with h5py.File(file, "w") as opened:
            for name, cells in (("imgList", names), ("voteTime", times)):
                stored = [
                    opened.create_dataset(f"#refs#/{name}{i}", data=[[ord(c)] for c in text], dtype="u2")
                    for i, text in enumerate(cells)
                ]
                for each in stored:
                    each.attrs["MATLAB_class"] = np.bytes_("char")
                opened.create_dataset(name, data=np.array([[s.ref for s in stored]], dtype=h5py.ref_dtype))
                opened[name].attrs["MATLAB_class"] = np.bytes_("cell")
            opened.create_dataset("voteList", data=votes[None]).attrs["MATLAB_class"] = np.bytes_("double")
    else:
        variables = {"imgList": as_cell(names), "voteTime": as_cell(times), "voteList": votes}
        savemat(file, variables, do_compression=version == "7", oned_as="column")
    hostile_file(file, lambda: frames.validate(read_mat_session(file), "votes"))


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz", "tar.bz2", "tar.xz"])
def test_archives(ending, tmp_path, tried, tools):
    file, folder = tmp_path / "packed" / f"a.{ending}", tmp_path / "unpacked" / "set"
    file.parent.mkdir()
    content = {"set/a.png": b"first" * 100, "set/deep/b.csv": b"a,1\n"}
    if ending == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, inside in content.items():
                archive.writestr(name, inside)
    else:
        with tarfile.open(file, f"w:{ending.replace('tgz', 'gz').removeprefix('tar').removeprefix('.')}") as archive:
            for name, inside in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(inside)
                archive.addfile(member, io.BytesIO(inside))
    original = file.read_bytes()

    def check(changed):
        file.write_bytes(changed)
        before = tools.snapshot(tmp_path)
        if tools.refused(lambda: extract(file, folder), file.name) is None:
            assert tools.snapshot(tmp_path) == before
        else:
            assert all(name in before or name.startswith("unpacked/set/") for name in tools.snapshot(tmp_path))
        assert not list((tmp_path / "unpacked").glob(".*"))

    tried(tools.mutated(original), check)
    if ending == "tar":  # what is packed is as hostile as what packs it
        tried(tools.mutated(original).map(gzip.compress), check)


@pytest.mark.parametrize("what", ["json", "safetensors"])
def test_weights_and_cards(what, tmp_path, hostile_file):
    from iqasuite import models
    from iqasuite.weights.files import load_weights, save_weights

    network = models.create("vit_iqa", image_size=32, trunk={"size": "tiny", "depth": 1, "dim": 16, "mlp_dim": 16})
    facts = {"scale": {"name": "ACR", "low": 1, "high": 5}, "preprocessing": {"crop": 32}, "scores": {"srocc": 0.5}}
    path = save_weights(network, tmp_path / "a.safetensors", facts)
    hostile_file(path.with_suffix(f".{what}"), lambda: load_weights(path))


@pytest.mark.parametrize("what", ["npz", "safetensors"])
def test_statistics_of_niqe(what, tmp_path, hostile_file):
    import torch

    from iqasuite.models.metrics.niqe import N_FEATURES, NiqeModel

    file = tmp_path / f"niqe.{what}"
    model = NiqeModel(torch.zeros(N_FEATURES).double(), torch.eye(N_FEATURES).double())
    if what == "npz":
        np.savez_compressed(file, mean=model.mean.numpy(), covariance=model.covariance.numpy())
    else:
        model.save(file)
    hostile_file(file, lambda: NiqeModel.from_file(file))


SUITE = """suite: small
title: A suite
parameters: {seed: 0}
runs:
  - {name: "one_{observer}", notebook: write, foreach: {observer: [Obs1, Obs2], fold: 0..1}, parameters: {value: 1}}
  - {name: last, notebook: write, needs: ["one_*"], cores: 1, parameters: {value: 2}}
highlights: [last/figure]
"""


@pytest.mark.parametrize("what", ["suite", "notebook"])
def test_suites(what, project, hostile_file):
    from iqasuite.experiments.suite import check, read_suite

    notebook = project.notebook(
        "write", "value: int = 1  # a number\nseed: int = 0  # of all\nobserver: str = ''\nfold: int = 0"
    )
    suite = project.root / "notebooks" / "suites" / "small.yaml"
    suite.write_text(SUITE.replace("one_{observer}", "one_{observer}_{fold}"))
    hostile_file(suite if what == "suite" else notebook, lambda: check(read_suite("small")), project.root)


IMAGE_FILES = {
    "png": ("RGB", {}),
    "gray.png": ("I;16", {}),
    "palette.png": ("P", {}),
    "alpha.png": ("RGBA", {}),
    "jpg": ("RGB", {"quality": 60, "exif": True}),
    "progressive.jpg": ("L", {"progressive": True}),
    "cmyk.jpg": ("CMYK", {}),
    "tiff": ("RGB", {"compression": "tiff_lzw"}),
    "cmyk.tiff": ("CMYK", {}),
    "webp": ("RGB", {"quality": 50}),
    "animated.webp": ("RGB", {"frames": 2}),
    "gif": ("P", {"frames": 2}),
    "bmp": ("RGB", {}),
    "avif": ("RGB", {}),
    "ppm": ("RGB", {}),
    "wrong_ending.png": ("RGB", {"format": "JPEG"}),
}


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_images(name, tmp_path, hostile_file):
    (mode, options), file = IMAGE_FILES[name], tmp_path / f"image.{name}"
    image = Image.fromarray(pixels().astype(np.uint16)[..., 0] * 257 if mode == "I;16" else pixels())
    image, options = image if mode == "I;16" else image.convert(mode), dict(options)
    if options.pop("frames", 0):
        options |= {"save_all": True, "append_images": [image.rotate(90)]}
    if options.pop("exif", False):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    image.save(file, **options)

    def read():
        shape = read_image(file).shape
        assert shape[2] == 3 and image_size(file) == shape[1::-1] and stored_as(file)
        return shape

    hostile_file(file, read)


def predicted():
    from iqasuite.inference.predictions import predictions_frame

    rows = [("d", "m", "p", 0, 0, part, "o", ["a", "b"], [1, 2], np.full((2, 5), 0.2)) for part in ("val", "test")]
    return pd.concat([predictions_frame(*row) for row in rows], ignore_index=True)


@pytest.mark.parametrize("what", ["table", "kept", "packed"])
def test_predictions(what, tmp_path, hostile_file):
    from iqasuite.experiments.kept_predictions import kept
    from iqasuite.inference.predictions import read_table

    file = tmp_path / ("p.csv" if what == "table" else "p.csv.xz")
    content = frame_csv(predicted() if what == "table" else predicted().drop(columns="target").assign(run="one"))
    file.write_bytes(content.encode() if what == "table" else lzma.compress(content.encode()))
    if what == "kept":
        plain, read = tmp_path / "p.csv", kept
        plain.write_text(content)
        hostile_file(plain, lambda: read(plain))
    else:
        hostile_file(file, lambda: (read_table if what == "table" else kept)(file))


def test_checkpoints(tmp_path, hostile_file):
    import torch

    from iqasuite.training.checkpoints import load_checkpoint, save_checkpoint

    file = save_checkpoint(tmp_path / "a.pt", {"step": 1, "state": {"w": torch.zeros(3)}})
    hostile_file(file, lambda: load_checkpoint(file))


@pytest.mark.parametrize("what", ["runs", "captions", "scores"])
def test_results(what, project, hostile_file):
    from iqasuite.report import provenance
    from iqasuite.report.outputs import captions, save_scores, save_table

    results = project.root / "results" / "small"
    scores = pd.DataFrame([dict.fromkeys(frames.SCORES, 1) | {"part": "test"}])
    save_scores(scores, "small", "one", "Scores.")
    if what == "runs":
        file = provenance.write_run("small", provenance.record("one", {}))
        hostile_file(file, lambda: provenance.read_runs("small"))
    elif what == "captions":
        hostile_file(results / "tables" / "one" / "captions.json", lambda: captions(results / "tables" / "one"))
    else:
        file = save_table(scores, "small", "two", "scores", "Others.")
        hostile_file(file, lambda: save_scores(scores, "small", "one", "Scores."), results / "tables" / "two")


def draw(root, names):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(seed, (8, 8, 3))).save(root / name)


def official_tables():
    """Adapter, images, table's name, function that writes it."""
    jpgs = [f"{i}.jpg" for i in range(4)]
    counts = [[0, 0, 0.25, 0.75, 0], [0, 0.5, 0.5, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5]]
    koniq = pd.DataFrame(counts, columns=["c1", "c2", "c3", "c4", "c5"]).assign(
        image_name=jpgs, c_total=100, MOS=50.5, SD=0.5, set=["training", "validation", "test", "training"]
    )
    kadid = ["I01_01_01", "I01_02_01", "I02_01_02", "I02_02_02"]
    dmos = pd.DataFrame({"dist_img": [f"{n}.png" for n in kadid], "ref_img": [f"{n[:3]}.png" for n in kadid]})
    spaq = pd.DataFrame({"Image name": jpgs, "MOS": [10, 20, 30, 40]})
    mats = {"AllImages_release": as_cell(jpgs), "AllMOS_release": np.arange(4.0), "AllStdDev_release": np.ones(4)}
    bmps = [*(f"{n}.bmp" for n in IMAGES), "I01.BMP", "I02.BMP"]
    tid = "".join(f"{k}.5 {name}.bmp\n" for k, name in enumerate(IMAGES))
    mirror = pd.DataFrame({"dist_name": [f"{n}.bmp" for n in IMAGES], "ref_name": "I01.BMP", "mos": 3.5, "std": 0.1})
    sides = [f"distort_{k}_x_inter_{side}.png" for k, side in enumerate("ab", 1)]
    named = ["ref", "a", "b", "raw preference", "processed preference"]
    pairs = pd.DataFrame([["ref_1.png", *sides, 0.5, 0.25]], columns=named)
    lab = pd.DataFrame({"image_name": [f"{s}.mkv_1frame_crf_03_height_0040" for s in "ab"], "user1": [5, 3]})
    return {
        "koniq10k": (jpgs, "koniq10k_distributions_sets.csv", koniq.to_csv(index=False)),
        "kadid10k": ([*dmos["dist_img"], "I01.png", "I02.png"], "dmos.csv", dmos.assign(dmos=3, var=1).to_csv()),
        "spaq": (jpgs, "MOS and Image attribute scores.xlsx", spaq),
        "live_challenge": (jpgs, "AllMOS_release.mat", mats),
        "tid2013": (bmps, "mos_with_names.txt", tid),
        "tid2008": (bmps, "meta_info_TID2008Dataset.csv", mirror.to_csv()),
        "pieapp": (
            [*(f"distorted_images/train/ref_1/{side}" for side in sides), "reference_images/ref_1.png"],
            "labels/train/ref_1_pairwise_labels.csv",
            pairs.to_csv(index=False),
        ),
        "pipal": (["Dist/A0001_00_00.bmp", "Ref/A0001.bmp"], "Train_Label/A0001.txt", "A0001_00_00.bmp,1400.5\n"),
        "tta_h265_lab": ([f"test_1/images/{n}.png" for n in lab["image_name"]], "test_1/per_user.csv", lab.to_csv()),
    }


@pytest.mark.parametrize("name", official_tables())
def test_official_tables(name, tmp_path, hostile_file):
    root = tmp_path / name
    images, table, content = official_tables()[name]
    draw(root, images)
    file = root / table
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pd.DataFrame):
        content.to_excel(file, index=False)
    elif isinstance(content, dict):
        for each, values in content.items():
            savemat(root / f"{each}.mat", {each: values})
    else:
        file.write_text(content)
    hostile_file(file, lambda: datasets.load(name, root), root)


def test_workbooks_that_are_xml_within(tmp_path, tried, tools):
    file = tmp_path / "a.xlsx"
    pd.DataFrame({"Image name": ["a.jpg", "b.jpg"], "MOS": [1, 2]}).to_excel(file, index=False)
    with zipfile.ZipFile(file) as book:
        parts = {name: book.read(name) for name in book.namelist()}

    def check_parts(changed):
        with zipfile.ZipFile(file, "w") as book:
            for name, content in (parts | changed).items():
                book.writestr(name, content)
        return tools.refused(lambda: tables.sheet_table(file, ("Image name", "MOS")), file.name)

    assert len(check_parts({})) == 2
    for name in ("xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"):
        tried(tools.mutated(parts[name]).map(lambda content, name=name: {name: content}), check_parts)


def test_the_crowds_database(tmp_path, hostile_file):
    root = tmp_path / "tta"
    name = "a.mkv_1frame_crf_03_height_0040"
    draw(root, [f"test_1/images/{name}.png"])
    pd.DataFrame({"image_name": [name], "user1": [5]}).to_csv(root / "test_1" / "per_user.csv", index=False)
    (root / "test_2").mkdir()
    rows = pd.DataFrame({"rating": [5, 3], "rating_type": "acr", "user_ID": [1, 2], "stimuli_file": f"x/{name}_tl.png"})
    rows["timestamp"] = "2020-01-01 10:00:00 000000"
    with sqlite3.connect(root / "test_2" / "ratings.db") as database:
        rows.to_sql("ratings", database)
    database.close()
    hostile_file(root / "test_2" / "ratings.db", lambda: datasets.load("tta_h265_crowd", root), root)


def test_records_of_downloads(tmp_path, hostile_file):
    from iqasuite.datasets.download import read_record

    file = tmp_path / "downloads.json"
    file.write_text(json.dumps({"https://a": {"sha256": "00", "size": 1, "date": "2026-01-01"}}))
    hostile_file(file, lambda: read_record(file))
