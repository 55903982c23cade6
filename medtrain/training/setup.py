"""Build everything that a rank trains with, and load the newest intact checkpoint."""

from __future__ import annotations

import contextlib
import gc
import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from medtrain import tasks
from medtrain.checkpoints.finite import Gradients
from medtrain.checkpoints.format import Checkpoint
from medtrain.checkpoints.retention import CheckpointStore
from medtrain.checkpoints.writer import Team
from medtrain.config import configfile, fingerprint
from medtrain.config.global_batch import global_batch, virtual_ranks
from medtrain.config.schema import Config
from medtrain.core.counts import counted
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import write_json
from medtrain.core.running_time import CLOCK
from medtrain.distributed import process_group
from medtrain.distributed.gradient_sync import AllReduceSync, FixedOrderSync, make_gradient_sync, priming_passes
from medtrain.distributed.process_group import AsyncMetricReducer, World, all_gather_ragged, broadcast_object
from medtrain.evaluation.inputs import input_shape, middle, open_loader
from medtrain.loading.loader import Loader
from medtrain.models.compile import not_compiled
from medtrain.models.freezing import Freezing
from medtrain.runs import fencing
from medtrain.runs.checkpoint_manifest import TrainState, digest
from medtrain.runs.run import Run
from medtrain.shards import compatibility, mixture
from medtrain.slurm.environment import node_name
from medtrain.tasks import Task
from medtrain.tracking.run_log import RunLog
from medtrain.training.ema import EMA
from medtrain.training.label_table import label_table
from medtrain.training.network import build_network
from medtrain.training.optim import Schedule, restore_optimizer
from medtrain.training.provenance import device_of, ensure_same_device, note_environment
from medtrain.training.resuming import load_latest_checkpoint, recorded_precision
from medtrain.training.step_clock import StepClock
from medtrain.training.stop_request import StopRequest
from medtrain.training.watchdog import Watchdog

COMPILE_S = 1800  # more than compiling takes where nothing of it is in the cache


@dataclass
class Trainer:
    """Everything that one rank trains with."""

    run: Run
    config: Config
    world: World
    task: Task
    model: nn.Module  # what the optimizer updates
    parallel: nn.Module  # the same, wrapped in DDP where there are several ranks
    freezing: Freezing
    optimizer: Optimizer
    schedule: Schedule
    training: Loader
    validation: Loader
    checkpoints: CheckpointStore
    run_log: RunLog
    stop: StopRequest
    sums: AsyncMetricReducer
    gradient_sync: AllReduceSync | FixedOrderSync
    watchdog: Watchdog
    ema: EMA | None
    gradients: Gradients
    clock: StepClock
    started: float = field(default_factory=CLOCK.now)

    @property
    def eval_model(self) -> nn.Module:
        """What is validated, tested and kept as best: the average of the weights where there is one."""
        return self.ema.model if self.ema else self.model


def prepare(run: Run, config: Config, stop: StopRequest, watchdog: Watchdog) -> tuple[Trainer, TrainState]:
    """Meet the other ranks, build everything, and load the newest intact checkpoint.

    The order counts: threads and determinism are settled before a tensor is made, the ranks meet before any of them
    reads a checkpoint, the data are looked at before a model is built for them, and the rehearsal, whose results
    vanish, comes before the checkpoint's tensors are put in place.
    """
    configfile.check(config, str(run.config_file))
    world = init_world(run, config, stop)
    found, state, checkpoints = restore_state(run, config, world)
    training = open_loader(config, world, "train", state.global_batch, config.augment, state.virtual_ranks, True)
    training.start()  # those of the validation have time until an epoch is over
    validation = open_loader(config, world, "val")
    task = tasks.for_training(config, training)
    network = build_network(config, world, state, found, task.outputs, middle(training.labels[training.drawn]))
    steps = config.epochs * training.steps
    trainer = Trainer(
        run=run,
        config=config,
        world=world,
        task=task,
        model=network.model,
        parallel=network.parallel,
        freezing=network.freezing,
        optimizer=network.optimizer,
        schedule=Schedule(config.schedule, network.optimizer, config.epochs, config.monitor),
        training=training,
        validation=validation,
        checkpoints=checkpoints,
        run_log=RunLog(run, world.main, steps, state.step, state.global_batch, config.data.unit),
        stop=stop,
        sums=AsyncMetricReducer(world),
        gradient_sync=network.gradient_sync,
        watchdog=watchdog,
        ema=EMA(network.model, config.optim.ema_decay) if config.optim.ema_decay else None,
        gradients=Gradients(world.accelerator.scaler),
        clock=StepClock(world.device),
    )
    prime_reducer(trainer, state)
    if found:
        restore(trainer, found)
    log_start(trainer, state, found)
    return trainer, state


