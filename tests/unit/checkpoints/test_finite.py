"""Numbers that break end a run with a reason, and never become a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from inprocess import new_run, train_here
from safetensors.torch import load_file

from medtrain.checkpoints import writer
from medtrain.checkpoints.finite import (
    SKIPS_IN_A_ROW,
    SMALLEST_SCALE,
    Gradients,
    any_not_finite,
    broken_gradients,
    finite,
)
from medtrain.checkpoints.format import find_corruption, newest
from medtrain.checkpoints.retention import CheckpointStore
from medtrain.checkpoints.writer import Outcome, Team
from medtrain.config.schema import CheckpointConfig
from medtrain.core.errors import NumericalError
from medtrain.runs.checkpoint_manifest import TrainState, checkpoint_folders
from medtrain.runs.run import Run
from medtrain.tasks.multiclass import Multiclass

HUGE = torch.finfo(torch.float32).max


def finite_checkpoints(run: Run) -> list[str]:
    """The names of all checkpoints of a run, each of which is whole and finite."""
    folders = checkpoint_folders(run.checkpoints)
    for path in (file for folder in folders for file in folder.glob("*.safetensors")):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values()), path
    return [folder.name for folder in folders]


# ---- what is not finite ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_one_value_in_any_place_is_found(value: float, dtype: torch.dtype) -> None:
    for place in (0, 3, 6):
        tensors = [torch.zeros(0), torch.tensor(3), torch.full((7,), -1.5, dtype=dtype), torch.tensor(2.0)]
        assert any_not_finite(tensors) == 0 and all(map(finite, tensors))
        tensors[2][place] = value
        assert any_not_finite(tensors) == 1 and not finite(tensors[2])
    assert any_not_finite([torch.tensor(value, dtype=dtype)]) == 1


def test_large_numbers_are_finite_though_their_squares_and_sums_are_not() -> None:
    assert any_not_finite([torch.full((1000,), HUGE), torch.full((3, 3), -HUGE)]) == 0
    assert any_not_finite([]) == 0
    assert finite(torch.tensor([HUGE, -HUGE]))


def test_a_parameter_without_a_gradient_has_no_broken_one() -> None:
    frozen, learning = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    learning.grad = torch.tensor([0.0, torch.nan, 1.0])
    assert broken_gradients([frozen, learning], torch.device("cpu")) == 1
    assert broken_gradients([frozen], torch.device("cpu")) == 0


# ---- a step's gradients ---------------------------------------------------------------------------------------------


def test_without_a_scaler_the_first_broken_step_ends_it() -> None:
    gradients = Gradients(None)
    gradients.check_step(6, 1, False, "fix")
    with pytest.raises(NumericalError, match=r"the gradients of step 7 \(epoch 1\) are not finite") as caught:
        gradients.check_step(7, 1, True, "fix")
    assert caught.value.exit_code == 3


def test_fp16_skips_steps_and_only_many_in_a_row_are_an_error() -> None:
    """torch.amp.GradScaler begins at 2 ** 16 and halves; it finds a usable scale in the first steps of most runs."""
    gradients = Gradients(SimpleNamespace(get_scale=lambda: 1.0))
    for step in range(1, SKIPS_IN_A_ROW):
        gradients.check_step(step, 1, True, "fix")
    gradients.check_step(SKIPS_IN_A_ROW, 1, False, "fix")
    for step in range(101, 100 + SKIPS_IN_A_ROW):
        gradients.check_step(step, 2, True, "fix")
    with pytest.raises(NumericalError, match=r"from step 101 on \(epoch 2\): 30 steps in a row were skipped"):
        gradients.check_step(100 + SKIPS_IN_A_ROW, 2, True, "fix")


def test_fp16_with_a_tiny_scale_is_an_error_though_steps_between_were_taken() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-12, growth_interval=2000)
    gradients, parameter = Gradients(scaler), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)

    def step(number: int, value: float) -> None:
        parameter.grad = torch.tensor([value])
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        gradients.check_step(number, 1, not np.isfinite(value), "fix")

    scaler.scale(torch.ones(1))
    step(1, torch.inf)
    assert scaler.get_scale() == 2.0**-13 > SMALLEST_SCALE
    step(2, 0.5)
    with pytest.raises(NumericalError, match=r"from step 3 on .*: 1 steps in a row were skipped, and the loss scale"):
        step(3, torch.nan)
    assert torch.isfinite(parameter).all()


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_a_broken_gradient_under_a_finite_loss_names_its_step_and_no_checkpoint_has_it(
    demo_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root of 0 has an infinite slope: the loss is as before, its gradient is NaN. Step 9 is to be saved, too."""
    run = new_run(demo_shards, tmp_path, epochs=1, optim={"ema_decay": 0.9, "clip_norm": 1.0})
    whole, calls = Multiclass.loss, []

    def loss(self: Multiclass, logits: torch.Tensor, batch: Any) -> torch.Tensor:
        calls.append(1)
        zero = logits.float() * 0
        return whole(self, logits, batch) + (zero.sum().sqrt() if len(calls) == 9 else 0.0)

    monkeypatch.setattr(Multiclass, "loss", loss)
    with pytest.raises(NumericalError, match=r"the gradients of step 9 \(epoch 1\) are not finite") as caught:
        train_here(run)
    assert "lower --lr" in caught.value.fix
    assert finite_checkpoints(run) == ["step-00000003", "step-00000006"]
    assert newest(run.checkpoints, pytest.fail).state.step == 6  # type: ignore[arg-type, union-attr]
    rows = [json.loads(line) for line in run.journal.read_text().splitlines()]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert train_here(run) == 0, "the cause is gone: it resumes from step 6"
    assert finite_checkpoints(run)[-1] == "step-00000012-epoch-001"


