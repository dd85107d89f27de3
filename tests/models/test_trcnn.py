import math

import pytest
import torch
from torch import nn

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models import classifiers
from iqasuite.models.trcnn import TRCNN, Block, FaithfulTRCNN, grid_sinusoids, sinusoids
from iqasuite.weights.files import load_weights, save_weights


class Map(nn.Module):
    """Stands for a classifier: what it is given is the feature map."""

    def forward(self, x):
        return x


def pictures(n=2, height=96, width=128, seed=0):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def corrected(seed=0, **arguments):
    torch.manual_seed(seed)
    return TRCNN(**{"dim": 32, "pretrained": False} | arguments).eval()


def faithful(seed=0):
    torch.manual_seed(seed)
    return FaithfulTRCNN(pretrained=False).eval()


def on_maps(network):
    """The network behind its convolutions, with feature maps (B, channels, h, w) for images."""
    network.features = Map()
    return network


def test_sinusoids_are_the_paper_s():
    found = sinusoids(50, 16)
    for position in (0, 1, 7, 49):
        for i in range(8):
            angle = position / 10_000 ** (2 * i / 16)
            assert found[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert found[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
    assert sinusoids(4, 9).shape == (4, 9)


@pytest.mark.parametrize("dim", [16, 17])
def test_positions_of_a_grid_say_row_and_column(dim):
    found = grid_sinusoids(3, 4, dim)
    assert found.shape == (12, dim) and len(found.unique(dim=0)) == 12
    grid, half = found.view(3, 4, dim), dim // 2
    assert torch.equal(grid[:, 0, :half], sinusoids(3, half)) and (grid[:, :, :half] == grid[:, :1, :half]).all()
    assert torch.equal(grid[0, :, half:], sinusoids(4, dim - half)) and (grid[:, :, half:] == grid[:1, :, half:]).all()


def test_block_attends_as_torch_s_own_attention():
    torch.manual_seed(0)
    block, theirs = Block(32, 4, 64, 0.0).eval(), nn.MultiheadAttention(32, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(block.to_qkv.weight)
        theirs.in_proj_bias.copy_(block.to_qkv.bias)
        theirs.out_proj.load_state_dict(block.to_out.state_dict())
    x = torch.randn(2, 11, 32)
    given = block.norm_attention(x)
    out, weights = theirs(given, given, given, average_attn_weights=False)
    x_attended = x + out
    recorded, attention = block.record(x)
    torch.testing.assert_close(recorded, x_attended + block.mlp(block.norm_mlp(x_attended)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention, weights, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(block(x), recorded, rtol=1e-4, atol=1e-5)


def test_attention_is_that_of_the_score_and_sums_to_1():
    network = on_maps(corrected(depth=3))
    maps = 3 * torch.randn(2, 1280, 3, 5)
    attention, grid = network.attentions(maps)
    assert attention.shape == (2, 3, 4, 16, 16) and attention.dtype == torch.float32 and grid == (3, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 4, 16))
    sequence, _ = network.tokens(maps)
    for layer, block in enumerate(network.blocks):
        sequence, whole = block.record(sequence)
        torch.testing.assert_close(attention[:, layer], whole)
    torch.testing.assert_close(network.ranked(sequence[:, 0]), network(maps), rtol=0, atol=1e-5)
    expected = attention[:1, -1, :, 0, 1:].mean((0, 1)).view(3, 5)
    torch.testing.assert_close(network.attention_map(maps[:1]), expected)


def test_scores_start_in_the_middle_of_the_scale_and_any_size_has_one():
    network = corrected()
    for size in ((64, 64), (96, 160), (101, 333)):
        scores = network(pictures(3, *size))
        assert scores.shape == (3,) and ((scores > 1) & (scores < 5)).all()


def test_the_corrected_network_sees_space_and_the_faithful_one_does_not():
    shuffled = torch.randperm(48, generator=torch.Generator().manual_seed(1))
    ours, theirs = on_maps(corrected()), on_maps(faithful())
    for network, channels, sees in ((ours, 1280, True), (theirs, 512, False)):
        maps = torch.randn(2, channels, 6, 8, generator=torch.Generator().manual_seed(0)) * 3
        moved = maps.flatten(2)[..., shuffled].view_as(maps)
        difference = (network(maps) - network(moved)).abs().max()
        assert bool(difference > 1e-4) is sees
        other = network(torch.randn_like(maps) * 3)
        assert (other - network(maps)).abs().max() > 1e-5  # it looks at its features at all


def test_without_positions_the_corrected_network_would_not_see_space(monkeypatch):
    monkeypatch.setattr("iqasuite.models.trcnn.grid_sinusoids", lambda rows, columns, dim: torch.zeros(1, dim))
    network, maps = on_maps(corrected()), torch.randn(2, 1280, 6, 8)
    torch.testing.assert_close(network(maps), network(maps.flip(-1)), rtol=1e-4, atol=1e-4)


def test_the_faithful_network_has_the_study_s_sizes():
    network = faithful()
    patches = []
    network.embed.register_forward_pre_hook(lambda module, given: patches.append(given[0]))
    scores = network(pictures())
    assert patches[0].shape == (2, 4, 256) and ((scores > 1) & (scores < 5)).all()
    made_up = network.to_map(network.features(pictures()).mean((2, 3))).view(2, 32, 32)
    torch.testing.assert_close(patches[0][:, 1].view(2, 16, 16), made_up[:, :16, 16:], rtol=1e-4, atol=1e-5)
    assert len(network.blocks) == 3 and network.factors.out_features == 10
    assert [layer.out_features for layer in network.rank if isinstance(layer, nn.Linear)] == [64, 32, 1]


@pytest.mark.parametrize("frozen", [0, 5])
def test_gradient_reaches_every_parameter_that_is_not_frozen(frozen):
    network = corrected(frozen=frozen, dropout=0.0).train()
    network(pictures(4)).square().sum().backward()
    for name, parameter in network.named_parameters():
        still = name.startswith("features.layers.") and int(name.split(".")[2]) < frozen
        assert parameter.requires_grad is not still, name
        assert (parameter.grad is None) if still else (parameter.grad.abs().sum() > 0), name


def test_gradient_reaches_every_parameter_of_the_faithful_network():
    network = faithful()
    network(pictures(4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_batch_norm_of_the_base_does_not_move():
    network = corrected().train()
    before = {k: v.clone() for k, v in network.named_buffers() if "running" in k}
    network(pictures(4))
    assert before and all(torch.equal(v, before[k]) for k, v in network.named_buffers() if k in before)
    assert network.blocks[0].training


def test_scores_under_bfloat16_are_not_rounded_to_it():
    for network in (corrected(), faithful()):
        with torch.autocast("cpu", torch.bfloat16):
            scores = network(pictures(4))
        assert scores.dtype == torch.float32 and (scores != scores.bfloat16()).any()


@pytest.mark.parametrize(
    "arguments",
    [
        {"dim": 30, "heads": 4},
        {"dim": 0},
        {"heads": 0},
        {"depth": 0},
        {"frozen": -1},
        {"dropout": 1.5},
        {"base": "resnet19"},
        {"base": "swin_t"},
    ],
)
def test_other_arguments_are_refused(arguments):
    with pytest.raises(InputError, match=str(next(iter(arguments.values())))):
        TRCNN(**{"pretrained": False} | arguments)


@pytest.mark.parametrize(
    ("name", "arguments"), [("trcnn", {"dim": 16, "heads": 2}), ("trcnn_faithful", {"base": "resnet18"})]
)
def test_roundtrip_needs_no_download(tmp_path, monkeypatch, name, arguments):
    torch.manual_seed(2)
    network = models.create(name, pretrained=False, **arguments).eval()
    network.arguments = arguments  # as of a network that was trained from ImageNet's weights
    path = save_weights(network, tmp_path / "a.safetensors")

    def download(name):
        raise AssertionError(f"download of {name}")

    monkeypatch.setattr(classifiers, "_download", download)
    monkeypatch.setenv("IQASUITE_WEIGHTS", str(tmp_path / "none"))
    loaded, card = load_weights(path)
    assert torch.equal(loaded(pictures()), network(pictures()))
    assert card.architecture == name and not loaded.training
