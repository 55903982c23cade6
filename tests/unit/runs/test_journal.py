"""The journal: each checkpoint proves it up to its step, a resume believes no changed byte of it and loses no line."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xxhash
from inprocess import new_run, train_here
from safetensors.torch import load_file
from spoiled import flip

from medtrain.checkpoints.format import Checkpoint, load_checkpoint
from medtrain.checkpoints.retention import CheckpointStore
from medtrain.checkpoints.verify_run import check_files
from medtrain.checkpoints.writer import Team
from medtrain.config import configfile
from medtrain.config.schema import CheckpointConfig
from medtrain.core.errors import InputError
from medtrain.runs import journal
from medtrain.runs.checkpoint_manifest import (
    CorruptCheckpointError,
    TrainState,
    checkpoint_folders,
    read_manifest,
    read_state,
)
from medtrain.runs.journal import Journal
from medtrain.runs.run import Run
from medtrain.training.resuming import choose_checkpoint, clear_newer, recorded_precision, resolve_best


def line(step: int, kind: str = "step", epoch: int = 1) -> dict[str, Any]:
    return {"kind": kind, "step": step, "epoch": epoch, "loss": 0.5, "time": 1.0}


def entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "xxh3": xxhash.xxh3_128_hexdigest(data)}


# ---- the file -------------------------------------------------------------------------------------------------------


def test_a_claim_is_of_the_bytes_so_far_also_after_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for attempt in range(3):
        own = Journal(path)
        for step in range(3):
            own.write(line(step))
            assert own.claim().made_durable() == {"journal": entry(path.read_bytes())}, (attempt, step)
        claim = own.claim()
        own.write(line(9))
        assert claim.bytes < path.stat().st_size, "what comes later is no part of it"
        own.close()


def test_a_full_disk_fails_the_claim_and_loses_no_line(tmp_path: Path, small_disk: Any) -> None:
    folder = small_disk(200_000)
    path = folder / "metrics.jsonl"
    own = Journal(path)
    own.write(line(1))
    filler = folder / "filler"
    free = os.statvfs(folder)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize))
    for step in range(2, 102):  # the first of them still fit into the last block
        own.write(line(step))
    with pytest.raises(OSError, match="No space left"):
        own.claim().made_durable()
    filler.unlink()
    assert own.claim().made_durable() == {"journal": entry(path.read_bytes())}
    assert [row["step"] for row in journal.rows(path)] == list(range(1, 102))
    own.close()


def test_a_cut_is_made_in_place_behind_what_was_proved(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    kept = b"".join(json.dumps(line(step)).encode() + b"\n" for step in range(1, 5))
    path.write_bytes(kept + json.dumps(line(5)).encode() + b'\n{"kind": "st')
    inode = path.stat().st_ino
    assert journal.cut(path, entry(kept), 4, 0) == 0
    assert path.read_bytes() == kept and path.stat().st_ino == inode


def test_without_a_proof_a_damaged_line_in_the_middle_cuts_nothing_off(tmp_path: Path) -> None:
    """As older versions left it: what is behind the line is the curve, too."""
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps(line(step)).encode() + b"\n" for step in range(1, 6)]
    lines[2] = lines[2].replace(b'"loss": ', b'"loss"# ')
    lines.insert(4, json.dumps(line(4, "epoch")).encode() + b"\n")
    path.write_bytes(b"".join(lines) + b'{"kind"')
    assert journal.cut(path, None, 4, 1) == 1
    assert path.read_bytes() == b"".join(lines[:5])
    assert [row["step"] for row in journal.rows(path, "step")] == [1, 2, 4]


def test_a_line_that_is_no_row_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = json.dumps(line(1)).encode() + b"\n"
    bad = [b"\n", b"7\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b"\0\0\0\n", whole.replace(b"step", b"stfp"),
           whole.replace(b'"step": 1', b'"step": "1"'), whole.replace(b"1.0", b"{}"), whole[:-1]]  # fmt: skip
    path.write_bytes(b"".join([whole, *bad]))
    assert list(journal.rows(path)) == [line(1)]


# ---- what a resume takes --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two epochs of 12 steps, saved every third."""
    run = new_run(demo_shards, tmp_path_factory.mktemp("ended"))
    assert train_here(run) == 0
    return run


@pytest.fixture
def run(ended: Run, tmp_path: Path) -> Run:
    """A copy that a test may damage."""
    return Run(shutil.copytree(ended.folder, tmp_path / "one", symlinks=True))


def in_line(run: Run, number: int) -> int:
    """A byte in the middle of a line of the journal; the first is 1."""
    return sum(len(each) for each in run.journal.read_bytes().splitlines(True)[: number - 1]) + 20


