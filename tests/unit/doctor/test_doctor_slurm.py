"""What the doctor makes of Slurm's commands and their answers; a real cluster is looked at in tests/slurm."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from broken_machine import program

from medtrain.cli.commands.doctor import doctor
from medtrain.core.errors import InputError, MachineError
from medtrain.doctor.checks import ask, cluster, resources, slurm
from medtrain.doctor.probe import job_script

ONE_EACH: dict[int, list[str] | None] = {0: ["0"], 1: ["0"]}  # a cgroup shows each rank its own, as number 0


def test_slurm_without_some_of_its_commands(no_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm.programs().state == "ok"
    assert slurm.partitions() is slurm.submitting() is slurm.requeueing() is None
    assert slurm.preemption() is slurm.accounting() is None
    for name in ("srun", "sinfo", "squeue", "scancel", "scontrol"):
        program(no_slurm, name, "exit 0")
    found = slurm.programs()
    assert (found.state, found.text) == ("FAIL", "not found: sbatch")


def test_a_job_without_slurms_commands(no_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm.job().text == "this is not inside a Slurm job"
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert slurm.programs().state == "FAIL", "a job's ranks could not be started"
    assert slurm.job().text == "inside job 42 on node[1-2], tasks: 8"


def test_a_command_that_hangs_is_given_up() -> None:
    start = time.monotonic()
    answer = ask("sleep", "60", seconds=0.3)
    assert (answer.code, answer.reason) == (None, "no answer in time")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("1:30", 1.5), ("00:01:00", 1), ("12:00:00", 720), ("2-12", 3600), ("1-00:30:00", 1470),
        ("UNLIMITED", None), ("NONE", None), ("", None),
    ],
)  # fmt: skip
def test_times_as_slurm_writes_them(text: str, minutes: float | None) -> None:
    assert slurm.minutes(text) == minutes


def test_gpus_among_the_resources_of_a_node() -> None:
    assert [cluster._gpus(gres) for gres in ("gpu:4", "gpu:a100:4(S:0-1),nvme:1", "gpu:a:1,gpu:b:2", "(null)")] == [
        4,
        4,
        3,
        0,
    ]


@pytest.mark.parametrize(
    ("visible", "devices", "fault"),
    [
        ({0: ["0", "1"], 1: ["0", "1"]}, {0: None, 1: None}, ""),
        ({0: ["0", "1"], 1: ["0", "1"]}, {0: ["GPU-a", "GPU-b"], 1: ["GPU-a", "GPU-b"]}, ""),
        (ONE_EACH, {0: ["GPU-a"], 1: ["GPU-b"]}, ""),
        (ONE_EACH, {0: ["GPU-a"], 1: ["GPU-a"]}, "nvidia-smi shows 1 GPUs"),
        (ONE_EACH, {0: ["GPU-a", "GPU-b"], 1: ["GPU-a", "GPU-b"]}, "2 ranks share 1 GPU"),
        (ONE_EACH, {0: None, 1: None}, "2 ranks share 1 GPU"),
        ({0: ["MIG-a", "MIG-b"], 1: ["MIG-a", "MIG-b"]}, {0: ["MIG-a", "MIG-b"], 1: ["MIG-a", "MIG-b"]}, ""),
        ({0: ["0", "1"], 1: ["0", "1"]}, {0: [], 1: []}, "nvidia-smi shows 0 GPUs"),
        ({0: [], 1: []}, {0: None, 1: None}, "ranks see no GPU, although Slurm granted some"),
    ],
)
def test_each_rank_has_a_gpu_of_its_own(
    visible: dict[int, list[str] | None], devices: dict[int, list[str] | None], fault: str
) -> None:
    assert resources._gpu_fault(visible, devices, 2, "") == fault


@pytest.mark.parametrize(
    "left", ["\0" * 40, 'probe+{"event": "met", "ra', "probe.no JSON", "a line of somebody else's"]
)
def test_what_a_rank_left_half_said_spoils_nothing(left: str, tmp_path: Path) -> None:
    died = {"event": "died", "rank": 0, "node": "a", "code": 1}
    whole = {"event": "hello", "rank": 1}
    lines = [f"0: {left}", f"0: probe.{json.dumps(died)}", f"1: probe.{json.dumps(whole)}", '1: probe+{"event": "me']
    (tmp_path / "ranks.log").write_text("\n".join(lines))
    assert job_script.read_ranks(tmp_path / "ranks.log") == [died, whole]


def test_options_that_need_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are about a cluster"):
        doctor(tmp_path, nodes=2)
    with pytest.raises(InputError, match="there is no cluster file"):
        doctor(tmp_path, cluster="nowhere")
    with pytest.raises(InputError, match="must not be negative"):
        doctor(tmp_path, cluster="example", wait=-1)


def test_without_slurm_no_probe_is_sent(no_slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MachineError, match="there is no Slurm here"):
        doctor(tmp_path, cluster="example")
    assert list(tmp_path.iterdir()) == [no_slurm]
