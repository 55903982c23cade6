"""loading.order: the order of samples and the draws of augmentation, pinned so that they never drift silently."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from medtrain.core.counter_rng import uniform
from medtrain.loading.order import epoch_order, rank_share


@pytest.mark.parametrize("samples", [1, 2, 97, 1000])
def test_the_order_is_a_permutation(samples: int) -> None:
    assert sorted(epoch_order(1, 2, "digest", samples).tolist()) == list(range(samples))


def test_the_order_differs_by_seed_epoch_and_digest_and_by_nothing_else() -> None:
    orders = [epoch_order(*key, 500).tolist() for key in ((0, 0, "a"), (0, 1, "a"), (1, 0, "a"), (0, 0, "b"))]
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(0, 0, "a", 500).tolist() == orders[0]


def test_golden_order() -> None:
    """A run that resumes under a later version must meet the same order; never change these numbers."""
    assert epoch_order(42, 0, "d1g3st", 10).tolist() == [8, 2, 0, 4, 6, 9, 7, 3, 5, 1]
    assert epoch_order(42, 1, "d1g3st", 10).tolist() == [4, 9, 8, 2, 6, 3, 0, 5, 1, 7]
    assert epoch_order(7, 0, "d1g3st", 10).tolist() == [7, 9, 2, 5, 4, 1, 0, 3, 6, 8]
    assert epoch_order(42, 0, "other", 10).tolist() == [3, 9, 8, 6, 5, 2, 4, 1, 0, 7]
    long = epoch_order(0, 3, "abc", 100_000).astype("<i8").tobytes()
    assert hashlib.sha256(long).hexdigest() == "9c15193fc62fff69460c22419bfefab080929eebf1202062341766c427b18d5e"


def test_every_place_is_equally_likely() -> None:
    """Over 2,000 epochs each of 8 samples stands first about 250 times (standard deviation 15)."""
    first = np.bincount([epoch_order(5, epoch, "x", 8)[0] for epoch in range(2000)], minlength=8)
    assert abs(first - 250).max() < 75


@pytest.mark.parametrize("world", [1, 2, 3, 4, 5, 8, 16, 100])
@pytest.mark.parametrize("global_batch", [1, 7, 8, 64])
def test_rank_shares_cover_the_batch_once_in_order(global_batch: int, world: int) -> None:
    shares = [list(range(global_batch))[rank_share(global_batch, rank, world, world)] for rank in range(world)]
    assert [sample for share in shares for sample in share] == list(range(global_batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_golden_draws() -> None:
    """Augmentation of a resumed run must not change; never change these numbers."""
    expected = [
        ["0x1.3764775df15cep-1", "0x1.ed4d35d94cdbcp-3", "0x1.0bc5051a180acp-3"],
        ["0x1.ab511007be726p-1", "0x1.dc5b3cc8cdb15p-1", "0x1.f860eea22424bp-1"],
        ["0x1.bc06704db468ap-2", "0x1.748e9ed12debcp-1", "0x1.4e9ccbd2cdf00p-7"],
    ]
    assert [[value.hex() for value in row] for row in uniform(42, 0, np.array([0, 1, 47163]), 3).tolist()] == expected
    assert uniform(42, 1, np.array([0]), 2).round(8).tolist() == [[0.42697443, 0.46214321]]


def test_draws_do_not_depend_on_the_company_of_a_sample() -> None:
    together = uniform(3, 4, np.arange(100), 5)
    for batch in ([17], [99, 17, 0], list(range(50, 10, -1))):
        assert np.array_equal(uniform(3, 4, np.array(batch), 5), together[batch])


def test_draws_are_uniform_and_independent() -> None:
    draws = uniform(0, 0, np.arange(100_000), 5)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(0) - 0.5).max() < 0.005
    assert np.abs(draws.var(0) - 1 / 12).max() < 0.001
    columns_and_next = np.hstack([draws[:-1], draws[1:], uniform(0, 1, np.arange(99_999), 5)])
    assert np.abs(np.corrcoef(columns_and_next.T) - np.eye(15)).max() < 0.02
    assert len(np.unique(draws)) == draws.size
