import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.weights import export
from iqasuite.weights.card import Card
from iqasuite.weights.catalogue import CATEGORIES, Entry
from iqasuite.weights.export import (
    LARGEST_DIFFERENCE,
    SCORE,
    SHARES,
    Scored,
    export_onnx,
    quantised,
    run_onnx,
    session,
)

NETWORKS = {
    "scratch": ("mobile_nr", {"width": 0.25, "hidden": 16}),
    "scratch, means, no hidden layer": ("mobile_nr", {"width": 0.25, "hidden": 0, "pool": "mean"}),
    "scratch, scores": ("mobile_nr", {"width": 0.25, "n_classes": 1}),
    "mobilenet_v2": ("mobile_nr", {"base": "mobilenet_v2", "pretrained": False}),
    "mobilenet_v3_small": ("mobile_nr", {"base": "mobilenet_v3_small", "pretrained": False}),
    "trcnn": ("trcnn", {"base": "squeezenet1_0", "pretrained": False, "dim": 16, "heads": 2}),
    "trcnn_faithful": ("trcnn_faithful", {"base": "squeezenet1_0", "pretrained": False}),
}
SIZES = [(64, 64), (96, 128), (131, 77)]


def entry(low=0.0, high=100.0, **card):
    facts = {"architecture": "mobile_nr", "arguments": {}, "preprocessing": {"shorter_side": 96}}
    return Entry("a", "a", Card(**facts | {"scale": {"name": "continuous", "low": low, "high": high}} | card))


def pictures(size=(96, 128), n=4):
    rng = np.random.default_rng(0)
    levels = np.linspace(20, 235, n)
    return [
        np.clip(rng.normal(level, 5 + 20 * i, (*size, 3)), 0, 255).astype(np.uint8) for i, level in enumerate(levels)
    ]


