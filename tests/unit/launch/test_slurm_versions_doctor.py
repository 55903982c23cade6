"""What the doctor says on Slurm 22.05 to 26.05, by what they answer and what environment their batch scripts find."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import pytest
from places import RECORDED
from slurm_answers import BROUGHT_BACK, Answers

from medtrain.config.schema import SlurmConfig
from medtrain.doctor.checks import slurm, supervision
from medtrain.doctor.checks.probe_result import Told
from medtrain.doctor.probe import job_script


def test_the_doctor_knows_the_switch_of_preemption_by_both_names(answers: Answers, version: str) -> None:
    """GraceTime is 5 s in each; SlurmctldParameters=preempt_send_user_signal, since 23.02 PreemptParameters."""
    finding = slurm.preemption()
    assert finding is not None and (finding.state, finding.text) == (
        "ok",
        "preempted jobs are warned (low: REQUEUE, 5 s grace)",
    )
    answers.change("config", "send_user_signal" if version != "22.05" else "preempt_send_user_signal", "(null)")
    slurm.configuration.cache_clear()
    finding = slurm.preemption()
    assert finding is not None and finding.state == "warn"


def test_the_doctor_says_what_a_suspension_means(answers: Answers) -> None:
    answers.change("partition", "PreemptMode=REQUEUE", "PreemptMode=SUSPEND")
    finding = slurm.preemption()
    assert finding is not None and finding.state == "ok"
    assert "jobs of low are suspended and continue by themselves: no attempt ends, and no step is lost" in finding.text
    assert "they keep memory and GPUs meanwhile (low: SUSPEND, 5 s grace)" in finding.text


def told(version: str, place: str, monkeypatch: pytest.MonkeyPatch, **changed: str) -> Told:
    """What a probe tells that asked for two ranks on two nodes, where its batch script finds the environment recorded
    under `place`, but for some variables."""
    recorded = configparser.ConfigParser(interpolation=None)
    recorded.optionxform = str  # type: ignore[assignment,method-assign]
    recorded.read(RECORDED / f"slurm-{version}" / "environments.ini")
    with monkeypatch.context() as context:
        for name in [name for name in os.environ if name.startswith("SLURM") or name == "ENVIRONMENT"]:
            context.delenv(name)
        for name, value in {**recorded[place], **changed}.items():
            context.setenv(name, value)
        line = {"event": "decides", **job_script.decisions(), "preempted": False}
    return Told(
        SlurmConfig(nodes=2), 2, False, "7", 1.0, {}, None, None, [], [line], "", {}, Path("runs")
    )  # fmt: skip


def test_the_doctor_asks_what_the_supervisor_asks(
    answers: Answers, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = supervision.supervisor(told(version, "batch", monkeypatch))
    assert finding is not None
    assert (finding.state, finding.text) == (
        "ok",
        "the batch script knows its job and its 2 ranks, and would requeue it",
    )


@pytest.mark.parametrize(
    "place, changed, said",
    [
        ("task", {}, "takes itself for a task or for no job, and would train on one node (SLURM_STEP_ID=0)"),
        ("batch", {"SLURM_STEP_ID": "0"}, "takes itself for a task or for no job, and would train on one node"),
        ("batch", {"ENVIRONMENT": "test"}, "takes itself for a shell, and would not put its job back into the queue"),
        ("salloc on a node", {}, "takes itself for a shell, and would not put its job back into the queue"),
        ("batch", {"SLURM_JOB_ID": "6"}, "takes job 6 for its own"),
        ("batch", {"SLURM_NTASKS": "1"}, "would start 1 of 2 ranks"),
    ],
)
def test_the_doctor_fails_where_a_batch_script_would_decide_wrongly(
    answers: Answers, version: str, monkeypatch: pytest.MonkeyPatch, place: str, changed: dict[str, str], said: str
) -> None:
    """As a prolog, a line of `setup:` or a version of Slurm to come may have it."""
    finding = supervision.supervisor(told(version, place, monkeypatch, **changed))
    assert finding is not None
    assert (finding.state, said in finding.text, "setup:" in finding.fix) == ("FAIL", True, True), finding


def test_the_doctor_fails_where_a_batch_script_would_leave_without_a_preemption(
    answers: Answers, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.now("job_in_grace")
    finding = supervision.supervisor(told(version, "batch", monkeypatch))
    assert finding is not None
    wrong = "would leave its job to Slurm, which does not bring it back" in finding.text
    assert (finding.state, wrong) == (("FAIL", True) if version in BROUGHT_BACK else ("ok", False))
