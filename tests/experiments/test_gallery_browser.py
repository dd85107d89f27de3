"""Committed pages in a real browser: they fit, their text is legible, and their tables can be worked with."""

import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.slow
PAGES = ("index.html", "demo/index.html", "lab/index.html", "demo/notebooks/start.html")
SMALLEST = """() => [...document.querySelectorAll("main img")]
  .filter((image) => image.naturalWidth && image.offsetWidth)
  .map((image) => image.getBoundingClientRect().width / image.naturalWidth).reduce((a, b) => Math.min(a, b), 1)"""


@pytest.fixture(scope="module")
def browser():
    """Chromium without a network, or a skipped test that says so."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on PATH")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_figures_stay_legible(browser, repository, scheme):
    context = browser.new_context(color_scheme=scheme, offline=True)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in PAGES:
        page.goto((repository / "results" / name).as_uri())
        for width in (390, 800, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name}: {wide} px at {width}"
            assert page.evaluate(SMALLEST) > 0.84, f"{name} at {width}"  # letters of 7 points, 10.7 px, stay above 9 px
    assert not errors
    context.close()


def test_tables_sort_and_filter_and_figures_open(browser, repository):
    page = browser.new_page()
    page.goto((repository / "results" / "lab" / "index.html").as_uri())
    table = page.locator("#scores ~ .card table").first
    column = table.locator("thead th").nth(1)
    values = []
    for _ in range(2):
        column.click()
        cells = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
        values.append([float(re.split(r"\s|\[", text)[0].replace("−", "-")) for text in cells])
    assert values[0] == sorted(values[0]) and values[1] == values[0][::-1]
    page.locator("#scores ~ .card input[type=search]").first.fill("majority")
    assert table.locator("tbody tr:visible").count() == 1
    page.locator("figure a").first.click()
    assert page.locator("dialog.lightbox").is_visible() and page.url.endswith("index.html")
    page.keyboard.press("Escape")
    page.goto((repository / "results" / "index.html").as_uri())
    page.locator("input[data-search]").fill("lab evaluate ceiling")
    assert page.locator("#found li:visible").count() > 0
    page.close()
