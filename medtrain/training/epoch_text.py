"""An epoch in a line of the log."""

from __future__ import annotations

import math
from typing import Any

import torch

from medtrain.runs.checkpoint_manifest import TrainState
from medtrain.training.setup import Trainer


def epoch_text(trainer: Trainer, state: TrainState, row: dict[str, Any], better: bool, times: str) -> str:
    """An epoch in one line of the log: the monitored metric, what else the task tells, and the best so far."""
    config = trainer.config
    names = {config.monitor: config.monitor, **trainer.task.logged_metrics}
    numbers = ", ".join(
        f"{word} {row.get(f'val_{name}', math.nan):.4f}" for name, word in names.items() if name != "loss"
    )
    best = ""  # where the monitored metric was never defined
    if state.best is not None:
        so_far = "the best so far" if better else f"best {config.monitor} {state.best:.4f} in epoch {state.best_epoch}"
        best = f" ({so_far})"
    trained = row[f"train_{trainer.task.accuracy_key}"]
    text = (
        f"epoch {row['epoch']} of {config.epochs}: train loss {row['train_loss']:.4f}, {trainer.task.accuracy_name}"
        f" {trained:.4f}; validation loss {row.get('val_loss', math.nan):.4f}, {numbers}"
        f"{best}; lr {row['lr']:.2g}; {times}"
    )
    if torch.cuda.is_available():
        text += f"; peak GPU memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
    return text


def clock(seconds: float) -> str:
    """H:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
