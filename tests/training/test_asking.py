"""Orders of images to ask about: each does what it is named for, and D-optimal ones teach the most."""

from dataclasses import replace

import numpy as np
import pytest

from iqasuite.errors import InputError
from iqasuite.training.asking import ORDERS, images_to_ask, vote_information
from iqasuite.training.few_shot import PEOPLE, fit_gaussian, with_features

TASTE = with_features(PEOPLE, ("blur", "noise"), 0.5)


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    return rng.uniform(1, 5, 200), rng.standard_normal((200, 2)), rng.uniform(0, 1, 200)


@pytest.mark.parametrize("order", ORDERS)
def test_images_are_asked_once_and_as_many_as_there_are(order, pool):
    quality, phi, disagreement = pool
    for n in (0, 1, 7, 500):
        asked = images_to_ask(order, n, quality, TASTE, phi, disagreement, seed=1)
        assert len(asked) == min(n, 200) == len(set(asked.tolist()))
    again = [images_to_ask(order, 9, quality, TASTE, phi, disagreement, seed=s).tolist() for s in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_spread_covers_the_scale_and_disputed_the_disagreement(pool):
    quality, _, disagreement = pool
    spread = np.sort(quality[images_to_ask("spread", 8, quality, TASTE, seed=3)])
    assert (np.abs(spread - np.linspace(1.25, 4.75, 8)) < 0.5).all()
    disputed = images_to_ask("disputed", 8, quality, TASTE, None, disagreement)
    assert disagreement[disputed].min() > 0.85


def test_a_vote_teaches_most_within_the_scale():
    information = vote_information(PEOPLE, np.array([-1.0, 1.0, 3.0, 5.0, 7.0]))
    assert information.argmax() == 2 and information[[0, 4]].max() < 0.3 * information[2]
    precise = vote_information(replace(PEOPLE, inconsistency=0.2), np.array([3.0]))
    assert precise > information[2]


def test_d_optimal_images_leave_the_least_volume_of_the_posterior(pool):
    quality, phi, disagreement = pool

    def volume(order, seed):
        asked = images_to_ask(order, 6, quality, TASTE, phi, disagreement, seed)
        observer = fit_gaussian(TASTE, quality[asked], np.full(6, 3), phi[asked])
        kept = [0, 1, 6, 7]
        return np.linalg.slogdet(observer.covariance[np.ix_(kept, kept)])[1]

    volumes = {order: np.mean([volume(order, seed) for seed in range(10)]) for order in ORDERS}
    assert min(volumes, key=volumes.get) == "d_optimal"


def test_wrong_orders_are_named(pool):
    with pytest.raises(InputError, match="order 'best'"):
        images_to_ask("best", 3, pool[0], PEOPLE)
    with pytest.raises(InputError, match="disagreement: None"):
        images_to_ask("disputed", 3, pool[0], PEOPLE)
