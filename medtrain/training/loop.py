"""The loop."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from medtrain.checkpoints.finite import broken_gradients
from medtrain.config.rules import lower_is_better
from medtrain.config.schema import Config
from medtrain.core.console import busy
from medtrain.core.errors import EXIT_DONE, EXIT_RESUMABLE, Hang, NumericalError
from medtrain.core.running_time import CLOCK
from medtrain.distributed.gradient_sync import BROKEN, COLUMNS, CORRECT, LOSS, SAVE, STOP
from medtrain.distributed.process_group import World, any_rank, broadcast_buffers, broadcast_object, shutdown
from medtrain.evaluation.evaluate import ensure_finite, measure, score
from medtrain.evaluation.inputs import pixels
from medtrain.loading.batch import Batch
from medtrain.runs import fencing
from medtrain.runs.checkpoint_manifest import TrainState
from medtrain.runs.run import Run
from medtrain.runs.step_times import COMMUNICATION, COMPUTE, DATA, SAVING
from medtrain.shards import mixture
from medtrain.tasks import Task
from medtrain.tracking.gpu_recorder_process import GpuRecorderProcess
from medtrain.tracking.uploader_process import UploaderProcess
from medtrain.training.epoch_text import clock, epoch_text
from medtrain.training.node_gpus import recorded_gpus
from medtrain.training.saving import export_state_dict, report_save, save, save_and_wait, save_final, stability_hint
from medtrain.training.setup import Trainer, prepare, unfreeze
from medtrain.training.stop_request import StopRequest
from medtrain.training.watchdog import Watchdog

LAST_SAVE_S = 20  # after an error, what is being saved may still become durable


class Report(Protocol):
    """Writes what a finished run leaves to read; `each_round` is asked once a round of each split that is scored."""

    def __call__(
        self,
        run: Run,
        config: Config,
        task: Task,
        model: nn.Module,
        world: World,
        say: Callable[[str], None],
        each_round: Callable[[], bool],
        /,
    ) -> None: ...


def train(run: Run, config: Config, stop: StopRequest, fail: Callable[[Hang], Any], report: Report) -> int:
    """Train `run` to its end from its newest good checkpoint, or until asked to stop. Returns an exit code.

    `fail` is what a watchdog calls, from its own thread, when training hangs; `report` is called on every rank when all
    epochs are done, before the run counts as finished.
    """
    rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    watchdog = Watchdog(run, rank, size, fail)
    trainer, state = prepare(run, config, stop, watchdog)
    gc.enable()  # see rank_main.main
    feeder = UploaderProcess(run, config.tracking.tracker)
    name, gpus = recorded_gpus(trainer.world.device)
    recorder = GpuRecorderProcess(run, name)
    recorder.start(gpus)
    if trainer.world.main:
        feeder.start()
    code = EXIT_RESUMABLE
    try:
        code = train_epochs(trainer, state, report)
    finally:
        watchdog.close()
        trainer.checkpoints.outcome(LAST_SAVE_S)
        trainer.run_log.close()
        trainer.training.close()
        trainer.validation.close()
        recorder.finish()
        # A stopped run has no time for a slow tracker: the next attempt sends everything again.
        feeder.finish(60 if code == EXIT_DONE else 5)
    shutdown(trainer.world)
    return code


def train_epochs(trainer: Trainer, state: TrainState, report: Report) -> int:
    """Epoch after epoch until the last, early stopping or a stop."""
    mixture.ensure_monitor(trainer.config)  # its shards were not packed yet, perhaps, when it was submitted
    while state.epoch < trainer.config.epochs and not should_stop_early(trainer, state):
        began = CLOCK.now()
        unfreeze(trainer, state)
        state, stopped = train_epoch(trainer, state)
        if not stopped:
            state, stopped = end_epoch(trainer, state, began)
        if stopped:
            return stop_resumable(trainer, state)
    return finish(trainer, state, report)


def train_epoch(trainer: Trainer, state: TrainState) -> tuple[TrainState, bool]:
    """The rest of the current epoch from `state` on; the flag says that a stop was requested at a step's border.

    A step's sums are read one step late, or at once where a save needs them.
    """
    trainer.watchdog.step_begins(state.step + 1, trainer.config.hang_timeout_seconds)
    trainer.clock.begin()
    for batch in trainer.training.batches(state.epoch, state.epoch_step):
        trainer.clock.lap(DATA)
        values = optimizer_step(trainer, state.step, batch)
        state = state.after_step()
        trainer.clock.lap(COMPUTE)
        state, asked = record_step(trainer, state)
        trainer.sums.send(state.step, values)
        if asked.save or trainer.checkpoints.due_by_step(state):
            state, now = record_step(trainer, state)
            asked = StepRequests(asked.stop or now.stop)
            trainer.clock.lap(COMPUTE)
            save(trainer, state)
            trainer.clock.lap(SAVING)
        if asked.stop:
            return record_step(trainer, state)[0], True
        report_save(trainer)
        trainer.watchdog.step_begins(state.step + 1, trainer.config.hang_timeout_seconds)
        trainer.clock.lap(COMPUTE)
    state, asked = record_step(trainer, state, last=True)
    trainer.clock.pause()
    return state, asked.stop


def end_epoch(trainer: Trainer, state: TrainState, began: float) -> tuple[TrainState, bool]:
    """Validate, move the learning rate, judge, save. The flag says that a stop was requested; nothing has changed where
    it came before the end of the validation. What this attempt did of the epoch `began` at that running time."""
    broadcast_buffers(trainer.world, trainer.model)
    if trainer.ema:
        broadcast_buffers(trainer.world, trainer.ema.model)
    config, world = trainer.config, trainer.world
    started = CLOCK.now()
    scores = score(
        trainer.eval_model,
        trainer.task,
        trainer.validation,
        config,
        world,
        stopped=lambda: alive(trainer, "validating") or any_rank(world, bool(trainer.stop)),
    )
    if scores is None:
        return state, True
    ensure_finite(scores, f"after step {state.step} (epoch {state.epoch + 1})", stability_hint(trainer))
    report = broadcast_object(world, measure(scores, trainer.task, trainer.validation))
    row = {
        "step": state.step,
        "epoch": state.epoch + 1,
        "lr": trainer.schedule.lr,
        "train_loss": state.epoch_loss / state.epoch_step,
        f"train_{trainer.task.accuracy_key}": state.epoch_correct / state.epoch_step,
        **{f"val_{name}": value for name, value in report.items() if isinstance(value, int | float)},
    }
    state, better = update_best(config, state, report)
    trainer.schedule.epoch_done(report)
    trainer.run_log.epoch(row)
    now = CLOCK.now()
    times = f"{now - began:.1f} s (validation {now - started:.1f} s), {clock(now - trainer.started)} since this start"
    trainer.run_log.log(epoch_text(trainer, state, row, better, times) + trainer.task.details(report))
    trainer.run_log.status(epoch=state.epoch, step=state.step, best=state.best, best_epoch=state.best_epoch)
    trainer.clock.begin()
    save(trainer, state)
    trainer.clock.lap(SAVING)
    return state, any_rank(world, bool(trainer.stop))


def alive(trainer: Trainer, doing: str, patience: int = 1) -> bool:
    """A heartbeat between the rounds of an evaluation; never true, so that it can stand before a stop question."""
    trainer.watchdog.alive(doing, patience * trainer.config.hang_timeout_seconds)
    return False


def optimizer_step(trainer: Trainer, step: int, batch: Batch) -> torch.Tensor:
    """Forward, backward, reduce, clip, update. Returns the columns of gradient_sync, of this rank's share."""
    config, world, sync = trainer.config, trainer.world, trainer.gradient_sync
    accelerator = world.accelerator
    total = torch.zeros(COLUMNS, device=world.device)
    parts = sync.micro_batches(batch)
    for number, micro in enumerate(parts):
        micro = replace(micro, labels=micro.labels.to(world.device, non_blocking=True))
        with sync.micro(step, number, len(parts), total):
            logits = trainer.parallel(pixels(micro, config.data, config.model.channels, world.device))
            loss = trainer.task.loss(logits, micro)
            accelerator.backward(loss * sync.scale)
            trainer.clock.backward_done()
            total[LOSS] += loss.detach()
            total[CORRECT] += trainer.task.correct(logits.detach(), micro)
    trainer.clock.lap(COMPUTE)
    sync.reduce(total)
    trainer.clock.lap(COMMUNICATION if world.size > 1 else COMPUTE)
    if not trainer.gradients.scaled:  # before they are clipped, which spreads a NaN to all of them
        total[BROKEN] = broken_gradients(trainer.model.parameters(), world.device)
    if config.optim.clip_norm:
        accelerator.clip_grad_norm_(trainer.model.parameters(), config.optim.clip_norm)
    trainer.optimizer.step()
    if trainer.gradients.scaled:  # the scaler has looked at them, and waited for the answer
        total[BROKEN] = float(accelerator.optimizer_step_was_skipped)
    trainer.optimizer.zero_grad()
    if trainer.ema:
        trainer.ema.update(trainer.model, step + 1)
    total[STOP] = float(bool(trainer.stop))
    total[SAVE] = float(trainer.checkpoints.due_by_time())
    return total


