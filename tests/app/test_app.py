"""The page without a browser: which uploads it takes, what it draws and what it answers."""

import base64
import csv
import io
import re
import socket
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from iqasuite import models
from iqasuite.app import answers, drawing
from iqasuite.app.examples import examples_in
from iqasuite.app.uploads import private_folder, read_upload, shown_name
from iqasuite.errors import InputError
from iqasuite.images.loading import read_image
from iqasuite.inference.predictor import Prediction
from iqasuite.weights.catalogue import available
from iqasuite.weights.files import save_weights

CARD = {
    "title": "a small network <b>",
    "trained_on": "nothing",
    "limits": "says nothing",
    "scores": {"srocc, test": 0.25},
    "scale": {"name": "continuous", "low": 0, "high": 100},
    "preprocessing": {"shorter_side": 64},
    "rank_baselines": {"srocc, test": {"sharpness": [0.3, 0.2, 0.4]}},
    "caution": "No measure <of> quality.",
}


@pytest.fixture
def uploads(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def networks(project, monkeypatch):
    """A network of the mean opinion and two AIOs, with random weights, in a project of their own."""
    monkeypatch.delenv("IQASUITE_WEIGHTS", raising=False)
    folder = project.root / "weights"
    save_weights(models.create("mobile_nr", width=0.25), folder / "small.safetensors", CARD)
    for name in ("Ada", "Bo"):
        aio = models.create("vit_iqa", image_size=64, trunk={"size": "tiny"})
        card = {
            **CARD,
            "title": f"AIO of {name}, simulated",
            "observer": name,
            "scale": {"name": "ACR", "low": 1, "high": 5},
        }
        save_weights(aio, folder / "two" / f"{name}.safetensors", card)
    return answers.Networks(available())


def photograph(height: int = 64, width: int = 80) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def film(folder, kind: str, **more):
    frames = [Image.fromarray(photograph()), Image.fromarray(255 - photograph())]
    path = folder / f"film.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **more)
    return path


def declared_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 1000))]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*parts, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def refused(path, folder, **limits) -> str:
    """The sentence with which an upload is refused: one line that names no folder."""
    with pytest.raises(InputError) as caught:
        read_upload(path, folder, **limits)
    said = str(caught.value)
    assert "\n" not in said and str(folder.parent) not in said and "Traceback" not in said
    return said


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "bmp"])
def test_an_upload_is_read_to_the_pixel(uploads, kind):
    path, pixels = uploads / f"a.{kind}", photograph()
    Image.fromarray(pixels).save(path, **({"lossless": True} if kind == "webp" else {}))
    np.testing.assert_array_equal(read_upload(path, uploads), pixels)


def test_what_lies_elsewhere_is_not_opened(uploads, tmp_path):
    secret = tmp_path / "secret.png"
    Image.fromarray(photograph()).save(secret)
    (uploads / "link.png").symlink_to(secret)
    for path in (secret, uploads / ".." / "secret.png", uploads / "link.png", "/etc/passwd", f"{uploads}x/a.png"):
        assert "not a file that was uploaded here" in refused(path, uploads)


def test_an_upload_that_is_gone_says_so(uploads):
    assert "upload it again" in refused(uploads / "gone.png", uploads)


def test_too_many_bytes_are_refused(uploads):
    path = uploads / "a.bmp"
    Image.fromarray(photograph()).save(path)
    assert "at most 0.01 MB" in refused(path, uploads, max_bytes=10_000)
    assert read_upload(path, uploads, max_bytes=path.stat().st_size).shape == (64, 80, 3)


