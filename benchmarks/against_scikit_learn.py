"""The point metrics of medtrain.metrics beside scikit-learn's: how far their values are apart, and what a call costs.

    python benchmarks/against_scikit_learn.py

CPU time of this process, which other work on the machine changes little; medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as theirs

from medtrain.metrics import classification as ours

SAMPLES = (100, 2_000, 50_000)
CLASSES = 7
ROUNDS = 21
SEEDS = 100


def milliseconds(call: Callable[[], Any]) -> float:
    """The median CPU time of a call."""
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        call()
        times.append(time.process_time_ns() - start)
    return statistics.median(times) / 1e6


def pairs(samples: int, seed: int) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Number -> how it is computed here, and there, for drawn scores with and without ties."""
    rng = np.random.default_rng((samples, seed))
    scores = rng.random(samples).round(2 if seed % 2 else 17)
    positive = rng.random(samples) < 0.1 + 0.3 * scores
    truth, said = rng.integers(CLASSES, size=(2, samples))
    matrix, names = ours.confusion_matrix(truth, said, CLASSES), range(CLASSES)
    return {
        "AUROC": (lambda: ours.auroc(scores, positive), lambda: theirs.roc_auc_score(positive, scores)),
        "average precision": (
            lambda: ours.average_precision(scores, positive),
            lambda: theirs.average_precision_score(positive, scores),
        ),
        "confusion matrix": (
            lambda: ours.confusion_matrix(truth, said, CLASSES),
            lambda: theirs.confusion_matrix(truth, said, labels=names),
        ),
        "precision, recall, F1": (
            lambda: np.stack(ours.per_class(matrix)[1:]),
            lambda: np.stack(
                theirs.precision_recall_fscore_support(truth, said, labels=names, zero_division=np.nan)[:3]
            ),
        ),
        "kappa": (lambda: ours.cohen_kappa(matrix), lambda: theirs.cohen_kappa_score(truth, said)),
    }


def main() -> None:
    """Print a table in Markdown."""
    print(
        "| number | samples | same value | furthest apart | here, ms | scikit-learn, ms | ratio |\n" + "|---" * 7 + "|"
    )
    for samples in SAMPLES:
        apart: dict[str, list[float]] = {}
        for seed in range(SEEDS):
            for name, (here, there) in pairs(samples, seed).items():
                apart.setdefault(name, []).append(float(np.nanmax(np.abs(here() - there()))))
        for name, (here, there) in pairs(samples, 0).items():
            same = sum(difference == 0 for difference in apart[name])
            own, other = milliseconds(here), milliseconds(there)
            print(
                f"| {name} | {samples:,} | {same} of {SEEDS} | {max(apart[name]):.1e} | {own:.3f} | {other:.3f}"
                f" | {other / own:.0f} |"
            )


if __name__ == "__main__":
    main()
