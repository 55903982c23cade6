"""The rules that settings obey, each broken one in a sentence."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import fields, is_dataclass

from medtrain.config import dependency, moldable, sbatch_options
from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.errors import nearest

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SAMPLING = re.compile(r"[A-Za-z0-9_-]+=(\d+\.?\d*|\.\d+)")
SHARE = re.compile(r"0?\.\d+")
COUNTS = re.compile(r"[1-9]\d*(,[1-9]\d*)*")
NOTIFY = re.compile(r"webhook|command:\s*\S.*|mail(:\S+)?")
TIME_LIMIT = re.compile(r"\d+|(\d+-)?\d{1,2}:\d{2}(:\d{2})?")

# task -> the numbers of its validation that can decide which checkpoint is the best
MONITORED = {
    "multiclass": ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auroc", "ece", "brier", "loss"),
    "multilabel": (
        "macro_auroc", "macro_average_precision", "macro_precision", "macro_recall", "macro_f1", "macro_ece",
        "micro_auroc", "micro_average_precision", "micro_precision", "micro_recall", "micro_f1", "micro_ece",
        "accuracy", "loss",
    ),
    "abnormality": ("kappa", "auroc", "accuracy", "sensitivity", "specificity", "macro_kappa", "macro_auroc", "loss"),
    "score": ("mae", "rmse", "r2", "spearman", "loss"),
}  # fmt: skip
PER_DATASET = "per_dataset_"  # before one of them: its mean over the datasets that validation is of
# setting -> its smallest value, and what that value stands for
AT_LEAST: dict[str, tuple[float, str]] = {
    "epochs": (1, ""),
    "patience": (0, "never"),
    "hang_timeout_seconds": (5, ""),
    "ensemble": (1, "no ensemble"),
    "data.batch_size": (1, ""),
    "data.eval_batch_size": (1, ""),
    "data.grad_accumulation": (1, ""),
    "data.global_batch": (0, "automatic"),
    "data.image_size": (16, ""),
    "data.max_samples": (0, "all"),
    "data.workers": (1, ""),
    "data.prefetch": (1, ""),
    "data.frames": (0, "images"),
    "data.stride": (1, ""),
    "data.fps": (0, "as recorded"),
    "data.clips": (1, ""),
    "augment.coarse_dropout": (0, "none"),
    "loss.focal_gamma": (0, "cross entropy"),
    "optim.weight_decay": (0, "none"),
    "optim.clip_norm": (0, "none"),
    "optim.unfreeze_every": (0, "never more"),
    "schedule.plateau_patience": (0, ""),
    "schedule.min_lr": (0, ""),
    "schedule.restart_epochs": (1, ""),
    "schedule.restart_growth": (1, ""),
    "checkpoint.every_minutes": (0, "at the ends of epochs"),
    "checkpoint.every_steps": (0, "by time only"),
    "checkpoint.keep_last": (1, ""),
    "checkpoint.keep_every": (0, "none"),
    "slurm.nodes": (1, ""),
    "slurm.min_nodes": (0, "always `nodes`"),
    "slurm.spare_nodes": (0, "none"),
    "slurm.tasks_per_node": (0, "automatic"),
    "slurm.gpus_per_node": (0, "none"),
    "slurm.cpus_per_task": (0, "the cluster's default"),
    "slurm.mem_gb": (0, "the cluster's default"),
    "slurm.signal_seconds": (1, ""),
    "slurm.successors": (-1, "one where preemption cancels"),
    "slurm.array_throttle": (0, "all"),
    "slurm.idle_minutes": (0, "the site cancels no idle job"),
    "slurm.carbon_intensity_g_per_kwh": (0, "unknown"),
}
PROBABILITIES = (
    "augment.rotate_p", "augment.flip_p", "augment.zoom_p", "augment.shift", "augment.shift_p", "augment.brightness",
    "augment.contrast", "augment.brightness_contrast_p", "augment.coarse_dropout_side", "augment.coarse_dropout_p",
    "model.dropout", "loss.label_smoothing", "optim.ema_decay", "augment.speckle", "augment.speckle_p",
    "augment.crop_time_p", "augment.mask_time", "augment.mask_time_p",
)  # fmt: skip


def problems(config: Config) -> list[str]:
    """Every rule that `config` breaks, one sentence each; empty when it can be used."""
    rules = [
        (
            _value(config, name) >= least,
            f"{_short(name)} is {_value(config, name)}: at least {least:g} is needed{_means(least, word)}",
        )
        for name, (least, word) in AT_LEAST.items()
    ]
    rules += [
        (0 <= _value(config, name) <= 1, f"{_short(name)} is {_value(config, name)}: it lies between 0 and 1")
        for name in PROBABILITIES
    ]
    rules += [
        (math.isfinite(value), f"{name} is {value}: a finite number is needed") for name, value in _floats(config)
    ]
    rules += [
        *_single_rules(config),
        *_slurm_rules(config.slurm),
        *_unfreezing(config),
        *_focal_alpha(config),
        *_notify(config),
    ]
    rules += moldable.broken(config)
    rules += sbatch_options.broken(config.slurm)
    return [problem for holds, problem in rules if not holds]


def lower_is_better(metric: str) -> bool:
    """Of a name as in `monitor`: whether it counts errors."""
    return not {"loss", "mae", "rmse", "ece", "brier"}.isdisjoint(metric.split("_"))


def _single_rules(config: Config) -> list[tuple[bool, str]]:
    data, augment, optim, schedule = config.data, config.augment, config.optim, config.schedule
    return [
        (not config.run or RUN_NAME.fullmatch(config.run) is not None, _bad_name(config.run)),
        (
            all(SAMPLING.fullmatch(entry) for entry in data.sampling),
            f"sampling is {' '.join(data.sampling)!r}: write NAME=TIMES for each, as chexpert=0.3",
        ),
        (
            len(set(data.datasets)) == len(data.datasets),
            f"datasets is {' '.join(data.datasets)!r}: name each once (--sampling NAME=2 samples one twice as often)",
        ),
        (not data.holdout or bool(data.datasets), "holdout needs datasets: name those that are trained on"),
        (
            not data.holdout or set(data.datasets) != {data.holdout},
            f"holdout is {data.holdout!r}, and so is all of datasets: nothing is left to train on",
        ),
        (
            data.normalize in ("fixed", "image") or config.model.channels == 3,
            f"normalize is {data.normalize}, whose numbers are of three channels: give --channels 3",
        ),
        (
            config.task == "abnormality" or (config.ensemble <= 1 and data.study_type in ("", "combined")),
            f"study_type and ensemble are for the recipes of task abnormality, and the task is {config.task}",
        ),
        (
            not data.score_threshold or config.task == "multilabel",
            f"score_threshold is {data.score_threshold}: it makes a label of scores, and the task is {config.task}",
        ),
        (data.color_mode == "gray" or config.model.channels == 3, "color_mode is rgb: give --channels 3"),
        (data.std > 0, f"std is {data.std}: it divides the pixels and must be above 0"),
        (0 <= augment.rotate_deg <= 180, f"rotate_deg is {augment.rotate_deg}: give 0 to 180 degrees"),
        (
            0 < augment.zoom_min <= augment.zoom_max,
            f"zoom is {augment.zoom_min} to {augment.zoom_max}: give 0 < zoom_min <= zoom_max",
        ),
        (
            0 < augment.crop_time_min <= 1,
            f"crop_time_min is {augment.crop_time_min}: it is a share of a clip, above 0 and at most 1",
        ),
        (0 < optim.layer_decay <= 1, f"layer_decay is {optim.layer_decay}: it lies above 0 and is at most 1"),
        (
            optim.layer_decay == 1 or schedule.schedule not in ("cosine", "warm_restarts") or schedule.min_lr == 0,
            f"a cosine to min_lr {schedule.min_lr} would make the rates of all layers alike: with layer_decay give 0",
        ),
        (optim.lr > 0, f"lr is {optim.lr}: it must be above 0"),
        (schedule.min_lr <= optim.lr, f"min_lr is {schedule.min_lr}: it must not exceed lr, which is {optim.lr}"),
        (config.monitor.removeprefix(PER_DATASET) in MONITORED[config.task], _bad_monitor(config)),
        (0 < schedule.factor < 1, f"factor is {schedule.factor}: it cuts the learning rate and lies between 0 and 1"),
    ]


def _slurm_rules(slurm: SlurmConfig) -> list[tuple[bool, str]]:
    return [
        (
            not slurm.dependency or dependency.clauses(slurm.dependency) is not None,
            f"dependency is {slurm.dependency!r}: write it as for sbatch (afterok:812,afterany:813_4), or ids alone",
        ),
        (
            not slurm.container or not slurm.packed_environment,
            "container and packed_environment are both given, and ranks run in one of them",
        ),
        (
            not slurm.time or TIME_LIMIT.fullmatch(slurm.time) is not None,
            f"time is {slurm.time!r}: write 90, 1:30:00 or 2-12:00:00",
        ),
    ]


def block_counts(unfreeze: str) -> list[int]:
    """How many blocks train, one number after the other (`optim.unfreeze`); none where all do."""
    return [int(word) for word in unfreeze.split(",") if word]


def _unfreezing(config: Config) -> list[tuple[bool, str]]:
    told, every = config.optim.unfreeze, config.optim.unfreeze_every
    if told and not COUNTS.fullmatch(told):
        return [(False, f"unfreeze is {told!r}: write how many blocks train, as 2 or 1,2,3")]
    counts = block_counts(told)
    return [
        (counts == sorted(set(counts)), f"unfreeze is {told}: each number must be larger than the one before it"),
        (
            len(counts) <= 1 or every != 0,
            f"unfreeze is {told}: say after how many epochs the next number holds (--unfreeze_every 3)",
        ),
    ]


def _focal_alpha(config: Config) -> list[tuple[bool, str]]:
    told = config.loss.focal_alpha
    word, share = told in ("none", "balanced"), SHARE.fullmatch(told) is not None and float(told) > 0
    return [
        (word or share, f"focal_alpha is {told!r}: write none, balanced, or a number between 0 and 1"),
        (
            not share or config.task != "abnormality",
            f"focal_alpha is {told}, and the weights of task abnormality are the paper's: give balanced or none",
        ),
    ]


def _notify(config: Config) -> list[tuple[bool, str]]:
    """Without the words themselves where one is an address: who knows it can write there, too."""
    secret = any("://" in word for word in config.notify)
    known = all(NOTIFY.fullmatch(word) for word in config.notify)
    return [
        (not secret, "notify holds an address, which is a secret: write webhook, and put it into MEDTRAIN_NOTIFY_URL"),
        (
            secret or known,
            f"notify is {' '.join(config.notify)!r}: write webhook, command:/path/of/a/program, mail or mail:ADDRESS",
        ),
    ]


def _value(config: Config, name: str) -> float:
    return functools.reduce(getattr, name.split("."), config)  # type: ignore[return-value,arg-type]


def _short(name: str) -> str:
    """The name as a flag has it: without the section."""
    return name.split(".")[-1]


def _means(least: float, word: str) -> str:
    return f" ({least:g}: {word})" if word else ""


def _floats(config: Config) -> list[tuple[str, float]]:
    sections = [getattr(config, field.name) for field in fields(config)]
    return [
        (field.name, getattr(section, field.name))
        for section in sections
        if is_dataclass(section)
        for field in fields(section)
        if isinstance(getattr(section, field.name), float)
    ]


def _bad_monitor(config: Config) -> str:
    known = MONITORED[config.task]
    what = f"which is no metric of task {config.task}{nearest(config.monitor, known)}"
    return f"monitor is {config.monitor!r}, {what}: choose {', '.join(known)}"


def _bad_name(name: str) -> str:
    return f"run is {name!r}: use letters, digits, '.', '_' and '-' (at most 100, the first a letter or digit)"
