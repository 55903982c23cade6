"""Whether settings differ that were trained with several seeds each: patients and seeds are both drawn by chance."""

from __future__ import annotations

import numpy as np

from medtrain.metrics.numbers import Floats
from medtrain.metrics.paired_bootstrap import FEWEST, PairedDraws
from medtrain.metrics.paired_difference import PairedDifference, from_variance, undefined


def over_seeds(
    draws: PairedDraws, first: slice, second: slice, number: int, patients: int, margin: float = 0.0
) -> PairedDifference:
    """The mean of a number over the seeds of the second less that over the seeds of the first, of all `draws`' models.

    Each seed scores all patients (two crossed random factors, as readers and cases in Obuchowski and Rockette, 1995).
    The variance is that of the difference of the means over patients, by the bootstrap with these seeds, and that of
    the means over seeds, s^2 / k of each side; what differs by patient and seed is in both, so that it is rather too
    large. Student's t has the degrees of freedom of Satterthwaite (1946). The seeds of the two sides are taken for
    independent. NaN where a side has one seed, or there are less than FEWEST patients.
    """
    own, other = draws.observed[first, number], draws.observed[second, number]
    means = float(own.mean()), float(other.mean())
    drawn: Floats = draws.drawn[:, second, number].mean(1) - draws.drawn[:, first, number].mean(1)
    drawn = drawn[~np.isnan(drawn)]
    if min(len(own), len(other)) < 2 or patients < FEWEST or len(drawn) < 2 or np.isnan(means).any():
        return undefined(*means)
    parts = [(float(drawn.var(ddof=1)), patients - 1)]
    parts += [(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in (own, other)]
    variance = sum(part for part, _ in parts)
    uncertainty = sum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / uncertainty if uncertainty else float("inf")
    return from_variance(*means, variance, degrees, margin)
