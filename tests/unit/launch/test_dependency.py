"""launch.dependencies: a job waits for what will come and proves what it waited for; Slurm's word is no proof."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from medtrain.config.schema import Config, DataConfig, SlurmConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.core.jsonfiles import write_json
from medtrain.launch import dependencies
from medtrain.runs.run import Run, again_command, set_status
from medtrain.slurm import queries

# Records of scontrol (22.05.8), shortened.
RUNNING = "JobId=5 JobName=pack JobState=RUNNING Reason=None Restarts=0"
DONE = "JobId=6 JobName=pack JobState=COMPLETED Reason=None Restarts=0"
FAILED = "JobId=7 JobName=pack JobState=FAILED Reason=NonZeroExitCode Restarts=0"
NEW_ARRAY = "JobId=8 ArrayJobId=8 ArrayTaskId=0-9%4 JobName=read JobState=PENDING Restarts=0"
FAILED_ONCE = """\
JobId=20 ArrayJobId=9 ArrayTaskId=0 JobName=read JobState=COMPLETED Restarts=0
JobId=21 ArrayJobId=9 ArrayTaskId=1 JobName=read JobState=RUNNING Restarts=1
JobId=9 ArrayJobId=9 ArrayTaskId=2-4,7 JobName=read JobState=PENDING Restarts=0"""
HEALED = FAILED_ONCE.replace("RUNNING", "COMPLETED").replace("PENDING", "COMPLETED")
FAILED_TASK = FAILED_ONCE.replace("RUNNING", "NODE_FAIL")
ANSWERS = {"5": RUNNING, "6": DONE, "7": FAILED, "8": NEW_ARRAY, "9": FAILED_ONCE, "10": HEALED, "11": FAILED_TASK}
UNKNOWN = "slurm_load_jobs error: Invalid job id specified"


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*words: str) -> tuple[str, str]:
        found = ANSWERS.get(words[-1], "")
        return found, "" if found else UNKNOWN

    monkeypatch.setattr(queries, "ask_controller", answer)
    monkeypatch.setattr(queries, "all_completed", lambda job: job == "4")  # accounting remembers it


def waits_for(after: str) -> str:
    return dependencies.looked_up(Config(slurm=SlurmConfig(dependency=after))).slurm.dependency


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("", ""),
        ("5", "afterok:5"),
        ("6", ""),  # done: nothing to wait for
        ("4:5", "afterok:5"),  # forgotten by the controller, and accounting says COMPLETED
        ("8", "afterok:8"),  # an array that nothing has happened to
        ("9", "afterok:9_1:9_2:9_3:9_4:9_7"),  # afterok:9 could never be met; of the tasks each can
        ("10:5", "afterok:5"),
        ("afterok:6,afterany:7", "afterany:7"),  # of afterany and the others Slurm's word is enough
        ("afterok:5,after:12+30,singleton", "afterok:5,after:12+30,singleton"),
        ("afterok:5?afternotok:7", "afterok:5?afternotok:7"),
        ("afterok:5?afterok:6", ""),  # one of the two is enough, and is done
    ],
)
def test_only_what_is_still_to_come_is_waited_for(slurm: None, after: str, expected: str) -> None:
    assert waits_for(after) == expected


@pytest.mark.parametrize(
    ("after", "why"),
    [
        ("3", "Slurm does not know job 3"),  # afterok:3 is met at once
        ("5:7", r"job 7 has failed \(7: FAILED\)"),
        ("11", r"job 11 has failed \(9_1: NODE_FAIL\)"),
    ],
)
def test_an_unknown_or_failed_job_is_refused(slurm: None, after: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        waits_for(after)


def test_a_silent_controller_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "ask_controller", lambda *words: ("", "Slurmctld(primary) at ctl is DOWN"))
    with pytest.raises(MachineError, match="ctl is DOWN"):
        waits_for("5")


def test_tasks_as_scontrol_writes_them() -> None:
    """man scontrol, ArrayTaskId; the step of `--array=1-9:2` is kept."""
    texts = {"3": [3], "0-2,5": [0, 1, 2, 5], "1-9:4%2": [1, 5, 9]}
    assert {text: list(dependencies.tasks(text)) for text in texts} == texts


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "runs", "first")
    made.config_file.touch()
    return made


def test_a_training_proves_that_its_data_is_packed_to_the_end(run: Run, demo_shards: Path, tmp_path: Path) -> None:
    config = Config(data=DataConfig(shards=str(demo_shards)), slurm=SlurmConfig(dependency="812"))
    dependencies.prove_packed(run, config)
    for name, damage in {
        "manifest.json": Path.unlink,
        "demo-train-00000.tar": lambda file: file.write_bytes(b""),
    }.items():
        spoiled = tmp_path / name
        spoiled.mkdir()
        for file in demo_shards.iterdir():
            (spoiled / file.name).write_bytes(file.read_bytes())
        names = [
            file for file in spoiled.iterdir() if file.name == name or (name.endswith(".tar") and file.suffix == ".tar")
        ]
        damage(names[0])
        with pytest.raises(InputError, match="waited for afterok:812") as raised:
            dependencies.prove_packed(run, dataclasses.replace(config, data=DataConfig(shards=str(spoiled))))
        assert raised.value.fix.endswith(f"then: {again_command(run)}")


def test_an_evaluation_proves_that_its_run_is_finished(run: Run) -> None:
    command = [sys.executable, "-m", "medtrain.launch.dependencies", str(run.folder)]
    set_status(run, state="queued")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "run first is not finished (queued, saved at step 0)" in done.stderr
    set_status(run, state="finished")
    assert subprocess.run(command, check=False).returncode == 0


def test_of_a_chain_that_packs_the_chain_goes_on(run: Run) -> None:
    group = run.folder.parent / "bones"
    group.mkdir()
    write_json(group / "group.json", {"runs": ["first"], "packing": {"out": "shards"}})
    assert again_command(run) == f"medtrain retry bones --runs {group.parent}"
    (run.checkpoints / "step-00000005").mkdir()
    assert again_command(run) == f"medtrain resume first --runs {group.parent}"
