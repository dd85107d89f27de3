from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.training.batches import ArrayBatches, FirstBatches, ImageBatches, StreamBatches, Viewing


def gathered(batches, epoch):
    inputs, targets = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(inputs), torch.cat(targets)


@pytest.mark.parametrize("as_array", [torch.as_tensor, np.asarray])
def test_array_batches_cover_all_rows_in_an_order_of_seed_and_epoch(as_array):
    rows = as_array(np.arange(10, dtype=np.float32)[:, None])
    batches = ArrayBatches(rows, torch.arange(10), batch_size=4, seed=3)
    first, again, second = gathered(batches, 0), gathered(batches, 0), gathered(batches, 1)
    assert len(batches) == 3 == len(list(batches.epoch(0)))
    assert sorted(first[1].tolist()) == list(range(10)) and torch.equal(first[0][:, 0], first[1].float())
    assert torch.equal(first[1], again[1]) and not torch.equal(first[1], second[1])
    assert gathered(ArrayBatches(rows, torch.arange(10), shuffle=False), 5)[1].tolist() == list(range(10))


def test_transform_draws_from_its_own_generator():
    def noisy(x, generator):
        return x + torch.randn(x.shape, generator=generator)

    batches = ArrayBatches(torch.zeros(8, 2), torch.arange(8), 4, transform=noisy)
    assert torch.equal(gathered(batches, 1)[0], gathered(batches, 1)[0])
    assert not torch.equal(gathered(batches, 1)[0], gathered(batches, 2)[0])


class FakeCache:
    """Four images of one gray value each."""

    def __getitem__(self, indices):
        return np.stack([np.full((8, 8, 3), 10 * i, dtype=np.uint8) for i in indices])


def test_image_batches():
    targets = torch.tensor([1.0, 2.0, 3.0])
    viewing = Viewing(4, mean=(0, 0, 0), std=(1, 1, 1))
    train = ImageBatches(FakeCache(), [3, 1, 2], targets, viewing, 2, device="cpu")
    x, y = gathered(train, 0)
    assert x.shape == (3, 3, 4, 4) and x.dtype == torch.float32
    value = {1.0: 30, 2.0: 10, 3.0: 20}
    torch.testing.assert_close(x[:, 0, 0, 0] * 255, torch.tensor([float(value[t]) for t in y.tolist()]))
    val = ImageBatches(FakeCache(), [3, 1, 2], targets, Viewing(4, 2), 2, train=False, device="cpu")
    x, y = gathered(val, 7)
    assert x.shape == (12, 3, 4, 4) and y.tolist() == [1.0] * 4 + [2.0] * 4 + [3.0] * 4
    whole = ImageBatches(FakeCache(), [0], targets[:1], Viewing(None), train=False, device="cpu")
    assert gathered(whole, 0)[0].shape == (1, 3, 8, 8)


def test_stream_batches():
    class Stream:
        seed, key = 0, "crops"

        def batch(self, n, step):
            return torch.full((n, 3, 4, 4), step, dtype=torch.uint8), torch.full((n,), 1 + step % 5)

    batches = StreamBatches(Stream(), 2, steps=3, mean=(0, 0, 0), std=(1, 1, 1), device="cpu")
    x, y = gathered(batches, 2)
    assert (x[:, 0, 0, 0] * 255).round().tolist() == [6, 6, 7, 7, 8, 8]
    assert y.argmax(1).tolist() == [1, 1, 2, 2, 3, 3]
    fixed = StreamBatches(Stream(), 2, steps=3, fixed=True, device="cpu")
    assert torch.equal(gathered(fixed, 0)[0], gathered(fixed, 9)[0])


def test_signatures_tell_batches_apart():
    x = torch.zeros(4, 1)
    one, same, other = (ArrayBatches(x, torch.tensor(t)) for t in ([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 5]))
    assert one.signature() == same.signature() != other.signature()
    stream = SimpleNamespace(seed=0, key="crops of 256")
    assert StreamBatches(stream).signature() != StreamBatches(SimpleNamespace(seed=0, key="of 224")).signature()


def test_wrong_lengths_are_refused():
    with pytest.raises(InputError, match="4 inputs and 3 targets"):
        ArrayBatches(torch.zeros(4, 1), torch.zeros(3))
    with pytest.raises(InputError, match="batch_size is 0"):
        ArrayBatches(torch.zeros(4, 1), torch.zeros(4), batch_size=0)


def test_the_first_batches_of_each_epoch_are_others_in_each():
    every = ArrayBatches(torch.arange(40.0)[:, None], torch.arange(40.0), 4, seed=1)
    first = FirstBatches(every, 3)
    assert len(first) == 3 and first.signature() != every.signature()
    epochs = [torch.cat([targets for _, targets in first.epoch(number)]) for number in (0, 1)]
    assert all(len(targets) == 12 == len(targets.unique()) for targets in epochs)
    assert set(epochs[0].tolist()) != set(epochs[1].tolist())
    with pytest.raises(InputError, match="steps is 11, expected 1 to 10"):
        FirstBatches(every, 11)
