import matplotlib.text
import numpy as np
import pytest
import torch

from iqasuite.evaluation.uncertainty import content_weights, holm, least_p
from iqasuite.models.mobile_nr import Separable
from iqasuite.models.shifted_patches import ShiftedPatchTokens
from iqasuite.report import figures
from iqasuite.report.figures.method import _shifted
from iqasuite.report.figures.style import BLUE, GRAY


def texts(fig):
    fig.canvas.draw()
    return [text.get_text() for text in fig.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.mark.parametrize("shift", ["axes", "diagonal"])
def test_the_copies_are_those_that_the_network_sees(shift):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    stem = ShiftedPatchTokens(8, 16, shift)
    fig = figures.shifted_patches(image, 16, stem.shifts, (1, 2))
    patches = stem.patches(torch.from_numpy(image).permute(2, 0, 1)[None].float())[0].view(2, 3, 5, 3, 16, 16)
    for number, (down, right) in enumerate(stem.shifts):
        part = _shifted(image, down, right)[16:, 32:]
        np.testing.assert_array_equal(patches[1, 2, number].permute(1, 2, 0).numpy(), part)
        np.testing.assert_array_equal(fig.axes[5 + number].images[0].get_array(), part)


def test_attention_weights_have_their_numbers():
    fig = figures.attention_weights({"plain": np.full((4, 4), 0.25), "without itself": (1 - np.eye(4)) / 3})
    texts = [text.get_text() for text in fig.axes[1].texts]
    assert texts.count("0.00") == 4 and texts.count("0.33") == 12
    assert fig.axes[-1].get_ylabel() == "attention weight"


def test_whole_numbers_are_shown_as_such_and_need_no_common_scale():
    fig = figures.small_matrices(
        {"counts": np.array([[4, 1], [0, 12]]), "chance": np.array([[1.5, 2]])}, "vote", "said"
    )
    assert [text.get_text() for text in fig.axes[0].texts] == ["4", "1", "0", "12"]
    assert [text.get_text() for text in fig.axes[1].texts] == ["1.50", "2.00"]
    assert len(fig.axes) == 2 and fig.axes[0].get_ylabel() == "vote"


def test_curves_have_a_legend_and_whole_numbers_on_the_axis():
    votes = np.arange(1, 6)
    curves = {"σ = 0": (votes, votes == 3), "baseline: even": (votes, np.full(5, 0.2))}
    fig = figures.example_curves(curves, "vote", "share", "title", {"dots": (votes, votes / 5)}, (0 * votes, votes / 5))
    assert [line.get_color() for line in fig.axes[0].get_lines()] == [BLUE, GRAY]
    shown = texts(fig)
    assert {"σ = 0", "baseline: even", "dots", "title"} <= set(shown) and "1.5" not in shown


def test_draws_are_those_of_the_intervals():
    contents = ["a", "b", "c", "d"]
    drawn = content_weights(contents, 10, seed=3)
    fig = figures.bootstrap_draws(drawn, contents, drawn.mean(1), 0.5, "accuracy")
    numbers = [int(text.get_text()) for text in fig.axes[0].texts]
    np.testing.assert_array_equal(np.reshape(numbers, (10, 4)), drawn)
    assert (drawn.sum(1) == 4).all() and fig.axes[1].get_xlabel() == "accuracy"


def test_holms_factors_and_what_is_raised():
    p = [0.012, 0.034, 0.020]
    fig = figures.holm_steps(p, holm(p), ["first", "last", "middle"])
    shown = " ".join(texts(fig))
    assert "× 3" in shown and "× 1 would be below the one before" in shown
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["first", "middle", "last"]


@pytest.mark.parametrize("n", [1, 3, 6])
def test_a_test_by_signs_is_bounded_as_the_suites_test_is(n):
    fig = figures.sign_patterns(np.linspace(0.01, 0.02, n), "SROCC")
    assert f"2 of {2**n} patterns: p = {least_p(n):.3g}" in texts(fig)


def test_a_network_is_unrolled_over_any_number_of_patches():
    fig = figures.unrolled_network([0.0, 1.0], [0.1, 0.9], [0.8, 0.7], [0.25, 0.75])
    shown = texts(fig)
    assert "0.75" in shown and any("(0.70, 0.72)" in text for text in shown)  # the weighted means


def test_the_receptive_field_is_what_moves_an_output():
    layers = [(3, 2), (3, 1), (5, 2)]
    fig = figures.receptive_field(layers)
    convolutions = [torch.nn.Conv1d(1, 1, size, stride, size // 2, bias=False) for size, stride in layers]
    network = torch.nn.Sequential(*convolutions)
    signal = torch.zeros(1, 1, 101, requires_grad=True)
    out = network(signal)
    out[0, 0, out.shape[2] // 2].backward()
    seen = int((signal.grad != 0).sum())
    assert seen == 15 and f"sees {seen} × {seen} pixels" in " ".join(texts(fig))


def test_weights_are_counted_as_the_networks_layer_has_them():
    layer = Separable(4, 4, 1)
    counts = [layer.depthwise.weight.numel(), layer.pointwise.weight.numel()]
    assert counts == [36, 16]
    titles = [ax.get_title() for ax in figures.convolutions_counted(4, 3).axes]
    assert titles == ["convolution: 144", f"depthwise: {counts[0]}", f"pointwise: {counts[1]}"]
