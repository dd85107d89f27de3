"""One file from the network: resumed where it broke off, checked, and in place whole or not at all.

While it comes it is `<name>.part`, with `<name>.part.json` beside it: the version that the part belongs to.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from requests import Response

from iqasuite.datasets.card import Download
from iqasuite.errors import InputError
from iqasuite.paths import data_root, file_hash, locked, read_json, writable, write_atomic

_log = logging.getLogger(__name__)

ATTEMPTS = 5  # in a row that bring less than _PROGRESS more
_PROGRESS = 2**20
_CHUNK = 2**18
_RESERVE = 64 * 2**20  # bytes of the disk that stay free
_TIMEOUT = (15, 60)  # seconds to connect, between two chunks
_LONGEST_WAIT = 60.0
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class _BrokenOff(Exception):
    """An attempt that ended early; another one may do better, not before `after` seconds."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True)
class _Source:
    """Where the bytes come from: an address, the version behind it, what is known of its content."""

    url: str
    version: str  # of two parts, only those of one version belong together
    headers: dict[str, str] = field(default_factory=dict)
    sha256: str = ""


def fetch(
    download: Download,
    target: Path,
    progress: Callable[[int, int], None] | None = None,
    record: Path | None = None,
    wait: float = 1.0,
) -> Path:
    """Download a file; one that is there already is only checked.

    A part from an earlier attempt is gone on with where server and file are still the same. The checksum is compared
    with the published one, else with that of the first download.

    Args:
        download: what; `download.size`, where known, bounds the file to twice that.
        target: the file; its folder is made.
        progress: called with bytes here and bytes in all (0 = not known).
        record: JSON file, address -> SHA-256 of the first download; None = `downloads.json` in the data folder, so that
            it outlives archives and sets.
        wait: seconds before the second attempt, doubled for each further one.

    Returns:
        `target`.

    Raises:
        InputError: address, answer, length or checksum are wrong, or the file cannot be written. Nothing is then at
            `target` that was not there before.
    """
    target, record = Path(target), record or data_root() / "downloads.json"
    with locked(target.parent / ".download"), writable(target):
        if target.is_file():
            _verify(target, download, download.sha256, record, "delete it to download it again")
            return target
        if download.url.startswith("hf:"):
            source = _hub_source(download.url, wait)
        else:
            source = _Source(download.url, version=download.url, sha256=download.sha256)
        part = target.with_name(f"{target.name}.part")
        _receive(source, part, download.size, progress or (lambda *_: None), wait)
        try:
            _verify(part, download, download.sha256 or source.sha256, record, "what came was deleted")
        except InputError:
            _discard(part)
            raise
        os.replace(part, target)
        _discard(part)
    return target


def _verify(path: Path, download: Download, published: str, record: Path, advice: str) -> None:
    """Compare a file with the published checksum, else with the recorded one; record it where there is none."""
    digest = file_hash(path)
    with locked(record.with_name(f".{record.name}")):
        records = read_record(record)
        first = records.get(download.url, {}).get("sha256", "")
        if published and digest != published.lower():
            raise InputError(
                f"{path}: SHA-256 {digest} of {download.url}; expected {published} as published ({advice})"
            )
        if not published and first and digest != first:
            raise InputError(
                f"{path}: SHA-256 {digest} of {download.url}; expected {first} as at its first download ({advice}; "
                f"where its source has a new version that you want, take its entry out of {record} and get it again)"
            )
        if digest != first:
            records[download.url] = {"sha256": digest, "size": path.stat().st_size, "date": date.today().isoformat()}
            write_atomic(record, json.dumps(records, indent=1, sort_keys=True) + "\n")


def read_record(record: Path) -> dict[str, dict[str, Any]]:
    """Address -> sha256, size and date of the first download; empty where nothing is recorded yet.

    Raises:
        InputError: not such a file.
    """
    if not record.is_file():
        return {}
    records: dict[str, dict[str, Any]] = read_json(record)
    if not all(isinstance(entry, dict) for entry in records.values()):
        raise InputError(f"{record}: expected address -> sha256, size, date of downloads, or no such file")
    return records


def _receive(source: _Source, part: Path, size: int, progress: Callable[[int, int], None], wait: float) -> None:
    """Attempts until `part` is whole, as far as lengths tell."""
    failures, best = 0, 0
    while True:
        try:
            _attempt(source, part, size, progress)
            return
        except _BrokenOff as error:
            have = _size(part)
            failures = 1 if have >= best + _PROGRESS else failures + 1
            best = max(best, have)
            if failures == ATTEMPTS:
                raise InputError(
                    f"{source.url}: {error}, {ATTEMPTS} times; expected the whole file ({have:,} bytes of it are kept)"
                ) from error
            pause = min(max(wait * 2 ** (failures - 1), error.after if wait else 0.0), _LONGEST_WAIT)
            _log.info("%s: %s; again in %.0f s", source.url, error, pause)
            time.sleep(pause)


def _attempt(source: _Source, part: Path, size: int, progress: Callable[[int, int], None]) -> None:
    state = _state(part)
    checked = state.get("validator") or source.sha256  # without either, parts of two files would go unnoticed
    have = _size(part) if checked and state.get("version") == source.version else 0
    if have and have == state.get("total"):
        return
    headers = {"Accept-Encoding": "identity"} | source.headers
    if have:
        headers["Range"] = f"bytes={have}-"
    if have and state["validator"]:
        headers["If-Range"] = state["validator"]
    with _opened(source.url, headers) as response:
        have, total = _agreed(response, source, part, have, state)
        limit = _room(source, part, have, total, size)
        if not have:
            part.write_bytes(b"")
            begun = {"version": source.version, "validator": _validator(response), "total": total}
            write_atomic(_sidecar(part), json.dumps(begun))
        done = _append(response, part, have, total, limit, progress)
    if done < total:
        raise _BrokenOff(f"ended after {done:,} of {total:,} bytes")


