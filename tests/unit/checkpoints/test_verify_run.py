"""medtrain verify RUN: good runs are proved and left alone; damage and other bits are found and told."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command import SMALL, command_line, medtrain, wait_until
from fork_server import Forked
from limits import HANG_S
from spoiled import flip

from medtrain.checkpoints.format import load_checkpoint
from medtrain.checkpoints.replay import scratch
from medtrain.checkpoints.replay_plan import LONG_S, plan
from medtrain.checkpoints.retention import CheckpointStore
from medtrain.checkpoints.verify_run import check_files, verify_run
from medtrain.checkpoints.writer import Team
from medtrain.config.schema import CheckpointConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.core.jsonfiles import read_json
from medtrain.runs import fencing
from medtrain.runs.checkpoint_manifest import MANIFEST, checkpoint_folders
from medtrain.runs.fencing import FOLDER
from medtrain.runs.run import Run

SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "5", "--dropout", "0.1", "--keep_last", "4"]
EXACT = ["--determinism", "exact", "--batch_size", "4", "--global_batch", "16"]


def train(shards: Path, runs: Path, ranks: int, *more: str) -> Run:
    """Two epochs; on one rank 12 steps each, on two 6."""
    place = ["--shards", shards, "--runs", runs, "--run", "first", "--tasks_per_node", ranks]
    medtrain("train", "mednist", *place, *SETTINGS, *more)
    return Run(runs / "first")


@pytest.fixture(scope="module")
def one_rank(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(demo_shards, tmp_path_factory.mktemp("one"), 1)


@pytest.fixture
def run(one_rank: Run, tmp_path: Path) -> Run:
    """A copy that a test may damage."""
    return Run(shutil.copytree(one_rank.folder, tmp_path / "first", symlinks=True))


def everything(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time of the last change and content of all there is in a folder, but for the numbers of those who worked in
    it, of which `verify` takes one."""
    found = {}
    for path in sorted([folder, *(path for path in folder.rglob("*") if FOLDER not in path.parts)]):
        told = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        digest = hashlib.sha256(content if isinstance(content, bytes) else str(content).encode()).hexdigest()
        found[str(path.relative_to(folder))] = (told.st_mode, told.st_mtime_ns, digest)
    return found


def drop_newest(run: Run) -> None:
    """As if the run had been killed before its newest checkpoint."""
    *_, before, newest = checkpoint_folders(run.checkpoints)
    shutil.rmtree(newest)
    for link in ("last", "best"):
        path = run.checkpoints / link
        if link == "last" or path.readlink() == Path(newest.name):
            path.unlink()
            path.symlink_to(before.name)


def verify(run: Run, *arguments: object, code: int = 0) -> Any:
    done = medtrain("verify", run.name, "--runs", run.folder.parent, "--json", *arguments, check=False)
    assert done.returncode == code and done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout)


# ---- the replay -----------------------------------------------------------------------------------------------------


def test_a_good_run_is_proved_and_left_as_it_was(one_rank: Run) -> None:
    """From mid-epoch over the end of an epoch."""
    before = everything(one_rank.folder)
    done = medtrain("verify", one_rank.folder)
    assert "every byte and tensor as it was written" in done.stdout
    assert "replayed    from step 20 (step-00000020) to step 24 on 1 rank in" in done.stdout
    assert "proved      step-00000024-epoch-002 is what training makes, bit for bit" in done.stdout
    assert everything(one_rank.folder) == before
    assert [path.name for path in one_rank.folder.parent.iterdir()] == ["first"], "nothing is left beside it"


def test_two_ranks_from_the_beginning_to_mid_epoch(demo_shards: Path, tmp_path: Path) -> None:
    run = train(demo_shards, tmp_path, 2)
    drop_newest(run)
    before = everything(run.folder)
    document = verify(run, "--from_step", 0)
    told = document["replay"]
    assert (told["from_step"], told["from_checkpoint"], told["to_checkpoint"]) == (0, None, "step-00000010")
    assert told["same"] and told["ranks"] == 2 and told["journal_lines"] == 10 + 1 and told["tensors"] == 233
    assert document["faults"] == document["notes"] == [] and document["files"] == 4 * len(document["checkpoints"])
    assert everything(run.folder) == before


def test_an_exact_run_of_two_ranks_is_proved_by_one(demo_shards: Path, tmp_path: Path) -> None:
    """With what is installed, also where its ranks ran in a container: no Slurm starts one here."""
    run = train(demo_shards, tmp_path, 2, *EXACT)
    text = run.config_file.read_text()
    assert "\nslurm:\n" in text
    run.config_file.write_text(text.replace("\nslurm:\n", "\nslurm:\n  container: /images/gone.sif\n"))
    (tmp_path / "elsewhere").mkdir()
    told = verify(run, "--ranks", 1, "--scratch", tmp_path / "elsewhere")["replay"]
    assert not list((tmp_path / "elsewhere").iterdir())
    assert told["same"] and told["ranks"] == 1 and told["to_checkpoint"] == "step-00000012-epoch-002"


