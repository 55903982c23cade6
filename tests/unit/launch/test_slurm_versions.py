"""The answers of Slurm 22.05 to 26.05 are understood alike, and what each does with a job is reckoned with.

In tests/data, slurm-VERSION holds what Slurm of that version writes: `scontrol show config`, `show partition`,
`show job` of a running job and of one in the grace time of a preemption, `--version`, the logs of steps that ran out
of memory (as seen on 22.05.8, 25.11.7 and 26.05.3), and the names of all
reasons to wait (src/common/job_state_reason.c).
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from limits import HANG_S
from places import RECORDED, REPOSITORY
from slurm_answers import BROUGHT_BACK, Answers

from medtrain.config.schema import SlurmConfig
from medtrain.core.jsonfiles import read_json_lines, write_json
from medtrain.launch import grace_time, stop, submit, supervisor
from medtrain.runs import attempts
from medtrain.runs.exit_causes import Evidence, diagnose
from medtrain.runs.run import Run, again_command, set_status
from medtrain.runs.status import describe
from medtrain.slurm import sbatch
from medtrain.slurm.pending_reasons import explain_reason
from medtrain.slurm.queries import parse, queue_state, show


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of which an attempt is under way in job 7."""
    made = Run.create(tmp_path / "runs", "first")
    made.config_file.write_text("recipe: mednist\n")
    row = {"attempt": 1, "event": "start", "time": 1790000001.0, "step": 0, "job": "7", "nodes": "n[1-2]", "ranks": 2}
    attempts.note(made, row)
    set_status(made, state="stopped", signal="SIGTERM")
    return made


def test_who_brings_a_preempted_job_back(answers: Answers, version: str, run: Run) -> None:
    """From 24.05 on Slurm does at the end of the grace; a requeue besides would bring it back once more, later."""
    assert supervisor.requeue(run) == 75
    assert answers.orders() == ["scontrol requeue 7"], "outside of a grace time nobody else does"
    answers.now("job_in_grace")
    assert supervisor.requeue(run) == 75
    assert answers.orders()[1:] == ([] if version in BROUGHT_BACK else ["scontrol requeue 7"])
    assert run.status()["state"] == "queued"


def test_a_stop_in_the_grace_time_is_final(answers: Answers, version: str, run: Run) -> None:
    supervisor.leave(run)
    assert answers.orders() == [], "the end of its batch script is its end"
    answers.now("job_in_grace")
    supervisor.leave(run)
    assert answers.orders() == (["scancel 7"] if version in BROUGHT_BACK else [])
    assert run.status()["state"] == "stopped", "before the job is cancelled"


def test_giving_up_in_the_grace_time_is_final_where_the_job_has_nothing_else_to_do(
    answers: Answers, version: str, run: Run
) -> None:
    answers.now("job_in_grace")
    end = {"cause": "rank 1 on n2: ValueError: bad", "kind": "crashed", "exit_code": 1}
    assert supervisor.give_up(run, end, alone=False) == 1
    assert answers.orders() == [], "the other runs of its job resume in its next life"
    assert supervisor.give_up(run, end, alone=True) == 1
    assert answers.orders() == (["scancel 7"] if version in BROUGHT_BACK else [])
    assert describe(run)["note"].endswith("without a newer checkpoint (rank 1 on n2: ValueError: bad)")


@pytest.mark.parametrize("version", BROUGHT_BACK, indirect=True)
def test_slurm_brings_back_only_what_it_would_requeue(answers: Answers) -> None:
    """RPC complete_batch_script in src/slurmctld/proc_req.c: the job's Requeue flag and the mode of preemption."""
    answers.now("job_in_grace", Requeue="0")
    assert not grace_time.brings_back("7")
    answers.now("job_in_grace")
    assert grace_time.brings_back("7")
    answers.change("partition", "PreemptMode=REQUEUE", "PreemptMode=CANCEL")
    assert not grace_time.brings_back("7")
    answers.change("config", "preempt/partition_prio", "preempt/qos")
    (answers.folder / "qos.txt").write_text("cluster\n")
    assert grace_time.brings_back("7"), "the cluster's mode"
    (answers.folder / "qos.txt").write_text("cancel\n")
    assert not grace_time.brings_back("7")


