"""Saving from within the loop: start it, hear of it, wait for it where the run ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from medtrain.checkpoints.format import AVERAGE, MODEL, OPTIMIZER
from medtrain.checkpoints.writer import PARTS_WITHIN_S
from medtrain.core.errors import MachineError, NumericalError
from medtrain.core.files import whole
from medtrain.distributed.process_group import broadcast_object
from medtrain.runs.checkpoint_manifest import TrainState, checkpoint_name
from medtrain.runs.run import resume_command
from medtrain.training.optim import optimizer_tensors
from medtrain.training.setup import Trainer


def save(trainer: Trainer, state: TrainState) -> None:
    """Start writing a checkpoint, on every rank alike. A full disk is warned of when it is known, and the next save
    tries again."""
    report_save(trainer, wait=True)
    scaler = trainer.world.accelerator.scaler
    state = replace(state, schedule=trainer.schedule.state(), scaler=scaler.state_dict() if scaler is not None else {})
    files = {
        MODEL: trainer.model.state_dict(),
        OPTIMIZER: optimizer_tensors(trainer.optimizer, trainer.model),
    }
    if trainer.ema:
        files[AVERAGE] = trainer.ema.tensors()
    buffers = frozenset(name for name, _ in trainer.model.named_buffers())
    # The journal's lines up to this step are durable before the manifest that claims them.
    trainer.checkpoints.save(state, files, buffers, before=trainer.run_log.claim())


def report_save(
    trainer: Trainer, wait: bool = False, then: str = "training continues, and the next save tries again"
) -> str:
    """Tell the user what became of the save in flight, once it is known; returns the reason where it failed.
    Raises NumericalError where its tensors are not finite."""
    if wait:
        trainer.watchdog.alive("waiting for a checkpoint", trainer.config.hang_timeout_seconds + PARTS_WITHIN_S)
    outcome = trainer.checkpoints.outcome(None if wait else 0)
    if outcome is None:
        return ""
    if outcome.not_finite:
        raise NumericalError(f"step {outcome.step} is not saved: {outcome.error}", stability_hint(trainer))
    if not outcome.error:
        trainer.run_log.status(saved_step=outcome.step, save_seconds=round(outcome.seconds, 3))
    else:
        trainer.run_log.log(f"warning: step {outcome.step} could not be saved: {outcome.error}; {then}")
    return outcome.error


def stability_hint(trainer: Trainer) -> str:
    """What helps where numbers break."""
    return f"lower --lr, set --clip_norm 1, or try --precision fp32   (it was {trainer.world.precision})"


def export_state_dict(trainer: Trainer) -> None:
    """Put the weights that the model has now into `weights_dir`, as a plain state dict: STUDY_TYPE/model.pth, or
    RUN/model.pth. It holds tensors alone, and `torch.load(..., weights_only=True)` reads it."""
    config = trainer.config
    if not config.weights_dir:
        return
    path = Path(config.weights_dir) / (config.data.study_type or trainer.run.name) / "model.pth"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with whole(path, 0o640) as file:
        torch.save({name: tensor.cpu() for name, tensor in trainer.model.state_dict().items()}, file)
    trainer.run_log.log(f"the best weights are in {path} too")


def save_and_wait(trainer: Trainer, state: TrainState) -> str:
    """Save this state unless it is durable already, and wait until it is. Returns why it is not, the same on every
    rank, or an empty string."""
    report_save(trainer, wait=True)
    name = checkpoint_name(state)
    if broadcast_object(trainer.world, trainer.checkpoints.durable == name):
        return ""
    save(trainer, state)
    reason = report_save(trainer, wait=True, then="this run ends here")
    return str(broadcast_object(trainer.world, "" if trainer.checkpoints.durable == name else reason))


def save_final(trainer: Trainer, state: TrainState) -> None:
    """The same at the end of a run, which counts as finished only when its end is durable; raises MachineError."""
    reason = save_and_wait(trainer, state)
    if reason:
        problem = f"step {state.step} could not be saved: {reason}"
        raise MachineError(problem, f"make room, then: {resume_command(trainer.run)}")
