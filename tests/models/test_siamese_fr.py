import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.models import create
from iqasuite.models.sequence import n_parameters
from iqasuite.models.siamese_fr import VARIANTS, ConvLSTM, SiameseFR, tiled, untiled

SMALL = {"width": 0.25, "grid": 4, "dense": 8}


def network(variant, seed=0, **arguments):
    torch.manual_seed(seed)
    return SiameseFR(variant, **SMALL | arguments).eval()


def pair(n=2, height=128, width=128, noise=0.3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(n, 3, height, width, generator=generator) * 2 - 1
    distorted = reference + noise * torch.randn(reference.shape, generator=generator)
    return reference, distorted.clamp(-1, 1)


@pytest.mark.parametrize(
    ("variant", "full", "small"),
    [
        ("simple", 839_039, 21_785),
        ("bn", 1_504_351, 32_377),
        ("attention", 528_367, 18_085),
        ("tiled", 373_902, 41_436),
    ],
)
def test_parameters_are_as_the_docstring_says(variant, full, small):
    with torch.device("meta"):
        assert n_parameters(SiameseFR(variant)) == full
        assert n_parameters(SiameseFR(variant, width=0.25, grid=9)) == small
    for number in (full, small):
        assert f"{number:,}" in SiameseFR.__doc__


def test_simple_has_the_parameters_that_its_layers_have_by_hand():
    convolutions = [(3, 3, 5), (3, 8, 5), (8, 16, 5), (16, 32, 3), (32, 64, 3)]  # encoder
    convolutions += [(64, 64, 3), (128, 64, 3), (96, 32, 3), (48, 16, 3), (24, 8, 3), (8, 16, 3)]
    expected = sum(inputs * outputs * kernel**2 + outputs for inputs, outputs, kernel in convolutions)
    expected += (36 * 36 * 16 + 1) * 32 + 33 + 2
    with torch.device("meta"):
        assert n_parameters(SiameseFR("simple")) == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_map_before_the_dense_layers_is_the_study_s_at_288(variant):
    seen = []
    with torch.device("meta"):
        model = SiameseFR(variant).eval()
        model.attend.register_forward_hook(lambda module, given, made: seen.append(made.shape))
        scores = model(torch.empty(1, 3, 288, 288), torch.empty(1, 3, 288, 288))
    grid, channels = VARIANTS[variant].grid, {"simple": 16, "attention": 8}.get(variant, 32)
    assert seen == [(1, channels, grid, grid)] and scores.shape == (1,)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(128, 128), (131, 150), (128, 257)])
def test_any_size_from_128_is_scored_and_compared(variant, size):
    model, (reference, distorted) = network(variant), pair(2, *size)
    assert model(reference, distorted).shape == (2,)
    maps = model.differences(reference, distorted)
    assert [tuple(m.shape[1:]) for m in maps] == [(size[0] >> i, size[1] >> i) for i in range(4)]
    assert all((m >= 0).all() and m.max() > 0 for m in maps)
    error = model.error_map(reference, distorted)
    assert error.shape == (2, *size) and error.dtype == torch.float32 and torch.isfinite(error).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [False, True])