def lively(name):
    """A network of random weights that tells these pictures apart."""
    architecture, arguments = NETWORKS[name]
    torch.manual_seed(5)
    network = models.create(architecture, **arguments).eval()
    x = torch.from_numpy(np.stack(pictures())).permute(0, 3, 1, 2).float() / 255
    x = (x - network.mean.view(3, 1, 1)) / network.std.view(3, 1, 1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
            layer.reset_running_stats()
            layer.train()
    with torch.no_grad():
        network(x)
        network.eval()
        last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight.mul_(0.5 / (network(x).std(0).mean() + 1e-6))
        last.bias.sub_((network(x) - (3 if network(x).ndim == 1 else 0)).mean(0))
    return network


@torch.no_grad()
def torch_scores(network, images, low=0.0, high=100.0):
    """Scores by hand."""
    found = []
    for image in images:
        x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
        x = ((x - network.mean.view(3, 1, 1)) / network.std.view(3, 1, 1)).float()
        out = network(x)
        vote = out.clamp(1, 5) if out.ndim == 1 else out.softmax(-1) @ torch.arange(1.0, 6)
        found.append(low + (vote.item() - 1) * (high - low) / 4)
    return np.array(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_says_what_torch_says_on_every_size(tmp_path, name):
    network = lively(name)
    path = export_onnx(network, tmp_path / "a.onnx", entry())
    for size in SIZES:
        images = pictures(size)
        expected = torch_scores(network, images)
        assert size != SIZES[1] or np.ptp(expected) > 0.1  # it tells them apart
        assert np.abs(run_onnx(path, images) - expected).max() < 25e-4  # 1e-4 of a vote
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("name", ["scratch", "trcnn", "trcnn_faithful"])
def test_a_batch_is_its_pictures(tmp_path, name):
    ready = session(export_onnx(lively(name), tmp_path / "a.onnx", entry()))
    together = ready.run([SCORE], {"image": np.stack(pictures())})[0]
    alone = [ready.run([SCORE], {"image": image[None]})[0][0] for image in pictures()]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-3)


def test_distribution_is_there_where_the_network_has_one(tmp_path):
    network = lively("scratch")
    ready = session(export_onnx(network, tmp_path / "a.onnx", entry()))
    score, shares = ready.run([SCORE, SHARES], {"image": np.stack(pictures())})
    assert shares.shape == (4, 5)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(score, 25 * (shares @ np.arange(1, 6) - 1), atol=1e-3)
    plain = session(export_onnx(lively("trcnn"), tmp_path / "b.onnx", entry()))
    assert [out.name for out in plain.get_outputs()] == [SCORE]


def test_scores_are_on_the_model_s_own_scale_also_where_that_falls(tmp_path):
    network = lively("scratch")
    for low, high in ((1.0, 5.0), (0.24, 7.21), (9.0, 0.0)):
        path = export_onnx(network, tmp_path / "a.onnx", entry(low, high))
        np.testing.assert_allclose(run_onnx(path, pictures()), torch_scores(network, pictures(), low, high), atol=1e-3)


def test_scores_of_networks_without_a_distribution_stay_on_the_scale(tmp_path):
    network = lively("trcnn")
    with torch.no_grad():
        network.rank[-1].bias.fill_(400.0)
    assert (run_onnx(export_onnx(network, tmp_path / "a.onnx", entry()), pictures()) == 100).all()


def test_metadata_says_what_a_program_needs(tmp_path):
    path = export_onnx(lively("scratch"), tmp_path / "a.onnx", entry(title="A network", licence="MIT"), size=(96, 128))
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert (facts["title"], facts["licence"], facts["scale"]) == ("A network", "MIT", "continuous")
    assert (json.loads(facts["low"]), json.loads(facts["high"])) == (0, 100)
    categories = json.loads(facts["categories"])
    assert [c["name"] for c in categories] == list(CATEGORIES)
    assert [(c["from"], c["to"]) for c in categories] == [(0, 20), (20, 40), (40, 60), (60, 80), (80, 100)]
    assert json.loads(facts["preprocessing"])["shorter_side"] == 96
    assert json.loads(facts["input"])["size"] == [96, 128]


def test_a_fixed_size_is_the_only_one(tmp_path):
    network = lively("scratch")
    path = export_onnx(network, tmp_path / "a.onnx", entry(), size=(96, 128))
    np.testing.assert_allclose(run_onnx(path, pictures()), torch_scores(network, pictures()), atol=25e-4)
    with pytest.raises(InputError, match=r"image 0: uint8 \(64, 64, 3\); expected uint8 \(96, 128, 3\)"):
        run_onnx(path, pictures((64, 64)))


def test_the_network_stays_as_it_was(tmp_path):
    network = lively("scratch").train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    export_onnx(network, tmp_path / "a.onnx", entry())
    assert network.training and network.features.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_scored_takes_pixels_to_scores_in_torch_as_well():
    network = lively("scratch")
    with torch.no_grad():
        scores, shares = Scored(network, 0, 100).eval()(torch.from_numpy(np.stack(pictures())))
    np.testing.assert_allclose(scores, torch_scores(network, pictures()), atol=1e-3)
    assert shares.shape == (4, 5)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (entry(None, None), "two ends"),
        (entry(3, 3), "two ends"),
        (entry(preprocessing={"crop": 48}), "crops"),
        (entry(architecture="siamese_fr"), "reference"),
    ],
)
def test_networks_that_no_single_picture_can_be_given_to_are_refused(tmp_path, given, word):
    with pytest.raises(InputError, match=word):
        export_onnx(lively("scratch"), tmp_path / "a.onnx", given)
    assert not list(tmp_path.iterdir())


