"""The page in a real browser and under several clients: one server for all tests, which asks nothing of anybody."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import sync_playwright

from iqasuite import models
from iqasuite.inference.predictor import Predictor
from iqasuite.weights.catalogue import find
from iqasuite.weights.files import save_weights

pytestmark = pytest.mark.slow
HANGS = 1200  # seconds after which something hangs; how fast the page is does not matter here
SCALES = {"small": {"name": "continuous", "low": 0, "high": 100}, "aio": {"name": "ACR", "low": 1, "high": 5}}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A project with a network of the mean opinion and two AIOs, random and moved by what they see."""
    import torch

    torch.manual_seed(5)
    root = tmp_path_factory.mktemp("page")
    (root / "notebooks" / "suites").mkdir(parents=True)
    small = models.create("mobile_nr", width=0.25)
    small.head[-1].weight.data *= 30
    made = [("small", small, "", "small", 128)]
    for name in ("Ada", "Bo"):
        stem = {"name": "spectrum", "patch_size": 16, "cells": 4}
        aio = models.create("vit_iqa", image_size=64, stem=stem, trunk={"size": "tiny"})
        list(aio.trunk.modules())[-1].weight.data *= 5  # its last layer
        made.append((f"two/{name}", aio, name, "aio", 64))
    for name, model, observer, scale, side in made:
        title = f"AIO of {observer}, simulated" if observer else "a small network"
        card = {
            "title": title,
            "trained_on": "nothing at all",
            "observer": observer,
            "scale": SCALES[scale],
            "preprocessing": {"shorter_side": side},
            "scores": {"srocc, test": 0.25},
        }
        save_weights(model, root / "weights" / f"{name}.safetensors", card)
    return root


@pytest.fixture(scope="module")
def address(place):
    """Address of a server that runs as a user would start it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uploads = place / "tmp"
    uploads.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GRADIO", "IQASUITE"))}
    environment |= {
        "IQASUITE_WEIGHTS": str(place / "weights"),
        "TMPDIR": str(uploads),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-c", f"from iqasuite.app import serve; serve(port={port})"]
    with open(place / "log", "w") as log:
        server = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + HANGS
        while "http://" not in (place / "log").read_text():
            assert server.poll() is None and time.monotonic() < until, (place / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        assert os.listdir(uploads)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(HANGS)
    log = (place / "log").read_text()
    assert "Traceback" not in log, log
    assert not list(uploads.iterdir()), "uploads are still there"


@pytest.fixture(scope="module")
def browser():
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not on PATH")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=1000 * HANGS
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The page, freshly opened; afterwards no request has gone elsewhere."""
    context, asked, refused = browser.new_context(viewport={"width": 1280, "height": 900}), [], []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: response.status >= 400 and refused.append(response.url))
    page.set_default_timeout(1000 * HANGS)
    page.goto(address)
    page.wait_for_selector("#one-answer p")
    yield page
    context.close()
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert asked and not elsewhere and not refused


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    """A JPEG file that would look otherwise if anybody compressed it again."""
    rng = np.random.default_rng(8)
    values = np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((16, 16, 1))) + rng.normal(0, 12, (192, 256, 3))
    path = tmp_path_factory.mktemp("pictures") / "picture.jpg"
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path, quality=35)
    return path


def predicted(place: Path, name: str, path: Path):
    """What the library says of a file."""
    return Predictor(find(place / "weights" / f"{name}.safetensors")).predict(
        [np.asarray(Image.open(path).convert("RGB"))]
    )[0]


def shown_score(page) -> float:
    return float(page.locator("#one-answer .iqa-value").inner_text().replace("−", "-"))


