"""What `medtrain doctor --cluster` finds without a probe, and what becomes of one that is not left in peace."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from limits import HANG_S
from probed_sites import Report, Site, wait_for_ranks
from slurm_cluster import PATH

from medtrain.config.schema import SlurmConfig
from medtrain.core.errors import MachineError
from medtrain.doctor.checks import cluster
from medtrain.doctor.probe import send

pytestmark = pytest.mark.skipif(not shutil.which("slurmctld", path=PATH), reason="this machine has no Slurm")
NEEDS_ACCOUNT = """
function slurm_job_submit(job, partitions, uid)
  if job.account == nil then slurm.log_user("name your account"); return slurm.ERROR end
  if job.account == "small" and job.min_nodes > 1 then slurm.log_user("one node only"); return slurm.ERROR end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
"""


@pytest.fixture(scope="module")
def closed() -> Iterator[Site]:
    """A cluster whose partitions are narrow."""
    more = "JobSubmitPlugins=lua\nPartitionName=closed Nodes=ALL State=DOWN\nPartitionName=one Nodes=ALL MaxNodes=1\n"
    hidden = "PartitionName=hidden Nodes=ALL Hidden=YES\n"
    with Site(more=more + hidden, files={"job_submit.lua": NEEDS_ACCOUNT}, gpus_per_node=2) as site:
        yield site


@pytest.fixture
def here(closed: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The same, with this process as its user."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, closed.env[name])
    return closed


def findings(site: Site, runs: Path, profile: str, *options: object) -> Report:
    """What the doctor says of a profile."""
    return site.report(site.ask_doctor(runs, profile, *options), runs)


@pytest.mark.parametrize(
    ("profile", "check", "words"),
    [
        ("partition: gpu", "partition", "there is no partition gpu (there are: low, "),
        ("partition: low,gpu", "partition", "there is no partition gpu (there are: low, "),
        ("partition: closed", "partition", "partition closed is DOWN"),
        ("partition: low\nnodes: 3", "partition", "the profile asks for 3"),
        ("partition: short\ntime: '2:00:00'", "limits", "time 2:00:00 is more than the limit 00:01:00"),
        ("partition: one\nnodes: 2", "limits", "nodes 2 is more than 1"),
        ("partition: low\ngpus_per_node: 4", "limits", "gpus_per_node 4 is more than a node has (2)"),
        ("partition: low\nmem_gb: 64", "limits", "mem_gb 64 is more than a node has"),
        ("partition: low", "request", "name your account"),
        ("account: mine\npartition: short", "time limit", "leaves no time to train"),
    ],
)
def test_a_profile_that_does_not_fit(closed: Site, tmp_path: Path, profile: str, check: str, words: str) -> None:
    report = findings(closed, tmp_path / "runs", profile + "\n")
    assert (report[check]["state"], words in report[check]["text"]) == ("FAIL", True), report[check]
    assert report[check]["fix"]
    assert report["probe"]["text"] == "no probe was sent"


def test_a_drained_node(closed: Site, tmp_path: Path) -> None:
    closed.node_down("127.0.0.2")
    try:
        report = findings(closed, tmp_path / "runs", "account: mine\npartition: low\nnodes: 2\n")
    finally:
        closed.node_up("127.0.0.2")
    assert "1 of 2 nodes in service" in report["partition"]["text"]
    assert "127.0.0.2 out of service" in report["partition"]["text"]


def test_no_credentials_on_this_machine(closed: Site, tmp_path: Path) -> None:
    """A login node where munged does not run."""
    conf = tmp_path / "slurm.conf"
    conf.write_text(closed.conf.read_text().replace("munge.sock", "no.sock") + "MessageTimeout=2\n")
    closed.env["SLURM_CONF"] = str(conf)
    try:
        (tmp_path / "runs").mkdir()
        out, error = closed.ask_doctor(tmp_path / "runs", "partition: low\n").communicate(timeout=HANG_S)
    finally:
        closed.env["SLURM_CONF"] = str(closed.conf)
    assert out, error
    report = {check["name"]: check for check in json.loads(out)["checks"]}
    assert (report["partitions"]["state"], "munged must run" in report["partitions"]["fix"]) == ("FAIL", True), report
    assert "partition" not in report


def test_a_probe_that_does_not_start(closed: Site, tmp_path: Path) -> None:
    blocker = closed.sbatch("--account=mine", "--nodes=2", "--exclusive", "--wrap", "sleep 600")
    closed.wait(blocker, "RUNNING")
    runs = tmp_path / "runs"
    asked = closed.ask_doctor(runs, "account: mine\npartition: low\n", "--wait", 2)
    out, error = asked.communicate(timeout=HANG_S)
    assert out, error
    found = {check["name"]: check for check in json.loads(out)["checks"]}["start"]
    assert found["state"] == "warn", "a busy cluster is a good one"
    assert "did not start within" in found["text"]
    assert "the requested nodes are busy (Resources)" in found["text"]
    assert "fewer --nodes" in found["fix"]
    assert list(runs.iterdir()) == []
    assert closed.run("squeue", "--noheader", "--format=%i").stdout.split() == [blocker]
    closed.reset()


SCRIPT = "#!/bin/bash\n#SBATCH --account=mine\ntrue\n"


@pytest.mark.parametrize(
    ("settings", "partition"),
    [
        ({}, "low"),
        ({"partition": "short,low", "time": "2:00:00"}, "low"),
        ({"partition": "closed,one"}, "one"),
        ({"partition": "hidden"}, "hidden"),
    ],
)
def test_the_partition_where_a_job_would_run(here: Site, settings: dict[str, str], partition: str) -> None:
    assert cluster.chosen(SlurmConfig(**settings), SCRIPT)["PartitionName"] == partition


def test_a_variable_names_the_partition(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "one")
    assert cluster.chosen(SlurmConfig(), SCRIPT)["PartitionName"] == "one"


def test_the_probe_makes_do_with_the_nodes_that_are_in_service(here: Site) -> None:
    asked = SlurmConfig(account="mine", gpus_per_node=2)
    low, one = (cluster.chosen(SlurmConfig(partition=name), SCRIPT) for name in ("low", "one"))
    assert send.request(asked, low, 0).nodes == 2
    assert send.request(asked, low, 1).nodes == 1
    assert send.request(asked, one, 0).nodes == 1, "MaxNodes"
    here.node_down("127.0.0.2")
    try:
        assert send.request(asked, low, 0).nodes == 1
    finally:
        here.node_up("127.0.0.2")


def test_where_a_second_node_is_refused_the_probe_takes_those_of_the_profile(here: Site, tmp_path: Path) -> None:
    asked = send.request(SlurmConfig(account="small"), cluster.chosen(SlurmConfig(), SCRIPT), 0)
    assert asked.nodes == 2
    got, job = send.submit_either(tmp_path, "medtrain-doctor-small", asked, 1, 60)
    assert (got.nodes, here.job(job)["NumNodes"]) == (1, "1-1")
    with pytest.raises(MachineError, match="one node only"):
        send.submit_either(tmp_path, "medtrain-doctor-small", asked, 2, 60)
    here.reset()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_doctor_leaves_nothing(closed: Site, tmp_path: Path, number: int) -> None:
    runs = tmp_path / "runs"
    asked = closed.ask_doctor(runs, "account: mine\npartition: low\n")
    wait_for_ranks(runs)
    assert closed.run("squeue", "--noheader", "--format=%j").stdout.startswith("medtrain-doctor-")
    asked.send_signal(number)
    asked.communicate(timeout=HANG_S)
    assert asked.returncode == 130
    assert list(runs.iterdir()) == []
    assert closed.run("squeue", "--noheader").stdout == ""


def test_a_bad_profile(closed: Site, tmp_path: Path) -> None:
    asked = closed.ask_doctor(tmp_path / "runs", "partitoin: low\n")
    _, error = asked.communicate(timeout=HANG_S)
    assert asked.returncode == 2
    assert "partitoin" in error