def init_world(run: Run, config: Config, stop: StopRequest) -> World:
    """The ranks of this attempt, in the precision that the run began with; rank 0 looks for a stop file from now on."""
    if config.determinism == "exact":
        process_group.compute_deterministically()
    precision = recorded_precision(run) or config.precision
    world = process_group.init_distributed(precision, trains_on_clips=config.data.frames > 0)
    if world.main:
        fencing.ensure_highest(run.folder)
        stop.watch(run.stop_file)
    return world


def restore_state(run: Run, config: Config, world: World) -> tuple[Checkpoint | None, TrainState, CheckpointStore]:
    """The newest intact checkpoint, where there is one, the state to resume from, and where checkpoints are kept."""
    fingerprints = {"config": fingerprint.fingerprint(config), "data": mixture.fingerprint(config.data)}
    found = load_latest_checkpoint(run, config, fingerprints, world)
    state = found.state if found else first_state(config, world)
    if state.threads:
        torch.set_num_threads(state.threads)
    ensure_no_idle_ranks(state, world)
    if config.slurm.min_nodes:
        ensure_same_device(run, config, device_of(world), broadcast_object(world, device_of(world)))
    facts: dict[str, Any] = {"ranks": world.size, "fingerprints": fingerprints}
    if world.main:  # which writes the manifests
        note_environment(run, world)
        facts["environment"] = digest(run.environment)
    checkpoints = CheckpointStore(run.checkpoints, config.checkpoint, form_writer_team(world), facts)
    checkpoints.start_from(found)
    if not found:  # it may have waited for what packed them
        for folder in mixture.folders(config.data):
            compatibility.ensure_task_fits(config, folder)
    return found, state, checkpoints


def form_writer_team(world: World) -> Team:
    """The ranks on rank 0's host write checkpoints together."""
    first, word = broadcast_object(world, (node_name(), secrets.token_hex(4)))
    here = all_gather_ragged(world, torch.tensor([[float(node_name() == first)]], device=world.device))
    members = torch.nonzero(here[:, 0]).flatten().tolist()
    return Team(members.index(world.rank) if world.rank in members else None, len(members), word)


def first_state(config: Config, world: World) -> TrainState:
    """Where a new run begins; what it settles now, later attempts keep."""
    asked = global_batch(config.data, world.size)
    # The number of threads decides the order of sums, in fast mode too: fp32 weight gradients of convolutions differ.
    state = TrainState(global_batch=asked, precision=world.precision, threads=torch.get_num_threads())
    if config.determinism == "fast":
        return state
    return replace(state, virtual_ranks=virtual_ranks(config.data, asked))


def ensure_no_idle_ranks(state: TrainState, world: World) -> None:
    """Every rank must have a part of each global batch; raises InputError."""
    parts = state.virtual_ranks or state.global_batch
    if parts < world.size:
        raise InputError(
            f"{world.size} ranks share a global batch of {state.global_batch} in {parts} parts: some would do nothing",
            f"use {parts} ranks or fewer, or in a new run a larger --batch_size or --grad_accumulation",
        )