def test_too_many_pixels_are_refused_before_they_are_decoded(uploads, monkeypatch):
    path = uploads / "wide.png"
    Image.fromarray(photograph(100, 101)).save(path)
    assert read_upload(path, uploads, max_pixels=10_100).shape == (100, 101, 3)

    def decoded(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("iqasuite.app.uploads.read_image", decoded)
    assert "101×100 pixels" in refused(path, uploads, max_pixels=10_000)
    for width, height in ((7000, 7000), (60_000, 60_000)):  # beyond our limit, and beyond Pillow's own
        (uploads / "bomb.png").write_bytes(declared_png(width, height))
        assert "at most 40 million" in refused(uploads / "bomb.png", uploads)


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff", "avif"])
def test_animations_and_pages_are_refused(uploads, kind):
    assert "an animation or several pages" in refused(film(uploads, kind), uploads)


def test_a_photograph_with_its_preview_is_no_animation(uploads):
    path = uploads / "camera.jpg"
    first, second = Image.fromarray(photograph()), Image.fromarray(photograph()[::2, ::2])
    first.save(path, format="MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_upload(path, uploads), np.asarray(Image.open(path).convert("RGB")))


def test_what_is_no_picture_is_refused(uploads):
    whole = io.BytesIO()
    Image.fromarray(photograph()).save(whole, "JPEG")
    contents = {
        "text.png": b"this is no picture",
        "empty.png": b"",
        "cut.jpg": whole.getvalue()[:1500],
        "page.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        "few.png": declared_png(300, 300),
    }
    for name, content in contents.items():
        (uploads / name).write_bytes(content)
        assert refused(uploads / name, uploads).startswith(f"{name}: ")


def test_names_are_shown_without_folder_and_without_tricks():
    assert shown_name("/tmp/x/a.png") == "a.png"
    assert shown_name("a\u202egnp.exe\n.png") == "agnp.exe.png"
    assert len(shown_name("a" * 300 + ".png")) == 60


def test_the_folder_of_uploads_is_private(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/nowhere")
    folder = private_folder()
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        folder.rmdir()


def svg(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)


def test_bars_are_as_high_as_the_probabilities():
    shares = [0.05, 0.1, 0.2, 0.4, 0.25]
    bars = [float(e.get("height")) for e in svg(drawing.html.vote_bars(shares, 3.7)).iter("rect")]
    np.testing.assert_allclose(np.array(bars) / bars[3], np.array(shares) / 0.4, atol=0.01)


def test_the_strip_marks_each_person_and_their_mean():
    drawn = svg(drawing.observers_strip(["A", "<b>"], [[0, 0, 0, 0, 1], None], [5.0, 1.0]))
    texts = ["".join(e.itertext()) for e in drawn.iter("text")]
    assert "mean 3.00" in texts and "<b>" in texts and "5.0 ± 0.0" in texts and "1.0" in texts
    areas = [float(e.get("r")) for e in drawn.iter("circle")]
    assert areas == [0, 0, 0, 0, 10]
    marks = [float(re.match(r"M([\d.]+)", e.get("d"))[1]) for e in drawn.iter("path")]
    places = {e.text: float(e.get("x")) for e in drawn.iter("text") if e.text in "12345"}
    assert marks == [places["5"], places["1"]]


@pytest.mark.parametrize(("score", "share"), [(0, 0), (50, 0.5), (100, 1), (130, 1)])
def test_the_mark_lies_where_the_score_does(score, share):
    drawn = svg(drawing.html.scale_line(score, "good", 0, 100, "MOS"))
    left = float(re.match(r"M([\d.]+)", drawn.find("path").get("d"))[1]) + 6
    first, *_, last = drawn.iter("rect")
    ends = float(first.get("x")), float(last.get("x")) + float(last.get("width"))
    assert left == pytest.approx(ends[0] + share * (ends[1] - ends[0]), abs=1.5)


def test_numbers_have_a_true_minus_and_no_negative_nought():
    assert [drawing.number(x) for x in (-0.001, -1.5, 63.25, 0)] == ["0.00", "−1.50", "63.2", "0.00"]


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_map_has_the_colours_of_its_ends():
    over = np.asarray(decoded(drawing.map_uri(np.array([[1.0, 5.0]]), 1, 5, (40, 80))).convert("RGB"))
    import matplotlib

    ends = np.array([matplotlib.colormaps["inferno"](x)[:3] for x in (0.0, 1.0)]) * 255
    assert over.shape == (40, 80, 3)
    np.testing.assert_allclose(over[20, [0, -1]], ends, atol=1)


def test_a_picture_is_shown_small_enough():
    assert decoded(drawing.image_uri(np.zeros((3000, 1000, 3), np.uint8))).size == (300, 900)


def test_text_of_others_stays_text(networks):
    assert "<b>" not in drawing.html.sentence("<b>") + drawing.html.table(["<b>"], [["<b>"]])
    html = answers.about(networks.entry("small"))
    assert "srocc, test 0.25" in html and "srocc, test: sharpness 0.3 [0.2, 0.4]" in html and "says nothing" in html
    *_, last = answers.many(networks, "small", iter([("<img src=x>.png", "<script>")]))
    assert "<img" not in last and "<script" not in last and last.count("No measure &lt;of&gt; quality.") == 1


def test_a_score_stands_on_the_scale_of_its_model(networks):
    for name, scale in (("small", "0 (worst) to 100"), ("two/Ada", "1 (worst) to 5")):
        prediction = networks.predict(name, photograph())
        said, shown = list(answers.one_image(networks, name, photograph()))[-1]
        assert scale in said and f">{drawing.number(prediction.score)}<" in said and prediction.category in said
        assert shown.count("data:image/") == 2 and said.count("No measure &lt;of&gt; quality.") == 1
    assert "simulated" in said and "vote of Ada" in said


def test_an_interval_is_said_where_it_is_known(networks):
    ends = {0.5: (45.0, 55.0), 0.8: (40.0, 61.5)}
    said = [
        drawing.html.score(networks.entry("small"), Prediction(50, 3, "average", None, k), False) for k in (ends, {})
    ]
    assert "eight have a mean opinion between 40.0 and 61.5" in said[0] and "eight have" not in said[1]


def test_a_model_that_is_not_offered_is_refused(networks, tmp_path):
    save_weights(models.create("mobile_nr", width=0.25), tmp_path / "other.safetensors", CARD)
    with pytest.raises(InputError, match="not offered"):
        networks.predict(str(tmp_path / "other.safetensors"), photograph())
    with pytest.raises(InputError, match="not offered"):
        answers.observers(networks, "..", photograph())


def test_few_networks_stay_loaded(networks, monkeypatch):
    small, loaded = answers.Networks(list(networks.entries.values()), keep=2), []
    predictor = answers.Predictor
    monkeypatch.setattr(answers, "Predictor", lambda entry: loaded.append(entry.name) or predictor(entry))
    for name in ("small", "two/Ada", "small", "two/Bo", "small", "two/Ada"):
        small.predict(name, photograph())
    assert loaded == ["small", "two/Ada", "two/Bo", "two/Ada"]


def test_two_pictures_share_their_colours(networks):
    html = answers.two_images(networks, "small", [photograph(), photograph(70, 70)])
    bars = re.findall(r'<div class="iqa-bar">.*?</div>', html)
    assert len(bars) == 2 and bars[0] == bars[1]
    same = answers.two_images(networks, "small", [photograph(), photograph()])
    assert "+0.00" in same and "no difference" in same


def test_people_are_all_there_and_said_to_be_simulated(networks):
    html = answers.observers(networks, "two", photograph())
    assert "2 simulated observers" in html and html.count("attention map of") == 2
    votes = [networks.predict(f"two/{name}", photograph()).vote for name in ("Ada", "Bo")]
    assert f"mean {np.mean(votes):.2f}" in html


def test_a_pair_of_different_sizes_is_refused_in_a_sentence(networks):
    with pytest.raises(InputError, match="80×64 pixels, the other 64×80; expected one size"):
        answers.with_reference(networks, photograph(), photograph(80, 64))


def test_metrics_of_a_pair_are_those_of_the_library(networks):
    import torch

    from iqasuite.models.metrics.piq_metrics import score

    pair = photograph(176, 176), np.clip(photograph(176, 176) + 5, 5, 255).astype(np.uint8)
    html, shown = answers.with_reference(networks, *pair)
    x = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in pair]
    assert f"{score('ms_ssim', *x).item():.4g}" in html and "gray levels" in shown
    small, _ = answers.with_reference(networks, photograph(), photograph())
    assert "needs 161 pixels a side" in small and "80 dB" in small


def test_the_table_of_many_holds_scores_and_reasons(networks):
    files = [("a.png", photograph()), ("=1+1.png", "@no picture"), ("b.png", photograph(20, 20))]
    *_, last = answers.many(networks, "small", iter(files))
    link = re.search(r'href="data:text/csv;base64,([^"]+)"', last)[1]
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(link).decode())))
    assert [row["file"] for row in rows] == ["a.png", "'=1+1.png", "b.png"]
    score = networks.predict("small", photograph()).score
    assert float(rows[0]["score"]) == pytest.approx(score, rel=1e-3) and rows[0]["scale"] == "continuous"
    assert rows[1]["problem"] == "'@no picture" and "20×20" in rows[2]["problem"] and rows[2]["score"] == ""


