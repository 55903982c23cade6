"""Checkpoints: what is written, who writes it, and that no damage of any kind is ever loaded."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from saved import FACTS, open_folder, refuse, save, tensors_of

from medtrain.checkpoints import writer
from medtrain.checkpoints.format import load_checkpoint, newest
from medtrain.checkpoints.writer import Team
from medtrain.runs.checkpoint_manifest import CorruptCheckpointError, TrainState, checkpoint_folders


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two checkpoints."""
    folder = tmp_path_factory.mktemp("pair")
    checkpoints = open_folder(folder)
    for step in (1, 2):
        save(checkpoints, TrainState(step=step, epoch_loss=1 / 3, schedule={"lr": 0.1}), seed=step)
    return folder


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    state = TrainState(step=7, epoch=2, epoch_step=3, best=0.1 + 0.2, precision="bf16", schedule={"lr": 1e-300})
    assert not save(open_folder(tmp_path), state).error
    files, _ = tensors_of()
    found = newest(tmp_path, refuse)
    assert found is not None and found.state == state and found.fingerprints == FACTS["fingerprints"]
    for name, tensors in files.items():
        by_the_library = load_file(tmp_path / "last" / name)
        ours = {"model.safetensors": found.model, "optimizer.safetensors": found.optimizer}[name]
        assert by_the_library.keys() == ours.keys() == tensors.keys()
        for key, tensor in tensors.items():
            assert torch.equal(by_the_library[key], tensor) and torch.equal(ours[key], tensor)
            assert ours[key].dtype == tensor.dtype


def test_every_dtype_and_shape(tmp_path: Path) -> None:
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
              torch.int8, torch.uint8, torch.bool]  # fmt: skip
    tensors = {f"{dtype}".split(".")[1]: torch.arange(7).to(dtype) for dtype in dtypes}
    tensors |= {"scalar": torch.tensor(3.5), "none": torch.empty(0, 4), "strided": torch.arange(24.0).view(4, 6).T[1:]}
    files = {"model.safetensors": tensors, "optimizer.safetensors": {"only": torch.ones(1)}}
    checkpoints = open_folder(tmp_path)
    checkpoints.save(TrainState(step=1), files, frozenset(), before=dict)
    assert not checkpoints.outcome(None).error  # type: ignore[union-attr]
    found = newest(tmp_path, refuse)
    assert found is not None
    for name, tensor in tensors.items():
        assert torch.equal(found.model[name], tensor) and found.model[name].dtype == tensor.dtype, name


def test_what_training_changes_after_the_call_is_not_saved(tmp_path: Path) -> None:
    files, buffers = tensors_of()
    before = {key: tensor.clone() for key, tensor in files["model.safetensors"].items()}
    release = threading.Event()
    checkpoints = open_folder(tmp_path)
    for step in (1, 2):  # the second time into the kept memory
        release.clear()
        checkpoints.save(TrainState(step=step), files, buffers, before=lambda: {"waited": release.wait()})
        for tensor in files["model.safetensors"].values():
            tensor.add_(1)
        release.set()
        assert checkpoints.outcome(None) is not None
        found = newest(tmp_path, refuse)
        assert found is not None
        for key, tensor in found.model.items():
            assert torch.equal(tensor, before[key] + (step - 1)), key


def damaged(whole: bytes, rng: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """What may have become of a file, and how."""
    yield "deleted", None
    yield "emptied", b""
    yield "one byte more", whole + b"\n"
    for place in {0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(50))}:
        bit = rng.randrange(8)
        yield f"bit {bit} of byte {place}", whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
        yield f"cut at {place}", whole[:place]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_corruption_matrix(pair: Path, tmp_path: Path, name: str) -> None:
    """Any bit, any cut, any file: always found, always a fallback, never a wrong load."""
    shutil.copytree(pair, tmp_path / "c", symlinks=True)
    victim = tmp_path / "c" / "step-00000002" / name
    whole = victim.read_bytes()
    before = load_checkpoint(tmp_path / "c" / "step-00000001")
    for what, data in damaged(whole, random.Random(name)):
        victim.unlink() if data is None else victim.write_bytes(data)
        told: list[str] = []
        found = newest(tmp_path / "c", told.append)
        assert found is not None and found.state == before.state, what
        assert all(torch.equal(found.model[key], tensor) for key, tensor in before.model.items()), what
        assert len(told) == 1 and "step-00000002 is damaged" in told[0] and name in told[0], (what, told)
    victim.write_bytes(whole)
    assert newest(tmp_path / "c", refuse).state.step == 2  # type: ignore[union-attr]


