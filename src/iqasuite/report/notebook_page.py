"""An executed notebook as HTML: code folded, formulas as plain text, no script and no network."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from markdown_it import MarkdownIt
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

TEMPLATES = Path(__file__).parent / "templates"
FORMULA = re.compile(r"(?<![\\$`\w])(\$\$?)(?=\S)([^$`]+?)(?<=\S)\1(?!\w)")
BANNER = "papermill-error-cell-tag"  # its red lines say again what the page says
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
# What a page may hold of what a notebook has written: names of observers and images are text of others.
SHOWN = ("text/html", "text/markdown", "image/svg+xml", "text/latex", "image/png", "image/jpeg", "text/plain")
TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "figure"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s", "small", "span", "strong"),
    *("sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
}
ATTRIBUTES = {"alt", "class", "colspan", "height", "id", "open", "rowspan", "scope", "start", "style", "title", "width"}
LINK = re.compile(r"(https?://|mailto:|#)\S*|[\w./%?=~-]*(#[\w-]*)?")
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[\w+/=\s-]*|(?!//)[\w./%~-]*")
PLAIN = re.compile(r'<span class="(?:n|p|w)">([^<]*)</span>')  # code that is not coloured: as large as the rest
STYLE = re.compile(r"<style\b.*?</style\s*>", re.DOTALL | re.IGNORECASE)
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
SYMBOLS = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ"},
    **{"lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "omega": "ω"},
    **{"nu": "ν", "kappa": "κ", "ell": "ℓ", "propto": "∝", "top": "T", "odot": "⊙", "cap": "∩", "cup": "∪"},
    **{"Delta": "Δ", "Sigma": "Σ", "Phi": "Φ", "sum": "∑", "prod": "∏", "int": "∫", "infty": "∞", "partial": "∂"},
    **{"le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "sim": "∼", "in": "∈"},
    **{"times": "×", "cdot": "·", "pm": "±", "to": "→", "rightarrow": "→", "ldots": "…", "dots": "…", "mid": "|"},
    **{"left": "", "right": "", "quad": " ", "qquad": "  ", "log": "log", "exp": "exp", "max": "max", "min": "min"},
}


class Exporter(HTMLExporter):
    """Markdown of cells and of outputs becomes HTML without scripts, closed where it was left open."""

    @pass_context
    def markdown2html(self, context, source):
        """HTML of a Markdown text, cleaned."""
        return clean(super().markdown2html(context, source))


def title(notebook: Path) -> str:
    """First heading of a notebook, or its file's name."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        found = re.search(r"^#+\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return found[1].strip()
    return notebook.stem


def body(notebook: Path) -> str:
    """The cells of an executed notebook as HTML, without a page around them."""
    content = nbformat.read(notebook, as_version=4)
    content.cells = [cell for cell in content.cells if BANNER not in cell.metadata.get("tags", [])]
    heading = notebook.stem
    for cell in content.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+\s+(.+)$", cell.source, re.MULTILINE)
            heading = headings[-1].strip() if headings else heading
            cell.source = plain_formulas(cell.source)
        elif cell.cell_type == "code":
            cell.outputs = [_bare(output) for output in cell.outputs]
    exporter = Exporter(
        template_name="iqasuite",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    return clean(PLAIN.sub(r"\1", exporter.from_notebook_node(content)[0]))


def sections(html: str) -> list[tuple[str, str]]:
    """Anchors and texts of a page's second headings, for its contents."""
    found = re.findall(r'<h2 id="([^"]+)">(.*?)(?:<a class="anchor-link"|</h2>)', html, re.DOTALL)
    return [(anchor, unescape(re.sub(r"<[^>]*>", "", text)).strip()) for anchor, text in found]


def clean(html: str) -> str:
    """HTML of which only text, structure, links and images within it are obeyed; all else is shown as text.

    Scripts, frames, styles beside the alignment of cells, attributes such as `onclick`, links to `javascript:` and
    images from the network go. It may be called twice.
    """
    aligned = CSSSanitizer(allowed_css_properties=["text-align"])
    protocols = {"http", "https", "mailto", "data"}  # `_allowed` says where
    return bleach.clean(html, TAGS, _allowed, protocols, css_sanitizer=aligned)


def _allowed(tag: str, name: str, value: str) -> bool:
    if (tag, name) in (("a", "href"), ("img", "src")):
        return bool((LINK if tag == "a" else IMAGE).fullmatch(value))
    return name in ATTRIBUTES


def _bare(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An output in the forms that a page shows, its HTML clean."""
    if "data" in output:
        output.data = {kind: output.data[kind] for kind in SHOWN if kind in output.data} or {"text/plain": ""}
        output.metadata.pop("text/html", None)  # would ask for a frame of its own
        if "text/html" in output.data:  # the style of a data frame is the page's
            output.data["text/html"] = clean(STYLE.sub("", output.data["text/html"]))
    return output


def code_style() -> str:
    """CSS that colours Python code, in light and dark."""
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none }}"


def markdown(text: str) -> str:
    """Markdown as HTML; raw HTML in it is shown, not obeyed."""
    return MarkdownIt("js-default").render(text)


def plain_formulas(text: str) -> str:
    """Turn `$…$` outside code into readable HTML: Greek letters, operators, sub- and superscripts."""
    parts = CODE.split(text)
    return "".join(part if number % 2 else FORMULA.sub(_formula, part) for number, part in enumerate(parts))


def _formula(match: re.Match) -> str:
    text = match[2].strip().replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"\\(?:text|mathrm|mathbf|operatorname|mathit)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\(hat|bar|tilde)\s*\{?(\\[A-Za-z]+|\w)\}?", _accented, text)
    text = re.sub(
        r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", lambda found: " / ".join(map(_bracketed, found.groups())), text
    )
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda found: SYMBOLS.get(found[1], found[1]), text)
    text = re.sub(r"\\([,;!:{} ])", lambda found: found[1] if found[1] in "{}" else " ", text)
    for mark, tag in (("_", "sub"), ("\\^", "sup")):
        text = re.sub(mark + r"\{([^{}]*)\}", rf"<{tag}>\1</{tag}>", text)
        text = re.sub(mark + r"([^\s<{&])", rf"<{tag}>\1</{tag}>", text)
    text = text.replace("*", "∗")  # not Markdown's emphasis
    return f'<span class="formula{" block" if match[1] == "$$" else ""}">{" ".join(text.split())}</span>'


def _accented(found: re.Match) -> str:
    letter = found[2].removeprefix("\\")
    return SYMBOLS.get(letter, letter) + ACCENTS[found[1]]


def _bracketed(text: str) -> str:
    return text if re.fullmatch(r"\\?\w+", text) else f"({text})"
