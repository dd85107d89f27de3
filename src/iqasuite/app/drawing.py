"""What the page draws: numbers, data URIs of images and maps, and the macros of `answers.html.j2`.

Colours are those of `report.figures.style`, through CSS variables that the page's style sheet sets for light and dark.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from PIL import Image

from iqasuite.inference.predictor import enlarged
from iqasuite.report.figures.style import WARM
from iqasuite.weights.catalogue import CATEGORIES

LONGEST = 900  # pixels of an image as it is shown
_SMALL = 240  # of a map before the browser enlarges it


def number(value: float) -> str:
    """A score to be read: three or four digits, a true minus."""
    text = f"{value:.{2 if abs(value) < 10 else 1}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


def _macros() -> Any:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "percent": "{:.0%}".format, "g": "{:g}".format}
    environment.globals["CATEGORIES"] = CATEGORIES
    return environment.get_template("answers.html.j2").module


html = _macros()  # its functions escape the texts that they are given, and give `Markup`


def image_uri(image: np.ndarray, longest: int = LONGEST) -> str:
    """An image uint8 (H, W, 3) for showing, at most `longest` pixels a side, as a data URI (JPEG of quality 92)."""
    small = Image.fromarray(image)
    small.thumbnail((longest, longest), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _uri(small, "jpeg", quality=92, subsampling=0)


def map_uri(values: np.ndarray, low: float, high: float, size: tuple[int, int]) -> str:
    """A map (rows, columns) in the colours of maps as a data URI (PNG).

    Args:
        values: what to colour; outside of the ends it gets the colour of the end.
        low, high: values of the first and the last colour.
        size: height and width of the image that it lies over.
    """
    factor = min(1.0, _SMALL / max(size))
    grid = enlarged(values, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor))))
    share = np.clip((grid - low) / max(high - low, 1e-12), 0, 1)
    indexed = Image.fromarray(np.rint(share * 255).astype(np.uint8), mode="P")
    table = (matplotlib.colormaps[WARM](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    indexed.putpalette(table.tobytes())
    return _uri(indexed, "png")


def _uri(image: Image.Image, form: str, **options: int) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"


def colour_bar(low: float, high: float, title: str) -> Markup:
    """The colours of maps with their ends and what they stand for."""
    stops = (matplotlib.colormaps[WARM](np.linspace(0, 1, 9))[:, :3] * 255).round().astype(int)
    return html.colour_bar(low, high, title, ",".join(f"rgb({r},{g},{b})" for r, g, b in stops))


def observers_strip(
    names: Sequence[str], distributions: Sequence[Sequence[float] | np.ndarray | None], votes: Sequence[float]
) -> Markup:
    """One axis from 1 to 5, one row an observer: how likely each vote is, the expected vote ± its SD, and the mean.

    Args:
        names: of the observers.
        distributions: probabilities of the votes 1…5 of each; None where only a vote is known.
        votes: expected vote of each.
    """
    rows = []
    for name, shares, vote in zip(names, distributions, votes, strict=True):
        sd = 0.0 if shares is None else float(np.sqrt(np.dot(shares, (np.arange(1, 6) - vote) ** 2)))
        rows.append((name, [] if shares is None else list(shares), vote, sd))
    mean = float(np.mean(votes))
    each = "; ".join(f"{name} {vote:.1f}" for name, vote in zip(names, votes, strict=True))
    return html.observers_strip(rows, mean, f"expected votes of {len(names)} observers: {each}; mean {mean:.2f}")