def test_preemption_that_cancels_a_job(answers: Answers) -> None:
    answers.now("job_running")
    assert not grace_time.cancels("7")
    answers.change("partition", "PreemptMode=REQUEUE", "PreemptMode=CANCEL")
    assert grace_time.cancels("7")
    answers.change("config", "preempt/partition_prio", "preempt/none")
    assert not grace_time.cancels("7"), "nobody preempts there"
    answers.now("job_running", Requeue="0")
    assert grace_time.cancels("7"), "it may not be requeued"
    (answers.folder / "config.txt").write_text("")
    answers.now("job_running")
    assert not grace_time.cancels("7"), "a silent controller"


def test_where_the_controller_is_silent_the_commands_tell_the_version(answers: Answers, version: str) -> None:
    answers.now("job_in_grace")
    (answers.folder / "config.txt").write_text("")
    assert grace_time.brings_back("7") == (version in BROUGHT_BACK)


def shell(traps: str, code: int, answers: Answers) -> list[str]:
    """What a batch script orders when its command leaves with an exit code."""
    before = len(answers.orders())
    subprocess.run(["bash", "-c", f"{traps}\n(exit {code})"], check=False, timeout=HANG_S)
    return answers.orders()[before:]


def traps_of(script: str) -> str:
    """The lines of a hand-written script that requeue its job."""
    text = (REPOSITORY / "slurm" / script).read_text()
    return text[text.index("umask 077") : text.index("EXIT\n") + 5]


@pytest.mark.parametrize("script", ["submitted", "train.sbatch", "shard.sbatch"])
def test_a_batch_script_whose_command_a_signal_ended(answers: Answers, version: str, script: str) -> None:
    """SIGNALING is RUNNING for a moment after a SIGCONT, which Slurm sends before each TERM."""
    traps = "\n".join(sbatch.TRAPS) if script == "submitted" else traps_of(script)
    for state in ("RUNNING", "SIGNALING"):
        answers.now("job_running", JobState=state)
        assert shell(traps, 143, answers) == ["scontrol requeue 7"]
        assert shell(traps, 1, answers) == shell(traps, 0, answers) == []
        answers.now("job_in_grace", JobState=state)
        assert shell(traps, 143, answers) == ([] if version in BROUGHT_BACK else ["scontrol requeue 7"])
    answers.now("job_running", JobState="COMPLETING")
    answers.change("job", "Comment=NodeFail", "Comment=JobState=RUNNING")
    assert shell(traps, 143, answers) == [], "cancelled"


@pytest.mark.parametrize("version", ["25.11", "26.05"], indirect=True)
@pytest.mark.parametrize("script", ["submitted", "train.sbatch", "shard.sbatch"])
def test_an_expedited_job_that_fails_is_not_left_held(answers: Answers, script: str) -> None:
    """Slurm 26.05.3, seen: it holds a job with --requeue=expedite that leaves with another code than 0, but for the
    grace time of a preemption, after which it runs again at once (_set_job_requeue_exit_value in job_mgr.c)."""
    traps = "\n".join(sbatch.TRAPS) if script == "submitted" else traps_of(script)
    for record, code, orders in (
        ("job_running", 75, ["scancel 7"]), ("job_running", 1, ["scancel 7"]), ("job_running", 0, []),
        ("job_running", 143, ["scontrol requeue 7"]), ("job_in_grace", 75, []),
    ):  # fmt: skip
        answers.now(record)
        text = (answers.folder / "job.txt").read_text().rstrip("\n")
        (answers.folder / "job.txt").write_text(f"{text} ExpeditedRequeue=Yes\n")
        assert shell(traps, code, answers) == orders, (record, code)
    answers.now("job_running", JobState="COMPLETING")  # requeued just now
    assert shell(traps, 75, answers) == []


def test_runs_ask_to_be_requeued_at_once_where_the_site_lets_them(answers: Answers, version: str, run: Run) -> None:
    assert "#SBATCH --requeue\n" in submit.script(run, SlurmConfig())
    with (answers.folder / "config.txt").open("a") as file:
        file.write("SlurmctldParameters = idle_on_node_suspend,enable_expedited_requeue\n")
    able = version in ("25.11", "26.05")
    assert f"#SBATCH --requeue{'=expedite' if able else ''}\n" in submit.script(run, SlurmConfig())


