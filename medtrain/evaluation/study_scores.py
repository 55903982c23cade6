"""Scores of whole studies, from those of their images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.datasets.labels import are_scores, known


def study_scores(
    values: npt.NDArray[np.float64], labels: npt.NDArray[Any], rows: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Scores, labels and patients of whole studies.

    A study's scores are the means of its images', also those that were given; a label is present where it is in any of
    them.
    """
    if are_scores(labels):  # what no score was given to is in no mean, on either side
        values, labels, rows = (column[known(labels)[:, 0]] for column in (values, labels, rows))
    _, first, of, images = np.unique(rows["study"], return_index=True, return_inverse=True, return_counts=True)

    def mean(each: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        sums = np.zeros((len(images), each.shape[1]))
        np.add.at(sums, of, each)
        return sums / images[:, None]

    if are_scores(labels):
        return mean(values), mean(labels), rows["group"][first]
    together = labels[first]
    np.maximum.at(together, of, labels)
    return mean(values), together, rows["group"][first]
