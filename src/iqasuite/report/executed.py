"""Executed notebooks in `results/`: their images are files, each stored once, to which they and their pages link."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import warnings
from html import escape
from pathlib import Path
from urllib.parse import quote

import nbformat
from PIL import Image

from iqasuite.paths import write_atomic
from iqasuite.report.figures.style import lighter
from iqasuite.report.outputs import captions

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_SAME_SHAPE = 0.02  # relative difference of aspect between a saved figure and itself at another resolution


def link_images(notebook: Path, figures: Path) -> None:
    """Turn the images in an executed notebook's outputs into links to files.

    An image that the run has saved as a figure becomes a link to that figure: where the pixels are the same, or where
    the cell names the figure and shows it at another resolution. Any other is written beside the notebook, as
    `<run>/<number>.webp`. A notebook without images in its outputs stays as it is.

    Args:
        notebook: `results/<suite>/notebooks/<run>.ipynb`.
        figures: folder of the run's figures, `results/<suite>/figures/<run>`.
    """
    content = nbformat.read(notebook, as_version=4)
    saved = {_digest(Image.open(path)): path for path in sorted(figures.glob("*.webp"))}
    texts = captions(figures)
    written = 0
    for cell in content.cells:
        for output in cell.get("outputs", []):
            kind = next((kind for kind in IMAGES if kind in output.get("data", {})), None)
            if kind is None:
                continue
            image = _image(output.data[kind])
            if image is None:
                output.data = {"text/plain": output.data.get("text/plain", "an image that cannot be read")}
                continue
            path = saved.get(_digest(image)) or _named(cell.source, image, saved.values())
            if path is None:
                written += 1
                path = notebook.with_suffix("") / f"{written}.webp"
                write_atomic(path, lighter(image))
            alt = texts.get(path.stem, "Figure") if path.parent == figures else cell.metadata.get("alt", "Figure")
            output.data = {"text/html": _link(path, notebook.parents[1], alt), "text/plain": alt}
            output.metadata = {}
    text = nbformat.writes(content) + "\n"
    if text != notebook.read_text(encoding="utf-8"):
        write_atomic(notebook, text)


def width_class(path: Path) -> str:
    """Class of a figure by its width in hundreds of pixels, rounded up: the page's style keeps its text legible."""
    with Image.open(path) as image:
        return f"w{min(-(-image.width // 100), 14)}"


def _link(path: Path, root: Path, alt: str) -> str:
    url = f"../{quote(path.relative_to(root).as_posix())}"
    image = f'<img src="{url}" alt="{escape(alt)}">'
    return f'<div class="picture {width_class(path)}"><a href="{url}">{image}</a></div>'


def _named(source: str, image: Image.Image, paths) -> Path | None:
    """The saved figure that a cell names and that has the image's shape."""
    names = set(re.findall(r"[\"']([\w ()-]+)[\"']", source))
    for path in paths:
        if path.stem in names:
            with Image.open(path) as other:
                aspect = other.width / other.height
            if abs(aspect * image.height / image.width - 1) < _SAME_SHAPE:
                return path
    return None


def _bytes(data: str) -> bytes:
    return base64.b64decode(data if isinstance(data, str) else "".join(data))


def _image(data: str) -> Image.Image | None:
    """The image that an output holds; None where it holds none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(_bytes(data)))
            image.load()
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return image


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).hexdigest()
