"""A suite's pages: everything reachable by relative links, nothing from the network, failed runs visible."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.experiments import gallery, gallery_items
from iqasuite.report import notebook_page, outputs, provenance

RUNS = """
title: Small & simple
description: Two runs, *one* that fails. <script>alert(1)</script>
highlights: [good/votes, good/table]
runs:
  - {name: good, notebook: first, parameters: {epochs: 7}}
  - {name: bad, notebook: first}
  - {name: later, notebook: first, needs: [bad]}
"""


def png(colour=(200, 30, 30), size=(40, 30)) -> str:
    """An image as an output has it."""
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def leave(run, suite="small", error="", figure=True):
    """What a run leaves in results/: provenance, executed notebook, a figure and a table."""
    described = provenance.record(run, {}) | {
        "status": "failed" if error else "ok",
        "error": error,
        "wall_notebook_s": 65.0,
        "overhead_s": 2.0,
    }
    provenance.write_run(suite, described)
    notebook = nbformat.v4.new_notebook()
    image = nbformat.v4.new_output("display_data", {"image/png": png(), "text/plain": "<Figure>"})
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# Does it run?\n\nWith $p_k \\le \\frac{1}{n}$ and `$HOME`."),
        nbformat.v4.new_code_cell("draw()", outputs=[image]),
    ]
    folder = Path("results") / suite / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{run}.ipynb")
    if figure:
        figure, axes = plt.subplots(figsize=(2, 1))
        axes.plot([1, 2])
        outputs.save_figure(figure, suite, run, "votes", "How often each\n vote was given & why.")
        plt.close(figure)
        outputs.save_table(pd.DataFrame({"method": ["a"], "qwk": [0.5]}), suite, run, "table", "Scores.")


def links(page: Path) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]*)"', page.read_text())


@pytest.fixture
def small(project):
    project.notebook("first", "epochs: int = 3  # passes\n")
    project.suite(RUNS)
    leave("good")
    leave("bad", error="InputError: votes.csv, line 3: vote 6; expected 1 to 5", figure=False)
    return project.root / "results" / "small"


def test_all_links_are_relative_and_lead_somewhere(small):
    index = gallery.build("small")
    pages = [index, *small.glob("notebooks/*.html")]
    assert len(pages) == 3
    for page in pages:
        for link in links(page):
            if not link.startswith(("#", "data:")):
                assert not re.match(r"[a-z]+:|/", link), link
                assert (page.parent / link).exists(), link


def test_one_script_no_network_and_no_path_of_the_machine(small):
    gallery.build("small")
    script = (notebook_page.TEMPLATES / "page.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    for page in [*small.rglob("*.html"), *small.rglob("*.css")]:
        text = page.read_text()
        if page.suffix == ".html":
            assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [script]
            assert f"script-src 'sha256-{digest}'; object-src 'none'" in text
        rest = text.replace(script, "")
        assert "@import" not in rest and "url(" not in rest and "base64," not in rest
    assert len(script.splitlines()) <= 200 and "fetch" not in script and "http" not in script
    for file in small.rglob("*"):
        assert not file.is_file() or str(small.parents[1]).encode() not in file.read_bytes()


def test_index_shows_states_parameters_captions_and_highlights(small):
    text = gallery.build("small").read_text()
    for shown in ("1 ok, 1 failed, 1 not run", "2 min 10 s", ">65<", "vote 6; expected 1 to 5", "Small &amp; simple"):
        assert shown in text
    assert text.count('alt="How often each vote was given &amp; why."') == 2  # highlight and the run's own
    assert (
        "<td>epochs" not in text and "<td>7</td>" in text and "<td>–</td>" in text
    )  # good has 7, the others their own
    assert text.index('id="highlights"') < text.index('id="runs"') < text.index('id="made"')


def test_of_a_group_of_settings_only_what_differs_is_shown(project):
    project.notebook("first", 'training: dict = {"epochs": 3, "lr": 0.1, "refit": True}  # how\n')
    training = "{epochs: 3, lr: 0.2, refit: false}"
    project.suite(f"runs: [{{name: one, notebook: first, parameters: {{training: {training}}}}}]\n")
    page = gallery.build("small").read_text()
    assert page.count("<b>training</b>") == 1 and "<b>training</b> lr 0.2, refit False<" in page


def test_readme_for_code_hosts(small):
    gallery.build("small")
    text = (small / "README.md").read_text()
    assert text.startswith("# Small & simple\n")
    assert "![How often each vote was given & why.](figures/good/votes.webp)" in text
    assert "| method | qwk |\n| --- | ---: |\n| a | 0.500 |" in text
    runs = "| [good](notebooks/good.ipynb), [bad](notebooks/bad.ipynb), of 3 runs good … later | Does it run? |"
    assert f"{runs} 1 ok, bad failed: InputError: votes.csv, line 3" in text and ", 1 not run | 2 min 10 s |" in text


def test_scores_are_means_over_people_on_the_test_part(small):
    row = {"dataset": "demo", "protocol": "corrected", "part": "test", "n": 9, "metric": "accuracy", "seeds": "0"}
    rows = [
        row | {"model": "ceiling: others", "observer": "mean", "value": 0.7, "low": 0.6, "high": 0.8},
        row | {"model": "baseline: majority", "observer": "mean", "value": 0.3, "low": None, "high": None},
        row | {"model": "vit_iqa/aio", "observer": "mean", "value": 0.6, "low": 0.5, "high": 0.7},
        row | {"model": "vit_iqa/aio", "observer": "Obs1", "value": 0.1, "low": 0.0, "high": 0.2},
        row | {"model": "vit_iqa/aio", "observer": "mean", "part": "val", "value": 0.2, "low": 0.0, "high": 0.2},
    ]
    pd.DataFrame(rows).to_csv(small / "scores.csv", index=False)
    gallery.build("small")
    text = (small / "README.md").read_text()
    expected = [
        "| vit_iqa/aio | 0.600 [0.500, 0.700] | 9 | 1: contents only |",
        "| baseline: majority | 0.300 | 9 | – |",
        "| ceiling: others | 0.700 [0.600, 0.800] | 9 | – |",
    ]
    assert "\n".join(expected) in text


def test_scores_of_models_of_mos_have_a_table_of_their_own(small):
    row = {"dataset": "demo", "protocol": "corrected", "part": "test", "n": 9, "seeds": "0", "low": None, "high": None}
    rows = [
        row | {"model": model, "observer": observer, "metric": metric, "value": value}
        for model, observer, metric, value in [
            ("aio", "mean", "accuracy", 0.6),
            ("network", "", "srocc", 0.81),
            ("network", "", "plcc_logistic", 0.79),
            ("baseline: size", "", "srocc", 0.2),
            ("network", "", "accuracy", 0.4),
        ]
    ]
    pd.DataFrame(rows).to_csv(small / "scores.csv", index=False)
    gallery.build("small")
    text = (small / "README.md").read_text()
    assert "| aio | 0.600 | 9 | 1: contents only |" in text
    assert "| model | srocc | plcc logistic | n | trainings |" in text and "| network | 0.810 | 0.790 | 9 | 1: " in text
    assert "| baseline: size | 0.200 | – | 9 | – |" in text and "0.400" not in text


def test_only_what_was_tested_on_the_same_splits_is_ranked_together(small):
    row = {"dataset": "demo", "part": "test", "observer": "", "metric": "srocc", "low": None, "high": None}
    rows = [
        row | {"model": model, "protocol": protocol, "folds": folds, "seeds": seeds, "n": n, "value": value}
        for model, protocol, folds, seeds, n, value in [
            ("ten", "corrected", "0,1,2,3", "0,1,2", 273, 0.8),
            ("three", "corrected", "0,1,2", "0", 148, 0.9),
            ("study", "faithful", "0,1,2,3", "0", 273, 0.95),
            ("PSNR", "no training", "0,1,2,3", "0", 273, 0.7),
        ]
    ]
    pd.DataFrame(rows).to_csv(small / "scores.csv", index=False)
    gallery.build("small")
    text = (small / "README.md").read_text()
    assert text.count("| model | srocc | n | splits | trainings |") == 3
    assert "| ten | 0.800 | 273 | 4 | 3 |\n| PSNR | 0.700 | 273 | 4 | – |" in text
    assert "| three | 0.900 | 148 | 3 | 1: contents only |" in text
    assert "models of MOS, faithful protocol, test part, median over 4 splits" in text


def test_a_large_group_is_folded_and_light(project):
    project.notebook("first", "k: int = 0  # number\n")
    project.suite('runs:\n  - {name: "r{k}", notebook: first, foreach: {k: 1..22}}')
    for k in range(1, 22):
        leave(f"r{k}", error="ValueError: no" if k == 5 else "")
    root = project.root / "results" / "small"
    text = gallery.build("small").read_text()
    assert "r1 … r22" in text and "{k}" not in text and "22 runs: 20 ok, 1 failed, 1 not run" in text
    assert sorted(path.stem for path in root.glob("notebooks/*.html")) == ["r1", "r5"]
    assert sorted(path.stem for path in root.glob("notebooks/*.ipynb")) == ["r1", "r5"]
    assert sorted(path.name for path in root.glob("figures/*")) == ["r1", "r5"]
    assert len(list(project.root.glob("work/small/figures/*/votes.webp"))) == 19
    assert gallery.build("small").read_text() == text  # again: nothing changes


def test_runs_that_differ_in_numbers_are_one_table_and_texts_make_kinds(project):
    project.notebook("first", 'observer: str = "all"  # whose\nepochs: int = 3  # passes\n')
    project.suite(
        """
