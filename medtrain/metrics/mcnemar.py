"""Whether two models are right equally often on the same images: McNemar's test, by patient."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medtrain.metrics.classification import zero_or_one
from medtrain.metrics.numbers import Floats, Ints
from medtrain.metrics.paired_difference import never_zero


class McNemar(NamedTuple):
    """How often only one of two models is right, and the two-sided p of both being right equally often."""

    first_only: int
    second_only: int
    p: float
    exact: bool
    """Each patient has one image: the p is that of the exact binomial test."""


def mcnemar(first: ArrayLike, second: ArrayLike, groups: Ints) -> McNemar:
    """Of what is right (1) or wrong (0) in `first` and `second` [N], by patients `groups` [N], numbered from 0.

    Where a patient has several images it is the test of Obuchowski for correlated proportions in clusters (Statistics
    in Medicine, 1998): with d the images of a patient that only the second has right less those that only the first
    has, and c patients, (c - 1) / c (sum of d)^2 / (sum of d^2) is chi-squared with one degree of freedom. Where each
    has one it is McNemar's (1947) exact test. NaN without an image, or with one patient of several.
    """
    one, other = zero_or_one("first", first), zero_or_one("second", second)
    if len(one) != len(other) or len(one) != len(groups):
        raise ValueError(f"first, second and groups have {len(one)}, {len(other)}, {len(groups)}; expected the same")
    only = int((one & ~other).sum()), int((other & ~one).sum())
    images = np.bincount(groups)
    exact = bool(images.max(initial=0) <= 1)
    if not len(one):
        return McNemar(0, 0, math.nan, exact)
    if exact:
        return McNemar(*only, _binomial(*only), exact)
    surplus = np.bincount(groups, other.astype(np.float64) - one).astype(np.float64)
    return McNemar(*only, _clustered(surplus, int(np.count_nonzero(images))), exact)


def _binomial(one: int, other: int) -> float:
    """Two-sided p of so many heads and tails of a fair coin."""
    tosses, fewer = one + other, min(one, other)
    term = total = 1  # whole numbers: nothing is rounded before the end
    for heads in range(fewer):
        term = term * (tosses - heads) // (heads + 1)
        total += term
    return never_zero(min(1.0, 2 * total / 2**tosses))


def _clustered(surplus: Floats, patients: int) -> float:
    if patients < 2:
        return math.nan
    total = float(surplus.sum())
    if total == 0:
        return 1.0
    statistic = (patients - 1) / patients * total**2 / float(np.sum(surplus**2))
    return never_zero(math.erfc(math.sqrt(statistic / 2)))