def test_words_of_a_command_line_or_a_comment_are_no_fields(answers: Answers, version: str) -> None:
    """scontrol prints SubmitLine since 23.02; each recorded job has misleading words in it and in its comment."""
    fields, problem = show("7")
    names = ("JobState", "Reason", "TimeLimit", "Requeue", "Restarts", "PreemptTime", "TresPerJob", "TresPerNode")
    told = {name: fields.get(name) for name in names}
    assert problem == ""
    assert told == {
        "JobState": "RUNNING", "Reason": "None", "TimeLimit": "01:00:00", "Requeue": "1", "Restarts": "0",
        "PreemptTime": None, "TresPerJob": None, "TresPerNode": "gres/gpu:1",
    }  # fmt: skip
    named = (answers.folder / "job.txt").read_text().replace("JobName=wrap", "JobName=a JobState=FAILED Restarts=9 b")
    assert {name: parse(named).get(name) for name in told} == told, "nor are those of a job's name"
    assert (
        parse("NodeName=n1 State=IDLE BootTime=5 Reason=no State=DOWN [root@1] Comment=x State=FAIL")["State"] == "IDLE"
    )


@pytest.mark.parametrize(
    "state, reason, why",
    [
        ("PENDING", "Priority", "jobs of higher priority come first"),
        ("REQUEUE_HOLD", "job_requeued_in_held_state", "it was requeued and held"),
        ("REQUEUE_HOLD", "JobHoldMaxRequeue", "it was requeued too often (MaxBatchRequeue), and Slurm holds it now"),
        ("SPECIAL_EXIT", "None", "it was requeued and held"),
        ("SPECIAL_EXIT", "RaisedSignal:9(Killed)", "a signal ended its last life (9), and Slurm holds it now"),
        ("RESV_DEL_HOLD", "Reservation_maint_was_deleted", "its reservation was deleted: it never starts"),
        ("REQUEUE_FED", "None", "another cluster of the federation may be starting it"),
        ("EXPEDITING", "None", "it was requeued and starts again in a moment"),
    ],
)
@pytest.mark.parametrize("version", ["26.05"], indirect=True)
def test_a_job_that_has_not_begun_again_waits_by_any_name(
    answers: Answers, run: Run, monkeypatch: pytest.MonkeyPatch, state: str, reason: str, why: str
) -> None:
    """The states of job_state_string() in src/common/slurm_protocol_defs.c."""
    answers.now("job_running", JobState=state, Reason=reason, Restarts="1")
    write_json(run.job_file, {"job": "7", "submitted": time.time()})
    monkeypatch.delenv("SLURM_JOB_ID")  # a login node
    told = describe(run)
    assert (told["state"], told["waiting"]["why"], told["note"]) == ("waiting", why, why)
    assert "was waiting and is cancelled" in stop.stop(run)
    assert answers.orders() == ["scancel 7"], "it has nothing to save"


def test_every_reason_to_wait_has_words_and_a_remedy(version: str) -> None:
    """Without one are those in which only patience helps."""
    names = (RECORDED / f"slurm-{version}" / "reasons.txt").read_text().split()
    assert len(names) > 190
    told = {name: explain_reason(name, {"run": "r", "job": "7", "Partition": "low"}) for name in names}
    assert [name for name, wait in told.items() if wait.why.startswith("Slurm says")] == []
    assert [name for name, wait in told.items() if "{" in wait.why + wait.helps] == []
    helpless = {name for name, wait in told.items() if not wait.helps}
    assert helpless <= {
        "None", "BeginTime", "Dependency", "Prolog", "Cleaning", "BurstBufferResources", "BurstBufferStageIn",
        "JobArrayTaskLimit", "DeadLine", "SchedDefer", "FedJobLock",
    }  # fmt: skip