@pytest.mark.parametrize("watch", ["accuracy", "loss"])
def test_answers_that_are_first_seen_broken_in_validation_end_it(demo_shards: Path, tmp_path: Path, watch: str) -> None:
    """The weights overflow in the last step of an epoch, whose own loss and gradients were finite."""
    run = new_run(
        demo_shards, tmp_path, watch=watch, epochs=1, data={"batch_size": 96}, optim={"optimizer": "sgd", "lr": 1e38}
    )
    with pytest.raises(NumericalError, match=r"answers to 12 of 12 samples are not finite after step 1 \(epoch 1\)"):
        train_here(run)
    assert finite_checkpoints(run) == [] and not (run.checkpoints / "best").exists()


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def save(folder: Path, step: int, value: float, team: tuple[Team, ...] = (Team(0, 1, "word"),)) -> list[Outcome]:
    """A checkpoint of a model with a moment of which one number is `value`; the outcome of each rank of the team."""
    members = [CheckpointStore(folder, CheckpointConfig(), own, {"ranks": 1, "fingerprints": {}}) for own in team]
    for member in members:
        weights, moments = {"a": torch.ones(50), "z": torch.ones(40)}, {"z:exp_avg_sq": torch.ones(9)}
        moments["z:exp_avg_sq"][4] = value
        files = {"model.safetensors": weights, "optimizer.safetensors": moments}
        member.save(TrainState(step=step), files, frozenset(), before=dict)
    return [member.outcome(None) for member in members]  # type: ignore[misc]


def test_a_save_of_broken_numbers_fails_and_leaves_nothing(tmp_path: Path) -> None:
    (outcome,) = save(tmp_path, 1, torch.inf)
    assert outcome.not_finite and outcome.error == "z:exp_avg_sq in optimizer.safetensors is not finite"
    assert list(tmp_path.iterdir()) == []


def test_one_rank_of_a_team_that_sees_broken_numbers_ends_the_save(tmp_path: Path) -> None:
    lead, other = save(tmp_path, 1, torch.nan, tuple(Team(place, 2, "word") for place in range(2)))
    assert lead.error and other.error and (lead.not_finite or other.not_finite)
    assert list(tmp_path.iterdir()) == []


def test_an_older_versions_checkpoint_of_nan_is_named_and_the_one_before_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1, 1.0)
    with monkeypatch.context() as older:
        older.setattr(writer, "finite", lambda tensor: True)
        save(tmp_path, 2, torch.nan)
    what = "optimizer.safetensors: 1 of 1 tensors are not finite, the first is z:exp_avg_sq"
    assert find_corruption(tmp_path / "step-00000002") == [what] and find_corruption(tmp_path / "step-00000001") == []
    told: list[str] = []
    found = newest(tmp_path, told.append)
    assert found is not None and found.state.step == 1
    assert told == [f"no run can resume from checkpoint step-00000002 ({what}); trying the one before"]
