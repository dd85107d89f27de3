import pytest
import torch

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.models import sequence
from iqasuite.weights.files import load_weights, save_weights

DIM = 6
SMALL = {
    "birnn": {"hidden": 8, "dense": 12},
    "mean_pooling": {"width": 12},
    "attention_pooling": {"width": 12},
    "patch_transformer": {"width": 11, "heads": 2, "dim_head": 4},
}
KINDS = list(SMALL)


def network(kind, seed=0, **arguments):
    torch.manual_seed(seed)
    model = models.create(kind, dim=DIM, **SMALL[kind] | arguments).eval()
    model.standardise.fit(3 * torch.randn(50, DIM) + 1)
    model.dense.mean.fill_(60.0)
    model.dense.std.fill_(20.0)
    return model


def ragged(lengths=(5, 1, 8, 3), total=None, seed=1):
    """Features whose padding is no zero, so that anything that reads it shows."""
    generator = torch.Generator().manual_seed(seed)
    total = total or max(lengths)
    mask = torch.arange(total) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), total, DIM, generator=generator) + 5 * ~mask[..., None], mask


@pytest.mark.parametrize("kind", [*KINDS, "lstm"])
def test_padding_and_neighbours_in_the_batch_change_nothing(kind):
    model = network("birnn", cell="lstm") if kind == "lstm" else network(kind)
    (x, mask), score = ragged(), model.double()
    together, weights = score.attention(x.double(), mask)
    for i, n in enumerate(mask.sum(1)):
        alone, own = score.attention(x[i : i + 1, :n].double())
        torch.testing.assert_close(together[i], alone[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(weights[i, :n], own[0], atol=1e-6, rtol=0)
    longer = torch.cat([x, torch.full((4, 7, DIM), 99.0)], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(4, 7, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(score(longer.double(), longer_mask), together, atol=1e-6, rtol=0)
    assert together.std() > 0.01  # of scores that differ


@pytest.mark.parametrize("kind", KINDS)
def test_attention_sums_to_one_over_the_real_patches_and_patches_are_scored_alone(kind):
    model, (x, mask) = network(kind), ragged()
    scores, weights = model.attention(x, mask)
    assert weights.shape == mask.shape and (weights[~mask] == 0).all() and (weights[mask] > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert torch.equal(scores, model(x, mask)) and scores.shape == (4,)
    alone = sequence.patch_scores(model, x, mask)
    assert torch.equal(alone.isnan(), ~mask)
    torch.testing.assert_close(alone[2, 6], model(x[2:3, 6:7])[0])
    torch.testing.assert_close(alone[1, 0], scores[1])  # an image of one patch


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_reversed_sequences_mirror_the_states_of_a_network_whose_directions_are_exchanged(cell):
    model, other = network("birnn", cell=cell), network("birnn", cell=cell)
    state, hidden = model.rnn.state_dict(), model.rnn.hidden_size
    exchanged = {}
    for name, value in state.items():
        if name.startswith("weight_ih_l1"):  # reads both directions of the layer below
            value = value.roll(hidden, dims=1)
        exchanged[name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"] = value
    other.rnn.load_state_dict(exchanged)
    x, mask = ragged()
    reverse = x.clone()
    for row, n in zip(reverse, mask.sum(1), strict=True):
        row[:n] = row[:n].flip(0)
    forwards, backwards = model.states(x, mask), other.states(reverse, mask).roll(hidden, dims=2)
    for one, two, n in zip(forwards, backwards, mask.sum(1), strict=True):
        torch.testing.assert_close(one[:n], two[:n].flip(0), atol=1e-6, rtol=0)
    assert (forwards[0, :5] - model.states(reverse, mask)[0, :5].flip(0)).abs().max() > 0.01


@pytest.mark.parametrize(
    ("kind", "reads"),
    [("mean_pooling", False), ("attention_pooling", False), ("birnn", True), ("patch_transformer", True)],
)
def test_who_reads_the_order_of_the_patches(kind, reads):
    model, (x, _) = network(kind), ragged((8, 8))
    shuffled = x[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    assert torch.allclose(model(x), model(shuffled), atol=1e-4) != reads


def test_recurrent_layers_are_torchs_own_on_one_whole_sequence():
    model, (x, mask) = network("birnn"), ragged((7,))
    torch.testing.assert_close(model.states(x, mask), model.rnn(x)[0])


def test_the_studys_attention():
    torch.manual_seed(0)
    pool = sequence.TanhAttention(4, n_patches=3, sharpness=1.0)
    torch.nn.init.normal_(pool.bias)
    states, mask = 9 * torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    energy = torch.tanh((states * pool.weight.weight[0]).sum(2) + pool.bias)
    expected = energy.exp() / energy.exp().sum(1, keepdim=True)
    torch.testing.assert_close(pool(states, mask), expected)
    with pytest.raises(InputError, match="4 patches, expected 3"):
        pool(torch.randn(2, 4, 4), torch.ones(2, 4, dtype=torch.bool))
    model = network("birnn", n_patches=3, sharpness=1.0, relu=True)
    x = ragged((3, 3))[0]
    assert sequence.patch_scores(model, x).shape == (2, 3)
    model.dense.mean.fill_(-1e3)
    assert model(x).tolist() == [0, 0]


def test_bounded_attention_cannot_pick_out_a_patch():
    far = torch.zeros(1, 9, 1)
    far[:, 1:], mask = -1e3, torch.ones(1, 9, dtype=torch.bool)
    far[:, 0] = 1e3
    largest = {}
    for sharpness in (1.0, 5.0):
        pool = sequence.TanhAttention(1, sharpness=sharpness)
        torch.nn.init.ones_(pool.weight.weight)
        largest[sharpness] = pool(far, mask).max().item()
    assert largest[1.0] == pytest.approx(0.480, abs=5e-4) and largest[5.0] > 0.999


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("dim", [32, 512, 1280, 2048])
def test_equal_parameter_counts(kind, dim):
    with torch.device("meta"):
        wanted = sequence.n_parameters(sequence.BiRNN(dim))
        found = sequence.n_parameters(models.create(kind, dim=dim, width=sequence.matched_width(kind, dim)))
    assert abs(found / wanted - 1) < 0.02


def test_parameters_of_the_recurrent_network_by_hand():
    gru = sum(2 * 3 * 128 * (inputs + 128 + 2) for inputs in (1280, 256))
    dense = (256 + 1) * 512 + (512 + 1) * 512 + 512 + 1
    with torch.device("meta"):
        assert sequence.n_parameters(sequence.BiRNN(1280)) == gru + 256 + 1 + dense


def test_widths_that_do_not_match_are_refused():
    with pytest.raises(InputError, match="expected about 50"):
        sequence.matched_width("mean_pooling", 1280, 50)
    with pytest.raises(InputError, match="kind is 'birnn'"):
        sequence.matched_width("birnn", 1280)


def test_masks_with_gaps_and_unknown_cells_are_refused():
    x, mask = ragged()
    for wrong in (mask.flip(1), torch.zeros_like(mask)):
        with pytest.raises(InputError, match="real patches first"):
            network("birnn")(x, wrong)
    with pytest.raises(InputError, match="gru, lstm"):
        network("birnn", cell="elman")


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_with_scale_and_statistics(kind, tmp_path):
    model, (x, mask) = network(kind), ragged()
    loaded, card = load_weights(save_weights(model, tmp_path / "a.safetensors"))
    assert torch.equal(loaded(x, mask), model(x, mask)) and card.architecture == kind


def test_positions_are_the_papers():
    table = sequence.positions(4, 6)
    assert table[3, 2] == pytest.approx(torch.tensor(3 / 10_000 ** (2 / 6)).sin())
    assert table[3, 5] == pytest.approx(torch.tensor(3 / 10_000 ** (4 / 6)).cos())
    torch.testing.assert_close(sequence.positions(9, 6)[:4], table)
    assert sequence.positions(4, 5).shape == (4, 5)
