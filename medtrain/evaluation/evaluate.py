"""One pass over a split on all ranks: every sample scored exactly once, gathered, put in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medtrain.checkpoints.format import load_chosen
from medtrain.config.schema import Config
from medtrain.core.errors import InputError, NumericalError
from medtrain.distributed.process_group import World, all_gather_ragged, broadcast_object
from medtrain.evaluation.inputs import open_loader, pixels
from medtrain.evaluation.study_means import study_means
from medtrain.loading.loader import Loader
from medtrain.metrics.numbers import plain
from medtrain.metrics.subgroup_gaps import with_gaps
from medtrain.metrics.subgroups import subgroups
from medtrain.models.compile import not_compiled
from medtrain.runs.run import Run, resume_command
from medtrain.shards import mixture
from medtrain.shards.sample_metadata import metadata_of
from medtrain.tasks import Task


@dataclass(frozen=True)
class Scores:
    """`values` float64 [N, K] and `samples` int64 [N] (positions in the index, ascending, each once)."""

    values: npt.NDArray[np.float64]
    samples: npt.NDArray[np.int64]


def score(
    model: nn.Module,
    task: Task,
    loader: Loader,
    config: Config,
    world: World,
    stopped: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """Scores of every sample of the loader's split, of a clip the mean over its windows, the same on all ranks; None
    where `stopped` came true.

    `stopped` is asked once a round on every rank and must answer the same on all.
    """
    batch_size = config.data.eval_batch_size
    training = [module for module in model.modules() if module.training]  # what is frozen is not
    model.eval()
    batches = loader.every_sample(batch_size)
    values, samples = [torch.empty(0, task.outputs, dtype=torch.float64)], [torch.empty(0, 2, dtype=torch.int64)]
    with torch.inference_mode(), world.accelerator.autocast(), not_compiled():
        for _ in range(loader.rounds(batch_size)):
            if stopped():
                return None
            batch = next(batches, None)
            if batch is not None:
                logits = model(pixels(batch, config.data, config.model.channels, world.device))
                values.append(task.scores(logits).cpu())
                samples.append(torch.from_numpy(np.stack([batch.samples, batch.draws], 1)))
    for module in training:
        module.training = True
    everyone = all_gather_ragged(world, torch.cat(values).to(world.device)).cpu().numpy()
    positions = all_gather_ragged(world, torch.cat(samples).to(world.device)).cpu().numpy()
    order = np.lexsort(positions.T[::-1])
    return _mean_of_windows(everyone[order], positions[order, 0])


def ensure_finite(scores: Scores, when: str, fix: str) -> None:
    """NumericalError where a network gives no numbers: every metric of them would be a lie."""
    bad = np.flatnonzero(~np.isfinite(scores.values).all(axis=1))
    if len(bad):
        raise NumericalError(
            f"the network's answers to {len(bad):,} of {len(scores.samples):,} samples are not finite {when}", fix
        )


def _mean_of_windows(values: npt.NDArray[np.float64], samples: npt.NDArray[np.int64]) -> Scores:
    """One score a sample: of a clip that was seen in several windows their mean."""
    each, first = np.unique(samples, return_index=True)
    if len(each) == len(samples):
        return Scores(values, samples)
    sums = np.add.reduceat(values, first)
    return Scores(sums / np.diff([*first, len(samples)])[:, None], each)


def measure(scores: Scores, task: Task, loader: Loader) -> dict[str, Any]:
    """The task's metrics over distinct images: of several with the same bytes, the first counts.

    Where they are from several datasets also `per_dataset`, the metrics of each, and `per_dataset_NUMBER`, their mean
    over the datasets where it is defined: metrics over all together also tell how well the datasets are told apart.
    """
    own, rows = distinct(scores, loader)
    copies = len(scores.samples) - len(rows)
    labels = loader.labels[own.samples]
    report = {**compute_task_metrics(task, own.values, labels, rows), "copies_left_out": copies}
    names, of = mixture.sources(rows)
    if len(names) == 1:
        return report
    each = {
        name: compute_task_metrics(task, own.values[of == i], labels[of == i], rows[of == i])
        for i, name in enumerate(names)
    }
    return {**report, **_means(list(each.values())), "per_dataset": each}


def compute_task_metrics(
    task: Task, values: npt.NDArray[np.float64], labels: npt.NDArray[Any], rows: npt.NDArray[Any]
) -> dict[str, Any]:
    """The task's metrics, in its unit, of scores [N, K] and labels [N, L] of distinct images; `rows` [N] have a `study`
    and a `group`, the patient. Of studies the loss is still that of their images, as in training."""
    images = task.metrics(values, labels, rows["group"])
    if task.unit != "studies":
        return images
    studies = study_means(values, labels, rows["study"], rows["group"])
    return {**task.metrics(*studies), "loss": images["loss"], "per_image": images}


def by_subgroup(scores: Scores, task: Task, loader: Loader) -> dict[str, Any]:
    """`subgroups`: attribute -> group -> its metrics and gap: sex, age and view, where shards tell."""
    scores, rows = distinct(scores, loader)
    about = metadata_of(loader.index, rows)
    unlearned = np.isin(loader.index.classes, list(task.unlearned))
    report = subgroup_reports(task, scores.values, loader.labels[scores.samples], rows["group"], about, unlearned)
    return {"subgroups": report} if report else {}


def subgroup_reports(
    task: Task,
    values: npt.NDArray[np.float64],
    labels: npt.NDArray[Any],
    patients: npt.NDArray[Any],
    about: list[dict[str, Any]],
    unlearned: npt.NDArray[np.bool_],
) -> dict[str, dict[str, dict[str, Any]]]:
    """attribute -> group -> its metrics, its patients, and its gap to the others."""
    return {
        attribute: with_gaps(
            {name: task.metrics(values[own], labels[own], patients[own]) for name, own in groups.items()},
            values, labels, patients, groups, unlearned,
        )
        for attribute, groups in subgroups(about).items()
    }  # fmt: skip


def by_study(scores: Scores, task: Task, loader: Loader) -> dict[str, Any]:
    """`per_study`: the metrics of whole studies, where any has several images and the task is for images."""
    scores, rows = distinct(scores, loader)
    if task.unit == "studies" or len(np.unique(rows["study"])) == len(rows):
        return {}
    labels = loader.labels[scores.samples]
    return {"per_study": task.metrics(*study_means(scores.values, labels, rows["study"], rows["group"]))}


def distinct(scores: Scores, loader: Loader) -> tuple[Scores, npt.NDArray[Any]]:
    """The scores of distinct images, and their rows of the index."""
    rows = loader.index.samples[scores.samples]
    _, first = np.unique(rows["content"], return_index=True)
    first.sort()
    return Scores(scores.values[first], scores.samples[first]), rows[first]


def _means(reports: list[dict[str, Any]]) -> dict[str, float | None]:
    """`per_dataset_NUMBER`: the mean of each number over the reports that have it."""
    found: dict[str, list[float]] = {}
    for report in reports:
        for name, value in report.items():
            if isinstance(value, float):
                found.setdefault(f"per_dataset_{name}", []).append(value)
    return {name: plain(float(np.mean(values))) for name, values in found.items()}


def score_split(
    config: Config, task: Task, model: nn.Module, world: World, split: str, each_round: Callable[[], bool]
) -> tuple[Loader, Scores]:
    """The closed loader of a split and the scores of all its samples."""
    loader = open_loader(config, world, split, windows=config.data.clips)
    scores = score(model, task, loader, config, world, each_round)
    loader.close()
    if scores is None:
        raise RuntimeError("an evaluation without a stop question was stopped")
    ensure_finite(scores, f"in the {split} split", "evaluate in --precision fp32, or train with a lower --lr")
    return loader, scores


def load_best(run: Run, model: nn.Module, world: World) -> None:
    """Put the weights of the run's best checkpoint (before the first evaluation: of the last) into `model`.

    Rank 0 says which: it may still be writing it when the others come here.
    """
    links = [run.checkpoints / link for link in ("best", "last")]
    name = broadcast_object(world, next((link.resolve().name for link in links if link.exists()), None))
    if name is None:
        raise InputError(f"run {run.name} has no checkpoint yet", f"train it first: {resume_command(run)}")
    best = load_chosen(run.checkpoints / name, wait_s=0 if world.main else 30, optimizer=False)
    model.load_state_dict(best.average or best.model)
