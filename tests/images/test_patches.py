import numpy as np
import pytest
from PIL import Image

from iqasuite.errors import InputError
from iqasuite.images.patches import ORDERS, PatchGenerator, cut, padded, patch_boxes, patch_grid, scan_order

GRIDS = [(1, 1), (1, 7), (7, 1), (2, 3), (3, 3), (5, 4), (4, 8), (7, 5)]


@pytest.mark.parametrize(("overlap", "grid"), [(0.0, (2, 3)), (0.5, (3, 4))])
def test_grid_of_the_published_setting(overlap, grid):
    boxes = patch_boxes(384, 512, 224, overlap)
    assert patch_grid(384, 512, 224, overlap) == grid and len(boxes) == grid[0] * grid[1]
    assert boxes[0].tolist() == [0, 0, 224, 224] and boxes[-1].tolist() == [160, 288, 384, 512]


@pytest.mark.parametrize("shape", [(50, 37), (16, 16), (17, 40), (16, 5), (9, 90), (1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_every_pixel_is_in_a_patch(shape, overlap):
    seen = np.zeros(shape, bool)
    boxes = patch_boxes(*shape, 16, overlap)
    for top, left, bottom, right in boxes:
        assert (bottom - top, right - left) == (min(16, shape[0]), min(16, shape[1]))
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert len(np.unique(boxes, axis=0)) == len(boxes) == np.prod(patch_grid(*shape, 16, overlap))


def test_patches_are_the_pixels_of_their_boxes():
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    boxes = patch_boxes(40, 50, (16, 24), 0.25)
    patches = cut(image, boxes, (16, 24))
    assert patches.shape == (len(boxes), 16, 24, 3)
    for patch, (top, left, bottom, right) in zip(patches, boxes, strict=True):
        assert np.array_equal(patch, image[top:bottom, left:right])


@pytest.mark.parametrize("shape", [(6, 40, 3), (40, 6, 3), (6, 6, 3), (1, 1, 3), (3, 100, 3)])
def test_smaller_images_are_reflected_around_themselves(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    patches = cut(image, patch_boxes(*shape[:2], 16, 0.5), 16)
    assert patches.shape[1:] == (16, 16, 3)
    whole, top, left = padded(image, 16), max(0, 16 - shape[0]) // 2, max(0, 16 - shape[1]) // 2
    assert np.array_equal(whole[top : top + shape[0], left : left + shape[1]], image)
    if 1 < shape[0] < 16:
        assert np.array_equal(whole[top - 1, left : left + shape[1]], image[1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("grid", GRIDS)
def test_every_cell_is_read_once(order, grid):
    assert sorted(scan_order(*grid, order)) == list(range(grid[0] * grid[1]))


@pytest.mark.parametrize(
    ("order", "grids"), [("snake", GRIDS), ("spiral", GRIDS), ("hilbert", [(2, 2), (8, 8), (16, 16)])]
)
def test_successive_cells_are_neighbours(order, grids):
    for rows, columns in grids:
        row, column = np.divmod(scan_order(rows, columns, order), columns)
        assert np.all(np.abs(np.diff(row)) + np.abs(np.diff(column)) == 1)


def test_orders_by_hand():
    assert scan_order(2, 3, "raster").tolist() == [0, 1, 2, 3, 4, 5]
    assert scan_order(3, 2, "snake").tolist() == [0, 1, 3, 2, 4, 5]
    assert scan_order(3, 3, "spiral").tolist() == [0, 1, 2, 5, 8, 7, 6, 3, 4]
    assert scan_order(2, 2, "hilbert").tolist() == [0, 1, 3, 2]


def test_hilbert_keeps_neighbours_nearer_than_raster():
    def distance(order):  # mean distance in the sequence of cells that are neighbours in a column or row
        place = np.argsort(scan_order(16, 16, order)).reshape(16, 16)
        return np.median(np.concatenate([np.abs(np.diff(place, axis=a)).ravel() for a in (0, 1)]))

    assert distance("hilbert") < distance("raster")


def test_generator_gives_patches_and_names(tmp_path):
    names, rng = [f"{i}.png" for i in range(5)], np.random.default_rng(0)
    for i, name in enumerate(names):
        Image.fromarray(rng.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    generator = PatchGenerator(names, overlapping=0.5, db_path=tmp_path, dim=(16, 16), part="test", base=None)
    given = list(generator)
    assert [name for _, name in given] == names and len(generator) == 5
    assert all(patches.shape == (6, 16, 16, 3) and patches.dtype == np.uint8 for patches, _ in given)
    training = PatchGenerator(names, 0, tmp_path, (16, 16), "train", base=lambda patches: patches.mean((1, 2)))
    first, second = [[name for _, name in training] for _ in range(2)]
    assert first != second and sorted(first) == sorted(second) == names
    assert next(iter(training))[0].shape[1:] == (3,)


@pytest.mark.parametrize("given", [(10, 10, 0, 0.5), (10, 10, 4, 1.0), (10, 10, 4, -0.1), (0, 10, 4, 0.5)])
def test_impossible_patches_are_refused(given):
    with pytest.raises(InputError, match="expected"):
        patch_boxes(*given)


def test_unknown_order_is_named():
    with pytest.raises(InputError, match="zigzag"):
        scan_order(3, 3, "zigzag")
    with pytest.raises(InputError, match="0×3"):
        scan_order(0, 3)
