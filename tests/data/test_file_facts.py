import numpy as np
import pytest
from PIL import Image

from iqasuite.data.file_facts import file_facts
from iqasuite.errors import InputError


def test_facts_of_files(tmp_path):
    paths = {name: tmp_path / name for name in ("flat.png", "noise.png")}
    Image.new("RGB", (40, 20)).save(paths["flat.png"])
    noise = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(paths["noise.png"])
    facts = file_facts(paths)
    assert facts.loc["flat.png", ["width", "height"]].tolist() == [40, 20]
    assert facts.loc["noise.png", "bytes"] == paths["noise.png"].stat().st_size
    assert facts.loc["noise.png", "bits_per_pixel"] > 24 > 4 > facts.loc["flat.png", "bits_per_pixel"]
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match="text.png: not an image"):
        file_facts({"text.png": tmp_path / "text.png"})