runs:
  - {name: "a{epochs}", notebook: first, foreach: {epochs: 1..3}}
  - {name: "b_{observer}", notebook: first, foreach: {observer: [x, "<y>"]}}
  - {name: other, notebook: first, parameters: {observer: everybody}}
""".replace("<y>", "y")
    )
    for run in ("a1", "a2", "a3", "b_x", "b_y", "other"):
        leave(run)
    root = project.root / "results" / "small"
    text = gallery.build("small").read_text()
    assert re.findall(r'href="#kind-\d">([^<]+)<', text) == ["a1 … a3", "b_x … b_y", "other"]
    assert sorted(path.stem for path in root.glob("notebooks/*.ipynb")) == ["a1", "b_x", "other"]
    assert len(list(root.glob("figures/*/votes.webp"))) == 6  # small figures stay
    assert 'href="figures/a2/votes.webp"' in text and 'href="tables/a3/table.csv"' in text


def test_each_image_is_stored_once_and_building_again_changes_nothing(small):
    other, again = Image.open(small / "figures" / "good" / "votes.webp"), io.BytesIO()
    other.save(again, "PNG")
    saved = base64.b64encode(again.getvalue()).decode()  # of the same pixels
    photo = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(photo).save(written, "PNG")
    new, cell = nbformat.v4.new_output, nbformat.v4.new_code_cell
    shown = [{"image/png": saved}, {"image/png": base64.b64encode(written.getvalue()).decode()}, {"image/png": "x"}]
    smaller = {"image/png": png(size=(other.width // 2, other.height // 2)), "text/plain": "<Figure>"}
    cells = [
        nbformat.v4.new_markdown_cell("# T\n\n## Part & one"),
        cell("draw()", outputs=[new("display_data", data) for data in shown]),
        cell('run.figure(fig, "votes", "Text.", dpi=50)', outputs=[new("display_data", smaller)]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), small / "notebooks" / "good.ipynb")
    gallery.build("small")
    page = (small / "notebooks" / "good.html").read_text()
    assert "base64" not in (small / "notebooks" / "good.ipynb").read_text() + page
    assert page.count('src="../figures/good/votes.webp"') == 2 and page.count('src="../notebooks/good/1.webp"') == 1
    assert page.count("an image that cannot be read") == 1 and ">Part &amp; one</a>" in page
    kept = np.asarray(Image.open(small / "notebooks" / "good" / "1.webp").convert("RGB")).astype(int)
    gray, as_it_was = kept.mean(axis=2).ravel(), photo.mean(axis=2).ravel()  # colours have half the resolution
    assert kept.shape == photo.shape and np.corrcoef(gray, as_it_was)[0, 1] > 0.8  # even of noise
    files = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    gallery.build("small")
    assert files == {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}


def test_a_score_outside_its_range_is_refused(small):
    row = {"dataset": "demo", "protocol": "corrected", "part": "test", "n": 9, "seeds": "0", "observer": "mean"}
    row |= {"model": "a", "metric": "accuracy", "low": 0.1, "high": 0.2}
    for wrong in ({"value": 1.2}, {"value": 0.2, "low": 0.3}, {"metric": "srocc", "value": -1.1}):
        pd.DataFrame([row | wrong]).to_csv(small / "scores.csv", index=False)
        with pytest.raises(InputError, match="'a': found"):
            gallery.build("small")


def test_p_that_cannot_be_small_says_so_and_rows_of_other_images_stand_apart(small):
    table = {"model": ["a", "b"], "p": [0.125, 0.00001], "p_holm": [0.25, 0.03], "n_contents": [4, 40]}
    outputs.save_table(pd.DataFrame(table), "small", "good", "table", "Of two.")
    assert [row[1:3] for row in gallery_items.tables_of(small / "tables/good", small)[0].rows] == [
        ["0.125 (cannot be below 0.12)", "0.250 (cannot be below 0.25)"],
        ["< 0.001", "0.030"],
    ]
    table = {"model": ["few", "best", "second"], "srocc": [0.9, 0.8, 0.7], "n": [10, 99, 99]}
    outputs.save_table(pd.DataFrame(table), "small", "good", "table", "Of three.")
    item = gallery_items.tables_of(small / "tables/good", small)[0]
    assert [row[0] for row in item.rows] == ["best", "second", "few"] and "not ranked" in item.caption


def test_what_belongs_to_no_run_is_removed(small):
    leave("old")
    gallery.build("small")
    assert not [path for path in small.rglob("old*")]


def test_before_anything_ran(project):
    project.notebook("first", "epochs: int = 3  # passes\n")
    project.suite(RUNS)
    assert "3 not run" in gallery.build("small").read_text()


def test_captions_keep_their_order_and_names_have_no_folders(project):
    for name in ("b", "a", "b"):
        outputs.save_table(pd.DataFrame({"x": [1]}), "small", "one", name, f"Table {name}")
    assert list(outputs.captions(project.root / "results/small/tables/one")) == ["b", "a"]
    with pytest.raises(InputError, match="'../a'"):
        outputs.save_table(pd.DataFrame({"x": [1]}), "small", "one", "../a", "")


def test_a_figure_is_the_same_file_each_time(project):
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    first = outputs.save_figure(figure, "small", "one", "a", "A line.").read_bytes()
    assert outputs.save_figure(figure, "small", "one", "a", "A line.").read_bytes() == first
    plt.close(figure)
    assert json.loads((project.root / "results/small/figures/one/captions.json").read_text()) == {"a": "A line."}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("costs $5", "costs $5"),
        ("`$a$` and ```\n$b$\n```", "`$a$` and ```\n$b$\n```"),
        ("$\\alpha^2$", '<span class="formula">α<sup>2</sup></span>'),
        ("$x_{ij} \\le \\frac{1}{n+1}$", '<span class="formula">x<sub>ij</sub> ≤ 1 / (n+1)</span>'),
        ("$\\mathrm{MOS} < 3$", '<span class="formula">MOS &lt; 3</span>'),
        ("$$a * b$$", '<span class="formula block">a ∗ b</span>'),
        (r"$\bar{x} \propto \hat{\sigma}^\top$", '<span class="formula">x\u0304 ∝ σ\u0302<sup>T</sup></span>'),
    ],
)
def test_formulas_are_readable_without_a_script(text, expected):
    assert notebook_page.plain_formulas(text) == expected


def test_links_with_a_place_on_the_page_stay():
    page = notebook_page.clean('<a href="../docs/glossary.md#srocc">a</a><a href="x.html#&quot;onclick=">b</a>')
    assert page == '<a href="../docs/glossary.md#srocc">a</a><a>b</a>'


def test_a_notebook_on_several_sets_is_headed_by_them(project):
    project.notebook("sheet", 'dataset: str = "demo"  # set\n')
    project.suite(
        """
