"""What a problem means: how logits become a loss, scores and metrics.

One file a kind of problem.

Imported by: `training`, `evaluation` and above.
Door: `make(config, classes, counts)`.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, Counts, are_scores, known
from medtrain.loading.batch import Batch
from medtrain.loading.loader import Loader


class Task(Protocol):
    """The contract of a kind of problem. B samples, L labels of the dataset, K logits."""

    unlearned: frozenset[str]
    """Labels that no training image shows: nothing is said of them."""
    outputs: int
    output_names: tuple[str, ...]
    """What each of the K scores is of."""
    label: str
    """What one of the dataset's labels is called."""
    unit: str
    """What is judged: "images", "clips", or "studies" by the mean of their images' scores."""
    columns: dict[str, str]
    """Heads of the table of a report -> names of the numbers in its `per_class`."""
    figure: str
    """Name of the figure of a report, which taskfigures draws."""
    logged_metrics: dict[str, str]
    """Numbers of a report that the line of an epoch tells besides the loss, and what it calls them."""
    outputs_probabilities: bool
    """Whether the scores are probabilities."""
    accuracy_name: str
    """What `correct` counts."""
    accuracy_key: str
    """The number of a report that `correct` is of the training: `train_KEY` in the journal."""
    needs_tuning: bool
    """Whether `tune_on` has something to choose, which takes a pass over the validation split."""

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Sum over this batch divided by the known cells of the global batch: adding it up over micro-batches and
        ranks gives the mean over all known cells, however they are spread."""

    def correct(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar: what is right of this batch, as a share of what is known of the global batch, as in `loss`; or
        another mean of its known samples, such as their absolute error."""

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """float64 [B, K]: probabilities, where the task has such. In float32 a sigmoid is 1 from a logit of 17 on, and
        what the network tells apart would be ties in every number that depends on the order."""

    def metrics(
        self, scores: npt.NDArray[np.float64], labels: npt.NDArray[Any], groups: npt.NDArray[np.uint64]
    ) -> dict[str, Any]:
        """Plain numbers from all scores [N, K] and labels [N, L] of a split; `groups` [N] are patients."""

    def tune_on(self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> Task:
        """The same task with what validation decides, thresholds for instance: for the tests of a finished run."""

    def with_tuning_of(self, report: dict[str, Any]) -> Task:
        """The same task with what was chosen for an earlier report; `{}` where there is none."""

    def decide(self, scores: npt.NDArray[np.float64]) -> dict[str, Any]:
        """What the scores [K] of one sample say, as plain values by name; nothing of labels that are unlearned."""

    def details(self, report: dict[str, Any]) -> str:
        """What the log tells of an epoch's validation below its line, each line after a line break; or nothing."""

    def headline(self, report: dict[str, Any]) -> str:
        """What counts most of a report, in a few words."""


def make(config: Config, classes: tuple[str, ...], counts: Counts) -> Task:
    """The task that `config.task` names, for a dataset's classes; `counts` is what training draws of each, empty where
    nobody knows."""
    module = importlib.import_module(f"medtrain.tasks.{config.task}")
    unlearned = frozenset(name for name, (_, present) in counts.items() if not present)
    return module.make(config, classes, counts, unlearned)  # type: ignore[no-any-return]


def for_training(config: Config, training: Loader) -> Task:
    """The task as what training draws decides it: datasets that are drawn 0 times teach nothing."""
    drawn = training.labels[training.drawn]
    if not known(drawn).any():
        raise InputError("no sample of the training split has a label", "check the table and pack it again")
    if are_scores(drawn):
        return make(config, training.index.classes, {})
    absent, present = np.count_nonzero(drawn == ABSENT, axis=0), np.count_nonzero(drawn > 0, axis=0)
    pairs = zip(absent.tolist(), present.tolist(), strict=True)
    return make(config, training.index.classes, dict(zip(training.index.classes, pairs, strict=True)))
