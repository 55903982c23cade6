"""Numbers of a problem with one of several classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medtrain.metrics import classification
from medtrain.metrics import numbers as metrics_numbers
from medtrain.metrics.bootstrap import bootstrap_accuracy
from medtrain.metrics.intervals import stated
from medtrain.metrics.numbers import plain

MACRO = ("precision", "recall", "f1", "auroc")


def multiclass_report(
    scores: ArrayLike, targets: ArrayLike, classes: tuple[str, ...], groups: ArrayLike, seed: int = 0
) -> dict[str, Any]:
    """Every number of a single-label problem, as plain Python numbers ready for JSON; NaN becomes None.

    `scores` are softmax probabilities [N, C], `targets` integers [N], `classes` the C
    names and `groups` [N] the patients. AUROC is one class against the rest; macro numbers are the mean over
    the classes where they are defined; the interval holds 95 % (`bootstrap_accuracy`; `intervals.stated`).
    """
    values, truth = classification.distributions(scores, targets)
    if not len(set(classes)) == len(classes) == values.shape[1]:
        raise ValueError(f"classes is {classes}; expected {values.shape[1]} different names")
    predictions = values.argmax(axis=1)
    confusion = classification.confusion_matrix(truth, predictions, len(classes))
    each = classification.per_class(confusion)
    ranked = classification.rankable(values)
    areas = np.array([classification.auroc(ranked[:, c], truth == c) for c in range(len(classes))])
    numbers = {**each._asdict(), "auroc": areas}
    rows = {name: {key: plain(row[c]) for key, row in numbers.items()} for c, name in enumerate(classes)}
    right = classification.accuracy(confusion)
    ends = bootstrap_accuracy(predictions == truth, groups, seed)
    return {
        "samples": len(truth),
        "accuracy": plain(right),
        **stated("accuracy", right, ends, len(np.unique(groups))),
        **{f"macro_{key}": plain(metrics_numbers.mean_of_defined(numbers[key])) for key in MACRO},
        "ece": plain(classification.expected_calibration_error(values, truth)),
        "brier": plain(classification.brier_score(values, truth)),
        "per_class": rows,
        "confusion": confusion.tolist(),
    }
