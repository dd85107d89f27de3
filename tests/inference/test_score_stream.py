"""Pictures on their way through a network: order, errors, sameness, a bounded number in memory."""

import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from iqasuite import models
from iqasuite.errors import InputError
from iqasuite.images.read_ahead import futures_ahead, read_ahead
from iqasuite.inference.predictor import Predictor
from iqasuite.inference.stream import predicted, predicted_by
from iqasuite.weights.catalogue import find
from iqasuite.weights.files import save_weights


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.create("mobile_nr", width=0.25)
    scale = {"name": "continuous", "low": 0, "high": 100}
    save_weights(network, folder / "small.safetensors", {"scale": scale, "preprocessing": {"shorter_side": 64}})
    return Predictor(find(folder / "small.safetensors"), "float32")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Nine pictures of three shapes; the fourth is broken, the sixth too small, the eighth not there."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    shapes = [(70, 90), (90, 70), (64, 64)]
    for number in range(9):
        image = rng.integers(0, 256, (*shapes[number % 3], 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes((folder / "0.png").read_bytes()[:300])
    Image.new("RGB", (5, 5)).save(folder / "5.png")
    (folder / "7.png").unlink()
    return [folder / f"{number}.png" for number in range(9)]


def test_order_and_errors(predictor, pictures):
    found = list(predicted(predictor, pictures, batch_size=2))
    assert [path for path, _ in found] == pictures
    errors = {path.name: said for path, said in found if isinstance(said, str)}
    assert list(errors) == ["3.png", "5.png", "7.png"]
    assert all(str(pictures[int(name[0])]) in said and "\n" not in said for name, said in errors.items())
    assert "truncated" in errors["3.png"] and "5×5" in errors["5.png"] and "no such file" in errors["7.png"]


def test_one_by_one_is_batched_and_again_is_the_same(predictor, pictures):
    good = [path for path in pictures if path.stem not in "357"]
    once = [said.score for _, said in predicted(predictor, good * 3, batch_size=4)]
    again = [said.score for _, said in predicted(predictor, good * 3, batch_size=4, workers=1)]
    alone = [said.score for _, said in predicted(predictor, good * 3, batch_size=1)]
    assert once == again
    if predictor.device.type == "cpu":
        assert once == alone
    np.testing.assert_allclose(once, alone, atol=1e-5 * 100)  # of a scale from 0 to 100
    assert len(set(alone)) == len(good)


def test_what_a_predictor_saw_comes_along(predictor, pictures):
    ((_path, [(said, seen)]),) = predicted_by(
        [predictor], pictures[:1], lambda p: np.asarray(Image.open(p).convert("RGB"))
    )
    assert seen.shape == (64, 82, 3) and predictor.predict([seen])[0].score == said.score


def test_a_score_that_is_no_number_is_an_error(predictor, pictures, monkeypatch):
    real = predictor.predict(np.zeros((1, 64, 64, 3), np.uint8))[0]
    nothing = type(real)(float("nan"), float("nan"), "", None)
    monkeypatch.setattr(predictor, "predict", lambda images, *_: [nothing] * len(images))
    assert "the score is nan" in next(predicted(predictor, pictures))[1]


def test_few_are_in_memory_and_few_are_taken():
    """However many items there are: those read and not taken, and those taken from the source."""
    taken, held, most, lock = [0], set(), [0], threading.Lock()

    def source():
        for number in range(500):
            taken[0] += 1
            yield number

    def read(number):
        with lock:
            held.add(number)
            most[0] = max(most[0], len(held))
        return number

    for number, future in futures_ahead(read, source(), workers=4, ahead=12):
        assert number == future.result() and taken[0] <= number + 13
        held.discard(number)
        if number % 50 == 0:
            time.sleep(0.01)  # the readers would run away now
    assert taken[0] == 500 and most[0] <= 13


def test_few_pictures_are_in_memory_at_a_time(predictor, monkeypatch):
    read, given, batch = [0], [0], 2
    monkeypatch.setattr(predictor, "shown", lambda image: image)
    picture = np.zeros((64, 64, 3), np.uint8)

    def count(item):
        read[0] += 1
        return picture

    for _ in predicted_by([predictor], range(100), count, batch, workers=3):
        assert read[0] - given[0] <= 2 * 4 * batch + 1
        given[0] += 1
    assert given[0] == 100


def test_an_early_end_reads_no_more():
    begun = []
    stream = read_ahead(lambda number: begun.append(number) or time.sleep(0.005), range(10_000), workers=2, ahead=50)
    next(stream)
    stream.close()
    assert len(begun) < 60


def test_errors_of_the_source_are_not_swallowed():
    def source():
        yield 1
        raise InputError("the list is broken")

    with pytest.raises(InputError, match="broken"):
        list(read_ahead(lambda x: x, source(), workers=1, ahead=1))
    with pytest.raises(ZeroDivisionError):  # ours, not a picture's
        list(read_ahead(lambda x: 1 / x, [0], workers=1))


def test_sizes_that_are_none(predictor):
    for wrong in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(InputError, match="expected 1 or more"):
            next(predicted(predictor, [], **wrong))