def test_a_picture_gets_its_score_its_map_and_its_people(page, place, picture):
    page.locator("#one-answer").wait_for()
    page.locator("input[type=file]:not([multiple])").first.set_input_files(picture)
    page.wait_for_selector("#one-answer .iqa-value")
    assert shown_score(page) == pytest.approx(predicted(place, "small", picture).score, abs=0.06)
    assert "0 (worst) to 100" in page.locator("#one-answer").inner_text()
    page.wait_for_selector("#one-observers svg")
    sizes = page.locator("#one-map img").evaluate_all("all => all.map(x => [x.naturalWidth, x.clientWidth])")
    assert len(sizes) == 2 and np.min(sizes) > 50
    assert "2 simulated observers" in page.locator("#one-observers").inner_text()

    page.get_by_role("slider").first.evaluate(
        "x => { x.value = 80; x.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    page.wait_for_function("getComputedStyle(document.querySelector('#one-map .iqa-over')).opacity == 0.8")

    page.get_by_label("Model").first.click()
    page.get_by_role("option", name="AIO of Bo").click()
    page.locator("#one-answer", has_text="1 (worst) to 5").wait_for()
    assert shown_score(page) == pytest.approx(predicted(place, "two/Bo", picture).score, abs=0.006)
    assert "simulated" in page.locator("#one-answer").inner_text()


def test_a_broken_file_gets_a_sentence(page, tmp_path):
    (tmp_path / "notes.png").write_text("this is no picture")
    page.locator("input[type=file]:not([multiple])").first.set_input_files(tmp_path / "notes.png")
    page.wait_for_selector("#one-answer .iqa-error")
    said = page.locator("#one-answer").inner_text()
    assert said.startswith("notes.png: no image, or damaged") and "/" not in said.replace("JPEG/", "")


def test_many_pictures_leave_a_table_to_download(page, place, picture, tmp_path):
    (tmp_path / "notes.png").write_text("this is no picture")
    page.get_by_role("tab", name="Many images").click()
    page.locator("input[type=file][multiple]").set_input_files([picture, tmp_path / "notes.png"])
    with page.expect_download() as download:
        page.locator("#many-answer .iqa-download").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert download.value.suggested_filename == "scores.csv" and len(lines) == 3
    assert lines[1].startswith("picture.jpg,small,continuous,0,100,") and "no image" in lines[2]
    assert float(lines[1].split(",")[5]) == pytest.approx(predicted(place, "small", picture).score, rel=1e-3)


def test_examples_fill_the_tabs_for_pairs(page):
    for name, tab in (("Two images", "two"), ("With its reference", "pair")):
        page.get_by_role("tab", name=name).click()
        page.locator(f"#{tab}-answer p").wait_for()
        page.locator("button.gallery-item:visible", has_text="coffee reference and coffee jpeg").click()
        page.wait_for_selector(f"#{tab}-answer .iqa-value, #{tab}-answer table")
    assert "MS-SSIM" in page.locator("#pair-answer").inner_text()


def test_the_page_fits_a_telephone(browser, address):
    context = browser.new_context(viewport={"width": 400, "height": 800})
    context.set_default_timeout(1000 * HANGS)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#one-answer p")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    context.close()


def sent(address: str, path: Path) -> dict:
    """A file as a client uploads it."""
    with path.open("rb") as file:
        answer = requests.post(f"{address}/gradio_api/upload", files={"files": (path.name, file)}, timeout=HANGS)
    answer.raise_for_status()
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def test_other_pages_cannot_upload_here(address, picture):
    files = {"files": ("a.jpg", picture.read_bytes())}
    for headers, status in (
        ({"origin": "https://example.org"}, 403),
        ({"origin": "http://localhost:1", "sec-fetch-site": "same-site"}, 403),
        ({"origin": address, "sec-fetch-site": "same-origin"}, 200),
    ):
        answer = requests.post(f"{address}/gradio_api/upload", files=files, headers=headers, timeout=HANGS)
        assert answer.status_code == status, headers


def answered(address: str, name: str, *given) -> tuple[str, list | None]:
    """The last event of a call and its data."""
    call = f"{address}/gradio_api/call/{name}"
    event = requests.post(call, json={"data": given}, timeout=HANGS).json()["event_id"]
    lines = requests.get(f"{call}/{event}", timeout=HANGS).text.splitlines()
    *_, (kind, data) = zip(lines[::3], lines[1::3], strict=False)
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_eight_clients_at_once_get_the_same_scores(address, place, picture):
    def client(_) -> list[str]:
        answers = [answered(address, "predict", sent(address, picture), name) for name in ("small", "two/Ada")]
        assert [kind for kind, _ in answers] == ["complete", "complete"]
        assert all("iqa-value" in data[0] for _, data in answers), answers
        return [re.search(r'iqa-value">([^<]+)', data[0])[1].replace("−", "-") for _, data in answers]

    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(client, range(8)))
    assert len(set(map(tuple, scores))) == 1
    expected = [predicted(place, name, picture).score for name in ("small", "two/Ada")]
    np.testing.assert_allclose([float(x) for x in scores[0]], expected, atol=0.06)


def test_what_lies_on_the_server_is_byte_for_byte_what_was_sent(address, picture):
    path = Path(sent(address, picture)["path"])
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(picture.read_bytes()).digest()
    pictures = [file for file in path.parents[1].rglob("*") if file.suffix in (".jpg", ".jpeg", ".webp")]
    sent_here = {"picture.jpg", "coffee jpeg.jpg", "a.jpg"}  # by all tests of this file, in whatever order
    assert {file.name for file in pictures} <= sent_here  # nobody wrote another version


def test_hostile_clients_get_nothing(address, picture, tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    elsewhere = ("http://127.0.0.1:9/a.png", "https://example.org/a.png", str(secret), "/etc/passwd")
    for path in elsewhere:
        for given in ({"path": path, "meta": {"_type": "gradio.FileData"}}, {"path": path}):
            kind, data = answered(address, "predict", given, "small")
            assert kind == "error" and data["error"] == "expected a file that was uploaded here"
    kind, data = answered(address, "predict", sent(address, picture), "../../weights/small")
    assert kind == "error" or "not offered here" in data[0]
    for path in (secret, Path("/etc/passwd")):
        assert requests.get(f"{address}/gradio_api/file={path}", timeout=HANGS).status_code in (403, 404)
    for place in (
        "file=https://example.org/a.png",
        "proxy=https://example.org/a.png",
        "vibe-code",
        "openapi.json",
        "runs",
    ):
        assert requests.get(f"{address}/gradio_api/{place}", timeout=HANGS, allow_redirects=False).status_code in (
            403,
            404,
        )
    assert requests.get(address, headers={"Host": "example.org"}, timeout=HANGS).status_code == 400


def test_uploads_beyond_the_limit_are_refused(address):
    large = {"files": ("large.png", io.BytesIO(b"\x89PNG" + bytes(21_000_000)))}
    assert requests.post(f"{address}/gradio_api/upload", files=large, timeout=HANGS).status_code == 413
