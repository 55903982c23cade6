"""Whether two AUROCs of the same images differ: DeLong's test, with the images of a patient as one cluster."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.metrics.classification import binary
from medtrain.metrics.numbers import Floats, Ints
from medtrain.metrics.paired_difference import PairedDifference, from_variance, undefined

FEWEST = 3  # patients: of the spread between two, one in ten nulls was found to be a difference


class Placements(NamedTuple):
    """`positives` [M] is for each positive the share of negatives that score below it, a tie counting half;
    `negatives` [N] for each negative the share of positives above it. The mean of either is the AUROC."""

    positives: Floats
    negatives: Floats


def delong(
    first: ArrayLike, second: ArrayLike, positive: ArrayLike, groups: Ints, margin: float = 0.0
) -> PairedDifference:
    """The AUROCs of two models' scores [N] for `positive` [N] (0 or 1), and their difference with its variance.

    `groups` [N] are the patients, numbered from 0. The variance is that of Obuchowski (Biometrics, 1997), in which the
    patients and not the images are independent; where each patient has one image it is that of DeLong, DeLong and
    Clarke-Pearson (Biometrics, 1988). Placements are found by sorting, as by Sun and Xu (2014). Intervals and p are by
    Student's t, with the degrees of freedom of Welch and Satterthwaite: the normal distribution, to which it comes near
    where many patients have a positive, finds far too many differences where few have. Undefined where less than FEWEST
    patients have a positive, or a negative.
    """
    one, truth = binary(first, positive)
    other, _ = binary(second, positive)
    if not truth.any() or truth.all():
        return undefined(math.nan, math.nan)
    people = min(len(np.unique(groups[own])) for own in (truth, ~truth))
    placed, placed_other = placements(one, truth), placements(other, truth)
    areas = float(placed.positives.mean()), float(placed_other.positives.mean())
    if all(map(np.array_equal, placed, placed_other)):
        areas = areas[0], areas[0]  # the same order: what sums differ by is rounding
    if people < FEWEST:
        return undefined(*areas)
    difference = areas[1] - areas[0]
    distances = (
        placed_other.positives - placed.positives - difference,
        placed_other.negatives - placed.negatives - difference,
    )
    variance, degrees = clustered_variance(*distances, groups[truth], groups[~truth])
    return from_variance(*areas, variance, degrees, margin)


def clustered_variance(positives: Floats, negatives: Floats, groups: Ints, other_groups: Ints) -> tuple[float, float]:
    """The variance of a mean of placements, or of the difference of two, from their distances to it: `positives` [M]
    with their patients `groups` [M], `negatives` [N] with theirs, `other_groups` [N] (Obuchowski, 1997; S10, S01, S11);
    and its degrees of freedom.

    NaN where only one patient has a positive, or a negative, and where the estimate is below 0.
    """
    patients = int(max(groups.max(), other_groups.max())) + 1
    per_patient = np.bincount(groups, positives, patients), np.bincount(other_groups, negatives, patients)
    present = np.bincount(groups, minlength=patients) > 0, np.bincount(other_groups, minlength=patients) > 0
    count, others, together = (int(has.sum()) for has in (*present, present[0] | present[1]))
    if count < 2 or others < 2:
        return math.nan, math.nan
    own = float(count / (count - 1) * np.sum(per_patient[0] ** 2) / len(positives) ** 2)
    against = float(others / (others - 1) * np.sum(per_patient[1] ** 2) / len(negatives) ** 2)
    shared = together / (together - 1) * np.sum(per_patient[0] * per_patient[1]) / len(positives) / len(negatives)
    variance = own + against + 2 * float(shared)
    uncertainty = own**2 / (count - 1) + against**2 / (others - 1)
    degrees = (own + against) ** 2 / uncertainty if uncertainty else math.inf
    return (variance, degrees) if variance >= 0 else (math.nan, math.nan)


def placements(scores: Floats, positive: NDArray[np.bool_]) -> Placements:
    """Where each positive stands among the negatives, and each negative among the positives."""
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    return Placements(_share_below(below, scores[positive]), 1 - _share_below(above, scores[~positive]))


def _share_below(ordered: Floats, values: Floats) -> Floats:
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    shares: Floats = twice / (2 * len(ordered))
    return shares
