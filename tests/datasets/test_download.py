"""Downloads from a server here that misbehaves: the right file, or a clear error and nothing in its place."""

import hashlib
import io
import json
import multiprocessing
import re
import shutil
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from iqasuite.datasets import download as module
from iqasuite.datasets.card import Download
from iqasuite.datasets.download import ATTEMPTS, fetch
from iqasuite.errors import InputError

CONTENT = bytes(range(256)) * 1024  # 256 kB, more than one chunk would be needless
OTHER = CONTENT[::-1]


class Page:
    """What a server says to one address; `cuts` are the bytes after which it hangs up, one a request."""

    def __init__(self, content=CONTENT, etag='"one"', ranges=True, cuts=(), length=None, headers=(), statuses=()):
        self.content, self.etag, self.ranges, self.length = content, etag, ranges, length
        self.cuts, self.headers, self.statuses = list(cuts), dict(headers), list(statuses)

    def answer(self, request):
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            return request.reply(status, {"Content-Length": "0"} | self.headers, b"")
        begin, body = 0, self.content
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if asked and self.ranges and request.headers.get("If-Range") in (None, self.etag):
            begin, status = int(asked[1]), 206
            body = self.content[begin:]
        headers = {"ETag": self.etag} if self.etag else {}
        headers["Content-Length"] = str(len(body) if self.length is None else self.length)
        if status == 206:
            headers["Content-Range"] = f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}"
        cut = self.cuts.pop(0) if self.cuts else None
        return request.reply(status, headers | self.headers, body[:cut])


class Chunked(Page):
    """No length beforehand, as archives that are made on request."""

    def answer(self, request):
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (self.content[:1000], self.content[1000:]))
        cut = self.cuts.pop(0) if self.cuts else None
        request.reply(200, {"Transfer-Encoding": "chunked"}, (body + b"0\r\n\r\n")[:cut])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        page = self.server.pages.get(self.path)
        self.close_connection = True
        if page is None:
            self.reply(404, {"Content-Length": "0"}, b"")
        else:
            page.answer(self)

    do_HEAD = do_GET

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


Site = namedtuple("Site", "url pages seen")


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.pages, server.seen = {}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Site(f"http://127.0.0.1:{server.server_port}", server.pages, server.seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(site, tmp_path):
    """fetch of `/a.zip`, all in a temporary folder."""

    def run(page=None, path="/a.zip", target=tmp_path / "sets" / "a.zip", **known):
        if page is not None:
            site.pages[path] = page
        return fetch(Download(f"{site.url}{path}", **known), target, record=tmp_path / "downloads.json", wait=0)

    run.target, run.record = tmp_path / "sets" / "a.zip", tmp_path / "downloads.json"
    return run


def sha(content):
    return hashlib.sha256(content).hexdigest()


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".download.lock")


def test_file_progress_and_record(site, tmp_path):
    site.pages["/a.zip"] = Page()
    calls = []
    download = Download(f"{site.url}/a.zip", size=len(CONTENT), sha256=sha(CONTENT).upper())
    target = fetch(download, tmp_path / "new" / "a.zip", lambda *call: calls.append(call), tmp_path / "downloads.json")
    assert target.read_bytes() == CONTENT and files(target.parent) == ["a.zip"]
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert json.loads((tmp_path / "downloads.json").read_text())[download.url]["sha256"] == sha(CONTENT)
    assert site.seen[0][2]["Accept-Encoding"] == "identity"


def test_the_record_is_in_the_data_folder(site, tmp_path, monkeypatch):
    monkeypatch.setenv("IQASUITE_DATA", str(tmp_path / "data"))
    site.pages["/a.zip"] = Page()
    (tmp_path / "data").mkdir()
    fetch(Download(f"{site.url}/a.zip"), tmp_path / "a.zip")
    assert (tmp_path / "data" / "downloads.json").is_file()


