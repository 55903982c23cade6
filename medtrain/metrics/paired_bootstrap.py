"""Numbers of several models when patients are drawn with replacement, once for all models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from medtrain.metrics.numbers import Floats, Ints
from medtrain.metrics.paired_difference import PairedDifference, from_draws

ROUNDS = 1000
# If the two runs were swapped in any of the patients, there would be 2^patients outcomes, and of less than six patients
# even the two most extreme have a chance of more than 5 %.
FEWEST = 6


class PairedDraws(NamedTuple):
    """K numbers of M models: as they are [M, K], and in each round of the bootstrap [R, M, K]."""

    observed: Floats
    drawn: Floats


def paired_bootstrap(
    models: Sequence[Callable[[Ints], Floats]], groups: int, seed: int = 0, rounds: int = ROUNDS
) -> PairedDraws:
    """Draw whole groups (patients) with replacement, as often as there are, and have each model judged by them.

    Each of the `models` gets int64 counts [groups], how often each group was drawn, and returns K numbers, NaN where
    one is undefined. Both models of a pair get the same counts, so that what makes a patient hard is no part of their
    difference. Less than FEWEST groups say nothing of the spread: no round is drawn. The Philox seed makes the draws
    the same on every machine, and those of metrics.bootstrap.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; expected at least 1")
    observed = np.array([model(np.ones(groups, np.int64)) for model in models])
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = np.empty((rounds if groups >= FEWEST else 0, *observed.shape))
    for own in drawn:
        counts = np.bincount(generator.integers(groups, size=groups), minlength=groups)
        own[:] = [model(counts) for model in models]
    return PairedDraws(observed, drawn)


def difference(draws: PairedDraws, first: int, second: int, number: int, margin: float = 0.0) -> PairedDifference:
    """By how much a number of model `second` is above that of model `first`."""
    one, other = (float(draws.observed[model, number]) for model in (first, second))
    return from_draws(one, other, draws.drawn[:, second, number] - draws.drawn[:, first, number], margin)
