"""Hook of mkdocs.yml: README and CONTRIBUTING as pages, an API page for each room, links as the repository has them."""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path

from house import PACKAGE, ROOMS, ROOT, modules, room
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}  # file of the repository -> page
LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^():#]+)(#[^()]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of `docs/` and those that are no files there."""
    for source, name in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for name in ROOMS:
        files.append(File.generated(config, f"api/{name}.md", content=_room(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page whose links to pages lead to pages; those to other files lead from `site/` into the repository."""
    sources = {name: source for source, name in OUTSIDE.items()}
    folder = Path(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    up = "../" * page.file.src_uri.count("/")  # to the site's own folder

    def led(link: re.Match[str]) -> str:
        target = os.path.normpath(folder / link[3]).replace(os.sep, "/")
        name = OUTSIDE.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(name) or not (ROOT / target).exists():
            return f"{link[1]}[{link[2]}]({up}{name}{link[4] or ''})"
        if link[1]:
            return f'<img src="{up}../{target}" alt="{escape(link[2])}">'
        return f'<a href="{up}../{target}">{link[2]}</a>'

    return LINK.sub(led, markdown)


def _room(name: str) -> str:
    """The room's page: all of its modules, or the package's own."""
    if name != "base":
        return f"::: {PACKAGE.name}.{name}\n"
    own = [each for each in modules() if room(each) == name and each != PACKAGE.name]
    return "\n".join(["# base", "", *(f"::: {each}" for each in own), ""])