@dataclass(frozen=True)
class StepRequests:
    """What some rank has asked of all."""

    stop: bool = False
    save: bool = False


def record_step(trainer: Trainer, state: TrainState, last: bool = False) -> tuple[TrainState, StepRequests]:
    """Enter the numbers of the step sent last (over all ranks) in journal and state; what ranks asked for with it. The
    line of the epoch's `last` step has the sums of its clock, too."""
    received = trainer.sums.receive()
    trainer.clock.lap(COMMUNICATION if trainer.world.size > 1 else COMPUTE)
    if received is None:
        return state, StepRequests()
    step, told = received
    loss = told[LOSS]
    if not math.isfinite(loss):
        raise NumericalError(
            f"the loss became {loss} at step {step} (epoch {state.epoch + 1})", stability_hint(trainer)
        )
    trainer.gradients.check_step(step, state.epoch + 1, told[BROKEN] > 0, stability_hint(trainer))
    trainer.run_log.step(step, state.epoch + 1, loss, trainer.schedule.lr, trainer.clock.due(last))
    booked = replace(state, epoch_loss=state.epoch_loss + loss, epoch_correct=state.epoch_correct + told[CORRECT])
    return booked, StepRequests(told[STOP] > 0, told[SAVE] > 0)


def update_best(config: Config, state: TrainState, report: dict[str, Any]) -> tuple[TrainState, bool]:
    """The state after an epoch, and whether it is the best so far by the monitored metric."""
    value = report.get(config.monitor)
    sign = -1 if lower_is_better(config.monitor) else 1
    better = value is not None and (state.best is None or sign * value > sign * state.best)
    state = replace(state, epoch=state.epoch + 1, epoch_step=0, epoch_loss=0.0, epoch_correct=0.0)
    if better:
        return replace(state, best=value, best_epoch=state.epoch, stale_epochs=0), True
    # As the plateau rule: where a number is undefined, nothing has become worse.
    return replace(state, stale_epochs=state.stale_epochs + (value is not None)), False