def test_a_lost_connection_is_resumed(get, site):
    assert get(Page(cuts=[100_000, 50_000])).read_bytes() == CONTENT
    assert [seen[2].get("Range") for seen in site.seen] == [None, "bytes=100000-", "bytes=150000-"]
    assert [seen[2].get("If-Range") for seen in site.seen] == [None, '"one"', '"one"']


def test_a_connection_that_is_always_lost_leaves_a_part_that_a_later_call_resumes(get, site):
    with pytest.raises(InputError, match=f"{ATTEMPTS} times; expected the whole file .50,000 bytes"):
        get(Page(cuts=[10_000] * ATTEMPTS))
    assert files(get.target.parent) == ["a.zip.part", "a.zip.part.json"]
    site.seen.clear()
    assert get(Page()).read_bytes() == CONTENT
    assert site.seen[0][2]["Range"] == "bytes=50000-" and files(get.target.parent) == ["a.zip"]


def test_attempts_that_bring_much_do_not_count(get, monkeypatch):
    monkeypatch.setattr(module, "_PROGRESS", 10_000)
    assert get(Page(cuts=[15_000] * (ATTEMPTS + 5))).read_bytes() == CONTENT


def test_a_server_without_ranges_is_started_again(get, site):
    assert get(Page(ranges=False, cuts=[100_000])).read_bytes() == CONTENT
    assert "Range" in site.seen[1][2]
    with pytest.raises(InputError, match="times"):
        get(Page(ranges=False, cuts=[100_000] * ATTEMPTS), "/b.zip", get.target.with_name("b.zip"))


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}], ids=["no validator", "weak ETag"])
def test_without_a_validator_nothing_is_glued(get, site, headers):
    assert get(Page(etag="", headers=headers, cuts=[100_000])).read_bytes() == CONTENT
    assert "Range" not in site.seen[1][2]


def test_a_published_checksum_does_without_a_validator(get, site):
    assert get(Page(etag="", cuts=[100_000]), sha256=sha(CONTENT)).read_bytes() == CONTENT
    assert site.seen[1][2]["Range"] == "bytes=100000-" and "If-Range" not in site.seen[1][2]


def test_the_date_of_the_last_change_validates_too(get, site):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    page = Page(etag="", headers={"Last-Modified": date}, cuts=[100_000])
    get(page)
    assert site.seen[1][2]["If-Range"] == date


def changed_file(get, **second):
    """A first part of CONTENT, then OTHER at the same address."""
    with pytest.raises(InputError):
        get(Page(cuts=[100_000] + [0] * ATTEMPTS))
    return get(Page(OTHER, **second))


def test_a_file_that_changed_is_not_glued_together(get, site):
    assert changed_file(get, etag='"two"').read_bytes() == OTHER


def test_a_server_that_ignores_if_range_is_caught_by_its_etag(get, site):
    class Careless(Page):
        def answer(self, request):
            del request.headers["If-Range"]
            super().answer(request)

    with pytest.raises(InputError):
        get(Page(cuts=[100_000] + [0] * ATTEMPTS))
    assert get(Careless(OTHER, etag='"two"')).read_bytes() == OTHER
    assert [seen[2].get("Range") for seen in site.seen[-2:]] == ["bytes=100000-", None]


def test_the_part_of_another_address_is_not_used(get, site):
    with pytest.raises(InputError):
        get(Page(cuts=[100_000] + [0] * ATTEMPTS))
    assert get(Page(OTHER), "/other.zip").read_bytes() == OTHER
    assert "Range" not in site.seen[-1][2]


def test_a_part_beyond_the_end_starts_again(get):
    with pytest.raises(InputError):
        get(Page(cuts=[100_000] + [0] * ATTEMPTS))

    class Short(Page):
        def answer(self, request):
            if "Range" in request.headers:
                return request.reply(416, {"Content-Range": f"bytes */{len(self.content)}"}, b"")
            return super().answer(request)

    assert get(Short(b"short")).read_bytes() == b"short"


