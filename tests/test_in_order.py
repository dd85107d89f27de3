"""Every notebook in order with its defaults, in a clean folder, as a student steps through them.

Half an hour on two cores, so it runs where `IQASUITE_IN_ORDER` is set; the smoke suite executes them small.
"""

import os
import shutil

import pytest

pytestmark = pytest.mark.skipif(not os.environ.get("IQASUITE_IN_ORDER"), reason="IQASUITE_IN_ORDER is not set")


def test_notebooks_run_in_order_with_their_defaults(repository, tmp_path, monkeypatch):
    papermill = pytest.importorskip("papermill")
    for name in ("notebooks", "playlists", "weights"):
        if (repository / name).is_dir():
            shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    monkeypatch.chdir(tmp_path)
    for name in ("IQASUITE_DATA", "IQASUITE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    notebooks = sorted((tmp_path / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        out = tmp_path / "executed" / path.name
        out.parent.mkdir(exist_ok=True)
        done = papermill.execute_notebook(str(path), str(out), progress_bar=False, cwd=str(tmp_path))
        seconds = done.metadata["papermill"]["duration"]
        print(f"{path.stem}: {seconds:.0f} s")
    left = {path.name for path in (tmp_path / "results" / "interactive" / "runs").glob("*.json")}
    assert left == {f"{path.stem}.json" for path in notebooks}
