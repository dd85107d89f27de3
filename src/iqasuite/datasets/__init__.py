"""What observers rated: data sets, playlists, splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iqasuite.datasets.dataset import Dataset


def load(name: str, root: Path | str | None = None, missing: str = "error", **settings: Any) -> Dataset:
    """A data set by name, or a study by its folder.

    Args:
        name: one of `iqasuite.datasets.adapters.NAMES`, or a folder with images and a CSV of ratings.
        root: the set's folder; None = where it lies in the data folder.
        missing: "error" stops where files of the set are absent, "drop" goes on without them.
        settings: of how the set is made, such as `photographs` of aio_semi_real.

    Raises:
        InputError: unknown name or `missing`, files absent.
    """
    from iqasuite.datasets import adapters, study_folder  # here, so that importing the room stays fast
    from iqasuite.datasets.layout import check_missing

    check_missing(missing)
    if name not in adapters.NAMES and Path(name).is_dir():
        return study_folder.load(Path(name), missing)
    module = adapters.adapter(name)
    return module.load(Path(root) if root is not None else module.CARD.folder(), missing, **settings)
