"""Every setting of a run: frozen dataclasses, one sentence a field, and the rules that hold between them."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal

# A resumed run may change these and still end with the weights that the fields outside this list decide.
FREE_FIELDS = ("run", "runs", "epochs", "patience", "data.shards", "data.workers", "data.prefetch")
FREE_SECTIONS = ("checkpoint", "slurm", "tracking")

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TIME_LIMIT = re.compile(r"\d+|(\d+-)?\d{1,2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class DataConfig:
    """Which samples, and how they reach the device."""

    shards: str = ""
    """Folder of the packed dataset (holds manifest.json)."""
    batch_size: int = 8
    """Samples in one forward pass on one rank."""
    eval_batch_size: int = 64
    """Samples in one forward pass of an evaluation on one rank."""
    accumulate: int = 1
    """Forward passes that are summed into one optimizer step."""
    global_batch: int = 0
    """Samples in one optimizer step over all ranks (0: batch size x accumulation x ranks at the first start)."""
    image_size: int = 64
    """Height and width of the model's input in pixels."""
    mean: float = 0.5
    """Subtracted from the pixels, which range from 0 to 1."""
    std: float = 0.5
    """Divides the pixels after the mean is subtracted."""
    max_samples: int = 0
    """Use only this many samples of each split (0: all)."""
    workers: int = 2
    """Processes a rank that read, decode and augment."""
    prefetch: int = 4
    """Batches made ready ahead of the training step (small ones: more, so that every worker is busy)."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to the training images; all geometry is one fused warp."""

    rotate_deg: float = 0.0
    """Rotate by an angle drawn between minus and plus this many degrees."""
    rotate_p: float = 0.5
    """Probability of a rotation."""
    flip_p: float = 0.0
    """Probability of a left-right flip."""
    zoom_min: float = 1.0
    """Smallest magnification."""
    zoom_max: float = 1.0
    """Largest magnification."""
    zoom_p: float = 0.5
    """Probability of a zoom."""


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    backbone: str = "densenet121"
    """Architecture by its name in torchvision."""
    channels: Literal[1, 3] = 1
    """Input channels; one-channel images are repeated for 3."""
    dropout: float = 0.0
    """Dropout inside the backbone."""
    weights: str = ""
    """Local .safetensors file, or "imagenet" for the published weights, or empty for a random start."""


@dataclass(frozen=True)
class LossConfig:
    """What is minimised."""

    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes."""


@dataclass(frozen=True)
class OptimConfig:
    """How the weights move."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Update rule."""
    lr: float = 1e-4
    """Learning rate at the start."""
    weight_decay: float = 0.0
    """Decay of the weights; norms and biases are left out."""
    clip_norm: float = 0.0
    """Largest gradient norm of a step (0: no clipping)."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves."""

    schedule: Literal["plateau", "cosine", "constant"] = "constant"
    """Rule: cut on a plateau of the validation loss, cosine to zero over all epochs, or none."""
    factor: float = 0.5
    """A plateau multiplies the learning rate by this."""
    plateau_patience: int = 7
    """Epochs without a lower validation loss that make a plateau."""
    min_lr: float = 0.0
    """The learning rate never falls below this."""


@dataclass(frozen=True)
class CheckpointConfig:
    """When work is made durable."""

    every_minutes: float = 10.0
    """Save in mid-epoch after this many minutes (0: at the ends of epochs only)."""
    every_steps: int = 0
    """Save in mid-epoch after this many optimizer steps (0: by time only)."""
    keep_last: int = 2
    """Newest checkpoints to keep; the best is kept besides."""