def test_a_checkpoint_that_is_whole_but_wrong_is_caught(run: Run) -> None:
    """As another version of the code, or memory that lost a bit before the hashes were made, would leave it."""
    newest = checkpoint_folders(run.checkpoints)[-1]
    found = load_checkpoint(newest)
    found.model["fc.weight"][2, 7] += 1e-6
    facts = {name: read_json(newest / MANIFEST)[name] for name in ("ranks", "fingerprints")}
    files = {"model.safetensors": found.model, "optimizer.safetensors": found.optimizer}
    writer = CheckpointStore(run.checkpoints, CheckpointConfig(keep_last=4), Team(0, 1, "word"), facts)
    writer.save(replace(found.state, best=0.5), files, frozenset(), before=dict)
    assert not writer.outcome(None).error  # type: ignore[union-attr]
    assert verify(run, "--files_only")["faults"] == []
    run.environment.write_text(
        run.environment.read_text().replace("torch ", "torch 0").replace("processor ", "processor 0")
    )
    done = medtrain("verify", run.name, "--runs", run.folder.parent, check=False)
    assert done.returncode == 3
    first, second = [line for line in done.stdout.splitlines() if line.startswith("MISMATCH")]
    assert "1 of 233 tensors differ; the first, fc.weight in model.safetensors, in 1 of" in first
    assert "the state's best is 0.5, and" in second
    assert "perhaps     every line of the curve is the same: it was changed in the last step" in done.stdout
    assert "perhaps     the run began with torch 0" in done.stdout and "began with threads" not in done.stdout
    assert "perhaps     the run began with processor 0" in done.stdout
    assert "not proved  training does not make step-00000024-epoch-002" in done.stdout


def test_a_replay_that_cannot_be_done_says_why(run: Run) -> None:
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("shards: ", "shards: /nowhere"))
    done = medtrain("verify", run.folder, check=False)
    assert done.returncode == 1
    assert "could not be trained again from step 20: /nowhere" in done.stderr and "--files_only" in done.stderr
    assert "proved" not in done.stdout
    assert [path.name for path in run.folder.parent.iterdir()] == ["first"]


