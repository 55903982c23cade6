"""The scores of studies from those of their images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.datasets.labels import are_scores, known


def study_means(
    values: npt.NDArray[np.float64], labels: npt.NDArray[Any], studies: npt.NDArray[Any], groups: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any], npt.NDArray[Any]]:
    """Scores, labels and patients of whole studies: a study's scores are the means of its images', also those that were
    given; a label is present where it is in any of them."""
    if are_scores(labels):  # what no score was given to is in no mean, on either side
        told = known(labels)[:, 0]
        values, labels, studies, groups = values[told], labels[told], studies[told], groups[told]
    _, first, of, images = np.unique(studies, return_index=True, return_inverse=True, return_counts=True)

    def mean(each: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        sums = np.zeros((len(images), each.shape[1]))
        np.add.at(sums, of, each)
        return sums / images[:, None]

    if are_scores(labels):
        return mean(values), mean(labels), groups[first]
    together = labels[first]
    np.maximum.at(together, of, labels)
    return mean(values), together, groups[first]
