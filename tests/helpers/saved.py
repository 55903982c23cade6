"""Small checkpoints for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtrain.checkpoints.retention import CheckpointStore
from medtrain.checkpoints.writer import Outcome, Team
from medtrain.config.schema import CheckpointConfig
from medtrain.runs.checkpoint_manifest import TrainState
from medtrain.training.optim import optimizer_tensors

FACTS = {"ranks": 1, "fingerprints": {"config": "c", "data": "d"}}
Files = dict[str, dict[str, torch.Tensor]]


def tensors_of(seed: int = 0) -> tuple[Files, frozenset[str]]:
    """Model and optimizer after two steps, and the names of the buffers."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.Flatten(), nn.Linear(40 * 36, 10))
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        model(torch.randn(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    files = {
        "model.safetensors": dict(model.state_dict()),
        "optimizer.safetensors": optimizer_tensors(optimizer, model),
    }
    return files, frozenset(name for name, _ in model.named_buffers())


def open_folder(folder: Path, team: Team | None = None, **config: Any) -> CheckpointStore:
    return CheckpointStore(folder, CheckpointConfig(**config), team or Team(0, 1, "word"), FACTS)


def save(checkpoints: CheckpointStore, state: TrainState, seed: int = 0) -> Outcome:
    files, buffers = tensors_of(seed)
    checkpoints.save(state, files, buffers, before=dict)
    outcome = checkpoints.outcome(None)
    assert outcome is not None
    return outcome


def refuse(text: str) -> None:
    raise AssertionError(text)