def test_a_length_that_is_too_long_is_an_error(get):
    page = Page(length=len(CONTENT) + 10, ranges=False)
    with pytest.raises(InputError, match="connection lost after 262,144 bytes"):
        get(page)
    assert not get.target.exists()


def test_a_length_that_is_too_short_is_caught_by_the_checksum(get):
    with pytest.raises(InputError, match=f"SHA-256 {sha(CONTENT[:1000])}.*expected {sha(CONTENT)} as published"):
        get(Page(length=1000), sha256=sha(CONTENT))
    assert files(get.target.parent) == []


def test_more_than_a_range_promised_is_an_error(get):
    class Swollen(Page):
        def answer(self, request):
            if "Range" not in request.headers:
                return super().answer(request)
            begin = int(request.headers["Range"][6:-1])
            span = {"Content-Range": f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}", "ETag": self.etag}
            return request.reply(206, span | {"Content-Length": str(len(CONTENT))}, CONTENT)

    with pytest.raises(InputError, match="more than 262,144 bytes"):
        get(Swollen(cuts=[100_000]))
    assert files(get.target.parent) == []


def test_a_server_that_gives_less_than_was_asked_for_is_asked_again(get, site):
    class Miser(Page):
        def answer(self, request):
            if "Range" not in request.headers:
                return super().answer(request)
            begin = int(request.headers["Range"][6:-1])
            part = CONTENT[begin : begin + 100_000]
            span = {"Content-Range": f"bytes {begin}-{begin + len(part) - 1}/{len(CONTENT)}", "ETag": self.etag}
            return request.reply(206, span | {"Content-Length": str(len(part))}, part)

    assert get(Miser(cuts=[10_000])).read_bytes() == CONTENT
    assert len(site.seen) == 4


def test_chunks_without_a_length(get):
    assert get(Chunked(cuts=[50_000])).read_bytes() == CONTENT


@pytest.mark.parametrize("page", [Page(), Chunked()], ids=["declared", "chunked"])
def test_far_more_than_the_card_says_is_refused(get, page, monkeypatch):
    page.content = CONTENT * 10
    with pytest.raises(InputError, match="expected (about 1,000|less)"):
        get(page, size=1000)
    assert not get.target.exists() and not get.target.with_name("a.zip.part").exists()


def test_a_full_disk_is_found_before(get, monkeypatch, site):
    usage = shutil.disk_usage("/")._replace(free=module._RESERVE + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="GB free for"):
        get(Page())
    assert files(get.target.parent) == []


def test_wrong_checksum(get):
    with pytest.raises(InputError, match=f"SHA-256 {sha(OTHER)}.*expected {sha(CONTENT)} as published"):
        get(Page(OTHER), sha256=sha(CONTENT))
    assert files(get.target.parent) == [] and not get.record.exists()


def test_the_first_download_is_what_later_ones_are_compared_with(get):
    get(Page()).unlink()
    with pytest.raises(InputError, match=f"SHA-256 {sha(OTHER)}.*{sha(CONTENT)} as at its first.*{get.record.name}"):
        get(Page(OTHER))
    assert files(get.target.parent) == []
    get.record.unlink()
    assert get(Page(OTHER)).read_bytes() == OTHER


def test_a_file_that_is_here_is_checked_without_the_network(get, site):
    get(Page())
    site.seen.clear()
    assert get() == get.target and not site.seen
    get.target.write_bytes(b"damaged")
    with pytest.raises(InputError, match="delete it to download it again"):
        get()
    assert get.target.read_bytes() == b"damaged" and not site.seen


def test_a_damaged_record(get):
    get.record.write_text("{")
    with pytest.raises(InputError, match="downloads.json: not JSON"):
        get(Page())
    get.record.write_text("[1]")
    with pytest.raises(InputError, match="downloads.json: list in JSON; expected dict"):
        get(Page())
    assert not get.target.exists()


