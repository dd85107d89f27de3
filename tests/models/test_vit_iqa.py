import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from vit_pytorch.vit_for_small_dataset import SPT, ViT

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models.shifted_patches import ShiftedPatchTokens
from iqasuite.models.vit_iqa import SIZES, ViTIQA


def renamed(state, ours):
    """The weights of vit-pytorch's network under our names."""
    names = {
        "to_patch_embedding.to_patch_tokens.1.": "stem.norm.",
        "to_patch_embedding.to_patch_tokens.2.": "stem.linear.",
    }
    p, own = ours.stem.patch_size, {"mean": ours.mean, "std": ours.std}
    for name, value in state.items():
        new = next((name.replace(old, to) for old, to in names.items() if name.startswith(old)), f"trunk.{name}")
        if new in ("stem.norm.weight", "stem.norm.bias", "stem.linear.weight"):
            # vit-pytorch's patch vectors are (row, column, channel); ours (channel, row, column), copied row by row
            value = rearrange(value, "... (p q c) -> ... (c p q)", p=p, q=p)
        own[new] = value
    return own


def peer_and_ours(size="tiny", image_size=64, **kwargs):
    torch.manual_seed(0)
    peer = ViT(image_size=image_size, patch_size=16, num_classes=5, emb_dropout=0.1, **SIZES[size], **kwargs).eval()
    for norm in (m for m in peer.modules() if isinstance(m, torch.nn.LayerNorm)):  # as after training
        torch.nn.init.normal_(norm.weight, 1, 0.2)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
    ours = ViTIQA(image_size=image_size, trunk={"size": size, **kwargs}).eval()
    ours.load_state_dict(renamed(peer.state_dict(), ours))
    return peer, ours


@pytest.mark.parametrize("kwargs", [{}, {"size": "small"}, {"image_size": (64, 96)}, {"pool": "mean"}])
def test_gives_vit_pytorchs_output_with_its_weights(kwargs):
    peer, ours = peer_and_ours(**kwargs)
    height, width = kwargs.get("image_size", (64, 64))
    x = torch.randn(2, 3, height, width)
    torch.testing.assert_close(ours(x), peer(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.attention(x)[0], peer(x), atol=1e-5, rtol=0)


def test_gives_vit_pytorchs_gradients():
    peer, ours = peer_and_ours()
    x = torch.randn(3, 3, 64, 64)
    peer(x).square().sum().backward()
    ours(x).square().sum().backward()
    theirs = {name: p.grad for name, p in peer.named_parameters()}
    for name, p in ours.trunk.named_parameters():
        torch.testing.assert_close(p.grad, theirs[name], atol=1e-4, rtol=1e-4)
    # the projection's norm is folded into it: its gradients must come out the same (in our order of patch vectors)
    fold = theirs["to_patch_embedding.to_patch_tokens.1.weight"].reshape(16, 16, 15).permute(2, 0, 1).flatten()
    torch.testing.assert_close(ours.stem.norm.weight.grad, fold, atol=1e-4, rtol=1e-4)
    bias = theirs["to_patch_embedding.to_patch_tokens.1.bias"].reshape(16, 16, 15).permute(2, 0, 1).flatten()
    torch.testing.assert_close(ours.stem.norm.bias.grad, bias, atol=1e-4, rtol=1e-4)


def test_paper_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = ViTIQA(trunk={"size": "paper"})
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(54.6e6, abs=0.05e6)


def test_shifts_along_the_axes_are_vit_pytorchs():
    x = torch.arange(3 * 32 * 32, dtype=torch.float32).reshape(1, 3, 32, 32)
    theirs = SPT(dim=8, patch_size=16).to_patch_tokens[0]
    shifted = torch.cat([x, *(F.pad(x, s) for s in ((1, -1, 0, 0), (-1, 1, 0, 0), (0, 0, 1, -1), (0, 0, -1, 1)))], 1)
    expected = theirs(shifted).reshape(1, 4, 16, 16, 15).permute(0, 1, 4, 2, 3).flatten(2)
    assert torch.equal(ShiftedPatchTokens(8, 16).patches(x), expected)


def test_diagonal_shifts_move_by_half_a_patch():
    x = torch.zeros(1, 3, 32, 32)
    x[..., 15, 15] = 1  # last pixel of the first patch
    patches = ShiftedPatchTokens(8, 16, "diagonal").patches(x).reshape(4, 5, 3, 16, 16)
    places = {tuple(i.tolist()) for i in patches[:, :, 0].nonzero()}
    assert places == {(0, 0, 15, 15), (3, 1, 7, 7), (2, 2, 7, 7), (1, 3, 7, 7), (0, 4, 7, 7)}


def test_no_token_attends_to_itself_and_rows_sum_to_one():
    model = ViTIQA(image_size=64, trunk={"size": "tiny"}).eval()
    _, attention = model.attention(torch.randn(2, 3, 64, 64))
    assert attention.shape == (2, 4, 4, 17, 17) and attention.dtype == torch.float32
    assert (attention.diagonal(dim1=-2, dim2=-1) == 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 4, 4, 17))


