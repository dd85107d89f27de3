"""The page that scores an image in the browser: the same score as the library's, nothing loaded, bad files named."""

import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from iqasuite.experiments import try_page
from iqasuite.images.photographs import photographs
from iqasuite.inference.predictor import load_predictor

WAIT = 300_000  # milliseconds


@pytest.fixture(scope="module")
def browser():
    """Chromium without a network, or a skipped test that says so."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on PATH")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=WAIT)
        yield started
        started.close()


@pytest.mark.slow
def test_the_browsers_score_is_the_librarys(browser, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    written = try_page.build(tmp_path)
    first = Image.open(photographs("demo")[0]).convert("RGB").resize((300, 220))
    rng = np.random.default_rng(0)
    noisy = np.clip(np.asarray(first).astype(int) + rng.normal(0, 25, (220, 300, 3)), 0, 255).astype(np.uint8)
    images = {"clean.png": np.asarray(first), "noisy.png": noisy, "tall.png": np.asarray(first.resize((90, 131)))}
    page = browser.new_context(offline=True).new_page()
    page.set_default_timeout(WAIT)
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written.as_uri())
    predictor = load_predictor("mobile_nr")
    for name, pixels in images.items():
        Image.fromarray(pixels).save(tmp_path / name)
        page.set_input_files("#file", tmp_path / name)
        page.locator("#said", has_text=f"{name}: {pixels.shape[1]} × {pixels.shape[0]} pixels, ").wait_for()
        score = float(page.locator("#answer").get_attribute("data-score"))
        assert score == pytest.approx(predictor.predict([pixels])[0].score, abs=1.0), name  # a hundredth of the scale
    (tmp_path / "bad.png").write_bytes(b"no image")
    page.set_input_files("#file", tmp_path / "bad.png")
    page.locator("#said", has_text="bad.png: no image that this browser can read").wait_for()
    assert page.locator("#answer").is_hidden() and not errors
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)


def test_a_project_without_the_weights_has_no_page(project):
    assert try_page.build(project.root) is None
