import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.models import create
from iqasuite.models.sequence import n_parameters
from iqasuite.models.sorter import ConvSorter, PairSorter, standardised
from iqasuite.weights.files import load_into, save_weights


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_parameters_of_the_study_and_of_another_width():
    convolutions = 24 + 400 + 2592 + 14_400 + 61_536 + 86_144 + 229_632
    assert n_parameters(ConvSorter()) == convolutions + 2 * 600 + 600 + 16 * (16 * 256 + 1) == 462_080
    assert n_parameters(ConvSorter(8)) == convolutions + 3 * 600 + 8 * (8 * 256 + 1)


@pytest.mark.parametrize("width", [2, 5, 16])
def test_every_output_sees_every_number(width):
    for model in (ConvSorter(width).eval(), PairSorter()):
        jacobian = torch.autograd.functional.jacobian(lambda x, model=model: model(x[None])[0], torch.randn(width))
        assert jacobian.shape == (width, width)
        # At width 2 a standardised vector is ±1 whatever the numbers.
        assert (jacobian != 0).all() or width == 2


def test_standardised_networks_know_no_scale_and_the_study_s_does():
    x = torch.randn(6, 16)
    for model in (ConvSorter().eval(), PairSorter()):
        torch.testing.assert_close(model(1300 + 20 * x), model(x), atol=1e-3, rtol=0)
    faithful = ConvSorter(standardise=False).eval()
    assert (faithful(20 * x) - faithful(x)).abs().max() > 1e-2
    torch.testing.assert_close(standardised(x).std(dim=1, correction=0), torch.ones(6), atol=1e-4, rtol=0)


def test_constant_vectors_have_finite_outputs_and_gradients():
    for model in (ConvSorter().eval(), PairSorter()):
        x = torch.full((2, 16), 3.0, requires_grad=True)
        model(x).square().sum().backward()
        assert x.grad.isfinite().all()


def test_pairs_are_sorted_in_any_order_and_width_with_ties():
    model, order = PairSorter(), torch.randperm(9)
    x = torch.randn(3, 9)
    torch.testing.assert_close(model(x)[:, order], model(x[:, order]))
    torch.testing.assert_close(model(torch.ones(2, 7)), torch.full((2, 7), 0.5))
    torch.testing.assert_close(model(x).sum(dim=1), torch.full((3,), 4.5))  # ranks of untied numbers have this sum too
    assert model(torch.ones(1, 1)).isfinite().all()


def test_vectors_of_another_width_are_refused():
    with pytest.raises(InputError, match=r"\(B, 16\)"):
        ConvSorter()(torch.zeros(2, 8))
    with pytest.raises(InputError, match="width is 1"):
        ConvSorter(1)


@pytest.mark.parametrize("name", ["conv_sorter", "pair_sorter"])
def test_weights_come_back(name, tmp_path):
    model, x = create(name).eval(), torch.randn(2, 16)
    path = save_weights(model, tmp_path / "sorter.safetensors")
    other = create(name).eval()
    assert not torch.equal(other(x), model(x))
    load_into(other, path)
    torch.testing.assert_close(other(x), model(x))