title: Two sets
runs:
  - {name: one, notebook: sheet, parameters: {dataset: kodak24}}
  - {name: two, notebook: sheet, parameters: {dataset: tid2013}}
  - {name: three, notebook: sheet}
"""
    )
    for run, name in (("one", "kodak24"), ("two", "tid2013")):
        leave(run)
        path = project.root / "results" / "small" / "runs" / f"{run}.json"
        described = json.loads(path.read_text())
        described["data"] = {"name": name, "hash": "0" * 64, "images": 1200, "absent": 0, "simulated": False}
        path.write_text(json.dumps(described))
    page = gallery.build("small").read_text()
    assert all(f"{name}: Does it run?" in page for name in ("kodak24", "tid2013", "demo"))  # demo by default
    assert "2 sets, 2,400 images" in page and "data hash" not in page


NAMES = [  # as somebody may be called in a study, or an image
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<svg onload=alert(3)><a xlink:href='javascript:a'>",
    "[click](javascript:alert(4))",
    "<a href='java&#10;script:alert(5)'>x</a>",
    "<iframe srcdoc='<script>'>",
    "<a href=&#100;ata:text/html,x>y</a>",
    "<style>*{display:none}",
    "<b onmouseover=alert(6) style='position:fixed'>z",
    "<!-- the rest",
    "</details></div></main><table>",
    "![q](https://example.org/seen.png)",
    "&lt;script&gt;",
    "[r]: javascript:1",
    "<form action=//example.org><input>",
    "<math><mtext><script>",
    "a | b `c` *d* \\",
    "<meta http-equiv=refresh content=0>",
    "<base href=//e.org>",
    "# one",
]


class Obeyed(HTMLParser):
    """What a browser would obey in a page: tags, names of attributes and addresses; and its words."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.names, self.links, self.words = [], set(), set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.names |= {name for name, _ in attributes}
        self.links |= {value for name, value in attributes if name in ("href", "src")}

    def handle_data(self, data):
        self.words.append(data)


