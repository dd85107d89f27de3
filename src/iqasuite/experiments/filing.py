"""What an executed notebook leaves: lines on the screen while it runs, and a file without this machine's paths."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

from iqasuite.paths import results_root, work_root, write_atomic
from iqasuite.report.provenance import without_machine_paths

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from iqasuite.experiments.suite import Run, Suite

log = logging.getLogger(__name__)
EVERY = 30.0  # seconds between two lines of a run on the screen


class Printed:
    """What a notebook prints, on its way to the screen: the last line of it every now and then.

    `bars`: only what begins with a carriage return, as progress bars do; warnings are not for the screen.
    """

    def __init__(self, run: str, bars: bool = False) -> None:
        self.run, self.bars, self.next = run, bars, time.monotonic() + EVERY / 3

    def write(self, text: str) -> None:
        """Log the last line of a text, if the line before was long ago."""
        lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
        if self.bars and "\r" not in text:
            return
        if lines and time.monotonic() >= self.next:
            self.next = time.monotonic() + EVERY
            log.info("%s: %s", self.run, lines[-1].strip())

    def flush(self) -> None:
        """Nothing waits."""


def file_notebook(notebook: NotebookNode, suite: Suite, run: Run) -> None:
    """Write an executed notebook to `work/` and `results/` without this machine's paths and without live widgets."""
    import nbformat

    notebook.metadata.pop("widgets", None)
    papermill_notes = notebook.metadata.get("papermill", {})
    papermill_notes["input_path"] = run.notebook_file.as_posix()
    papermill_notes["output_path"] = f"results/{suite.name}/notebooks/{run.name}.ipynb"
    papermill_notes.pop("environment_variables", None)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # the executed copy lies two folders deeper
            cell.source = cell.source.replace("](../docs/", "](../../../docs/")
        cell.metadata.pop("execution", None)  # the same times again, for papermill's duration to be found
        for name in ("start_time", "end_time", "exception"):
            cell.metadata.get("papermill", {}).pop(name, None)
        if "outputs" in cell:
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                clean_output(output)
            cell.outputs = [output for output in cell.outputs if output.get("text", "…").strip()]
    text = nbformat.writes(notebook) + "\n"
    for folder in (work_root(suite.name), results_root(suite.name)):
        write_atomic(folder / "notebooks" / f"{run.name}.ipynb", text)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs in which what a stream wrote bit by bit is one: a bar overwrites what stands before it only there."""
    found: list[NotebookNode] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def clean_output(output: NotebookNode) -> None:
    """Take this machine's paths and live widgets out of a cell's output."""
    for kind in ("text", "evalue"):
        if kind in output:
            output[kind] = without_machine_paths(output[kind])
    if "text" in output:
        output["text"] = re.sub(r"(?m)^[^\n]*\r(?!\n)", "", output["text"])  # of a progress bar what was left standing
    if "traceback" in output:
        output["traceback"] = [without_machine_paths(line) for line in output["traceback"]]
    data = output.get("data", {})
    for mime in list(data):
        if mime.startswith("application/vnd.jupyter.widget"):
            del data[mime]  # lives only in the kernel; its text stays
        elif isinstance(data[mime], str) and not mime.startswith("image/"):
            data[mime] = without_machine_paths(data[mime])