def test_other_names_and_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="ends in .onnx"):
        export_onnx(lively("scratch"), tmp_path / "a.safetensors", entry())
    with pytest.raises(InputError, match="no such file"):
        run_onnx(tmp_path / "none.onnx", [])
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match=r"text\.onnx: not an ONNX file"):
        run_onnx(tmp_path / "text.onnx", [])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    shape = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", shape[:1], shape[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "other.onnx")
    for use in (lambda p: run_onnx(p, []), lambda p: quantised(p, tmp_path / "q.onnx", pictures())):
        with pytest.raises(InputError, match=r"other\.onnx.*uint8 images"):
            use(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    "picture", [np.zeros((96, 128, 3)), np.zeros((96, 128), np.uint8), np.zeros((9, 9, 4), np.uint8)]
)
def test_pictures_of_other_types_are_refused(tmp_path, picture):
    path = export_onnx(lively("scratch"), tmp_path / "a.onnx", entry())
    with pytest.raises(InputError, match=r"image 1.*expected uint8 \(any, any, 3\)"):
        run_onnx(path, [pictures()[0], picture])


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    path = export_onnx(lively("scratch"), tmp_path / "a.onnx", entry())
    before = path.read_bytes()

    def broken(*given, **more):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(export.torch.onnx, "export", broken)
    with pytest.raises(RuntimeError):
        export_onnx(lively("scratch"), path, entry())
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


QUANTISED = ["scratch", "mobilenet_v3_small", "trcnn"]


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_is_smaller_near_and_says_the_same_of_itself(tmp_path, name):
    network = lively(name)
    path = export_onnx(network, tmp_path / "a.onnx", entry())
    small = quantised(path, tmp_path / "b.onnx", pictures())
    assert small.stat().st_size < 0.7 * path.stat().st_size
    exact, rounded = run_onnx(path, pictures()), run_onnx(small, pictures())
    assert 0 < np.abs(exact - rounded).max() < 100 * LARGEST_DIFFERENCE
    model = onnx.load(small)
    of = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert {p.key: p.value for p in model.metadata_props} == of
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize("name", QUANTISED)
def test_no_pair_of_products_can_leave_16_bits(tmp_path, name):
    """AVX2 adds products of unsigned by signed bytes in pairs and keeps 16 bits of the sum (vpmaddubsw)."""
    path = export_onnx(lively(name), tmp_path / "a.onnx", entry())
    graph = onnx.load(quantised(path, tmp_path / "b.onnx", pictures())).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    of = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    weights = [stored[of[node.input[1]]] for node in graph.node if node.op_type == "Conv"]
    assert len(weights) > 5 and {w.dtype for w in weights} == {np.dtype(np.int8)}
    largest = max(np.abs(w.astype(int)).max() for w in weights)
    assert largest > 32  # seven bits are used
    assert 2 * 255 * largest <= np.iinfo(np.int16).max


def test_an_8_bit_file_that_scores_otherwise_is_refused(tmp_path):
    path = export_onnx(lively("scratch"), tmp_path / "a.onnx", entry())
    with pytest.raises(InputError, match=r"b\.onnx: in 8-bit integers scores change by up to .* expected 0\.0% or"):
        quantised(path, tmp_path / "b.onnx", pictures(), limit=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


def test_only_what_lies_between_the_convolutions_is_in_integers(tmp_path):
    path = export_onnx(lively("mobilenet_v3_small"), tmp_path / "a.onnx", entry())
    graph = onnx.load(quantised(path, tmp_path / "b.onnx", pictures())).graph
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        origins = [made_by[name].op_type for name in node.input if name in made_by]
        if node.op_type == "Conv":
            assert origins and set(origins) == {"DequantizeLinear"}, node.name
        if node.op_type in ("Gemm", "Softmax", "Sqrt", "Concat", "ReduceMean", "ReduceSum"):
            assert "DequantizeLinear" not in origins or node.op_type == "ReduceMean", node.name
    scales = [t for t in graph.initializer if t.name in weights and t.name.endswith("_scale") and len(t.dims) == 1]
    assert any(t.dims[0] > 8 for t in scales)  # one for each channel


def test_quantising_needs_pictures(tmp_path):
    path = export_onnx(lively("scratch"), tmp_path / "a.onnx", entry())
    with pytest.raises(InputError, match="no images"):
        quantised(path, tmp_path / "b.onnx", [])
    assert not (tmp_path / "b.onnx").exists()