def test_half_precision_stays_near_float32_in_outputs_and_gradients():
    _, model = peer_and_ours()
    x, gradients = torch.randn(4, 3, 64, 64), []
    exact = model(x)
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = model(x)
        logits.float().log_softmax(1)[:, 0].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(logits.float(), exact, atol=0.05, rtol=0.05)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention = model.attention(x)[1]
    assert attention.dtype == torch.float32 and (attention.diagonal(dim1=-2, dim2=-1) == 0).all()


def test_last_block_for_cls_alone_gives_the_same_first_token():
    model = ViTIQA(image_size=64, trunk={"size": "tiny"}).eval()
    x = model.trunk.begin(model.stem(torch.randn(2, 3, 64, 64)), None)
    torch.testing.assert_close(model.trunk.transformer.first(x), model.trunk.transformer(x)[:, :1], atol=1e-5, rtol=0)


def test_positions_are_the_learned_ones_at_the_trained_size_and_interpolated_elsewhere():
    model = ViTIQA(image_size=64, trunk={"size": "tiny"}).eval()
    assert torch.equal(model.trunk.positions((4, 4)), model.trunk.pos_embedding)
    with torch.no_grad():
        model.trunk.pos_embedding[:, 1:] = 3.0
    other = model.trunk.positions((3, 7))
    assert other.shape == (1, 22, 128)
    torch.testing.assert_close(other[:, 1:], torch.full((1, 21, 128), 3.0))
    x = torch.randn(1, 3, 48, 112)
    assert model.grid(x) == (3, 7) and model(x).shape == (1, 5)


def test_trunk_alone_gives_the_same_as_the_whole():
    model = ViTIQA(image_size=64, trunk={"size": "tiny"}).eval()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.trunk(model.stem(x)), model(x))
    with pytest.raises(InputError, match="17 tokens"):
        model.trunk(torch.randn(1, 17, 128))


def test_scores_and_token_dropout_in_training():
    model = ViTIQA(image_size=32, trunk={"size": "tiny", "dropout": 0.2}, head={"n_classes": 1})
    assert model(torch.randn(2, 3, 32, 32)).shape == (2,)


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"trunk": {"size": "huge"}}, "tiny, small, paper"),
        ({"trunk": {"size": None, "dim": 8}}, "depth, heads"),
        ({"trunk": {"pool": "max"}}, "cls, mean"),
        ({"head": {"name": "x"}}, "head: name is 'x'"),
        ({"head": "ordinal"}, "head is 'ordinal', expected a mapping of some of name, n_classes"),
        ({"image_size": 250}, "patch_size"),
        ({"stem": {"shift": "x"}}, "axes"),
        ({"stem": {"colour": 1}}, "colour.*expected a mapping of some of name, patch_size"),
        ({"colour": 1}, "unknown argument colour"),
        ({"stem": {"name": "no_such_net"}}, "no_such_net"),
        (
            {"stem": {"name": "spectrum+alexnet", "taps": {"vgg11": [1]}}, "pretrained": False},
            "taps: a name is 'vgg11'",
        ),
    ],
)
def test_wrong_arguments_are_named(kwargs, word):
    with pytest.raises(InputError, match=word) as error:
        models.create("vit_iqa", **kwargs)
    assert "\n" not in str(error.value)


def test_unknown_model_is_named():
    with pytest.raises(InputError, match="vit_iqa"):
        models.create("vgg_iqa")
    assert "vit_iqa" in models.names()


def test_tokens_lose_the_contrast_of_a_patch_unless_they_are_told():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 32, 32)
    for contrast in (False, True):
        stem = ShiftedPatchTokens(8, 16, "diagonal", contrast)
        same = torch.allclose(stem(x), stem(4 * x), atol=1e-4)
        assert same is not contrast
    blank = stem(torch.zeros(1, 3, 32, 32))
    assert blank.isfinite().all()