def test_a_manifest_of_another_checkpoint_is_found(pair: Path, tmp_path: Path) -> None:
    shutil.copytree(pair, tmp_path / "c", symlinks=True)
    shutil.copy(tmp_path / "c/step-00000001/manifest.json", tmp_path / "c/step-00000002/manifest.json")
    with pytest.raises(CorruptCheckpointError):
        load_checkpoint(tmp_path / "c/step-00000002")


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_team_writes_what_one_rank_writes(tmp_path: Path, size: int) -> None:
    state = TrainState(step=5)
    save(open_folder(tmp_path), state)
    alone = {file.name: file.read_bytes() for file in (tmp_path / "last").iterdir()}
    (tmp_path / "team").mkdir()
    team = [open_folder(tmp_path / "team", Team(place, size, "word")) for place in range(size)]
    for place in reversed(range(size)):
        files, buffers = tensors_of()
        for name in buffers:
            files["model.safetensors"][name] = files["model.safetensors"][name] + place  # the lead's count
        if place == 1:  # a resumed rank may hold them in another order
            files = {file: dict(reversed(tensors.items())) for file, tensors in files.items()}
        team[place].save(state, files, buffers, before=dict)
    assert all(not member.outcome(None).error for member in team)  # type: ignore[union-attr]
    assert {file.name: file.read_bytes() for file in (tmp_path / "team" / "last").iterdir()} == alone


def test_a_part_that_never_comes_fails_the_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PARTS_WITHIN_S", 0.2)
    outcome = save(open_folder(tmp_path, Team(0, 2, "word")), TrainState(step=1))
    assert "another rank has not written its part" in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_a_team_ignores_what_a_killed_attempt_left(tmp_path: Path) -> None:
    """Its hidden folder and parts are there; those of this attempt have another word in their names."""
    old = tmp_path / ".tmp-old-1"
    old.mkdir()
    (old / "part-1.json").write_text("{}")
    team = [open_folder(tmp_path, Team(place, 2, "new")) for place in range(2)]
    files, buffers = tensors_of()
    for member in team:
        member.start_from(None)
        member.save(TrainState(step=1), files, buffers, before=dict)
    assert all(not member.outcome(None).error for member in team)  # type: ignore[union-attr]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "step-00000001"]
    assert newest(tmp_path, refuse) is not None


def test_a_full_disk_keeps_the_last_good_one_and_the_next_save_holds(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    folder = small_disk(3_000_000)
    checkpoints = open_folder(folder)
    assert not save(checkpoints, TrainState(step=1)).error
    for room in (1_000, 100_000, 200_000):
        filler = folder / "filler"
        free = os.statvfs(folder)
        filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - room)))
        outcome = save(checkpoints, TrainState(step=2), seed=2)
        assert outcome.error == "No space left on device" and checkpoints.durable == "step-00000001"
        assert sorted(path.name for path in folder.iterdir()) == ["filler", "last", "step-00000001"]
        assert newest(folder, refuse).state.step == 1  # type: ignore[union-attr]
        filler.unlink()
    assert not save(checkpoints, TrainState(step=3), seed=3).error
    assert newest(folder, refuse).state.step == 3  # type: ignore[union-attr]


def test_a_journal_that_cannot_be_made_durable_fails_the_save(tmp_path: Path) -> None:
    def full() -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    checkpoints = open_folder(tmp_path)
    files, buffers = tensors_of()
    checkpoints.save(TrainState(step=1), files, buffers, before=full)
    assert checkpoints.outcome(None).error == "No space left on device"  # type: ignore[union-attr]
    assert checkpoint_folders(tmp_path) == []


def test_what_stays(tmp_path: Path) -> None:
    """The last two, every third epoch's, and the best (epoch 2)."""
    checkpoints = open_folder(tmp_path, keep_every=3)
    for epoch in range(1, 9):
        state = TrainState(step=10 * epoch, epoch=epoch, best_epoch=min(epoch, 2))
        save(checkpoints, state)
        save(checkpoints, replace(state, step=10 * epoch + 5, epoch_step=5))
    kept = [path.name for path in checkpoint_folders(tmp_path)]
    epochs = ["step-00000020-epoch-002", "step-00000030-epoch-003", "step-00000060-epoch-006"]
    assert kept == [*epochs, "step-00000080-epoch-008", "step-00000085"]
    assert (tmp_path / "last").resolve().name == "step-00000085"
    assert (tmp_path / "best").resolve().name == "step-00000020-epoch-002"
    assert checkpoints.best_epoch() == 2


def test_links_that_a_kill_prevented_are_made_up_for(tmp_path: Path) -> None:
    checkpoints = open_folder(tmp_path)
    save(checkpoints, TrainState(step=10, epoch=1, best_epoch=1))
    save(checkpoints, TrainState(step=20, epoch=2, best_epoch=2))
    for link in ("last", "best"):
        (tmp_path / link).unlink()
        (tmp_path / link).symlink_to("step-00000010-epoch-001")
    (tmp_path / ".tmp-last").symlink_to("step-00000020-epoch-002")
    again = open_folder(tmp_path)
    again.start_from(newest(tmp_path, refuse))
    assert again.durable == "step-00000020-epoch-002" and again.best_epoch() == 2
    assert (tmp_path / "last").resolve().name == "step-00000020-epoch-002"
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_damaged_one_is_written_anew(pair: Path, tmp_path: Path) -> None:
    shutil.copytree(pair, tmp_path / "c", symlinks=True)
    (tmp_path / "c/step-00000002/model.safetensors").write_bytes(b"")
    assert not save(open_folder(tmp_path / "c"), TrainState(step=2), seed=2).error
    assert newest(tmp_path / "c", refuse).state.step == 2  # type: ignore[union-attr]


def test_state_is_plain_json(pair: Path) -> None:
    state = json.loads((pair / "last" / "state.json").read_text())
    assert state["step"] == 2 and state["epoch_loss"] == 1 / 3