def test_busy_at_first(get, site):
    assert get(Page(statuses=[503, 429, 500], headers={"Retry-After": "1"})).read_bytes() == CONTENT
    assert len(site.seen) == 4


def test_retry_after_and_backoff(site, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    site.pages["/a.zip"] = Page(statuses=[503, 503, 503, 503], headers={"Retry-After": "3"})
    fetch(Download(f"{site.url}/a.zip"), tmp_path / "a.zip", record=tmp_path / "r.json", wait=1)
    assert waited == [3, 3, 4, 8]


def test_not_found_is_not_tried_again(get, site):
    with pytest.raises(InputError, match="/a.zip: HTTP 404"):
        get()
    assert len(site.seen) == 1 and files(get.target.parent) == []


def test_always_busy(get, site):
    with pytest.raises(InputError, match="HTTP 503"):
        get(Page(statuses=[503] * 50))
    assert len(site.seen) == ATTEMPTS


def test_nobody_answers(tmp_path):
    with pytest.raises(InputError, match="127.0.0.1:1/a.zip: no connection"):
        fetch(Download("http://127.0.0.1:1/a.zip"), tmp_path / "a.zip", record=tmp_path / "r.json", wait=0)


def test_a_form_instead_of_the_file(get):
    with pytest.raises(InputError, match="a web page came"):
        get(Page(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}))
    assert files(get.target.parent) == []


def redirect(onward, status=302):
    return Page(statuses=[status] * 99, headers={"Location": onward})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(get, site, status):
    site.pages["/b.zip"] = Page(cuts=[100_000])
    assert get(redirect("/b.zip", status)).read_bytes() == CONTENT
    assert [seen[1] for seen in site.seen] == ["/a.zip", "/b.zip"] * 2  # from the start: signed addresses run out


@pytest.mark.parametrize("onward", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "/a.zip"])
def test_redirects_elsewhere_and_in_circles(get, onward):
    with pytest.raises(InputError, match="expected an address that begins with https|more than 10 redirects"):
        get(redirect(onward))
    assert not get.target.exists()


def test_https_is_never_left(monkeypatch):
    import requests

    asked = []

    def answer(self, url, **_):
        asked.append(url)
        response = requests.Response()
        response.raw = io.BytesIO()
        response.status_code, response.headers["Location"] = 302, "http://other.example/a.zip"
        return response

    monkeypatch.setattr(requests.Session, "get", answer)
    with pytest.raises(InputError, match="redirected to http://other.example/a.zip; expected https"):
        module._opened("https://one.example/a.zip", {})
    assert asked == ["https://one.example/a.zip"]


def test_authorization_does_not_follow_to_another_host(site):
    site.pages["/a.zip"] = redirect(f"{site.url.replace('127.0.0.1', 'localhost')}/b.zip")
    site.pages["/b.zip"] = Page()
    module._opened(f"{site.url}/a.zip", {"authorization": "Bearer secret"}).close()
    sent = [{name.lower() for name in seen[2]} for seen in site.seen]
    assert "authorization" in sent[0] and "authorization" not in sent[1]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.zip", "a.zip", "http://"])
def test_addresses_that_are_none(tmp_path, url):
    with pytest.raises(InputError, match="expected an address"):
        fetch(Download(url), tmp_path / "a.zip", record=tmp_path / "r.json", wait=0)


def test_ctrl_c_leaves_a_part_that_is_resumed(site, tmp_path):
    site.pages["/a.zip"] = Page(CONTENT * 8)

    def interrupted(done, total):
        raise KeyboardInterrupt

    where = Download(f"{site.url}/a.zip"), tmp_path / "a.zip"
    with pytest.raises(KeyboardInterrupt):
        fetch(*where, interrupted, tmp_path / "r.json")
    there = (tmp_path / "a.zip.part").stat().st_size
    assert 0 < there < len(CONTENT) * 8 and not (tmp_path / "a.zip").exists()
    assert fetch(*where, record=tmp_path / "r.json").read_bytes() == CONTENT * 8
    assert site.seen[-1][2]["Range"] == f"bytes={there}-"


