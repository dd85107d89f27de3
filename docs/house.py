"""The house as it stands: which rooms of `src/iqasuite` import which, and which notebooks ask which question.

`python docs/house.py` writes the graph and the table into `docs/design.md` anew, and `notebooks/README.md`.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "iqasuite"
DOCUMENT = ROOT / "docs" / "design.md"
NOTEBOOKS = ROOT / "notebooks"
BEGIN, END = "<!-- house: written by docs/house.py -->\n", "<!-- house: end -->"
# From the ground up: a room imports from itself and from what stands before it. `base` is the package's own modules.
ROOMS = {
    "base": "paths, errors, names, constants of pixels, texts of YAML and CSV",
    "images": "pixels: decoding, cache, crops, patches, distortions, JPEG streams",
    "datasets": "what observers rated: data sets, playlists, splits, leak audit, download",
    "models": "one file per architecture, one registry; heads, backbones, metrics",
    "weights": "cards, reading, writing, catalogue, ONNX export",
    "training": "one loop; losses, schedule, checkpoints; one recipe a system",
    "inference": "predictors of one image or of a pair, streams of files, the predictions frame",
    "evaluation": "metrics, bootstrap, baselines, benchmark tables; subjects",
    "explain": "attention, perturbation, recorded maps",
    "report": "figures, tables, provenance, notebook pages",
    "experiments": "suites, batches, galleries, and the experiments that notebooks and commands drive",
    "app": "the page in the browser",
    "cli": "the commands",
}
THEMES = {
    "First steps": ("00_start_here",),
    "Observers and data sets": ("01_look_at_the_ratings", "02_data_sets"),
    "Artificial observers": ("03_train_vit_iqa", "04_finetune_aio", "05_evaluate_aios"),
    "Where networks look": ("06_attention_maps", "18_can_maps_be_believed"),
    "Observers from few votes": ("15_your_own_observer", "16_how_many_votes"),
    "Quality without a reference": ("07_patch_features", "08_birnn", "09_trcnn", "10_mobile_nr", "17_frozen_network"),
    "Quality with a reference": ("12_full_reference", "14_losses_and_networks"),
    "Rank correlation and comparing methods": ("11_learn_to_sort", "13_benchmark"),
}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    names = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports() -> dict[str, set[str]]:
    """Dotted name -> names of the modules that it imports, anywhere in its text."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, file in known.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name] |= {each if each in known else str(node.module) for each in whole}
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names if alias.name in known}
    return graph


def room(module: str) -> str:
    """The room that a module stands in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "base"


def between_rooms() -> dict[str, set[str]]:
    """Room -> the other rooms that it imports."""
    arrows: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, imported in imports().items():
        if module != f"{PACKAGE.name}.__main__":  # `python -m iqasuite` is the command line
            arrows[room(module)] |= {room(each) for each in imported} - {room(module)}
    return arrows


def drawn() -> str:
    """The graph without arrows that others imply, as Mermaid, and the rooms as a table, in Markdown."""
    arrows = between_rooms()
    sizes = dict.fromkeys(ROOMS, 0)
    for module, file in modules().items():
        sizes[room(module)] += len(file.read_text(encoding="utf-8").splitlines())
    lines = ["```mermaid", "graph BT"]
    for name in ROOMS:
        implied = {further for each in arrows[name] for further in _reached(each, arrows)}
        lines += [f"  {name} --> {each}" for each in ROOMS if each in arrows[name] - implied]
    lines += ["```", "", "| room | what is in it | lines | imports |", "| --- | --- | --- | --- |"]
    for name, what in ROOMS.items():
        lines.append(f"| `{name}` | {what} | {sizes[name]:,} | {', '.join(r for r in ROOMS if r in arrows[name])} |")
    return "\n".join([*lines, f"| | together | {sum(sizes.values()):,} | |", ""])


def _reached(name: str, arrows: dict[str, set[str]]) -> set[str]:
    below = {each for each in arrows[name] if list(ROOMS).index(each) < list(ROOMS).index(name)}
    return below | {further for each in below for further in _reached(each, arrows)}


def written(document: str) -> str:
    """The document with the graph of today between its two marks."""
    before, rest = document.split(BEGIN)
    return before + BEGIN + drawn() + END + rest.split(END, 1)[1]


def opening(notebook: Path) -> tuple[str, str]:
    """The question that a notebook has for a title, and its time on 2 cores, from the table *in – out – time*."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = "".join(line for cell in cells[:2] if cell["cell_type"] == "markdown" for line in cell["source"])
    title, *rest = lines.splitlines()
    start = next(number for number, line in enumerate(rest) if line.startswith("| in |"))
    return title.removeprefix("# "), rest[start + 2].split("|")[3].strip()


def notebooks_page() -> str:
    """`notebooks/README.md`: all notebooks by theme, with their questions."""
    lines = [
        "# Notebooks",
        "",
        "Each notebook asks one question, and `make lab` opens them all. Parameters are in the first cell of code.",
        "[Suites](suites) run notebooks in batches, and executed copies are in [results](../results).",
        "This page is written by `python docs/house.py` from the notebooks' titles.",
    ]
    for theme, names in THEMES.items():
        lines += ["", f"## {theme}", "", "| notebook | question | time on 2 cores |", "| --- | --- | --- |"]
        for name in names:
            question, time = opening(NOTEBOOKS / f"{name}.ipynb")
            lines.append(f"| [{name}]({name}.ipynb) | {question} | {time} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    (NOTEBOOKS / "README.md").write_text(notebooks_page(), encoding="utf-8")
