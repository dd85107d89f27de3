"""Rating in a real browser: by keyboard, through killed servers, in two windows; no vote is lost or doubled."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import sync_playwright

from iqasuite import models
from iqasuite.datasets import study_folder
from iqasuite.datasets.rating_session import RatingSession
from iqasuite.weights.files import save_weights

pytestmark = pytest.mark.slow
HANGS = 300  # seconds after which something hangs
VOTES = int(os.environ.get("IQASUITE_RATE_VOTES", "40"))  # through one killed server; 200 or more: through three
WRONG: list[str] = []  # errors of the page's script
CARD = {"trained_on": "nothing", "scale": {"name": "ACR", "low": 1, "high": 5}, "preprocessing": {"shorter_side": 64}}


class Server:
    """`iqasuite rate`, or the page with its tab, as a user starts it, killed and started again at one address."""

    def __init__(self, root: Path, folder: Path, whole_page: bool = False):
        self.root, self.folder = root, folder
        self.command = ["app", "--rate", str(folder)] if whole_page else ["rate", str(folder), "--no-open"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/rate/"

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("IQASUITE")}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-m", "iqasuite", *self.command, "--port", str(self.port)]
        with open(self.root / "log", "w") as log:
            self.process = subprocess.Popen(command, cwd=self.root, env=environment, stdout=log, stderr=log)
        until = time.monotonic() + HANGS
        while f":{self.port}" not in (self.root / "log").read_text():
            assert self.process.poll() is None and time.monotonic() < until, (self.root / "log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self.process.wait(HANGS)


def images(folder: Path, n: int, first: int = 0, size: tuple[int, int] = (48, 64)) -> Path:
    rng = np.random.default_rng(first)
    folder.mkdir(exist_ok=True)
    for k in range(first, first + n):
        pixels = rng.integers(0, 100 + k % 150, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:03d}_q{k}.png")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rate")
    (root / "notebooks" / "suites").mkdir(parents=True)
    save_weights(models.create("mobile_nr", width=0.25), root / "weights" / "mobile_nr.safetensors", CARD)
    return root


@pytest.fixture
def server(place, request):
    number = sum(path.is_dir() and path.name.startswith("set") for path in place.iterdir())
    server = Server(place, images(place / f"set{number}", getattr(request, "param", 20)))
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in (place / "log").read_text() and not WRONG


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


def opened(browser, address: str, width: int = 1280, height: int = 800):
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(1000 * HANGS)
    page.on("pageerror", lambda error: WRONG.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#text button, #text form")
    return page


def voted(page, n: int, given: dict[str, int]) -> None:
    """Vote n times by keyboard, on the page or in a frame of one; token -> vote goes into `given`."""
    for _ in range(n):
        page.wait_for_function("ready && mode === 'rate'")
        token = page.evaluate("state.now")
        given[token] = 1 + int(token, 16) % 5
        keyboard(page).press(str(given[token]))


def keyboard(page):
    return getattr(page, "page", page).keyboard


def trained(page) -> None:
    """Begin, and vote on the training images."""
    keyboard(page).press(" ")
    while True:
        page.wait_for_function("ready && mode === 'rate'")
        if page.evaluate("training >= state.training.length"):
            return
        keyboard(page).press("3")


def saved(server: Server, observer: str) -> dict[str, int]:
    """Token -> vote, as the playlists have them."""
    from iqasuite.app.rating import _token
    from iqasuite.datasets.rating_session import Shown

    session = RatingSession(study_folder.unrated(server.folder), observer, server.root / "playlists")
    votes = session.votes()
    assert not votes.duplicated(["session", "image"]).any()
    return {_token(session, Shown(row.image, row.session == 2)): row.vote for row in votes.itertuples()}


def killed(server: Server, browser, page, given: dict[str, int], how: str):
    """Kill the server and start it again; the page waits, is loaded anew, or was closed before."""
    page.wait_for_function("ready")
    server.kill()
    if how == "closed":
        page.context.close()
    else:
        voted(page, 1, given)  # into the void
        page.locator("#message", has_text="does not answer").wait_for()
    server.start()
    if how == "waits":  # the vote is sent again
        return page
    if how == "closed":
        page = opened(browser, f"{server.address}?observer=Ana")
    else:
        page.reload()  # the vote that was not sent is sent now
    saved_and_left = f"{len(given)} votes are saved, {VOTES - len(given)} are left"
    page.locator("#text", has_text=saved_and_left).wait_for()
    page.keyboard.press(" ")
    return page


@pytest.mark.parametrize("server", [VOTES * 9 // 10], indirect=True)  # one image in nine is shown again
def test_many_votes_by_keyboard_through_killed_servers(server, browser):
    page, given, images = opened(browser, f"{server.address}?observer=Ana"), {}, VOTES * 9 // 10
    said = page.locator("#text").inner_text()
    assert str(images) not in said and f"{VOTES} votes in all" in said
    trained(page)
    assert saved(server, "Ana") == {}
    for how in ("reload",) if VOTES < 200 else ("waits", "reload", "closed"):
        voted(page, VOTES // 5, given)
        page = killed(server, browser, page, given, how)
    voted(page, 2, given)
    page.wait_for_function("ready")
    assert saved(server, "Ana") == given
    voted(page, VOTES - len(given), given)
    page.locator("#text", has_text=f"All {VOTES} votes are saved").wait_for()
    assert saved(server, "Ana") == given and len(given) == VOTES
    page.keyboard.press("o")
    page.locator("#text li", has_text=f"of {VOTES - images} images that were shown again").wait_for()
    assert f"after {images} votes" in page.locator("#text").inner_text()
    page.context.close()
    command = [sys.executable, "-m", "iqasuite", "score", str(server.folder), "--observer", "Ana", "--format", "jsonl"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("IQASUITE")}
    environment["OMP_NUM_THREADS"] = "1"
    scored = subprocess.run(command, cwd=server.root, env=environment, capture_output=True, text=True, timeout=HANGS)
    assert scored.returncode == 0 and scored.stdout.count('"score"') == images, scored.stderr


def test_the_tab_of_the_page_rates_too(place, browser):
    server = Server(place, images(place / "set_of_the_tab", 9), whole_page=True)
    server.start()
    try:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(1000 * HANGS)
        page.goto(f"http://127.0.0.1:{server.port}")
        page.get_by_role("tab", name="Rate").click()
        inside = page.locator("iframe.iqa-rating").element_handle().content_frame()
        inside.locator("#name").fill("Eva")
        page.keyboard.press("Enter")
        inside.locator("#text h1", has_text="Eva").wait_for()
        given: dict[str, int] = {}
        trained(inside)
        voted(inside, 4, given)
        inside.wait_for_function("ready")
        page.keyboard.press("Backspace")
        inside.locator("#message", has_text="was taken back").wait_for()
        assert len(saved(server, "Eva")) == 3
        voted(inside, 7, given)  # the one that was taken back, and six more
        inside.locator("#text", has_text="All 10 votes are saved").wait_for()
        assert saved(server, "Eva") == given and len(given) == 10
        page.keyboard.press("o")
        inside.locator("#text svg").first.wait_for()
        assert "Eva, after 9 votes" in inside.locator("#text").inner_text()
        assert list((place / "weights").rglob("Eva.safetensors"))
        page.context.close()
    finally:
        server.kill()
    assert "Traceback" not in (place / "log").read_text()


def test_undo_and_two_windows_of_one_observer(server, browser):
    first, given = opened(browser, f"{server.address}?observer=Bo"), {}
    trained(first)
    voted(first, 3, given)
    first.wait_for_function("ready")
    first.keyboard.press("Backspace")
    first.locator("#message", has_text="was taken back").wait_for()
    first.wait_for_function("ready")
    assert first.evaluate("state.now") == list(given)[-1] and len(saved(server, "Bo")) == 2
    second = opened(browser, f"{server.address}?observer=Bo")
    second.keyboard.press(" ")
    second.wait_for_function("ready")
    token = first.evaluate("state.now")
    assert second.evaluate("state.now") == token
    first.keyboard.press("5")
    first.wait_for_function(f"ready && state.now !== '{token}'")
    second.keyboard.press("1")
    second.locator("#message", has_text="already, given in another window; it was kept").wait_for()
    given[token] = 5
    assert saved(server, "Bo") == given
    second.wait_for_function("ready")
    assert second.evaluate("state.now") == first.evaluate("state.now")


def test_observers_are_blind_to_each_other_and_names_are_text(server, browser):
    name = "<img src=x onerror=alert(1)>/写"
    page = opened(browser, server.address)
    page.locator("#name").fill(name)
    page.keyboard.press("Enter")
    page.locator("#text h1", has_text=name).wait_for()
    assert page.locator("#text img").count() == 0
    given = {}
    trained(page)
    voted(page, 5, given)
    page.locator("#message", has_text="5 votes: your observer").wait_for()
    page.wait_for_function("ready")
    page.keyboard.press("o")
    page.locator("#text svg").first.wait_for()
    assert page.locator("#text img").count() == 0 and name in page.locator("#text").inner_text()
    assert saved(server, name) == given and saved(server, "Ana") == {}
    state = requests.get(f"{server.address}state", {"observer": "Ana"}, timeout=HANGS).json()
    assert state["done"] == 0 and not any(f"_q{k}" in str(state) for k in range(20))  # nor are files named


def test_images_are_shown_pixel_by_pixel_on_mid_gray_or_smaller_with_a_sentence(server, browser):
    page = opened(browser, f"{server.address}?observer=Cy")
    trained(page)
    page.wait_for_function("ready")
    box = page.locator("#image").bounding_box()
    assert (round(box["width"]), round(box["height"])) == (64, 48)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(128, 128, 128)"
    content = requests.get(page.evaluate("at('image').src"), timeout=HANGS).content
    assert content.startswith(b"\x89PNG")
    for other in server.folder.iterdir():
        other.unlink()
    images(server.folder, 1, first=500, size=(900, 1200))
    server.kill()
    server.start()
    small = opened(browser, f"{server.address}?observer=Cy", 390, 700)
    small.keyboard.press(" ")
    small.wait_for_function("ready")
    assert small.evaluate("document.documentElement.scrollWidth") <= 390
    assert "the window is smaller" in small.locator("#size").inner_text()
    assert small.locator("#votes button").all_inner_texts()[1].split() == ["2", "insufficient"]
    small.keyboard.press("4")
    small.locator("#text", has_text="All 1 votes are saved").wait_for()


def test_a_folder_of_unreadable_images_and_hostile_requests_are_sentences(server, browser):
    broken = sorted(server.folder.iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:60])
    page, given = opened(browser, f"{server.address}?observer=Di"), {}
    trained(page)
    while page.evaluate("state.now"):
        voted(page, 1, given)
        page.wait_for_function("ready || mode === 'end'")
    assert broken.name in page.locator("#text").inner_text() and len(saved(server, "Di")) == 19 + 3
    (server.root / "secret.png").write_bytes(next(server.folder.glob("*q5.png")).read_bytes())
    for token in ("..%2f..%2fsecret.png", "secret.png", "0" * 24):
        assert requests.get(f"{server.address}image/{token}?observer=Di", timeout=HANGS).status_code == 404
    vote = {"observer": "Di", "token": next(iter(given)), "vote": 9, "duration": 1}
    for sent, headers, status in (
        (vote, {}, 409),
        (vote | {"vote": 3}, {"origin": "https://example.org"}, 403),
        ([], {}, 422),
        (vote | {"observer": ""}, {}, 422),
        (vote | {"more": "x" * 20_000}, {}, 422),
    ):
        answer = requests.post(f"{server.address}vote", json=sent, headers=headers, timeout=HANGS)
        assert answer.status_code in (status, 409 if status == 422 else status), answer.text
    assert requests.get(server.address, headers={"host": "example.org"}, timeout=HANGS).status_code == 400
    assert saved(server, "Di") == given