def _fetch_in_process(url, target, record):
    fetch(Download(url), target, record=record, wait=0)


def test_two_processes_download_once(site, tmp_path):
    site.pages["/a.zip"] = Page(CONTENT * 8)
    context = multiprocessing.get_context("fork")
    arguments = (f"{site.url}/a.zip", tmp_path / "a.zip", tmp_path / "r.json")
    processes = [context.Process(target=_fetch_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT * 8 and len(site.seen) == 1


HUB = "/datasets/someone/quality/resolve/main/data/a.zip"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(Page):
    """A file as the hub's `resolve` addresses answer: large ones redirect to storage."""

    def __init__(self, url, content=CONTENT, published=None, **more):
        linked = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{published or sha(content)}"'}
        storage = f"{url.replace('127.0.0.1', 'localhost')}/storage"  # another host, as of large files
        linked |= {"X-Linked-Size": str(len(content)), "Location": storage, "ETag": '"storage"'}
        super().__init__(content, statuses=[302] * 99, headers=linked, **more)


@pytest.fixture
def hub(site, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")

    def publish(page):
        site.pages[HUB] = site.pages[HUB.replace("main", COMMIT)] = page
        site.pages["/storage"] = Page(CONTENT, cuts=[100_000])

    return publish


def get_from_hub(tmp_path, url="hf:someone/quality/data/a.zip", **known):
    return fetch(Download(url, **known), tmp_path / "a.zip", record=tmp_path / "downloads.json", wait=0)


def test_hub(site, hub, tmp_path):
    hub(Hub(site.url))
    assert get_from_hub(tmp_path).read_bytes() == CONTENT
    assert [seen[:2] for seen in site.seen[:3]] == [
        ("HEAD", HUB),
        ("GET", HUB.replace("main", COMMIT)),
        ("GET", "/storage"),
    ]
    assert site.seen[-1][2]["Range"] == "bytes=100000-"
    assert all("torch/" not in str(seen[2]) for seen in site.seen)
    assert files(tmp_path) == [".downloads.json.lock", "a.zip", "downloads.json"]
    assert "hf:someone/quality/data/a.zip" in json.loads((tmp_path / "downloads.json").read_text())


def test_hub_checksum(site, hub, tmp_path):
    hub(Hub(site.url, published=sha(OTHER)))
    with pytest.raises(InputError, match=f"{sha(CONTENT)}.*expected {sha(OTHER)} as published"):
        get_from_hub(tmp_path)
    assert not (tmp_path / "a.zip").exists() and not (tmp_path / "a.zip.part").exists()


def test_hub_small_file_without_a_checksum(site, hub, tmp_path):
    hub(Page(headers={"X-Repo-Commit": COMMIT}, etag='"gitsha"'))
    assert get_from_hub(tmp_path).read_bytes() == CONTENT


def test_hub_not_found_busy_offline_and_not_an_address(site, hub, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="hf:someone/quality/data/none.zip: .*404"):
        get_from_hub(tmp_path, "hf:someone/quality/data/none.zip")
    with pytest.raises(InputError, match="expected hf:<owner>/<repository>/<file>"):
        get_from_hub(tmp_path, "hf:someone/quality")
    hub(Page(statuses=[503] * 2, headers={"X-Repo-Commit": COMMIT}))
    assert get_from_hub(tmp_path).read_bytes() == CONTENT
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(InputError, match="expected a file of a public data-set repository"):
        get_from_hub(tmp_path / "new")
    assert files(tmp_path / "new") == []


def test_names_of_files():
    for url in ("https://a.example/x/b%20c.zip?download=1#there", "hf:someone/quality/data/b c.zip"):
        assert Download(url).file == "b c.zip"
    assert Download("https://a.example/x/..%2f..%2fb.zip").file == "b.zip"
