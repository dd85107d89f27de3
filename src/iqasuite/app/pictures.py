"""What the page draws, as HTML and inline SVG: text in, text out, nothing loaded from anywhere.

Colours are those of `report.figures.style`, through CSS variables that the page's style sheet sets for light and dark.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import matplotlib
import numpy as np
from PIL import Image

from iqasuite.inference.predictor import enlarged
from iqasuite.report.figures.style import SEQUENTIAL
from iqasuite.weights.catalogue import CATEGORIES

LONGEST = 900  # pixels of a picture as it is shown
_SMALL = 240  # of a map before the browser enlarges it


def number(value: float) -> str:
    """A score for people to read: three or four digits, a true minus."""
    text = f"{value:.{2 if abs(value) < 10 else 1}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


def sentence(text: str, kind: str = "note") -> str:
    """A sentence of its own: kind "note" or "error"."""
    role = ' role="alert"' if kind == "error" else ""
    return f'<p class="iqa-{kind}"{role}>{escape(text)}</p>'


def picture_uri(image: np.ndarray, longest: int = LONGEST) -> str:
    """A picture uint8 (H, W, 3) for showing, at most `longest` pixels a side, as a data URI (JPEG of quality 92)."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.BICUBIC, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def map_uri(values: np.ndarray, low: float, high: float, size: tuple[int, int]) -> str:
    """A map (rows, columns) in the sequential colours as a data URI (PNG).

    Args:
        values: what to colour; outside of the ends it gets the colour of the end.
        low, high: values of the first and the last colour.
        size: height and width of the picture that it lies over.
    """
    factor = min(1.0, _SMALL / max(size))
    grid = enlarged(values, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor))))
    share = np.clip((grid - low) / max(high - low, 1e-12), 0, 1)
    indexed = Image.fromarray(np.rint(share * 255).astype(np.uint8), mode="P")
    table = (matplotlib.colormaps[SEQUENTIAL](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    indexed.putpalette(table.tobytes())
    file = io.BytesIO()
    indexed.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def laid(picture: str, over: str, size: tuple[int, int], alt: str, caption: str = "") -> str:
    """A picture with a map over it, whose opacity is the CSS variable --laid.

    Args:
        picture, over: data URIs.
        size: height and width of the picture, for its shape.
        alt: what it is, for those who do not see it.
        caption: below it, plain text.
    """
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    shape = f"aspect-ratio:{size[1]}/{size[0]}"
    above = f'<img class="iqa-over" src="{over}" alt="">' if over else ""
    return (
        f'<figure class="iqa-figure"><div class="iqa-laid" style="{shape}">'
        f'<img src="{picture}" alt="{escape(alt)}">{above}</div>{below}</figure>'
    )


def colour_bar(low: float, high: float, title: str) -> str:
    """The sequential colours with their ends and what they stand for."""
    stops = (matplotlib.colormaps[SEQUENTIAL](np.linspace(0, 1, 9))[:, :3] * 255).round().astype(int)
    colours = ",".join(f"rgb({r},{g},{b})" for r, g, b in stops)
    return (
        f'<div class="iqa-bar"><span>{number(low)}</span>'
        f'<i style="background:linear-gradient(90deg,{colours})"></i><span>{number(high)}</span>'
        f"<em>{escape(title)}</em></div>"
    )


def scale_line(score: float, category: str, low: float, high: float, name: str) -> str:
    """A scale from end to end in its five categories, with a mark where a score lies."""
    left, width = 14, 332
    parts = [_svg_open(360, 64, f"score {number(score)} on a scale from {low:g} to {high:g}")]
    for i, each in enumerate(CATEGORIES):
        x = left + i * width / 5
        chosen = "iqa-fill" if each == category else "iqa-faint"
        parts.append(f'<rect class="{chosen}" x="{x + 1:.1f}" y="22" width="{width / 5 - 2:.1f}" height="10" rx="2"/>')
        parts.append(_text(x + width / 10, 45, each, "middle", "iqa-strong" if each == category else "iqa-soft"))
    x = left + width * min(max((score - low) / (high - low), 0), 1)
    parts.append(f'<path class="iqa-mark" d="M{x - 6:.1f} 8 h12 l-6 11 z"/>')
    parts.append(_text(left, 61, f"{low:g}", "start", "iqa-soft"))
    parts.append(_text(left + width, 61, f"{high:g}", "end", "iqa-soft"))
    parts.append(_text(left + width / 2, 61, f"scale: {name}", "middle", "iqa-soft"))
    return "".join([*parts, "</svg>"])


def vote_bars(distribution: Sequence[float] | np.ndarray, vote: float) -> str:
    """Probabilities of the votes 1…5 as bars, with the expected vote."""
    left, bottom, tall, step = 40, 108, 86, 62
    parts = [_svg_open(360, 146, "probabilities of the votes 1 to 5: " + ", ".join(f"{p:.0%}" for p in distribution))]
    for share in (0, 0.5, 1):
        y = bottom - tall * share
        parts.append(f'<line class="iqa-grid" x1="{left}" x2="356" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 4, y + 4, f"{share:.0%}", "end", "iqa-soft"))
    for i, p in enumerate(distribution):
        x, h = left + 6 + i * step, tall * p
        parts.append(f'<rect class="iqa-fill" x="{x}" y="{bottom - h:.1f}" width="{step - 14}" height="{h:.1f}"/>')
        parts.append(_text(x + (step - 14) / 2, bottom - h - 4, f"{p:.0%}", "middle", "iqa-ink"))
        parts.append(_text(x + (step - 14) / 2, bottom + 14, str(i + 1), "middle", "iqa-ink"))
    title = f"vote (1 bad … 5 excellent), expected {vote:.2f}"
    parts.append(_text(left + 155, bottom + 32, title, "middle", "iqa-soft"))
    return "".join([*parts, "</svg>"])


def people_strip(
    names: Sequence[str], distributions: Sequence[Sequence[float] | np.ndarray | None], votes: Sequence[float]
) -> str:
    """One axis from 1 to 5, one row per person: how likely each vote is, the expected vote ± its SD, and the mean.

    Args:
        names: of the people.
        distributions: probabilities of the votes 1…5 of each; None where only a vote is known.
        votes: expected vote of each.
    """
    left, right, row = 84, 284, 24
    height = 34 + row * len(names) + 30
    bottom = height - 30

    def at(vote: float) -> float:
        return left + (vote - 1) / 4 * (right - left)

    mean = float(np.mean(votes))
    told = "; ".join(f"{name} {vote:.1f}" for name, vote in zip(names, votes, strict=True))
    parts = [_svg_open(360, height, f"expected votes of {len(names)} people: {told}; mean {mean:.2f}")]
    for step in range(1, 6):
        parts.append(f'<line class="iqa-grid" x1="{at(step)}" x2="{at(step)}" y1="24" y2="{bottom}"/>')
        parts.append(_text(at(step), bottom + 13, str(step), "middle", "iqa-ink"))
    parts.append(f'<line class="iqa-mean" x1="{at(mean):.1f}" x2="{at(mean):.1f}" y1="20" y2="{bottom}"/>')
    parts.append(_text(at(mean), 14, f"mean {mean:.2f}", "middle", "iqa-soft"))
    for i, (name, shares, vote) in enumerate(zip(names, distributions, votes, strict=True)):
        y = 36 + row * i
        short = name if len(name) <= 12 else f"{name[:11]}…"
        parts.append(_text(left - 14, y + 4, short, "end", "iqa-ink"))
        label = f"{vote:.1f}"
        if shares is not None:
            for j, p in enumerate(shares):
                radius = 10 * np.sqrt(p)  # the area says how likely
                parts.append(f'<circle class="iqa-likely" cx="{at(j + 1)}" cy="{y}" r="{radius:.2f}"/>')
            sd = float(np.sqrt(np.dot(shares, (np.arange(1, 6) - vote) ** 2)))
            low, high = at(max(1, vote - sd)), at(min(5, vote + sd))
            parts.append(f'<line class="iqa-spread" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
            label += f" ± {sd:.1f}"
        x = at(vote)
        parts.append(f'<path class="iqa-mark" d="M{x:.1f} {y - 6} l5 6 l-5 6 l-5 -6 z"/>')
        parts.append(_text(358, y + 4, label, "end", "iqa-soft iqa-small"))
    parts.append(_text((left + right) / 2, bottom + 27, "vote (1 bad … 5 excellent)", "middle", "iqa-soft"))
    return "".join([*parts, "</svg>"])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of plain text; columns whose places are in `numbers` are set to the right."""
    kind = [' class="iqa-number"' if i in numbers else "" for i in range(len(columns))]
    head = "".join(f"<th{k}>{escape(c)}</th>" for c, k in zip(columns, kind, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{escape(c)}</td>" for c, k in zip(row, kind, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="iqa-table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _svg_open(width: int, height: int, label: str) -> str:
    return f'<svg class="iqa-svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'


def _text(x: float, y: float, text: str, anchor: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