def test_an_identical_pair_has_no_difference_at_all(variant, training):
    model, (reference, _) = network(variant).train(training), pair(3, 128, 140)
    for images in (reference, reference.to(memory_format=torch.channels_last)):
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                assert all((m == 0).all() for m in model.differences(images, images.clone()))
                assert (model.error_map(images, images.clone()) == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_differences_lie_where_the_images_differ(variant):
    model, (reference, _) = network(variant), pair(1)
    distorted = reference.clone()
    distorted[:, :, 70:84, 12:26] = 0.9  # within one tile, the ninth
    error = model.error_map(reference, distorted)[0]
    inside = error[64:96, 0:40].sum() / error.sum()
    assert inside > 0.6
    finest = model.differences(reference, distorted)[0][0]
    far = torch.ones_like(finest, dtype=torch.bool)
    far[60:94, 2:36] = False
    assert (finest[far] == 0).all() and finest.max() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_order_of_the_pair_matters_and_neighbours_in_the_batch_do_not(variant):
    model, (reference, distorted) = network(variant).double(), pair(3)
    reference, distorted = reference.double(), distorted.double()
    scores = model(reference, distorted)
    assert (scores - model(distorted, reference)).abs().min() > 1e-6  # the bottleneck sees the second only
    alone = torch.cat([model(reference[i : i + 1], distorted[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(scores, alone, atol=1e-5, rtol=0)
    assert scores.std() > 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_constant_images_give_no_nan(variant, value):
    model = network(variant).train()
    plain = torch.full((2, 3, 128, 128), value, requires_grad=True)
    for other in (plain.detach().clone(), -plain.detach()):
        score = model(plain, other)
        score.sum().backward()
        assert torch.isfinite(score).all() and torch.isfinite(plain.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        assert torch.isfinite(model.error_map(plain, other)).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_and_channels_last_agree_with_float32(variant):
    model, images = network(variant), pair(4)
    expected = model(*images)
    last = model.to(memory_format=torch.channels_last)
    images = [x.to(memory_format=torch.channels_last) for x in images]
    torch.testing.assert_close(last(*images), expected, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        scores = last(*images)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, atol=0.05, rtol=0)
    scores.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_how_much_noise_there_is(variant):
    torch.manual_seed(2)
    strength = torch.linspace(0.02, 1.0, 4)
    reference, _ = pair(4)
    distorted = (reference + strength[:, None, None, None] * torch.randn(reference.shape)).clamp(-1, 1)
    target = (0.5 - strength) * 3
    model = network(variant).train()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = (model(reference, distorted) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert losses[-1] < 0.6 * losses[0]


def test_scores_are_on_the_scale_of_the_targets():
    model, images = network("simple"), pair()
    standardised = model(*images)
    model.dense.mean.fill_(1449.05)
    model.dense.std.fill_(121.35)
    torch.testing.assert_close(model(*images), 1449.05 + 121.35 * standardised)
    bounded = SiameseFR("simple", **SMALL).dense
    assert bounded.weight + bounded.bias == 2 and bounded.bias == -2  # sigmoid at 1 and 0
    assert model.mean.tolist() == model.std.tolist() == [0.5] * 3


def test_tiles_are_read_row_by_row_and_go_back():
    image = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    tiles = tiled(image)
    assert tiles.shape == (2, 16, 3, 2, 3)
    assert torch.equal(tiles[1, 6], image[1, :, 2:4, 6:9])
    assert torch.equal(untiled(tiles), image)
    odd = image[:, :, :7, :9]
    assert torch.equal(untiled(tiled(odd))[:, :, :7, :9], odd)


def test_conv_lstm_of_one_pixel_is_an_lstm():
    torch.manual_seed(0)
    memory, peer = ConvLSTM(3, 5), torch.nn.LSTM(3, 5, batch_first=True)
    with torch.no_grad():  # of a kernel on a single pixel only the middle counts; torch has the same order of gates
        peer.weight_ih_l0.copy_(memory.from_input.weight[:, :, 2, 2])
        peer.weight_hh_l0.copy_(memory.from_state.weight[:, :, 2, 2])
        peer.bias_ih_l0.copy_(memory.from_input.bias)
        peer.bias_hh_l0.zero_()
    x = torch.randn(4, 16, 3)
    torch.testing.assert_close(memory(x[..., None, None])[..., 0, 0], peer(x)[1][0][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "fancy"}, "variant is 'fancy', expected one of simple, bn, attention, tiled"),
        ({"width": 0}, "width is 0, expected more than 0"),
        ({"grid": 0}, "grid is 0, expected more than 0"),
        ({"dense": -1}, "dense is -1, expected more than 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=f"siamese_fr: {message}"):
        SiameseFR(**arguments)


def test_bad_pairs_are_named():
    model, (reference, distorted) = network("simple"), pair(2, 130, 128)
    for wrong in (distorted[:1], distorted[..., 1:], distorted[:, :1]):
        with pytest.raises(InputError, match=r"siamese_fr: reference .*, distorted .*; expected the same"):
            model(reference, wrong)
    with pytest.raises(InputError, match="siamese_fr: images of 128×127 pixels; expected 128 or more on each side"):
        model(reference[:, :, 3:], distorted[:, :, 3:])
    with pytest.raises(InputError, match="expected the same"):
        model.error_map(reference, distorted[..., 1:])


def test_the_registry_names_it():
    assert isinstance(create("siamese_fr"), SiameseFR)
