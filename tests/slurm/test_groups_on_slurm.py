"""Groups of runs on a real Slurm cluster: one array, each task with its own fate, and a chain from raw images on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cluster_user import User, trained
from fork_server import Forked
from limits import HANG_S
from places import REPOSITORY
from slurm_cluster import Cluster

from medtrain.datasets.sources import mura_demo
from medtrain.launch.group_status import describe_group
from medtrain.runs.run_group import RunGroup

SMALL = (
    *("--image_size", "32", "--tracker", "none", "--workers", "1", "--precision", "fp32", "--batch_size", "4"),
    *("--schedule", "constant", "--every_steps", "10", "--eval_batch_size", "16", "--partition", "low"),
    *("--backbone", "test_resnet"),
)
TYPES = mura_demo.CLASSES
BROKEN = 'raise RuntimeError("nobody mends this")\n'


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bones") / "raw"
    mura_demo.download(folder, samples=420)
    return folder


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path) -> User:
    return User(cluster, tmp_path, tmp_path / "shards")


def group(user: User, name: str) -> dict[str, Any]:
    return dict(json.loads(user.medtrain("status", name, "--json"))[0])


def described(user: User, name: str) -> dict[str, Any]:
    """As `group`, in this process."""
    with mock.patch.dict(os.environ, user.env):
        return dict(json.loads(json.dumps(describe_group(RunGroup(user.run(name))))))


def until(user: User, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + HANG_S
    while not holds(row := described(user, name)):
        logs = [path.read_text()[-1500:] for path in (user.run(name) / "slurm").glob("*.log")]
        assert time.monotonic() < deadline, "\n".join([json.dumps(row, indent=1), *logs])
        time.sleep(0.5)
    return group(user, name)


def stages(row: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: f"{stage['state']} {stage['done']}/{stage['of']}" for stage in row["stages"]}


def busy(user: User) -> str:
    """Nothing starts on the cluster before this job is cancelled."""
    urgent = user.cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 600\n")
    user.cluster.wait(urgent, "RUNNING")
    return urgent


def only(raw: Path, types: tuple[str, ...], root: Path) -> Path:
    """The images of some study types alone."""
    for split in ("train", "valid"):
        for name in types:
            shutil.copytree(raw / "MURA-v1.1" / split / name, root / "MURA-v1.1" / split / name)
    return root


def spoil(user: User, run: str) -> Callable[[], None]:
    """Break the medtrain that a run has a copy of; returns what mends it."""
    module = user.run(run) / "code" / "medtrain" / "tasks" / "abnormality.py"
    whole = module.read_bytes()
    module.write_text(BROKEN)
    return lambda: (module.write_bytes(whole), None)[1]


def test_of_an_array_two_are_preempted_and_one_fails_for_good(
    user: User, raw: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    types = TYPES[-request.config.getoption("--study-types") :]
    some = only(raw, types, tmp_path / "some")
    user.medtrain("shard", "mura_demo", "--root", some, "--out", user.shards, "--encoding", "jpeg", "--size", "32")
    words = ("--shards", user.shards, "--study_type", "all", "--epochs", "4", *SMALL)
    command = [sys.executable, "-m", "medtrain", "train", "mura_demo", "--run", "calm", *words]
    calm = Forked(
        [*map(str, command)], cwd=user.folder, env=user.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    urgent = busy(user)
    sent = json.loads(user.medtrain("submit", "mura_demo", "--run", "bones", *words, "--json"))
    (_, array, tasks), (last, _, _) = sent["jobs"]
    assert (tasks, last) == (len(types), "report")
    fix = spoil(user, f"bones-{types[0]}")
    waiting = group(user, "bones")
    assert stages(waiting) == {"train": f"waiting 0/{len(types)}", "report": "waiting 0/1"}
    assert [run["where"] for run in waiting["runs"]] == [f"job {array}_{i}" for i in range(len(types))]
    user.cluster.run("scancel", urgent)

    bad, *others = (f"bones-{name}" for name in types)
    for name in others:
        user.until(name, "trains", lambda row: row["saved_step"] > 0)
    low = [(name, user.status(name)["history"][-1]["nodes"]) for name in others]
    node = next(place for _, place in low if sum(place == other for _, other in low) >= 2)
    room = 2 + user.cluster.cpus - sum(place == node for _, place in low)  # two of them must go
    urgent = user.cluster.sbatch(
        "--partition=high", f"--nodelist={node}", f"--ntasks={room}", "--nodes=1", script="#!/bin/bash\nsleep 5\n"
    )
    user.cluster.wait(urgent, "COMPLETED")
    partly = {"train": f"failed {len(others)}/{len(types)}", "report": "finished 1/1"}
    row = until(user, "bones", lambda row: stages(row) == partly)

    ends = [one["cause"] for run in row["runs"] for one in run["history"]]
    assert ends.count(f"preempted by job {urgent}") >= 2, ends
    assert row["state"] == "failed" and row["again"] == "medtrain retry bones"
    failed = next(run for run in row["runs"] if run["run"] == bad)
    assert (failed["state"], failed["where"], failed["attempts"]) == ("failed", None, 3)
    assert "nobody mends this" in failed["note"]
    log = user.medtrain("logs", bad)
    assert "Traceback" in log and "RuntimeError: nobody mends this" in log
    report = json.loads((user.run("bones") / "evaluation" / "test.json").read_text())
    assert not report["runs"][bad]["finished"] and not report["per_class"][types[0]]["samples"]

    output, _ = calm.communicate(timeout=HANG_S)
    assert calm.returncode == 0, output
    for name in types[1:]:
        same(user, name)
    fix()
    before = {run["run"]: run["attempts"] for run in row["runs"]}
    answer = json.loads(user.medtrain("retry", "bones", "--json"))
    assert [len(stage["jobs"]) for stage in answer["stages"]] == [len(types), 1]
    row = until(user, "bones", lambda row: row["state"] == "finished")
    after = {run["run"]: run["attempts"] for run in row["runs"]}
    assert {name for name in after if after[name] > before[name]} == {bad}
    same(user, types[0])
    reports = [json.loads((user.run(name) / "evaluation" / "test.json").read_text()) for name in ("bones", "calm")]
    assert {**reports[0], "runs": 0} == {**reports[1], "runs": 0}
    assert user.medtrain("retry", "bones") == "group bones:\nnothing is left to do\n"


def same(user: User, study_type: str) -> None:
    """The weights, losses and results of a run are those of the undisturbed one."""
    storm, calm = (user.run(f"{name}-{study_type}") for name in ("bones", "calm"))
    assert trained(storm) == trained(calm), study_type
    reports = [(run / "evaluation" / name).read_bytes() for run in (storm, calm) for name in ("test.json", "test.csv")]
    assert reports[:2] == reports[2:], study_type


def test_a_chain_from_raw_images_to_a_report(user: User, raw: Path, tmp_path: Path) -> None:
    """Of two study types one fails at first: its evaluation does not wait for ever, and the rest is done."""
    two = only(raw, ("XR_HAND", "XR_WRIST"), tmp_path / "two")
    here = ("--root", two, "--shards", user.shards, "--run", "bones")
    words = (*here, "--epochs", "1", "--size", "32", "--tasks", "2", *SMALL)
    scripts = user.medtrain("pipeline", "mura_demo", *words, "--dry-run")
    assert scripts.count("#!/bin/bash") == 7 and "--dependency=aftercorr:JOB_bones-train" in scripts
    assert not (user.folder / "runs").exists() and not user.shards.exists()

    urgent = busy(user)
    tree = user.medtrain("pipeline", "mura_demo", *words, "--keep_names")
    order = [re.sub(r"[^a-z]+", " ", line).split()[0] for line in tree.splitlines()]
    assert order == ["group", "check", "read", "pack", "finish", "train", "evaluate", "report", "follow"], tree
    fix = spoil(user, "bones-XR_HAND")
    assert stages(group(user, "bones")) == {
        "check": "waiting 0/1", "pack": "waiting 0/1", "train": "waiting 0/2", "evaluate": "waiting 0/2",
        "report": "waiting 0/1",
    }  # fmt: skip
    user.cluster.run("scancel", urgent)
    partly = {
        "check": "finished 1/1", "pack": "finished 1/1", "train": "failed 1/2", "evaluate": "failed 1/2",
        "report": "finished 1/1",
    }  # fmt: skip
    row = until(user, "bones", lambda row: stages(row) == partly)
    user.cluster.wait(row["stages"][-1]["jobs"][0], "COMPLETED")
    assert not user.cluster.run("squeue", "--noheader").stdout
    assert json.loads((user.run("bones") / "check.json").read_text())["study_types"]["XR_HAND"]
    names = user.shards.with_name(f"{user.shards.name}.names.csv")
    assert names.read_text().startswith("key,file\n") and f",{two}/" in names.read_text()
    fix()
    user.medtrain("retry", "bones")
    row = until(user, "bones", lambda row: row["state"] == "finished")
    assert [run["attempts"] for run in row["runs"]] == [4, 1]
    report = json.loads((user.run("bones") / "evaluation" / "test.json").read_text())
    assert {name for name, own in report["per_class"].items() if own["samples"]} == {"XR_HAND", "XR_WRIST"}
    line = next(line for line in user.medtrain("status").splitlines() if line.startswith("bones "))
    assert "check finished > pack finished > train 2/2 > evaluate 2/2 > report finished" in line


def test_a_batch_script_of_ones_own_trains_them_one_after_another(user: User, raw: Path, tmp_path: Path) -> None:
    """A requeue goes on with the one that was interrupted; a stop ends it, and a login node is no place to go on."""
    two = only(raw, ("XR_HAND", "XR_WRIST"), tmp_path / "two")
    user.medtrain("shard", "mura_demo", "--root", two, "--out", user.shards, "--encoding", "jpeg", "--size", "32")
    words = ("--shards", user.shards, "--run", "hand", "--study_type", "all", "--epochs", "6", *SMALL)
    options = ("--parsable", "--partition=low", "--nodes=1", "--ntasks-per-node=1", f"--chdir={user.folder}")
    script = REPOSITORY / "slurm" / "train.sbatch"
    user.env["MEDTRAIN"] = str(Path(sys.executable).parent / "medtrain")
    command = ["sbatch", *options, str(script), "mura_demo", *map(str, words)]
    sent = subprocess.run(command, env=user.env, capture_output=True, text=True, check=True, cwd=user.folder)
    job = sent.stdout.strip()
    user.until("hand-XR_WRIST", "trains", lambda row: row["saved_step"] > 0 and row["state"] == "running")
    first = user.status("hand-XR_HAND")
    assert (first["state"], first["where"]) == ("finished", None), "its job continues with the other"
    assert stages(group(user, "hand")) == {"train": "running 1/2", "report": "not yet 0/1"}
    user.cluster.run("scontrol", "requeue", job)
    user.until("hand-XR_WRIST", "trains again", lambda row: row["attempts"] == 2 and row["state"] == "running")
    assert "hand-XR_WRIST is saved at step" in user.medtrain("stop", "hand")
    row = until(user, "hand", lambda row: row["state"] == "stopped")
    assert [run["attempts"] for run in row["runs"]] == [1, 2]
    user.cluster.wait(job, "FAILED")  # by exit code 75, and nothing brings it back
    command = [sys.executable, "-m", "medtrain", "retry", "hand"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=user.folder, env=user.env, check=False)
    assert done.returncode == 2 and "was started by a batch script of yours" in done.stderr