def unfreeze(trainer: Trainer, state: TrainState) -> None:
    """Before the first step of an epoch: have more blocks train where the settings say so, with all as a process would
    have it that begins here."""
    if not trainer.freezing.begin(state.epoch):
        return
    del trainer.parallel, trainer.gradient_sync
    gc.collect()  # an old DDP keeps its hooks on the parameters until it is gone
    trainer.watchdog.alive("unfreezing", trainer.config.hang_timeout_seconds)
    trainer.parallel, trainer.gradient_sync = make_gradient_sync(trainer.config, state, trainer.world, trainer.model)
    prime_reducer(trainer, state)
    trainer.run_log.log(f"epoch {state.epoch + 1}: {trainer.freezing}")


def prime_reducer(trainer: Trainer, state: TrainState) -> None:
    """Throw-away passes before the first step, and before the first one with other blocks that train.

    DDP orders its gradient buckets anew after its first backward pass, and a resumed process would otherwise sum its
    first step in another order than the undisturbed one did. Compiling takes minutes, and no step may take so long.
    """
    config, world = trainer.config, trainer.world
    averages = isinstance(trainer.gradient_sync, AllReduceSync)  # within the backward pass
    trainer.clock.watch_backward(trainer.model, world.size if averages else 1)
    shape = input_shape(config)
    if world.size > 1 and averages:
        with not_compiled():
            priming_passes(trainer.parallel, (2, *shape), world.device)
    if config.model.compile == "blocks":
        trainer.watchdog.alive("compiling", COMPILE_S)
        rows = min(config.data.batch_size, -(-state.global_batch // (state.virtual_ranks or world.size)))
        priming_passes(trainer.model, (rows, *shape), world.device)


def restore(trainer: Trainer, found: Checkpoint) -> None:
    """Put a checkpoint's tensors and numbers in place."""
    trainer.model.load_state_dict(found.model)
    if trainer.ema:
        trainer.ema.model.load_state_dict(found.average)
    restore_optimizer(trainer.optimizer, trainer.model, found.optimizer)
    trainer.schedule.restore(found.state.schedule)
    scaler = trainer.world.accelerator.scaler
    if scaler is not None:
        scaler.load_state_dict(found.state.scaler)


def log_start(trainer: Trainer, state: TrainState, found: Checkpoint | None) -> None:
    """Say what starts, and with which choices and why."""
    world, tracker, config = trainer.world, trainer.run_log, trainer.config
    threads = counted(torch.get_num_threads(), "threads")
    device = torch.cuda.get_device_name() if world.device.type == "cuda" else f"CPU, {threads}"
    an_epoch, all_of_them = trainer.training.steps * state.global_batch, trainer.training.samples
    of = "" if an_epoch == all_of_them else f" an epoch ({all_of_them:,} in the training split)"
    samples = f"{an_epoch:,} {config.data.unit}{of}"
    tracker.log(
        f"{trainer.run.name}: {config.model.backbone} on {samples}, {counted(world.size, 'ranks')} on {device},"
        f" precision {world.precision} ({world.precision_reason}), global batch {state.global_batch}"
    )
    if told := str(trainer.freezing):
        tracker.log(told)
    if found:
        tracker.log(f"resuming at step {state.step:,} (epoch {state.epoch + 1}) from {found.folder.name}")
    else:
        tracker.log("starting from the beginning: no checkpoint is there yet")
        if config.task != "multiclass" and world.main:
            text, rows = label_table(trainer.training, config.data.study_type)
            tracker.log(text)
            with contextlib.suppress(OSError):  # a full disk stops no training
                write_json(trainer.run.labels, rows)
    if trainer.training.rgb and world.main:  # without it a prediction would be of gray images
        write_json(trainer.run.images, {"channels": 3})
    if (packed := trainer.training.index.clips) and world.main and not trainer.run.clips.exists():
        with contextlib.suppress(OSError):  # the next attempt, then
            write_json(trainer.run.clips, asdict(packed))
    tracker.status(
        state="running",
        step=state.step,
        epoch=state.epoch,
        epochs=config.epochs,
        steps_per_epoch=trainer.training.steps,
        best=state.best,
        watch=config.monitor,
        ranks=world.size,
        signal="",
        error="",
    )
