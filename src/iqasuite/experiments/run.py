"""What a notebook opens and closes with: its parameters, its folders, its figures and tables, its provenance."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqasuite.csv_texts import frame_csv
from iqasuite.datasets.splits import by_content, has_official, kept_split, official, read_split, suite_split
from iqasuite.errors import InputError
from iqasuite.experiments.parameters import parameters_in
from iqasuite.paths import results_root, safe_name, work_root, write_atomic
from iqasuite.report.outputs import save_figure, save_scores, save_table
from iqasuite.report.provenance import record, write_run
from iqasuite.weights.files import find_weights

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from iqasuite.datasets.dataset import Dataset


@dataclass
class Run:
    """One execution of a notebook: figures and tables go to `results/<suite>/`, what later runs need to `work/`.

    Attributes:
        suite: batch that the run belongs to.
        name: of the run; its files are called by it.
        parameters: all that the notebook declares besides suite and run, as they are used.
        started: seconds since 1970.
    """

    suite: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    _data: Dataset | None = field(default=None, init=False, repr=False)
    _split: pd.DataFrame | None = field(default=None, init=False, repr=False)

    @classmethod
    def from_notebook(cls) -> Run:
        """The run of the notebook that calls this, with the values that its parameters have now.

        Which parameters there are is read from the parameters cell as it was executed, so nothing is typed twice.

        Raises:
            InputError: not called in a notebook, or before its parameters cell.
        """
        from IPython import get_ipython

        shell = get_ipython()
        space = {} if shell is None else shell.user_ns
        for source in reversed(space.get("In", [])):
            declared = parameters_in(source)
            if {"suite", "run"} <= declared.keys():
                break
        else:
            raise InputError("Run.from_notebook: no executed cell declares suite and run; run that cell first")
        values = {name: space[name] for name in declared if name not in ("suite", "run")}
        run = space["run"]
        return cls(space["suite"], run.name if isinstance(run, Run) else run, values)

    @property
    def results(self) -> Path:
        """Folder of the suite's figures and tables, committed and looked at."""
        return results_root(self.suite)

    @property
    def work(self) -> Path:
        """Folder of the suite's weights, predictions and checkpoints, which later runs read."""
        return work_root(self.suite)

    @property
    def checkpoints(self) -> Path:
        """Folder where a killed training of this run goes on; `finish` removes it."""
        return self.work / "checkpoints" / self.name

    def folds(self, data: Dataset, n_folds: int = 0) -> pd.DataFrame:
        """The suite's split into folds by content: made, audited and saved by the run that comes first.

        Args:
            data: images are split by content, contents of one source together.
            n_folds: 1 = the split that comes with the set; 0 = as many as an earlier run has saved, and where none has,
                the split that comes with the set if it is one in three parts, or else 3.

        Raises:
            InputError: as `kept_split`; n_folds=1, and no split in train, val and test comes with the set.
        """
        path = self.results / "tables" / "split" / "split.csv"
        if not n_folds:
            n_folds = read_split(path)["fold"].nunique() if path.is_file() else 1 if has_official(data) else 3
        make = by_content if n_folds != 1 else partial(official, data)
        self._data, self._split = data, kept_split(path, data.images, n_folds, 0, data.sources, make)
        return self._split

    def mos_split(
        self, data: Dataset, n_splits: int = 10, n_folds: int = 0, seed: int = 0
    ) -> tuple[pd.DataFrame, dict[str, str]]:
        """The suite's split for models of MOS, and the sources it was made by; see `splits.suite_split`."""
        split, sources = suite_split(self.results / "tables" / "split", data, n_splits, n_folds, seed)
        self._data, self._split = data, split
        return split, sources

    def weights(self, name: str = "") -> Path:
        """File for weights that this run makes: named like the run, or `<run>_<name>`; any name will do."""
        stem = safe_name(f"{self.name}_{name}") if name else self.name
        return self.work / "weights" / f"{stem}.safetensors"

    def find_weights(self, name: str) -> Path:
        """Weights of a run of this suite, or of that name in a weights folder.

        Raises:
            InputError: neither; the folders are named.
        """
        of_this_suite = self.work / "weights" / f"{name}.safetensors"
        return of_this_suite if of_this_suite.is_file() else find_weights(name)

    def figure(self, fig: Figure, name: str, caption: str, dpi: int = 110) -> Figure:
        """Save a figure with its caption; returned to be shown."""
        save_figure(fig, self.suite, self.name, name, caption, dpi)
        return fig

    def table(self, frame: pd.DataFrame, name: str, caption: str, index: bool = False) -> pd.DataFrame:
        """Save a table with its caption; returned to be shown."""
        save_table(frame, self.suite, self.name, name, caption, index)
        return frame

    def scores(self, frame: pd.DataFrame, caption: str) -> Path:
        """Save a scores frame; it becomes part of the suite's `scores.csv`."""
        return save_scores(frame, self.suite, self.name, caption)

    def predictions(self, frame: pd.DataFrame, folder: str = "predictions") -> Path:
        """Keep a predictions frame for later runs, as `work/<suite>/<folder>/<run>.csv`."""
        return write_atomic(self.work / folder / f"{self.name}.csv", frame_csv(frame))

    def finish(
        self,
        headline: Mapping[str, Any] | None = None,
        data: Dataset | None = None,
        split: pd.DataFrame | None = None,
        seeds: Sequence[int] = (),
    ) -> str:
        """Write the run's provenance and remove its checkpoints.

        Args:
            headline: the run's main numbers, shown in the gallery.
            data, split: as used; None: those of `folds` or `mos_split`.
            seeds: all that were used; none: the parameter `seed` where there is one.

        Returns:
            Name of the provenance file in `results/<suite>/runs/`.
        """
        seeds = list(seeds) or [self.parameters[name] for name in ("seed",) if name in self.parameters]
        data, split = self._data if data is None else data, self._split if split is None else split
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        described = record(self.name, self.parameters, data, split, seeds, self.started, headline)
        return write_run(self.suite, described).name
