"""One pass over a split on all ranks: every sample scored exactly once, gathered, put in order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medtrain import mixture
from medtrain.checkpoint import load_chosen
from medtrain.compiling import not_compiled
from medtrain.config import Config, DataConfig
from medtrain.distributed import World, gather_rows, share
from medtrain.errors import InputError, NumericalError
from medtrain.inputs import open_loader, pixels
from medtrain.labels import are_scores, known
from medtrain.loader import Loader
from medtrain.metrics import plain
from medtrain.mistakes import draw_mistakes
from medtrain.reporttext import report_text
from medtrain.run import Run, read_json, resume_command, write_json
from medtrain.scorefile import TIES, ScoreTable, write_scores
from medtrain.shardfile import sidecar
from medtrain.subgroups import subgroups
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
    data: DataConfig,
    channels: int,
    world: World,
    batch_size: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """Scores of every sample of the loader's split, of a clip the mean over its windows, the same on all ranks; None
    where `stopped` came true.

    `stopped` is asked once a round on every rank and must answer the same on all.
    """
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
                logits = model(pixels(batch, data, channels, world.device))
                values.append(task.scores(logits).cpu())
                samples.append(torch.from_numpy(np.stack([batch.samples, batch.draws], 1)))
    for module in training:
        module.training = True
    everyone = gather_rows(world, torch.cat(values).to(world.device)).cpu().numpy()
    positions = gather_rows(world, torch.cat(samples).to(world.device)).cpu().numpy()
    order = np.lexsort(positions.T[::-1])
    return _mean_of_windows(everyone[order], positions[order, 0])


def refuse_not_finite(scores: Scores, when: str, fix: str) -> None:
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
    distinct, rows = _distinct(scores, loader)
    copies = len(scores.samples) - len(rows)
    labels = loader.labels[distinct.samples]
    report = {**judge(task, distinct.values, labels, rows), "copies_left_out": copies}
    names, of = mixture.sources(rows)
    if len(names) == 1:
        return report
    each = {name: judge(task, distinct.values[of == i], labels[of == i], rows[of == i]) for i, name in enumerate(names)}
    return {**report, **_means(list(each.values())), "per_dataset": each}


def judge(
    task: Task, values: npt.NDArray[np.float64], labels: npt.NDArray[Any], rows: npt.NDArray[Any]
) -> dict[str, Any]:
    """The task's metrics, in its unit, of scores [N, K] and labels [N, L] of distinct images; `rows` [N] have a `study`
    and a `group`, the patient. Of studies the loss is still that of their images, as in training."""
    images = task.metrics(values, labels, rows["group"])
    if task.unit != "studies":
        return images
    return {**task.metrics(*_studies(values, labels, rows)), "loss": images["loss"], "per_image": images}


def by_subgroup(scores: Scores, task: Task, loader: Loader) -> dict[str, Any]:
    """`subgroups`: attribute -> group -> its metrics, of the patients' sex and age and the view, where shards tell."""
    scores, rows = _distinct(scores, loader)
    about: list[dict[str, Any]] = [{}] * len(rows)
    with ThreadPoolExecutor(16) as pool:  # reading from a shared filesystem is waiting
        for shard in np.unique(rows["shard"]).tolist():
            with loader.index.shard_path(shard).open("rb") as file:
                own = np.flatnonzero(rows["shard"] == shard)
                found = pool.map(sidecar, [file] * len(own), rows[own])
                for i, told in zip(own.tolist(), found, strict=True):
                    about[i] = told["meta"]
    labels = loader.labels[scores.samples]
    report = {
        attribute: {
            name: task.metrics(scores.values[own], labels[own], rows["group"][own]) for name, own in groups.items()
        }
        for attribute, groups in subgroups(about).items()
    }
    return {"subgroups": report} if report else {}


def by_study(scores: Scores, task: Task, loader: Loader) -> dict[str, Any]:
    """`per_study`: the metrics of whole studies, where any has several images and the task judges images."""
    scores, rows = _distinct(scores, loader)
    if task.unit == "studies" or len(np.unique(rows["study"])) == len(rows):
        return {}
    return {"per_study": task.metrics(*_studies(scores.values, loader.labels[scores.samples], rows))}


