"""`iqasuite data list | get | check`: what they say and how they end."""

import functools
import io
import subprocess
import sys
import threading
import types
import zipfile
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from iqasuite.cli import app
from iqasuite.cli import data as cli_data
from iqasuite.datasets import adapters
from iqasuite.datasets.card import Card, Download, Scale
from iqasuite.datasets.layout import Files, scored

NUMBER = 30


@pytest.fixture
def command(project, monkeypatch):
    monkeypatch.setenv("IQASUITE_DATA", str(project.root / "data"))
    return lambda *arguments, **more: CliRunner().invoke(app, ["data", *arguments], **more)


@pytest.fixture
def published(tmp_path):
    """A folder that a server on this machine publishes, with the set's archive in it."""
    folder = tmp_path / "published"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny.zip", "w") as archive:
        rng = np.random.default_rng(0)
        for number in range(NUMBER):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
            archive.writestr(f"Tiny_Release/Images/{number}.png", file.getvalue())
        rows = "".join(f"{number}.png,{3 * number}\n" for number in range(NUMBER))
        archive.writestr("Tiny_Release/scores.csv", f"name,score\n{rows}")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", folder=folder)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tiny(published, monkeypatch):
    """Adapter of the set `tiny`; its `CARD` may be replaced."""
    module = types.ModuleType("iqasuite.datasets.adapters.tiny")
    module.CARD = Card(
        **dict(
            name="tiny", title="A tiny set", homepage="https://tiny.example", licence="CC0", citation="A tiny paper"
        ),
        **dict(n_images=NUMBER, n_references=0, scale=Scale(0, 100), structure=f"{NUMBER} contents"),
        downloads=(Download(f"{published.url}/tiny.zip", size=20_000),),
    )

    def load(root, missing="error"):
        files = Files(root)
        return scored(module.CARD, files, pd.read_csv(files.need("scores.csv")), missing)

    module.load = load
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(adapters, "NAMES", (*adapters.NAMES, "tiny"))
    return module


def test_nothing_heavy_before_it_is_needed():
    modules = ("torch", "pandas", "requests", "huggingface_hub", "tqdm", "PIL")
    program = f"import sys, iqasuite.cli; print([m for m in {modules} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["list", "get", "check"])
def test_help_has_an_example(command, name):
    assert f"Example: iqasuite data {name}" in command(name, "--help").output


def test_list_has_every_set_in_aligned_columns(command):
    listed = command("list")
    assert listed.exit_code == 0
    head, *lines = listed.output.splitlines()
    assert [line.split()[0] for line in lines] == list(adapters.NAMES)
    for name, line in zip(adapters.NAMES, lines, strict=True):
        card = adapters.card(name)
        assert line[head.index("title") :] == card.title
        assert line[: head.index("votes")].rstrip().endswith(f"{card.n_images:,}")
        assert line[head.index("votes") :].startswith(card.votes)
    assert "made on first use" in lines[0] and "none needed" in lines[0]


def test_list_long_has_every_fact(command, tiny):
    listed = command("list", "--long")
    assert listed.exit_code == 0
    for name in adapters.NAMES:
        card = adapters.card(name)
        for fact in (card.licence, card.citation, card.homepage, card.structure, card.manual, str(card.folder())):
            assert fact in listed.output
    assert tiny.CARD.downloads[0].url in listed.output


def test_get_check_and_get_again(command, tiny, project):
    assert "not here" in command("list").output.splitlines()[-1]
    got = command("get", "tiny")
    assert got.exit_code == 0, got.output
    for said in ("CC0", "20 kB", str(project.root / "data" / "tiny"), "images    30 of 30", "iqasuite data check tiny"):
        assert said in got.output
    assert "tiny.zip: 1" in got.stderr and "\r" not in got.stderr  # lines, no bar: this is no terminal
    assert not (project.root / "data" / "downloads").exists()
    assert command("list").output.splitlines()[-1].split()[:2] == ["tiny", "here"]
    checked = command("check", "tiny")
    assert checked.exit_code == 0 and "0 absent, 0 broken, 0 changed, 30 seen for the first time" in checked.output
    assert "0 seen for the first time" in command("check", "tiny").output
    again = command("get", "tiny")
    assert again.exit_code == 0 and "all 30 images" in again.output and "tiny.zip" not in again.stderr


def test_get_into_and_keep_archives(command, tiny, tmp_path):
    assert command("get", "tiny", "--into", str(tmp_path / "disk"), "--keep-archives").exit_code == 0
    assert (tmp_path / "disk" / "downloads" / "tiny" / "tiny.zip").is_file()
    assert (tmp_path / "disk" / "tiny" / "Tiny_Release" / "scores.csv").is_file()


