"""The campaign's time, and how one hostile file is tried.

IQASUITE_CAMPAIGN=1800 python -m pytest tests/campaign      # seconds in all; without it, a quick slice
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from iqasuite.errors import InputError

BUDGET = float(os.environ.get("IQASUITE_CAMPAIGN") or 0)
QUICK, ROUND = 8, 60  # examples of a reader in the quick slice, and in each round of a campaign
HANGS, MEMORY = 20, 600 * 2**20  # seconds of the processor and bytes that one file of some kilobytes may take
LONGEST = 2000  # characters of an error
NASTY = (
    *("", "0", "-1", "5.5", "1e999", "nan", "NaN", "NA", "inf", "9" * 400, "9" * 20, "true", "null", "None", "1_0"),
    *("=1+1", "'", '"', ",", ";", "\t", "\n", "\r", "\r\n", "\0", "\ufeff", "é", "\u2028", "\\ud800", "x" * 3000),
    *("../../x", "/etc/passwd", "C:\\x", "con", "[", "]", "{", "}", "[]", "{}", "[" * 3000, '{"a":' * 3000, ":", "#"),
    *("&a [*a]", "*a", "<<: *a", "!!python/name:os", "- ", "2023-01-24", "0x10", "0o7", "1:30", "²", "٣", "%", "~"),
)
TOKENS = re.compile(r"\w+|\W")


def pytest_configure(config):
    if BUDGET:
        config.option.timeout = None


@pytest.fixture(scope="session")
def share(request) -> float:
    """Seconds of one test; 0 in the quick slice."""
    return BUDGET / max(1, len(request.session.items))


@pytest.fixture
def tried(share):
    """A function: strategy and what is done with each of its values, for as long as the campaign gives a test."""

    def run(strategy, check) -> None:
        end = time.monotonic() + share
        for seed in count():
            options = settings(
                max_examples=ROUND if share else QUICK,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            hypothesis.seed(seed)(options(hypothesis.given(strategy)(check)))()
            if time.monotonic() >= end:
                return

    return run


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """A file's bytes, some of them changed: a few bytes, a part cut out, doubled or left off; or words of its text."""
    kinds = ["bytes", "cut", "double", "end", "words"] if content.isascii() else ["bytes", "cut", "double", "end"]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        to = min(len(content), at + draw(st.sampled_from([1, 2, 4, 8, 64, 512])))
        match draw(st.sampled_from(kinds)):
            case "bytes":
                to = min(to, at + 8)
                new = draw(st.binary(min_size=to - at, max_size=to - at))
                content = content[:at] + new + content[to:]
            case "cut":
                content = content[:at] + content[to:]
            case "double":
                content = content[:to] + content[at:to] + content[to:]
            case "end":
                content = content[:at]
            case "words":
                words = TOKENS.findall(content.decode("utf-8", "replace")) or [""]
                place = draw(st.integers(0, len(words) - 1))
                words[place] = draw(st.one_of(st.sampled_from(NASTY), st.sampled_from(words), st.text(max_size=20)))
                content = "".join(words).encode("utf-8", "surrogatepass")
    return content


class Late(BaseException):
    """What no reader catches."""


@contextmanager
def bounded():
    """A block that takes neither long nor much memory."""

    def late(*_):
        raise Late(f"more than {HANGS} s")

    before = signal.signal(signal.SIGPROF, late)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, HANGS)  # of this process: others may be at work
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
    assert grown < MEMORY, f"{grown / 2**20:.0f} MiB"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(read, *names: str):
    """What `read` returns; None where it is refused in one line that names one of the files."""
    with bounded():
        try:
            return read()
        except InputError as error:
            text = str(error)
            assert "\n" not in text and len(text) < LONGEST, text[:LONGEST]
            assert any(name in text for name in names), f"names none of {names}: {text}"
            return None


def hostile(tried, file: Path, read, whole: Path | None = None) -> None:
    """`read` survives whatever `file` becomes, and leaves the folder around it (`whole`) as it was."""
    original, around = file.read_bytes(), whole or file.parent
    assert read() is not None  # the file is well, to begin with

    def check(content: bytes) -> None:
        file.write_bytes(content)
        before = snapshot(around)
        refused(read, file.name, file.parent.name, around.name)
        assert snapshot(around) == before

    try:
        tried(mutated(original), check)
    finally:
        file.write_bytes(original)


@pytest.fixture(scope="session")
def tools() -> SimpleNamespace:
    """The functions above, for files that are tried otherwise."""
    return SimpleNamespace(mutated=mutated, refused=refused, snapshot=snapshot)


@pytest.fixture
def hostile_file(tried):
    """`hostile`, within the campaign's time."""
    return lambda file, read, whole=None: hostile(tried, file, read, whole)


@pytest.fixture
def hostile_cache(tried):
    """A function: a folder of a cache and what reads from it; it gives the same whatever happens to a file of it."""

    def run(folder: Path, read, same, names: tuple[str, ...] = ()) -> None:
        expected, files = read(), sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")
        kept = folder.with_name(f"{folder.name}-kept")
        shutil.copytree(folder, kept)

        def check(change) -> None:
            at, content = change
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
            files[at].write_bytes(content)
            found = refused(read, files[at].name, folder.name, *names)
            assert found is None or same(found, expected), files[at].name

        of_each = [st.tuples(st.just(i), mutated(file.read_bytes())) for i, file in enumerate(files)]
        tried(st.one_of(of_each), check)

    return run