def _studies(
    values: npt.NDArray[np.float64], labels: npt.NDArray[Any], rows: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Scores, labels and patients of whole studies: a study's scores are the means of its images', also those that were
    given; a label is present where it is in any of them."""
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


def _distinct(scores: Scores, loader: Loader) -> tuple[Scores, npt.NDArray[Any]]:
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


def evaluate_best(
    run: Run,
    config: Config,
    task: Task,
    model: nn.Module,
    world: World,
    split: str,
    say: Callable[[str], None],
    each_round: Callable[[], bool] = lambda: False,
    elsewhere: str = "",
) -> dict[str, Any]:
    """Score a split with the run's best weights (loaded into `model`); writes and returns the report.

    What is to be decided before a test (thresholds) the validation split decides. `elsewhere` is the name of a dataset
    that stands in for the run's own: it decides nothing, and has a report of its own.
    """
    load_best(run, model, world)
    loader, scores = score_split(config, task, model, world, split, each_round)
    if elsewhere:
        task = task.chosen_in(read_json(run.report))
    elif task.chooses:
        validation, seen = (
            (loader, scores) if split == "val" else score_split(config, task, model, world, "val", each_round)
        )
        task = task.choose(seen.values, validation.labels[seen.samples])
    about = (measure, by_study, by_subgroup) if world.main else ()
    found = [numbers(scores, task, loader) for numbers in about]
    report: dict[str, Any] = share(world, {name: value for part in found for name, value in part.items()})
    if world.main:
        write_report(run, report_name(split, elsewhere), report, task)
        write_scores(_table(scores, task, loader), run.evaluation / f"{report_name(split, elsewhere)}.csv")
        if loader.index.clips and task.chooses and task.outputs == 1:
            sheet = run.evaluation / f"mistakes_{report_name(split, elsewhere)}.png"
            if problem := _show_mistakes(scores, task, loader, sheet):
                say(f"warning: no contact sheet of mistakes: {problem}")
        say(f"{split} split, best weights:\n{report_text(report, task)}")
    return report


def _show_mistakes(scores: Scores, task: Task, loader: Loader, sheet: Path) -> str:
    """Draw the contact sheet of mistakes, which shows patients: it lies where no tracker takes it from. Returns why it
    cannot be drawn, should a frame be damaged that the test did not read."""
    own, rows = _distinct(scores, loader)
    try:
        draw_mistakes(own.values, loader.labels[own.samples], rows, loader.index, task, sheet)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _table(scores: Scores, task: Task, loader: Loader) -> ScoreTable:
    """The scores of distinct images with what they are scores of."""
    scores, rows = _distinct(scores, loader)
    ties = np.empty(len(rows), TIES)
    ties["study"], ties["group"] = rows["study"], rows["group"]
    labels, images = loader.labels[scores.samples], rows["key"].astype("U")
    classes = task.answers if are_scores(labels) else loader.index.classes
    return ScoreTable(images, ties, labels, scores.values, classes, task.answers)


def score_split(
    config: Config, task: Task, model: nn.Module, world: World, split: str, each_round: Callable[[], bool]
) -> tuple[Loader, Scores]:
    """The closed loader of a split and the scores of all its samples."""
    loader, data = open_loader(config, world, split, windows=config.data.clips), config.data
    scores = score(model, task, loader, data, config.model.channels, world, data.eval_batch_size, each_round)
    loader.close()
    if scores is None:
        raise RuntimeError("an evaluation without a stop question was stopped")
    refuse_not_finite(scores, f"in the {split} split", "evaluate in --precision fp32, or train with a lower --lr")
    return loader, scores


def load_best(run: Run, model: nn.Module, world: World) -> None:
    """Put the weights of the run's best checkpoint (before the first evaluation: of the last) into `model`.

    Rank 0 says which: it may still be writing it when the others come here.
    """
    links = [run.checkpoints / link for link in ("best", "last")]
    name = share(world, next((link.resolve().name for link in links if link.exists()), None))
    if name is None:
        raise InputError(f"run {run.name} has no checkpoint yet", f"train it first: {resume_command(run)}")
    best = load_chosen(run.checkpoints / name, wait_s=0 if world.main else 30)
    model.load_state_dict(best.average or best.model)


def report_name(split: str, elsewhere: str) -> str:
    """What the files of a report are called."""
    return f"{split}-{elsewhere}" if elsewhere else split


def write_report(run: Run, name: str, report: dict[str, Any], task: Task) -> None:
    """`evaluation/NAME.json` and its figure."""
    for folder in (run.evaluation, run.figures):
        folder.mkdir(exist_ok=True, mode=0o750)
    write_json(run.evaluation / f"{name}.json", report)
    task.draw(report, run.figures / f"{task.figure}_{name}.png")