@dataclass(frozen=True)
class SlurmConfig:
    """What is asked of Slurm."""

    cluster: str = ""
    """A file of slurm/clusters by name, or a path: the defaults of your cluster for the fields below."""
    nodes: int = 1
    """Nodes."""
    tasks_per_node: int = 0
    """Ranks on each node (0: one for each GPU, or one without GPUs)."""
    gpus_per_node: int = 0
    """GPUs on each node."""
    cpus_per_task: int = 0
    """CPU cores a rank (0: the cluster's default)."""
    mem_gb: float = 0.0
    """Memory a node in GB (0: the cluster's default)."""
    time: str = ""
    """Time limit of one attempt as Slurm writes it (minutes, H:MM:SS or D-HH:MM:SS); empty for the partition's."""
    partition: str = ""
    """Partition."""
    account: str = ""
    """Account that is charged."""
    qos: str = ""
    """Quality of service."""
    constraint: str = ""
    """Node features."""
    signal_seconds: int = 120
    """Seconds before the time limit at which Slurm warns the job; a step and a save must fit."""
    setup: tuple[str, ...] = ()
    """Shell lines to run first in the batch script (module load ...)."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where the curves are shown besides the journal in the run folder."""

    tracker: Literal["wandb", "mlflow", "tensorboard", "none"] = "wandb"
    """Tracker that is fed from the journal."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """W&B connection (auto: online where a key is set, else offline)."""
    project: str = "medtrain"
    """Project, or MLflow experiment."""
    entity: str = ""
    """W&B team or user (empty: your default)."""


@dataclass(frozen=True)
class Config:
    """All settings of one run. Precedence: recipe < -c file.yaml (later files win) < flags."""

    recipe: str = ""
    """Recipe that the settings started from."""
    run: str = ""
    """Name of the run (empty: recipe, date and time)."""
    runs: str = "runs"
    """Folder that holds the runs."""
    task: Literal["multiclass"] = "multiclass"
    """Kind of problem: how scores become a loss and metrics."""
    seed: int = 42
    """Decides the start weights, the order of samples and every augmentation."""
    epochs: int = 10
    """Passes over the training split at the most."""
    patience: int = 0
    """Stop after this many epochs without a better watched metric (0: never)."""
    watch: str = "accuracy"
    """Validation metric that decides which checkpoint is best (loss: lower is better; any other: higher)."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the forward pass (auto: bf16 where the device has it, else fp16 on a GPU, else fp32)."""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


# setting -> its smallest value, and what that value stands for
AT_LEAST: dict[str, tuple[float, str]] = {
    "epochs": (1, ""),
    "patience": (0, "never"),
    "data.batch_size": (1, ""),
    "data.eval_batch_size": (1, ""),
    "data.accumulate": (1, ""),
    "data.global_batch": (0, "automatic"),
    "data.image_size": (16, ""),
    "data.max_samples": (0, "all"),
    "data.workers": (1, ""),
    "data.prefetch": (1, ""),
    "optim.weight_decay": (0, "none"),
    "optim.clip_norm": (0, "none"),
    "schedule.plateau_patience": (0, ""),
    "schedule.min_lr": (0, ""),
    "checkpoint.every_minutes": (0, "at the ends of epochs"),
    "checkpoint.every_steps": (0, "by time only"),
    "checkpoint.keep_last": (1, ""),
    "slurm.nodes": (1, ""),
    "slurm.tasks_per_node": (0, "automatic"),
    "slurm.gpus_per_node": (0, "none"),
    "slurm.cpus_per_task": (0, "the cluster's default"),
    "slurm.mem_gb": (0, "the cluster's default"),
    "slurm.signal_seconds": (1, ""),
}
PROBABILITIES = ("augment.rotate_p", "augment.flip_p", "augment.zoom_p", "model.dropout", "loss.label_smoothing")


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
    return [problem for holds, problem in rules + _single_rules(config) if not holds]


def _single_rules(config: Config) -> list[tuple[bool, str]]:
    data, augment, optim, schedule, slurm = config.data, config.augment, config.optim, config.schedule, config.slurm
    return [
        (not config.run or RUN_NAME.fullmatch(config.run) is not None, _bad_name(config.run)),
        (data.std > 0, f"std is {data.std}: it divides the pixels and must be above 0"),
        (0 <= augment.rotate_deg <= 180, f"rotate_deg is {augment.rotate_deg}: give 0 to 180 degrees"),
        (
            0 < augment.zoom_min <= augment.zoom_max,
            f"zoom is {augment.zoom_min} to {augment.zoom_max}: give 0 < zoom_min <= zoom_max",
        ),
        (optim.lr > 0, f"lr is {optim.lr}: it must be above 0"),
        (schedule.min_lr <= optim.lr, f"min_lr is {schedule.min_lr}: it must not exceed lr, which is {optim.lr}"),
        (0 < schedule.factor < 1, f"factor is {schedule.factor}: it cuts the learning rate and lies between 0 and 1"),
        (
            not slurm.time or TIME_LIMIT.fullmatch(slurm.time) is not None,
            f"time is {slurm.time!r}: write 90, 1:30:00 or 2-12:00:00",
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


def _bad_name(name: str) -> str:
    return f"run is {name!r}: use letters, digits, '.', '_' and '-' (at most 100, the first a letter or digit)"