def _append(
    response: Response, part: Path, have: int, total: int, limit: int, progress: Callable[[int, int], None]
) -> int:
    """The body behind what is there; bytes that are then there."""
    from urllib3.exceptions import HTTPError

    done = have
    with open(part, "ab") as file:
        try:
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                done += len(chunk)
                if done > (total or limit):
                    _discard(part)
                    raise InputError(
                        f"{response.url}: more than {total or limit:,} bytes; expected {'that' if total else 'less'}"
                    )
                file.write(chunk)
                progress(done, total)
        except (HTTPError, ConnectionError, TimeoutError) as error:
            raise _BrokenOff(f"connection lost after {done:,} bytes ({type(error).__name__})") from error
        finally:
            file.flush()
            os.fsync(file.fileno())
    return done


def _agreed(response: Response, source: _Source, part: Path, have: int, state: dict[str, Any]) -> tuple[int, int]:
    """Where the body begins and how long the whole file is (0 = not known), from status and headers."""
    code = response.status_code
    if code in _BUSY:
        after = response.headers.get("Retry-After", "")
        raise _BrokenOff(f"HTTP {code}", float(after) if after.isdigit() else 0.0)
    if code in (416, 206):
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
        total = int(span[3]) if span and span[3] != "*" else 0
        before, now = state.get("validator", ""), _validator(response)
        same_version = before == now or not before or not now
        same_length = total == state.get("total", 0) or 0 in (total, state.get("total", 0))
        if code == 416 or not span or int(span[1]) != have or not have or not same_version or not same_length:
            _discard(part)
            raise _BrokenOff("the part does not belong to the file that is there now; starting again")
        return have, total or state.get("total", 0)
    if code != 200:
        raise InputError(f"{source.url}: HTTP {code} {response.reason}; expected the file (see the set's homepage)")
    if response.headers.get("Content-Type", "").startswith("text/html") and not part.name.endswith(".html.part"):
        raise InputError(f"{source.url}: a web page came; expected the file (is there a form, or has it moved?)")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else 0


def _room(source: _Source, part: Path, have: int, total: int, size: int) -> int:
    """Bytes that the file may have at most: twice its declared size, and what the disk holds."""
    free = shutil.disk_usage(part.parent).free - _RESERVE + have
    if max(total, size if not total else 0) > free:
        raise InputError(
            f"{part.parent}: {free / 1e9:.1f} GB free for {source.url}; expected {(total or size) / 1e9:.1f} GB"
        )
    allowed = min(2 * size + 2**20, free) if size else free
    if total > allowed:
        raise InputError(f"{source.url}: {total:,} bytes; expected about {size:,} (its card), at most {allowed:,}")
    return allowed


def _opened(url: str, headers: dict[str, str]) -> Response:
    """Answer to a GET, redirects followed: to http(s) only, never from https to http."""
    import requests

    session, headers = requests.Session(), dict(headers)
    for _ in range(10):
        if urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"{url}: expected an address that begins with https://")
        try:
            response = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=_TIMEOUT)
        except requests.exceptions.SSLError as error:
            raise InputError(f"{url}: no safe connection ({error}); expected a valid certificate") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _BrokenOff(f"no connection ({type(error).__name__})") from error
        except requests.RequestException as error:
            raise InputError(f"{url}: {error}; expected an address of a file") from error
        if not response.is_redirect:
            return response
        response.close()
        onward = urljoin(url, response.headers["Location"])
        if urlsplit(url).scheme == "https" and urlsplit(onward).scheme != "https":
            raise InputError(f"{url}: redirected to {onward}; expected https again")
        if urlsplit(url).netloc != urlsplit(onward).netloc:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        url = onward
    raise InputError(f"{url}: more than 10 redirects; expected a file")


def _hub_source(url: str, wait: float) -> _Source:
    """A file of a Hugging Face data-set repository, at the commit that is newest now, with its published checksum.

    The library finds the file; the bytes come through `_receive`, because the library starts again after Ctrl-C.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    constants.HF_HUB_DISABLE_TELEMETRY = True  # another module may have imported it before
    try:
        owner, repository, name = url.removeprefix("hf:").split("/", 2)
    except ValueError:
        raise InputError(f"{url}: expected hf:<owner>/<repository>/<file>") from None
    endpoint = os.environ.get("HF_ENDPOINT") or None
    address = partial(hf_hub_url, f"{owner}/{repository}", name, repo_type="dataset", endpoint=endpoint)
    for attempt in range(ATTEMPTS):
        try:
            metadata = get_hf_file_metadata(address())
            break
        except Exception as error:  # which, depends on the transport of the library's version
            status = getattr(getattr(error, "response", None), "status_code", 503)
            if isinstance(error, ValueError) or status not in _BUSY or attempt == ATTEMPTS - 1:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise InputError(f"{url}: {reason}; expected a file of a public data-set repository") from error
            time.sleep(min(wait * 2**attempt, _LONGEST_WAIT))
    etag = (metadata.etag or "").lower()
    return _Source(
        url=address(revision=metadata.commit_hash or "main"),
        version=f"{url} {etag or metadata.commit_hash}",
        headers=build_hf_headers(library_name="iqasuite"),
        sha256=etag if re.fullmatch("[0-9a-f]{64}", etag) else "",
    )


def _validator(response: Response) -> str:
    """What `If-Range` may name: a strong ETag, else the date of the last change; "" = neither."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _sidecar(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _state(part: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = read_json(_sidecar(part))
    except (OSError, ValueError):
        return {}
    return state if state.keys() == {"version", "validator", "total"} else {}


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _sidecar(part).unlink(missing_ok=True)