def test_get_where_a_form_is_needed(command, tiny, project):
    tiny.CARD = replace(tiny.CARD, downloads=(), manual="Sign the form at the homepage, unpack tiny.rar here.")
    failed = command("get", "tiny")
    assert failed.exit_code == 1
    for said in ("Sign the form", str(project.root / "data" / "tiny"), "CC0", "iqasuite data check tiny"):
        assert said in failed.output
    assert not (project.root / "data").exists()


def test_get_what_is_made_here(command, project):
    made = command("get", "demo")
    assert made.exit_code == 0 and "make-demo" in made.output and not (project.root / ".cache").exists()


def test_get_goes_on_behind_an_error(command, tiny):
    failed = command("get", "no_such_set", "tiny")
    assert failed.exit_code == 2 and failed.stderr.startswith("error: data set 'no_such_set': unknown")
    assert "images    30 of 30" in failed.stdout


def test_get_what_is_not_there_any_more(command, tiny, published):
    (published.folder / "tiny.zip").unlink()
    failed = command("get", "tiny")
    assert failed.exit_code == 2 and "tiny.zip: HTTP 404" in failed.stderr
    assert "unfinished" in command("list").output.splitlines()[-1]


def test_get_a_part_of_the_official_set(command, tiny):
    tiny.CARD = replace(tiny.CARD, n_images=NUMBER + 1)
    part = command("get", "tiny")
    assert part.exit_code == 1 and "images    30 of 31" in part.output


@pytest.mark.parametrize(("answer", "here"), [("y\n", True), ("n\n", False)])
@pytest.mark.parametrize("size", [0, 2_000_000_000])
def test_get_asks_before_large_downloads_on_a_terminal(command, tiny, monkeypatch, answer, here, size):
    monkeypatch.setattr("iqasuite.cli.data._on_terminal", lambda: True)
    tiny.CARD = replace(tiny.CARD, downloads=(replace(tiny.CARD.downloads[0], size=size),))
    asked = command("get", "tiny", input=answer)
    assert "Download" in asked.output and ("images    30 of 30" in asked.output) is here
    assert asked.exit_code == (0 if here else 1)
    assert "[y/N]" not in command("get", "tiny", "--yes").output


def test_get_does_not_ask_before_small_downloads(command, tiny, monkeypatch):
    monkeypatch.setattr("iqasuite.cli.data._on_terminal", lambda: True)
    got = command("get", "tiny")
    assert got.exit_code == 0 and "[y/N]" not in got.output


def test_check_names_what_is_wrong_up_to_a_number(command, tiny, project):
    assert command("get", "tiny").exit_code == 0 and command("check", "tiny").exit_code == 0
    folder = project.root / "data" / "tiny" / "Tiny_Release" / "Images"
    for number in range(25):
        (folder / f"{number}.png").unlink()
    (folder / "25.png").write_bytes(b"no image")
    (folder / "26.png").write_bytes((folder / "27.png").read_bytes())
    found = command("check", "tiny")
    assert found.exit_code == 1
    assert "25 absent, 1 broken, 1 changed" in found.output and "images    5 of 30" in found.output
    lines = found.output.splitlines()
    assert sum(line.startswith("  absent    ") for line in lines) == 21 and "… and 5 more" in found.output
    assert "  broken    Tiny_Release/Images/25.png: not an image" in found.output
    assert "  changed   Tiny_Release/Images/26.png" in found.output and "checks/tiny-" in found.output
    quick = command("check", "tiny", "--quick")
    assert quick.exit_code == 1 and "25 absent, 0 broken" in quick.output


def test_check_of_what_is_not_here(command, tiny):
    failed = command("check", "tiny", "no_such_set")
    assert failed.exit_code == 2
    assert [line[:6] for line in failed.stderr.splitlines()] == ["error:", "error:"]
    assert "data get" in failed.stderr and "unknown" in failed.stderr


def test_check_of_a_folder_of_your_own(command, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "ratings.csv").write_text("image,mos\n" + "".join(f"{number}.png,{number + 1}\n" for number in range(3)))
    assert command("check", str(folder)).exit_code == 0
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:-30])
    broken = command("check", str(folder))
    assert broken.exit_code == 1 and "  broken    1.png: damaged or truncated" in broken.output


def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for screen, bar in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", screen)
        report = cli_data._downloading()
        for done in range(0, 1001, 50):
            report("a.zip", done, 1000)
        report("b.zip", 5 * 10**6, 0)
        said = screen.getvalue()
        assert ("\r" in said) is bar and "a.zip" in said and "b.zip" in said
        assert bar or (said.splitlines()[0] == "a.zip: 100 B of 1 kB" and len(said.splitlines()) == 11)