@pytest.mark.parametrize(
    "reason, why",
    [
        ("MaxCpuRunMinsPerUser", "your running jobs may yet take as much computing time as your QOS allows at once"),
        ("QOSGrpCPURunMinutesLimit",
         "your running jobs may yet take as much computing time as your QOS allows at once"),
        ("AssocMaxGRESMinutesPerJob",
         "it asks for more computing time than your account allows one job: it never starts so"),
        ("AssocGrpCPUMinutesLimit", "the computing time of your account is used up"),
        ("QOSMinGRES", "it asks for less than your QOS requires: it never starts so"),
        ("MaxMemPerLimit", "it asks for more memory than partition low gives: it never starts so"),
        ("Reservation_a{b}_was_deleted", "its reservation was deleted: it never starts"),
        ("a{new}one", "Slurm says: a{new}one"),
    ],
)  # fmt: skip
def test_limits_are_told_apart(reason: str, why: str) -> None:
    assert explain_reason(reason, {"Partition": "low"}).why == why


def died(log: str, **known: Any) -> Evidence:
    """Evidence of an attempt in which the supervisor saw srun leave with 137."""
    return Evidence(started=0.0, ended=9.0, code=137, log_tail=log, **known)


def test_too_little_memory_is_told_with_the_rank_and_node_that_had_it(version: str) -> None:
    """From 25.05 on the line names no node; srun names first the rank of another node that only noticed."""
    folder = RECORDED / f"slurm-{version}"
    cause = diagnose(died((folder / "memory.log").read_text()))
    assert (cause.kind, cause.words) == ("memory", "out of memory on n2: 413 MiB used, 200 allowed")
    assert (cause.rank, cause.node) == ("1", "n2")
    cause = diagnose(died((folder / "oom_kill.log").read_text()))
    assert (cause.kind, cause.words, cause.rank, cause.node) == ("memory", "out of memory on n2", "1", "n2")
    silent = "".join(line for line in (folder / "memory.log").open() if "task 1" not in line)
    assert diagnose(died(silent)).node == ("n2" if version < "25.05" else ""), "no other node is blamed"


@pytest.mark.parametrize(
    "said, cause",
    [
        ("srun: fatal: SLURM_MEM_PER_CPU, SLURM_MEM_PER_GPU, and SLURM_MEM_PER_NODE are mutually exclusive.",
         "SLURM_MEM_PER_CPU, SLURM_MEM_PER_GPU, and SLURM_MEM_PER_NODE are mutually exclusive."),
        ("srun: error: Invalid numeric value \"x\"\nsrun: fatal: Invalid --mem", "Invalid --mem"),
        ("srun: error: Unable to create step for job 7: More processors requested than permitted",
         "Unable to create step for job 7: More processors requested than permitted"),
        ("/usr/bin/srun: error while loading shared libraries: libslurmfull.so: cannot open shared object file",
         "error while loading shared libraries: libslurmfull.so: cannot open shared object file"),
        ("srun: unrecognized option '--kill-on-bad-exit'\nTry \"srun --help\" for more information",
         "unrecognized option '--kill-on-bad-exit'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["22.05", "26.05"], indirect=True)
def test_what_srun_says_of_a_step_that_it_does_not_start_is_the_cause(
    answers: Answers, run: Run, monkeypatch: pytest.MonkeyPatch, said: str, cause: str
) -> None:
    start = attempts.unended(read_json_lines(run.attempts))
    assert start is not None
    set_status(run, state="crashed")
    attempts.log_file(run, "7").parent.mkdir(exist_ok=True)
    attempts.log_file(run, "7").write_text(said + "\n")
    end = attempts.end_row(run, start, 1, "", "", 120)
    assert (end["kind"], end["cause"]) == ("crashed", f"srun: {cause}")
    attempts.note(run, end)
    answers.now("job_running", JobState="FAILED")
    monkeypatch.delenv("SLURM_JOB_ID")
    told = describe(run)
    assert (told["last_cause"], told["note"]) == (
        f"srun: {cause}", f"srun: {cause}; resume: {again_command(run)}",
    )  # fmt: skip


def test_a_job_that_runs_is_under_way_in_each_version(answers: Answers, version: str) -> None:
    for name in ("job_running", "job_in_grace"):
        answers.now(name)
        place = queue_state("7")
        assert place is not None and (place.state, place.waits) == ("RUNNING", False)
        assert place.fields["Partition"] == "low"