def test_every_checkpoint_proves_the_journal_up_to_its_step(ended: Run) -> None:
    data = ended.journal.read_bytes()
    for folder in checkpoint_folders(ended.checkpoints):
        state, proof = read_state(folder), read_manifest(folder)["journal"]
        assert proof == entry(data[: proof["bytes"]])
        rows = [json.loads(each) for each in data[: proof["bytes"]].splitlines()]
        assert max(row["step"] for row in rows) == state.step
        assert sum(row["kind"] == "epoch" for row in rows) == state.epoch


def test_one_bit_in_any_byte_of_the_journal_is_found(run: Run) -> None:
    whole, rng = run.journal.read_bytes(), random.Random(0)
    assert check_files(run).faults == () and not any("not checked" in note for note in check_files(run).notes)
    newest = checkpoint_folders(run.checkpoints)[-1]
    proof = read_manifest(newest)["journal"]
    for place in [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(100))]:
        flip(run.journal, place, rng.randrange(8))
        assert "is not what had been written by then" in journal.find_corruption(run.journal, proof), place
        run.journal.write_bytes(whole)
    flip(run.journal, 700, 1)
    assert check_files(run).faults == (f"metrics.jsonl is not what had been written by then ({newest.name})",)
    run.journal.write_bytes(whole[:-1])
    assert f"has {len(whole) - 1:,} bytes, and {len(whole):,} were written" in check_files(run).faults[0]
    run.journal.unlink()
    assert "metrics.jsonl has 0 bytes" in check_files(run).faults[0]


def test_a_changed_digit_goes_back_to_the_checkpoint_before_it_and_ends_alike(run: Run, ended: Run) -> None:
    flip(run.journal, in_line(run, 18), 1)  # step 17: the epoch's line is the 13th
    damaged = run.journal.read_bytes()
    assert train_here(run) == 0
    assert (run.folder / "metrics.jsonl.damaged-1").read_bytes() == damaged
    log = run.log.read_text()
    assert "metrics.jsonl is not what had been written by then: checkpoint step-00000024-epoch-002 cannot be" in log
    assert "the damaged journal is kept: metrics.jsonl.damaged-1" in log
    assert "resuming at step 15 (epoch 2) from step-00000015" in log
    aside = sorted(path.name for path in run.checkpoints.glob("aside-*"))
    assert aside == [f"aside-1-step-000000{step}" for step in ("18", "21", "24", "24-epoch-002")]
    for own, other in zip(journal.rows(run.journal), journal.rows(ended.journal), strict=True):
        assert {**own, "time": 0} == {**other, "time": 0}
    ours, theirs = (load_file(each.checkpoints / "last/model.safetensors") for each in (run, ended))
    assert all(ours[name].equal(tensor) for name, tensor in theirs.items())
    found = check_files(run)
    assert found.faults == () and len([note for note in found.notes if "was put aside" in note]) == 4


def test_damage_before_the_oldest_checkpoint_is_refused_until_the_curve_is_given_up(run: Run) -> None:
    flip(run.journal, in_line(run, 2), 1)
    before = sorted(path.name for path in run.folder.rglob("*"))
    with pytest.raises(InputError, match="nor by any older checkpoint") as caught:
        choose_checkpoint(run, lambda text: None)
    assert str(run.journal) in caught.value.problem and caught.value.exit_code == 2
    assert sorted(path.name for path in run.folder.rglob("*")) == before, "nothing is lost, nothing is changed"
    _, old, new = caught.value.fix[caught.value.fix.index("mv ") :].split()[:3]
    Path(old).rename(new)
    told: list[str] = []
    for _ in range(2):  # the attempt that began it anew may have been killed before it saved
        choice = choose_checkpoint(run, told.append)
        assert choice.found is not None and choice.found.state.step == 24
        clear_newer(run, choice, told.append)
        run.journal.write_text(json.dumps(line(25, epoch=3)) + "\n")
    assert all("its curve is given up, and begins anew behind step-00000024-epoch-002" in text for text in told)


def test_a_torn_end_beyond_the_newest_checkpoint_is_cut_off_without_a_word(run: Run) -> None:
    whole = run.journal.read_bytes()
    with run.journal.open("ab") as file:
        file.write(b'{"kind": "step", "step": 25, "ep\0\0\0')
    told: list[str] = []
    choice = choose_checkpoint(run, told.append)
    clear_newer(run, choice, told.append)
    assert run.journal.read_bytes() == whole and told == []


def test_an_older_versions_checkpoint_is_not_checked_and_that_is_said(run: Run) -> None:
    """Written here as the older writer did, without an entry for the journal."""
    (newest,) = [folder for folder in checkpoint_folders(run.checkpoints) if folder.name.endswith("epoch-002")]
    found = load_checkpoint(newest)
    facts = {name: read_manifest(newest)[name] for name in ("ranks", "fingerprints")}
    writer = CheckpointStore(run.checkpoints, CheckpointConfig(keep_last=50), Team(0, 1, "word"), facts)
    files = {"model.safetensors": found.model, "optimizer.safetensors": found.optimizer}
    writer.save(found.state, files, frozenset(), before=dict)
    assert not writer.outcome(None).error  # type: ignore[union-attr]
    flip(run.journal, in_line(run, 3), 1)
    told: list[str] = []
    choice = choose_checkpoint(run, told.append)
    assert choice.found is not None and choice.found.state.step == 24
    assert told == [f"{newest.name} is of an older medtrain, which kept no proof of the journal: it is not checked"]
    found_files = check_files(run)
    assert found_files.faults == () and "metrics.jsonl is not checked: the medtrain that wrote" in found_files.notes[0]