def assert_harmless(html: str, heads: int = 1) -> None:
    """Nothing runs but our script, and nothing is asked of another place; the head's own tags are there so often."""
    script = f"<script>{(notebook_page.TEMPLATES / 'page.js').read_text()}</script>"
    assert html.count(script) == heads
    found = Obeyed(html.replace(script, ""))
    wrong = {"script", "iframe", "svg", "math", "object", "embed", "form", "input", "base", "style", "template"}
    assert not wrong & set(found.tags)
    assert not [name for name in found.names if name.startswith(("on", "xlink", "srcdoc", "action"))]
    assert not [link for link in found.links if re.match(r"\w+:|//", link) and not link.startswith("data:image/")]
    assert (found.tags.count("link"), found.tags.count("meta")) == (heads, 3 * heads)


def executed(folder: Path, name: str) -> None:
    """A notebook whose outputs and Markdown say a name raw, in every form that an output may have."""
    new, page = nbformat.v4.new_output, f"<p>{name}</p>"
    outputs = [
        new("display_data", data)
        for data in (
            {"text/markdown": f"Best: {name}, {name}."},
            {"text/html": page, "text/plain": name},
            {"text/markdown": f"| a |\n| --- |\n| {name} |"},
            {"text/latex": name},
            {"image/png": f'">{name}'},
            {"application/javascript": f"element.append('{name}')"},
            {"image/svg+xml": f"<svg>{name}</svg>"},
            {"text/vnd.mermaid": name},
            {"application/vnd.jupyter.widget-view+json": {"model_id": name}},
        )
    ]
    outputs[1].metadata = {"text/html": {"isolated": True}}
    outputs += [new("stream", text=name), new("error", ename=name, evalue=name, traceback=[name])]
    cells = [
        nbformat.v4.new_markdown_cell(f"# T {name}\n\n{name} and $x < y$"),
        nbformat.v4.new_markdown_cell(name),
        nbformat.v4.new_code_cell(f"show({name!r})", outputs=outputs, metadata={"alt": f'"{name}'}),
        nbformat.v4.new_markdown_cell("Last words."),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebooks" / "good.ipynb")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_wherever_a_page_says_them(small, name):
    leave("bad", error=f"InputError: observer {name}: no votes", figure=False)
    outputs.save_table(pd.DataFrame({"method": [name], name: [0.5]}), "small", "good", "table", f"Of {name}")
    figure = plt.figure()
    outputs.save_figure(figure, "small", "good", "votes", name)
    plt.close(figure)
    executed(small, name)
    index = gallery.build("small").read_text()
    page = (small / "notebooks" / "good.html").read_text()
    for html in (index, page):
        assert_harmless(html)
    assert "Last words." in Obeyed(page).words  # nothing is swallowed
    readme = MarkdownIt("commonmark", {"html": True}).enable("table").render((small / "README.md").read_text())
    assert_harmless(readme, heads=0)
    words = re.sub(r"\s+", " ", "".join(Obeyed(readme).words))
    assert f"observer {name}: no votes" in words and words.count(name) >= 4  # table, its heading, captions, error


def test_tables_formulas_and_pictures_of_a_notebook_stay(small):
    frame = pd.DataFrame({"a<b": ["<i>"]}, index=["row"])
    new = nbformat.v4.new_output
    table = "| a | b |\n| :-- | --: |\n| **1** | [x](https://e.org/?a=1&b=2) |"
    outputs = [
        new("execute_result", {"text/html": frame._repr_html_(), "text/plain": "frame"}),
        new("display_data", {"text/markdown": table}),
        new("display_data", {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"}),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# A & B\n\n$\\sigma_i$, <sub>2</sub>, `<c>`\n\n> cited"),
        nbformat.v4.new_code_cell("x < 1 and 'é'", outputs=outputs),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), small / "notebooks" / "good.ipynb")
    page = notebook_page.body(small / "notebooks" / "good.ipynb")
    for part in (
        '<span class="formula">σ<sub>i</sub></span>',
        "<sub>2</sub>",
        "<code>&lt;c&gt;</code>",
        "<blockquote>",
        '<table class="dataframe">',
        "<th>a&lt;b</th>",
        "&lt;i&gt;",
        "text-align:right",
        "<strong>1</strong>",
        'href="https://e.org/?a=1&amp;b=2"',
        'src="data:image/svg+xml;base64,',
        '<span class="o">&lt;</span>',
    ):
        assert part in page, part
    assert "<style" not in page and "tbody tr th" not in page and notebook_page.clean(page) == page
