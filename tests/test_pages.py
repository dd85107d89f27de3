"""What the documents point to is there: files, headings, names of the library, notebooks and their sections."""

import ast
import json
import re
from pathlib import Path

import pytest

import iqasuite

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "notebooks/README.md", *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FOLDERS = "docs|iqasuite|notebooks|playlists|src|tests|weights"  # results/ is also what the reader will make
FILE = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")
NAME = re.compile(r"\biqasuite(?:\.\w+)+")
NOTEBOOK = re.compile(r"`(\d\d_\w+)`(?:, section (\d+))?")


def anchors(text: str) -> set[str]:
    """Anchors that code hosts give the headings of a page."""
    headings = re.findall(r"^#+ +(.*?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    earlier = [plain[:number].count(anchor) for number, anchor in enumerate(plain)]
    return {f"{anchor}-{n}" if n else anchor for anchor, n in zip(plain, earlier, strict=True)}


def astray(page: Path) -> list[str]:
    """What a page points to and is not there."""
    text, found = page.read_text(encoding="utf-8"), []
    for target, anchor in LINK.findall(text):
        file = page.parent / target if target else page
        if not file.exists():
            found.append(f"link {target}")
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            found.append(f"anchor {target}#{anchor}")
    found += [f"file {name}" for name in FILE.findall(text) if not any((ROOT / r / name).exists() for r in ("", "src"))]
    found += [f"name {name}" for name in sorted(set(NAME.findall(text))) if not defined(name)]
    for name, section in NOTEBOOK.findall(text):
        notebook = ROOT / "notebooks" / f"{name}.ipynb"
        if not notebook.is_file():
            found.append(f"notebook {name}")
        elif section and not headed(notebook, section):
            found.append(f"notebook {name}, section {section}")
    return found


def defined(name: str) -> bool:
    """Whether the library has a module, or something in a module or class, of that name; no module is imported."""
    parts = name.split(".")
    if parts[1] in iqasuite.__all__:
        return True
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath("src", *parts[:length])
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if file.is_file():
            body = ast.parse(file.read_text(encoding="utf-8")).body
            for part in parts[length:]:
                binding = [statement for statement in body if part in bound_by(statement)]
                if not binding:
                    return False
                body = getattr(binding[0], "body", [])
            return True
    return False


def bound_by(statement: ast.stmt) -> set[str]:
    """Names that a statement gives to something."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    named = {node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)}
    return named | {getattr(statement, "name", "")}


def headed(notebook: Path, section: str) -> bool:
    """Whether a notebook has a section of that number."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.search(rf"^#+ {section}\. ", text, re.M) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_points_only_to_what_is_there(page):
    assert not astray(page)


def test_what_is_not_there_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One page\n[a](#one-page) [b](none.md) [c](#two) [d](page.md#one-page) [e](https://example.org/none)\n"
        "`tests/test_pages.py` `tests/none.py` `iqasuite/paths.py`\n"
        "`iqasuite.paths.TAKEN` `iqasuite.datasets.card.Card.size` `iqasuite.paths.none` `iqasuite.none`\n"
        "`02_data_sets`, section 7; `02_data_sets`, section 70; `99_none`\n"
    )
    assert astray(page) == [
        "link none.md",
        "anchor #two",
        "file tests/none.py",
        "name iqasuite.none",
        "name iqasuite.paths.none",
        "notebook 02_data_sets, section 70",
        "notebook 99_none",
    ]
