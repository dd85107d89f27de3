"""The public interface: all of it is there, and importing it loads nothing else."""

import subprocess
import sys

import numpy as np
import pytest

import iqasuite


@pytest.mark.parametrize("name", iqasuite.__all__)
def test_every_public_name_is_there(name):
    assert callable(getattr(iqasuite, name)) and getattr(iqasuite, name).__doc__


def test_another_name_is_an_error_that_lists_them():
    with pytest.raises(AttributeError, match=r"no attribute 'load'; expected one of .*load_dataset"):
        iqasuite.load  # noqa: B018


def test_importing_it_loads_nothing_else():
    code = "import sys, iqasuite; print([m for m in sys.modules if m.startswith('iqasuite.') or m == 'numpy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_of_the_readme(repository, monkeypatch):
    monkeypatch.chdir(repository)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    predictor = iqasuite.load_predictor("lite2_nr")
    prediction = predictor.predict([image])[0]
    entry = predictor.entry
    assert entry.low <= prediction.score <= entry.high and prediction.distribution.sum() == pytest.approx(1)
    assert prediction.intervals[0.5][0] > prediction.intervals[0.9][0]
