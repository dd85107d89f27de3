"""What all pages share: the templates, the script, its hash, and how values are written."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import jinja2
from markupsafe import Markup

from iqasuite.report import notebook_page

# what Markdown would obey: HTML, code, columns, headings, entities, links, emphasis
MARKUP = re.compile(r"[<`|\\*~]|^[#>]|&(?=#?\w+;)|\](?=[(\[:])|(?<!\w)_|_(?!\w)")


def environment() -> jinja2.Environment:
    """The templates' environment: what people wrote is escaped; pages run the one script whose hash they name."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(notebook_page.TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html", "html.j2"), default_for_string=False),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "duration": duration,
        "text": markdown_text,
        "markdown": notebook_page.markdown,
        "words": words,
    }
    script = (notebook_page.TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    templates.globals |= {"script": Markup(script), "script_hash": f"sha256-{digest}"}
    return templates


def style() -> str:
    """CSS of all pages of a suite, one file."""
    own = (notebook_page.TEMPLATES / "style.css").read_text(encoding="utf-8")
    least = "".join(f".w{k} {{ --w: {k}00px }}\n" for k in range(1, 15))
    return f"{own}\n{least}{notebook_page.code_style()}\n"


def duration(seconds: float | None) -> str:
    """A time in words short enough for a table: `8.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def markdown_text(text: str) -> str:
    """Text in one line that Markdown shows as it is, in a table too: a name may look like HTML, a link or a column."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", re.sub(r"\s+", " ", str(text)))


def words(value: Any) -> str:
    """A parameter's value as text: `none` for an empty one."""
    if value in ("", None, [], {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {words(setting)}" for name, setting in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