def test_a_replay_that_is_cut_off_leaves_nothing(run: Run) -> None:
    before = everything(run.folder)
    process = Forked(command_line("verify", run.folder, "--from_step", 0), stdout=subprocess.PIPE)
    hidden = run.folder.parent / ".first.verify.unfinished"
    wait_until((hidden / "first" / "metrics.jsonl").exists, process)
    assert medtrain("status", "--runs", run.folder.parent, "--json").stdout.count('"run"') == 1
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 130 and not hidden.exists()
    left = subprocess.run(["pgrep", "-f", str(hidden)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    assert everything(run.folder) == before


# ---- files and links ------------------------------------------------------------------------------------------------


def test_one_bit_in_any_file_of_any_checkpoint_is_named(run: Run) -> None:
    places = [path for folder in checkpoint_folders(run.checkpoints) for path in sorted(folder.iterdir())]
    assert len(places) == 16
    for path in places:
        position = random.Random(f"{path.parent.name}/{path.name}").randrange(path.stat().st_size)
        flip(path, position)
        fault, *links = check_files(run).faults
        assert fault.startswith(f"{path.parent.name}: ") and path.name in fault
        assert all("which is damaged" in link for link in links)
        flip(path, position)
    assert check_files(run).faults == check_files(run).notes == ()


def test_all_damage_is_told_and_nothing_is_replayed(run: Run) -> None:
    older, *_, newest = checkpoint_folders(run.checkpoints)
    flip(newest / "model.safetensors", 900_000)
    flip(newest / "state.json", 20)
    (older / "optimizer.safetensors").unlink()
    done = medtrain("verify", run.folder, check=False)
    assert done.returncode == 2
    assert [line.removeprefix("FAULT       ") for line in done.stdout.splitlines()[:4]] == [
        f"{older.name}: optimizer.safetensors: No such file or directory",
        f"{newest.name}: model.safetensors does not match its checksum",
        f"{newest.name}: state.json does not match its checksum",
        f"last points to {newest.name}, which is damaged",
    ]
    assert "not replayed" in done.stdout and "medtrain resume first" in done.stdout
    assert verify(run, code=2)["replay"] is None


def test_links_names_and_litter(run: Run) -> None:
    folders = checkpoint_folders(run.checkpoints)
    (run.checkpoints / "last").unlink()
    assert check_files(run).faults == ("last is missing",)
    (run.checkpoints / "last").symlink_to("step-00000099")
    assert check_files(run).faults == ("last points to step-00000099, and there is no such checkpoint",)
    (run.checkpoints / "last").unlink()
    (run.checkpoints / "last").symlink_to(folders[0].name)
    (run.checkpoints / ".tmp-word-3").mkdir()
    (run.checkpoints / "best").unlink()
    (folders[1] / "notes.txt").touch()
    found = check_files(run)
    assert not found.faults
    assert found.notes[0] == f"{folders[1].name}/notes.txt is no part of the checkpoint"
    assert found.notes[1] == f"last points to {folders[0].name}, and {folders[-1].name} is newer; resume fixes it"
    assert "was the best, and best points to nothing" in found.notes[2]
    assert found.notes[3].startswith("checkpoints/.tmp-word-3 was left by a killed process")
    shutil.copytree(folders[0], run.checkpoints / "step-00000031")
    assert check_files(run).faults == (f"step-00000031: holds {folders[0].name}: it was renamed or copied here",)


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_a_run_that_is_under_way_is_refused(demo_shards: Path, tmp_path: Path) -> None:
    place = ["--shards", demo_shards, "--runs", tmp_path, "--run", "first", "--epochs", "90"]
    process = Forked(command_line("train", "mednist", *place, *SETTINGS[2:]), stdout=subprocess.DEVNULL)
    wait_until(Run(tmp_path / "first").last_step, process)
    done = medtrain("verify", "first", "--runs", tmp_path, check=False)
    assert done.returncode == 2 and "under way (process" in done.stderr and "medtrain stop" in done.stderr
    process.terminate()
    assert process.wait(HANG_S) == 75


def test_the_checkpoints_of_a_run_with_an_owner_are_not_verified(run: Run) -> None:
    number = 1 + max(fencing.numbers(run.folder), default=0)
    assert fencing.claim(
        run.folder, number, replace(fencing.myself(), pid=1, ticks=fencing.started(1))
    )  # init, which lives
    del fencing.HELD[run.folder]
    try:
        with pytest.raises(InputError, match=r"first is still under way \(process 1\): its checkpoints come and go"):
            verify_run(run, files_only=True, from_step=-1, ranks=0, scratch=None, json=False)
    finally:
        fencing.file(run.folder, number, "end").touch()


def test_what_cannot_be_replayed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(MachineError, match="the replay finds no place there") as found,
        scratch(plan(run), Path("/none")),
    ):
        raise AssertionError("it begins")
    assert "--scratch DIR" in found.value.fix
    with pytest.raises(InputError, match="no checkpoint of step 7 before its newest, of step 24"):
        plan(run, from_step=7)
    with pytest.raises(InputError, match=r"made by 1 rank; 2 would sum in another order"):
        plan(run, ranks=2)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    with pytest.raises(InputError, match="this allocation has 4 tasks, and 1 are needed") as caught:
        plan(run)
    assert "salloc --nodes=1 --ntasks-per-node=1 medtrain verify first" in caught.value.fix
    monkeypatch.delenv("SLURM_JOB_ID")
    if not torch.cuda.is_available():
        run.environment.write_text("device NVIDIA H200\n")
        with pytest.raises(MachineError, match="trains on 1 x NVIDIA H200, and here are 0 GPUs"):
            plan(run)
    for folder in checkpoint_folders(run.checkpoints)[:-1]:
        shutil.rmtree(folder)
    rows = [{"kind": "step", "step": n, "epoch": 1, "time": n * LONG_S / 20} for n in range(1, 25)]
    run.journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="takes about 18 min"):
        plan(run)


def test_an_edited_copy_of_medtrain_is_refused(run: Run) -> None:
    (run.code / "medtrain" / "training" / "optim.py").write_text("LR = 7\n")
    done = medtrain("verify", run.folder, check=False)
    assert done.returncode == 2 and "was changed (medtrain/training/optim.py)" in done.stdout


def test_what_is_neither_a_run_nor_a_dataset(
    run: Run, demo_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, problem, fix in [
        (["frist", "--runs", tmp_path], "(did you mean first?)", "medtrain status"),
        ([run.checkpoints / "last"], "is one checkpoint", "medtrain verify RUN"),
        ([run.folder, "--level", "quick"], "is a run: --level", "--files_only"),
        ([demo_shards, "--files_only"], "is a packed dataset: --files_only", f"medtrain verify {demo_shards}"),
    ]:
        done = medtrain("verify", *words, check=False)
        assert done.returncode == 2 and problem in done.stderr and fix in done.stderr, done.stderr
    shutil.copytree(demo_shards, tmp_path / "here" / "first")
    done = medtrain("verify", "first", "--runs", tmp_path, cwd=tmp_path / "here", check=False)
    assert done.returncode == 2 and "is a packed dataset here, and a run in" in done.stderr
    shutil.rmtree(run.checkpoints)
    run.checkpoints.mkdir()
    assert "has no checkpoint yet" in medtrain("verify", run.folder, check=False).stderr
