"""Drawn scores of two models on the images of patients, who have several images that are alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5


class Scored(NamedTuple):
    """N images: patients [N] numbered from 0, truth [N], scores [N] in 0..1 of either model."""

    patients: NDArray[np.int64]
    positive: NDArray[np.bool_]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    @property
    def right(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What either model decides correctly at THRESHOLD."""
        return (self.first > THRESHOLD) == self.positive, (self.second > THRESHOLD) == self.positive


def drawn_scores(
    seed: int, patients: int = 150, most_images: int = 8, prevalence: float = 0.4, better: float = 0.0
) -> Scored:
    """Each patient has 1 to `most_images` images.

    The label of an image depends on its patient. A score is the label, a part that both models share, and one of the
    model's own, both of the patient and of the image: the two are correlated, and can be exchanged. `better` is how
    much more of the label is in the second score.
    """
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(1, most_images + 1, patients))
    images = len(of)
    illness = 2 * rng.normal(size=patients)[of] + rng.normal(size=images)
    positive = illness > np.quantile(illness, 1 - prevalence)
    shared = 0.6 * rng.normal(size=patients)[of] + 0.6 * rng.normal(size=images)

    def scores(signal: float) -> NDArray[np.float64]:
        own = 0.6 * rng.normal(size=patients)[of] + 0.4 * rng.normal(size=images)
        return np.asarray(1 / (1 + np.exp(-(signal * (positive - 0.5) + shared + own))))

    return Scored(of, positive, scores(1.4), scores(1.4 + better))


def drawn_seeds(
    seed: int, patients: int, seeds: int, better: float = 0.0, between: float = 0.2
) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[NDArray[np.float64]]]:
    """Patients and truth of images as of drawn_scores, and the scores of two settings that were trained with so many
    `seeds` each, one after the other: how good a seed is differs with the deviation `between`."""
    first = drawn_scores(seed, patients)
    rng = np.random.default_rng(10_000 + seed)
    of, positive = first.patients, first.positive
    shared = 0.6 * rng.normal(size=patients)[of] + 0.6 * rng.normal(size=len(of))
    own_setting = [0.4 * rng.normal(size=patients)[of] for _ in range(2)]
    found = []
    for place in range(2 * seeds):
        setting = place // seeds
        signal = 1.4 + better * setting + between * rng.normal()
        own = 0.3 * rng.normal(size=patients)[of] + 0.4 * rng.normal(size=len(of))
        found.append(np.asarray(1 / (1 + np.exp(-(signal * (positive - 0.5) + shared + own_setting[setting] + own)))))
    return of, positive, found