# ---- what is read before a checkpoint is loaded ---------------------------------------------------------------------


def test_precision_is_that_of_a_state_that_its_manifest_confirms(run: Run) -> None:
    """One letter of it would stop a run for good, or let it go on in other arithmetic."""
    state = checkpoint_folders(run.checkpoints)[-1] / "state.json"
    whole = state.read_bytes()
    for other in (b"bf16", b"fp12", b""):
        state.write_bytes(whole.replace(b'"fp32"', b'"' + other + b'"'))
        assert recorded_precision(run) == "fp32"
    for folder in checkpoint_folders(run.checkpoints):
        (folder / "state.json").write_bytes(b"{}")
    assert recorded_precision(run) == ""


# ---- the best epoch -------------------------------------------------------------------------------------------------


def with_best(run: Run, epoch: int) -> tuple[Checkpoint, TrainState]:
    """The newest checkpoint of a run, had that epoch been the best, and the state that its best is settled to."""
    newest = load_checkpoint(checkpoint_folders(run.checkpoints)[-1])
    found = replace(newest, state=replace(newest.state, best_epoch=epoch, best=0.75))
    told: list[str] = []
    state = resolve_best(run, configfile.load(run.config_file), found, told.append)
    (run.folder / "told").write_text("\n".join(told))
    return found, state


def test_a_damaged_best_is_found_at_a_resume_and_another_epoch_counts_as_the_best(run: Run) -> None:
    """Else the run could never finish: the best weights are what is tested."""
    found, state = with_best(run, 1)
    assert state == found.state and (run.folder / "told").read_text() == "", "it is whole"
    flip(run.checkpoints / "step-00000012-epoch-001/model.safetensors", 5000, 1)
    _, state = with_best(run, 1)
    rows = list(journal.rows(run.journal, "epoch"))
    assert (state.best_epoch, state.best) == (2, rows[1]["val_accuracy"])
    told = (run.folder / "told").read_text()
    assert "epoch 1 was the best (accuracy 0.75), but step-00000012-epoch-001 is damaged (model.safetensors" in told
    assert "of those that are whole, epoch 2 counts as the best" in told
    checkpoints = CheckpointStore(run.checkpoints, CheckpointConfig(), Team(0, 1, "word"), {})
    checkpoints.start_from(replace(found, state=state))
    assert checkpoints.best_epoch() == 2
    assert (run.checkpoints / "aside-1-step-00000012-epoch-001").exists(), "nothing is deleted"


def test_where_no_epoch_is_whole_the_best_is_looked_for_from_there_on(run: Run) -> None:
    shutil.rmtree(checkpoint_folders(run.checkpoints)[-1])
    flip(run.checkpoints / "step-00000012-epoch-001/model.safetensors", 5000, 1)
    found, state = with_best(run, 1)
    assert (state.best_epoch, state.best) == (0, None)
    assert "the best is looked for from here on" in (run.folder / "told").read_text()
    checkpoints = CheckpointStore(run.checkpoints, CheckpointConfig(), Team(0, 1, "word"), {})
    checkpoints.start_from(replace(found, state=state))
    assert not (run.checkpoints / "best").is_symlink() and checkpoints.best_epoch() == 0


def test_the_best_needs_no_optimizer_and_a_resume_does(run: Run) -> None:
    """The weights of the best are all that is ever loaded of it."""
    best = run.checkpoints / "step-00000012-epoch-001"
    flip(best / "optimizer.safetensors", 5000, 1)
    found, state = with_best(run, 1)
    assert state.best_epoch == 1 and found.folder != best
    assert load_checkpoint(best, optimizer=False).optimizer == {}
    with pytest.raises(CorruptCheckpointError, match=r"optimizer\.safetensors does not match its checksum"):
        load_checkpoint(best)


def test_a_run_whose_best_is_damaged_after_its_last_epoch_comes_to_its_end(run: Run) -> None:
    state = read_state(checkpoint_folders(run.checkpoints)[-1])
    best = run.checkpoints / f"step-000000{12 * state.best_epoch}-epoch-{state.best_epoch:03d}"
    flip(best / "model.safetensors", 5000, 1)
    (run.evaluation / "test.json").unlink()
    assert train_here(run) == 0
    assert "is damaged" in run.log.read_text() and (run.evaluation / "test.json").exists()
