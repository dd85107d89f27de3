import json

import pytest
import torch

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models.weights import load_into, load_weights, save_weights


def test_roundtrip_gives_the_same_outputs_and_card(tmp_path):
    model = models.create("vit_iqa", size="tiny", image_size=32, head="ordinal").eval()
    path = save_weights(model, tmp_path / "aio.safetensors", {"training data": "demo", "scores": {"accuracy": 0.5}})
    loaded, card = load_weights(path)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(x), model(x)) and not loaded.training
    assert card["architecture"] == "vit_iqa" and card["training data"] == "demo"
    assert card["arguments"]["head"] == "ordinal"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["aio.json", "aio.safetensors"]


def test_a_stem_comes_back_without_imagenet_weights(tmp_path):
    model = models.create("vit_iqa", size="tiny", stem="squeezenet1_0", scales=(64,), pretrained=False).eval()
    model.card["arguments"].pop("pretrained")
    with torch.no_grad():
        model.mean.fill_(0.25)
    loaded, _ = load_weights(save_weights(model, tmp_path / "a.safetensors"))
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(x), model(x)) and loaded.normalisation[0] == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("arguments, word", [
    ({"size": "small", "image_size": 32}, "another size"), ({"size": "tiny", "image_size": 64}, "pos_embedding"),
    ({"size": "tiny", "image_size": 32, "depth": 2}, "unknown tensor"), ({"size": "tiny", "head": "x"}, "head"),
])  # fmt: skip
def test_weights_that_do_not_fit_their_card_are_refused_in_one_line(tmp_path, arguments, word):
    path = save_weights(models.create("vit_iqa", size="tiny", image_size=32), tmp_path / "a.safetensors")
    path.with_suffix(".json").write_text(json.dumps({"architecture": "vit_iqa", "arguments": arguments}))
    with pytest.raises(InputError, match=word) as error:
        load_weights(path)
    assert "\n" not in str(error.value)


def test_files_of_other_kinds_are_refused(tmp_path):
    model = models.create("vit_iqa", size="tiny", image_size=32)
    pickled = tmp_path / "a.pth"
    torch.save(model.state_dict(), pickled)
    with pytest.raises(InputError, match="pickled"):
        load_weights(pickled)
    renamed = pickled.rename(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_into(model, renamed)
    with pytest.raises(InputError, match="b.json"):
        load_weights(renamed)
    with pytest.raises(InputError, match="no such weights file"):
        load_weights(tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="safetensors"):
        save_weights(model, tmp_path / "d.pt")
    with pytest.raises(InputError, match="architecture"):
        save_weights(torch.nn.Linear(1, 1), tmp_path / "e.safetensors")