def should_stop_early(trainer: Trainer, state: TrainState) -> bool:
    """Whether early stopping ends the run."""
    return 0 < trainer.config.patience <= state.stale_epochs


def stop_resumable(trainer: Trainer, state: TrainState) -> int:
    """Save after this step and leave; the supervisor decides whether the run resumes by itself."""
    reason = save_and_wait(trainer, state)
    signal = trainer.stop.signal
    who = {"SIGINT": "Ctrl-C", "": "a stop on another rank"}.get(signal, signal)
    trainer.run_log.log(f"Stopped by {who}; {'not saved, left' if reason else 'saved'} at step {state.step:,}")
    trainer.run_log.status(state="stopped", step=state.step, signal=trainer.stop.signal)
    return EXIT_RESUMABLE


def finish(trainer: Trainer, state: TrainState, report: Report) -> int:
    """Report on the best weights; the run counts as finished only after its end is durable."""
    run, config, world = trainer.run, trainer.config, trainer.world
    save_final(trainer, state)
    fencing.ensure_highest(run.folder)
    if world.main and trainer.checkpoints.best_epoch() != state.best_epoch:
        trainer.run_log.log(f"warning: epoch {state.best_epoch} was the best, but the disk was full: testing another")
    if world.main:
        busy("testing the best weights")
    # Intervals by patient take a while, on rank 0 alone.
    report(run, config, trainer.task, trainer.model, world, trainer.run_log.log, lambda: alive(trainer, "testing", 10))
    if world.main:
        export_state_dict(trainer)
    ended = "early stopping" if state.epoch < config.epochs else "all epochs done"
    best = (
        f"best {config.monitor} {state.best:.4f} in epoch {state.best_epoch}" if state.best_epoch else "no best epoch"
    )
    trainer.run_log.log(f"finished ({ended}): {best}")
    trainer.run_log.status(state="finished", step=state.step, epoch=state.epoch)
    return EXIT_DONE
