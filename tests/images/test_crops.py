import pytest
import torch

from iqasuite.errors import InputError
from iqasuite.images.crops import grid_crops, normalise, random_crops
from iqasuite.pixel_values import IMAGENET_MEAN, IMAGENET_STD


def coordinates(count: int, height: int, width: int) -> torch.Tensor:
    """Images whose channels tell row, column and number of each pixel."""
    rows = torch.arange(height)[:, None].expand(height, width)
    columns = torch.arange(width)[None].expand(height, width)
    return torch.stack([torch.stack([rows, columns, torch.full_like(rows, i)]) for i in range(count)]).to(torch.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_random_crops_are_windows_of_their_own_image():
    x = coordinates(200, 20, 30)
    crops = random_crops(x, 12, seeded())
    assert crops.shape == (200, 3, 12, 12) and crops.dtype == torch.uint8
    assert (crops[:, 2] == torch.arange(200)[:, None, None]).all()
    steps = crops[:, 1].int().diff(dim=-1)
    mirrored = steps[:, 0, 0] < 0
    assert (crops[:, 0].int().diff(dim=1) == 1).all() and (steps == torch.where(mirrored, -1, 1)[:, None, None]).all()
    assert 70 < mirrored.sum() < 130
    assert set(crops[:, 0, 0, 0].tolist()) == set(range(9)) and crops[:, 1].amin((1, 2)).unique().numel() == 19


def test_random_crops_repeat_with_the_generator():
    x = coordinates(50, 20, 30)
    assert torch.equal(random_crops(x, 12, seeded(1)), random_crops(x, 12, seeded(1)))
    assert not torch.equal(random_crops(x, 12, seeded(1)), random_crops(x, 12, seeded(2)))
    assert (random_crops(x, 12, seeded(), flip=False)[:, 1].int().diff(dim=-1) == 1).all()
    nhwc = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as a cache's batch comes
    assert torch.equal(random_crops(nhwc, 12, seeded(1)), random_crops(x, 12, seeded(1)))


def test_crop_as_large_as_the_image():
    x = coordinates(3, 16, 16)
    assert torch.equal(random_crops(x, 16, seeded(), flip=False), x)
    assert torch.equal(grid_crops(x, 16, 2), x[:, None].expand(3, 4, 3, 16, 16))


def test_grid_runs_from_border_to_border():
    crops = grid_crops(coordinates(2, 20, 31), 10, 3)
    assert crops.shape == (2, 9, 3, 10, 10)
    assert crops[0, :, 0, 0, 0].tolist() == [0, 0, 0, 5, 5, 5, 10, 10, 10]
    assert crops[1, :, 1, 0, 0].tolist() == [0, 10, 21] * 3 and (crops[1, :, 2] == 1).all()
    assert grid_crops(coordinates(1, 20, 30), 10, 1)[0, 0, :2, 0, 0].tolist() == [5, 10]


def test_wrong_shapes():
    for x, size in ((coordinates(1, 20, 10), 11), (coordinates(1, 8, 8), 0), (torch.zeros(3, 8, 8), 4)):
        with pytest.raises(InputError, match="expected"):
            random_crops(x, size, seeded())
    with pytest.raises(InputError, match="n_per_side=0"):
        grid_crops(coordinates(1, 8, 8), 4, 0)


def test_normalise():
    x = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(1, 3, 1, 1)
    value = normalise(x, IMAGENET_MEAN, IMAGENET_STD)
    expected = [(v - m) / s for v, m, s in zip([0, 1, 0.2], IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    assert value.dtype == torch.float32 and torch.allclose(value.flatten(), torch.tensor(expected))
    crops = x.expand(2, 5, 3, 4, 4)
    assert normalise(crops, torch.zeros(3), torch.ones(3)).shape == (2, 5, 3, 4, 4)
    assert x.flatten().tolist() == [0, 255, 51]