def test_examples_are_the_same_each_time(tmp_path):
    first, second = (examples_in(tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in second.values()]
    assert read_image(first["coffee blur.png"]).shape == read_image(first["coffee reference.png"]).shape


HERE = "http://127.0.0.1:7860"
WRITES = [  # headers of a browser or a program, and whether they may write
    ({}, True),
    ({"origin": HERE, "sec-fetch-site": "same-origin"}, True),
    ({"origin": HERE}, True),
    ({"sec-fetch-site": "same-origin"}, True),
    ({"origin": HERE.upper()}, True),
    ({"sec-fetch-site": "none"}, True),
    ({"origin": "https://example.org", "sec-fetch-site": "cross-site"}, False),
    ({"origin": "null"}, False),
    ({"origin": "https://example.org"}, False),
    ({"sec-fetch-site": "cross-site"}, False),
    ({"origin": ""}, False),
    ({"origin": "http://127.0.0.1:8888", "sec-fetch-site": "same-site"}, False),
    ({"origin": "http://[::1"}, False),
    ({"origin": "http://127.0.0.1"}, False),
    ({"origin": f"{HERE}.example.org"}, False),
    ({"origin": "file://"}, False),
    ({"origin": "https://example.org", "x-forwarded-host": "example.org"}, False),
    ({"origin": HERE, "sec-fetch-site": "cross-site"}, False),
    ({"origin": "http://localhost:7860"}, False),
]


def client(host: str, share: bool = False, base: str = HERE):
    """A client of an app that answers everything, behind the page's middleware."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.testclient import TestClient

    from iqasuite.app import _middleware

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    routes = [Route("/{path:path}", lambda request: PlainTextResponse("done"), methods=methods)]
    routes.append(WebSocketRoute("/{path:path}", lambda socket: socket.accept()))
    return TestClient(Starlette(routes=routes, middleware=_middleware(host, share)), base_url=base)


@pytest.mark.parametrize(("headers", "allowed"), WRITES)
def test_only_the_page_itself_and_programs_write(headers, allowed):
    asked = client("127.0.0.1")
    files = {"files": ("a.png", b"x")}
    assert asked.post("/gradio_api/upload", files=files, headers=headers).status_code == (200 if allowed else 403)
    for method in ("PUT", "PATCH", "DELETE"):
        assert asked.request(method, "/gradio_api/run/predict", headers=headers).is_success == allowed
    assert asked.get("/", headers=headers).text == "done"  # a link from elsewhere may lead here


def test_the_page_that_others_reach_knows_its_own_name():
    lan = client("0.0.0.0", base="http://10.0.0.5:7860")
    for origin, status in (("http://10.0.0.5:7860", 200), ("http://10.0.0.6:7860", 403), ("http://10.0.0.5", 403)):
        assert lan.post("/gradio_api/upload", headers={"origin": origin}).status_code == status
    public = {"origin": "https://abc.gradio.live", "sec-fetch-site": "same-origin"}
    shared = client("127.0.0.1", share=True, base="https://abc.gradio.live")
    assert shared.post("/gradio_api/upload", headers=public).status_code == 200
    through = client("127.0.0.1", share=True)  # a tunnel that asks in its own name
    assert through.post("/gradio_api/upload", headers=public).status_code == 403
    assert through.post("/gradio_api/upload", headers={**public, "x-forwarded-host": "abc.gradio.live"}).is_success
    assert lan.post("/gradio_api/upload", headers={**public, "x-forwarded-host": "abc.gradio.live"}).status_code == 403


def test_no_socket_is_opened():
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client("127.0.0.1").websocket_connect("/config"):
        pass


def test_a_taken_port_is_left_alone():
    from iqasuite.app.doorkeeper import free_port

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port
