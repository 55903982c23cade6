"""What is known of each label in each dataset's training samples, and of their scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.core.console import table
from medtrain.datasets.labels import are_scores, known
from medtrain.loading.loader import Loader
from medtrain.shards import mixture

HEAD = ("dataset", "label", "positive", "negative", "unknown")


def label_table(training: Loader, study_type: str) -> tuple[str, list[dict[str, Any]]]:
    """For the log, and a row for each dataset and label; the log leaves out labels that those of one `study_type` do
    not have."""
    index, drawn = training.index, training.drawn
    own = training.labels[drawn]
    states = index.labels[: len(drawn)][drawn] if are_scores(own) else own
    names, of = mixture.sources(index.samples[: len(drawn)][drawn])
    rows = [
        (name, label, *(int((column == state).sum()) for state in (1, 0, -1)))
        for i, name in enumerate(names)
        for label, column in zip(index.classes, np.sign(states[of == i]).T, strict=True)
    ]
    told = [row for row in rows if any(row[2:4]) or study_type in mixture.TOGETHER]
    shown = {row[1] for row in told if row[2]} if not are_scores(own) else set()
    hidden = [label for label in index.classes if label not in shown] if shown and not study_type else []
    told = [row for row in told if row[1] not in hidden]
    text = f"labels of the training split:\n{table(HEAD, told)}"
    if hidden:
        text += f"\nno training image shows {', '.join(hidden)}: nothing is learned about that"
    if are_scores(own):
        scores = own[known(own)]
        spread = f"mean {scores.mean():.4g}, deviation {scores.std():.4g}, {scores.min():.4g} to {scores.max():.4g}"
        text += f"\nscores: {len(scores):,} of {len(own):,} {'clips' if index.clips else 'images'} have one; {spread}"
    return text, [dict(zip(HEAD, row, strict=True)) for row in rows]
