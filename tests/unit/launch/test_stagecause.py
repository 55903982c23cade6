"""launch.stage_cause: the status of a chain says which task failed, why, where its log is and what helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.core.jsonfiles import write_json
from medtrain.launch.group_status import describe_group, group_text
from medtrain.runs.run import Run, set_status
from medtrain.runs.run_group import RunGroup
from medtrain.slurm import queries

# Records of scontrol (22.05.8), shortened.
SHOWN = {
    "11": "JobId=11 JobState=COMPLETED Restarts=0 ExitCode=0:0",
    "12": "JobId=13 ArrayJobId=12 ArrayTaskId=0 JobState=COMPLETED Restarts=0 ExitCode=0:0\n"
    "JobId=12 ArrayJobId=12 ArrayTaskId=1 JobState=FAILED Reason=NonZeroExitCode Restarts=0 ExitCode=2:0",
    "14": "JobId=14 ArrayJobId=14 ArrayTaskId=0-1 JobState=CANCELLED Reason=DependencyNeverSatisfied Restarts=0",
}


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunGroup:
    """A chain of two trainings of which a task of the reading array failed; Slurm cancelled all that waited for it."""
    monkeypatch.chdir(tmp_path)
    members = ["bones-XR_HAND", "bones-XR_WRIST"]
    for name in members:
        run = Run.create("lab", name)
        run.config_file.touch()
        set_status(run, state="queued")
    out = tmp_path / "shards"
    (out / "slurm").mkdir(parents=True)
    group = RunGroup.create("lab", "bones", members, {"out": str(out)}, by_slurm=True)
    write_json(group.check, {})
    (group.slurm / "11.log").write_text("checked\n")
    (out / "slurm" / "12_0.log").write_text("read\n")
    (out / "slurm" / "12_1.log").write_text("warning: slow\nerror: /raw/a.png: no such file\n  fix: complete it\n")
    group.note_jobs("check", {"0": "11"})
    group.note_jobs("pack", {"read": "12", "pack": "14", "finish": "15"})
    group.note_jobs("train", {"0": "16_0", "1": "16_1"})
    group.note_jobs("evaluate", {"0": "17_0", "1": "17_1"})
    monkeypatch.setattr(queries, "ask_controller", answer)
    return group


def answer(*words: str) -> tuple[str, str]:
    return (SHOWN[words[-1]], "") if words[-1] in SHOWN else ("", "Invalid job id specified")


def states(row: dict[str, object]) -> dict[str, str]:
    return {stage["stage"]: f"{stage['state']} {stage['done']}/{stage['of']}" for stage in row["stages"]}  # type: ignore


def test_a_chain_whose_packing_failed_says_so_and_nothing_else_failed(chain: RunGroup) -> None:
    row = describe_group(chain)
    assert states(row) == {
        "check": "finished 1/1", "pack": "failed 0/1", "train": "not yet 0/2", "evaluate": "not yet 0/2",
        "report": "not yet 0/1",
    }  # fmt: skip
    assert [run["state"] for run in row["runs"]] == ["not yet", "not yet"]
    text = group_text(row)
    assert "pack failed: read (job 12_1): error: /raw/a.png: no such file" in text
    assert f"log    {chain.packing['out']}/slurm/12_1.log" in text
    assert "fix    medtrain retry bones --runs" in text
    assert "medtrain resume" not in text, "of a run that never began the chain resumes"


@pytest.mark.parametrize("forgotten", [True, False])
def test_without_an_error_in_the_log_slurm_says_why(
    chain: RunGroup, forgotten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path(chain.packing["out"]) / "slurm" / "12_1.log"
    if forgotten:  # by the controller, after MinJobAge: the log alone says it
        monkeypatch.setattr(queries, "ask_controller", lambda *words: ("", "Invalid job id specified"))
    else:
        log.write_text("read\n")
    why = next(stage["why"] for stage in describe_group(chain)["stages"] if stage["stage"] == "pack")
    expected = "error: /raw/a.png: no such file" if forgotten else "Slurm says FAILED, exit code 2"
    assert (why["task"], why["cause"], why["log"]) == ("read (job 12_1)", expected, str(log))


def test_a_training_that_failed_is_why_its_evaluation_never_began(chain: RunGroup, tmp_path: Path) -> None:
    write_json(tmp_path / "shards" / "manifest.json", {})
    first, second = chain.runs
    set_status(first, state="failed", error="RuntimeError: nobody repairs this", exit_code=1)
    first.log.write_text("Traceback ...\n")
    set_status(second, state="finished")
    (chain.slurm / "17_1.log").write_text("report\n")
    found = {stage["stage"]: stage["why"] for stage in describe_group(chain)["stages"]}
    assert (found["train"]["task"], found["train"]["cause"]) == (first.name, "RuntimeError: nobody repairs this")
    assert found["train"]["log"] == str(first.log)
    assert found["evaluate"]["task"] == first.name and found["evaluate"]["cause"] == "its training is not finished"
