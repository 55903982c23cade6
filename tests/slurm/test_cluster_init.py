"""`medtrain cluster init` on clusters of six kinds: a file that `doctor --cluster` finds nothing wrong with."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import slurm_accounting
from slurm_cluster import PATH
from surveyed_sites import QosSite, SurveyedSite, forty

from medtrain.config import configfile
from medtrain.config.schema import Config, SlurmConfig
from medtrain.config.yaml12 import parse_yaml

pytestmark = pytest.mark.skipif(not shutil.which("slurmctld", path=PATH), reason="this machine has no Slurm")
ONE = "PartitionName=all Nodes=ALL Default=YES MaxTime=2:00:00 DefaultTime=30 PreemptMode=REQUEUE GraceTime=60\n"
# Kind of cluster -> how it is made.
KINDS: dict[str, Callable[[], SurveyedSite]] = {
    "typed GPUs": lambda: SurveyedSite(types=("a100", "v100"), gpus_per_node=2),
    "no accounting": lambda: SurveyedSite(nodes=1, gpus_per_node=4),
    "one partition": lambda: SurveyedSite(ONE, nodes=1, gpus_per_node=2),
    "40 partitions": lambda: SurveyedSite(forty(), gpus_per_node=2),
    "preempt by QOS": lambda: QosSite(nodes=1, gpus_per_node=2, more="PreemptType=preempt/qos\n"),
    "no GPUs": lambda: SurveyedSite(nodes=1),
}
NEEDS_ACCOUNTING = {"preempt by QOS"} if slurm_accounting.MISSING else set()
SHARED: dict[str, Any] = {"cpus_per_task": 2, "mem_gb": 15.0, "time": "24:00:00", "signal_seconds": 120}
VALUES = {
    "typed GPUs": {**SHARED, "partition": "low", "gpus_per_node": 2, "gpu_type": "v100"},
    "no accounting": {**SHARED, "partition": "low", "gpus_per_node": 4, "cpus_per_task": 1},
    "one partition": {**SHARED, "partition": "all", "gpus_per_node": 2, "time": "02:00:00"},
    "40 partitions": {**SHARED, "partition": "gpu-week", "gpus_per_node": 2},
    "preempt by QOS": {
        **SHARED, "partition": "low", "gpus_per_node": 2, "account": "lab", "qos": "spot", "time": "10:00:00",
    },
    "no GPUs": {**SHARED, "partition": "low", "tasks_per_node": 1, "cpus_per_task": 4},
}  # fmt: skip
# From then on a partition is open to all accounts where none is demanded of a job.
NO_ACCOUNT_NEEDED = (24, 11)
# Lines that are in the file, apart from its settings.
COMMENTS = {
    "typed GPUs": ["a100:2, v100:2", "gpus_per_node: v100:2", "or a100"],
    "no accounting": ["# Accounts: there is no accounting: jobs need no account.", "limit too short to train"],
    "one partition": ["#   all*       1/1    -      2h     30m", "requeue 60s  <- this file"],
    "40 partitions": ["only account vip", "DOWN", "needs a reservation", "no node in service", "cancel 0s"],
    "preempt by QOS": [
        "# Your QOS: normal (preempted: cancel 0s), spot (at most 10:00:00; preempted: requeue 60s).",
        "# yours too: other, root", "by QOS",
    ],
    "no GPUs": ["# no GPUs here: one rank a node"],
}  # fmt: skip


def test_six_kinds_of_clusters(tmp_path: Path) -> None:
    """All are asked at once, as a probe mostly waits. No check is exempt.

    What a file cannot change these clusters do not have: KillWait is 10 s; a planned run has no pretrained weights.
    """
    (tmp_path / "planned.yaml").write_text("epochs: 1\n")
    usable = [kind for kind in KINDS if kind not in NEEDS_ACCOUNTING]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as starter:
        sites = {kind: KINDS[kind]() for kind in usable}
        started = {kind: starter.submit(stack.enter_context, site) for kind, site in sites.items()}
        asked = {}
        for kind, site in sites.items():
            started[kind].result()
            ensure_good_file(kind, site.init("mine"), site.version())
            (runs := tmp_path / kind).mkdir()
            asked[kind] = site.doctor("mine", runs, "--config", tmp_path / "planned.yaml")
            stack.callback(asked[kind].kill)
        reports = {kind: sites[kind].report(process, tmp_path / kind) for kind, process in asked.items()}
    for kind, report in reports.items():
        wrong = {name: found for name, found in report.items() if found["state"] != "ok"}
        assert not wrong, f"{kind}: {wrong}"
        assert {"limits", "request", "preemption", "memory", "supervisor", "warning", "requeue"} <= report.keys(), kind
        assert ("gpus" in report) == bool(VALUES[kind].get("gpus_per_node"))
    if NEEDS_ACCOUNTING:
        pytest.skip(f"!!! NOT TESTED: {', '.join(NEEDS_ACCOUNTING)} needs {slurm_accounting.MISSING}")


def ensure_good_file(kind: str, text: str, version: tuple[int, int]) -> None:
    """The values that a person would choose on such a cluster, and comments that fit a screen."""
    wanted, told = VALUES[kind], COMMENTS[kind]
    if kind == "40 partitions" and version >= NO_ACCOUNT_NEEDED:
        wanted, told = {**wanted, "partition": "gpu-long"}, told[1:]
    assert read(text) == SlurmConfig(**wanted), text
    for words in told:
        assert words in text, text
    assert max(map(len, text.splitlines())) <= 120
    assert len(text.splitlines()) <= 65
    assert "Stopped and preempted runs resume here by themselves" in text


def read(text: str) -> SlurmConfig:
    """The settings of a cluster file."""
    return configfile.merge(Config(), {"slurm": parse_yaml(text, "the file")}, "the file").slurm


@pytest.fixture(scope="module")
def site() -> Iterator[SurveyedSite]:
    """A cluster with something to complain of."""
    more = "PartitionName=closed Nodes=ALL State=DOWN\nPartitionName=vip Nodes=ALL AllowAccounts=vip\n"
    edits = (("KillWait=5", "KillWait=2"), ("JobRequeue=1", "JobRequeue=0"))
    with SurveyedSite(edits=edits, more=more, nodes=1, gpus_per_node=2) as site:
        yield site


def test_what_is_missing_is_in_the_file_and_on_the_screen(site: SurveyedSite) -> None:
    done = site.medtrain("cluster", "init", "hasty", "--partition", "nograce")
    assert done.returncode == 0, done.stderr
    path = site.clusters / "hasty.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    for words in ("JobRequeue=0", "nograce have less than 10 s", "KillWait=2"):
        assert words in done.stderr
        assert words in text
    assert f"{path}: partition nograce, gpus_per_node 2, time 24:00:00" in done.stdout
    assert "medtrain doctor --cluster hasty" in done.stdout
    assert "medtrain submit RECIPE --cluster hasty" in done.stdout


def test_nothing_is_overwritten_and_the_cluster_has_a_name(site: SurveyedSite) -> None:
    done = site.medtrain("cluster", "init", "--json", "--share", "group")
    told = json.loads(done.stdout)
    path = site.clusters / "test.yaml"
    assert (told["name"], told["file"], told["settings"]["partition"]) == ("test", str(path), "low")
    assert {check["name"] for check in told["missing"]} == {"requeueing", "ending"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.read_bytes()
    for words in ([], ["test"], ["test", "--partition", "high"]):
        again = site.medtrain("cluster", "init", *words)
        assert (again.returncode, f"{path} exists already, and is not overwritten" in again.stderr) == (2, True)
        assert "medtrain cluster show test" in again.stderr and f"mv {path} {path}.old" in again.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("partition", "code", "said", "helps"),
    [
        (
            "hgih",
            2,
            "there is no partition hgih (did you mean high?)",
            "there are: low, nograce, short, high, closed, vip",
        ),
        ("closed", 1, "could train in the partition closed: DOWN", "choose another: --partition low"),
        ("short", 1, "could train in the partition short: limit too short to train", "choose another: --partition low"),
    ],
)
def test_a_partition_that_cannot_be_used(site: SurveyedSite, partition: str, code: int, said: str, helps: str) -> None:
    """Slurm itself would take such a job, and never start it (EnforcePartLimits=NO)."""
    done = site.medtrain("cluster", "init", "another", "--partition", partition)
    assert (done.returncode, said in done.stderr, helps in done.stderr) == (code, True, True), done.stderr
    assert not (site.clusters / "another.yaml").exists()


def test_a_partition_for_other_accounts(site: SurveyedSite) -> None:
    """Slurm says no to nobody from 24.11 on."""
    done = site.medtrain("cluster", "init", "theirs", "--partition", "vip")
    closed = site.version() < NO_ACCOUNT_NEEDED
    assert done.returncode == int(closed), done.stderr
    assert ("could train in the partition vip: only account vip" in done.stderr) == closed
    assert (site.clusters / "theirs.yaml").exists() != closed


def test_a_cluster_where_nothing_can_be_used(site: SurveyedSite) -> None:
    site.node_down("127.0.0.1")
    try:
        done = site.medtrain("cluster", "init", "down")
    finally:
        site.node_up("127.0.0.1")
    assert done.returncode == 1
    assert "could train in any partition here (low: no node in service; " in done.stderr
    assert "sinfo -R says why" in done.stderr
