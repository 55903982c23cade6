"""What is requested of sbatch arrives in Slurm: each option, by the command that a user types, in a real job record."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import SMALL, medtrain
from probed_sites import Site
from slurm_there import MISSING, REASON

from medtrain.config.sbatch_options import BARE, VALUED

# What is typed -> what `scontrol show job` has then; a few at once that get along.
SHOWN = {
    "--gpus_per_node fake:2 --gpu-bind closest --gpu-freq high --gres-flags enforce-binding": (
        "TresPerNode=gres:gpu:fake:2", "TresBind=gpu:closest", "TresFreq=gpu:high", "GresEnforceBind=Yes",
    ),
    "--gpus_per_node 2 --cpus-per-gpu 2 --mem-per-gpu 1G": (
        "TresPerNode=gres:gpu:2", "CpusPerTres=gres:gpu:2", "MemPerTres=gres:gpu:1024",
    ),
    "--gres gpu:fake:2 --exclude 127.0.0.2 --nodelist 127.0.0.1 --contiguous --spread-job --tmp 10 --mincpus 2": (
        "TresPerNode=gres:gpu:fake:2", "ExcNodeList=127.0.0.2", "ReqNodeList=127.0.0.1", "Contiguous=1",
        "SpreadJob=Yes", "MinTmpDiskNode=10M", "MinCPUsNode=2",
    ),
    "--gpus fake:2 --licenses matlab:1 --switches 1@03:00 --network sn_all --power level --nice=70": (
        "TresPerJob=gres:gpu:fake:2", "Licenses=matlab:1", "Switches=1@00:03:00", "Network=sn_all", "Power=LEVEL",
        "Nice=70",
    ),
    "--gpus_per_task fake:1 --tasks_per_node 2 --exclusive --nice": (
        "TresPerTask=gres:gpu:fake:1", "OverSubscribe=NO", "Nice=100",
    ),
    "--gpus-per-socket 1 --sockets-per-node 1 --tasks_per_node 1 --reboot --delay-boot 5": (
        "TresPerSocket=gres:gpu:1", "Socks/Node=1", "Reboot=1", "DelayBoot=00:05:00",
    ),
    "--reservation later --mail_type END,FAIL --mail_user someone@example.org --oversubscribe --mem-per-cpu 100": (
        "Reservation=later", "MailUser=someone@example.org MailType=END,FAIL", "OverSubscribe=YES", "MinMemoryCPU=100M",
    ),
    "--comment 'two words; and = more' --deadline 2035-05-05T05:05 --time 5 --time-min 3 --cpu-freq high": (
        "Comment=two words; and = more", "Deadline=2035-05-05T05:05:00", "TimeMin=00:03:00", "CPU_max_freq=High",
    ),
    "--begin 2035-05-05T05:05 --ntasks-per-core 1 --ntasks-per-socket 1": (
        "StartTime=2035-05-05T05:05:00", "NtasksPerN:B:S:C=1:0:1:1",
    ),
    "--hold --exclusive=user --sbatch=--nice=71 --sbatch=--exclude=127.0.0.2": (
        "JobState=PENDING Reason=JobHeldUser", "OverSubscribe=USER", "Nice=71", "ExcNodeList=127.0.0.2",
    ),
}  # fmt: skip
# That Debian's Slurm takes, and does not show or has no plugin for on the test cluster.
TAKEN = ["--no-kill", "--overcommit", "--propagate", "--distribution cyclic", "--export NONE", "--acctg-freq task=1",
         "--hint nomultithread", "--mem-bind local", "--wait-all-nodes 1", "--profile none", "--use-min-nodes",
         "--wckey mine", "--priority 7", "--cores-per-socket 1", "--core-spec 1"]  # fmt: skip
TAKEN_TOO = ["--get-user-env", "--threads-per-core 1", "--extra-node-info 1", "--thread-spec 1"]
# That need what the test cluster does not have, or a newer Slurm: only the script can be looked at.
WRITTEN = ["--bb capacity=1G", "--bbf FILE", "--cluster-constraint big", "--extra words", "--mcs-label x",
           "--nodefile FILE", "--prefer big", "--segment 4", "--tres-per-task cpu=1,gres/gpu=1", "--resv-ports 2",
           "--tres-bind gres/gpu:closest", "--oom-kill-step 0", "--stepmgr", "--spread-segments",
           "--consolidate-segments", "--sbatch=--of-the-year=2030"]  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two nodes with typed GPUs, licenses, and a reservation."""
    if MISSING:
        pytest.skip(REASON)
    room = [("RealMemory=", "TmpDisk=100 RealMemory=")]
    with Site(room, more="Licenses=matlab:2\nPartitionName=none Nodes=ALL State=DOWN\n", gpus_per_node=2) as site:
        when = ("StartTime=now+60minutes", "Duration=600", "Nodes=127.0.0.1", f"Users={site.user}")
        site.run("scontrol", "create", "reservation", "ReservationName=later", *when)
        yield site
        site.run("scancel", "--user", site.user)


def submitted(site: Site, shards: Path, runs: Path, line: str) -> tuple[str, str]:
    """A run by a command line of a user that does not start: the record of its job, and its script."""
    words = ["submit", "demo", "--shards", shards, "--runs", runs, "--run", "r", "--partition", "none", *SMALL]
    job = json.loads(medtrain(*words, *shlex.split(line), "--json", env={**os.environ, **site.env}).stdout)["job"]
    record = site.run("scontrol", "--oneliner", "show", "job", job).stdout
    return record, site.run("scontrol", "write", "batch_script", job, "-").stdout


def lines_of(requests: list[str]) -> list[str]:
    """Requests as the batch script has them."""
    words = [shlex.split(request.removeprefix("--sbatch=")) for request in requests]
    return [f"#SBATCH {'='.join(parts)}" for parts in words]


def test_every_option_that_has_a_name_here_is_tested() -> None:
    lines = " ".join([*SHOWN, *TAKEN, *TAKEN_TOO, *WRITTEN])
    tested = {word.partition("=")[0][2:].replace("_", "-") for word in lines.split() if word.startswith("--")}
    assert set(VALUED) | set(BARE) <= tested


@pytest.mark.parametrize("line", SHOWN)
def test_requests_are_in_the_record_of_the_job(site: Site, demo_shards: Path, tmp_path: Path, line: str) -> None:
    record, _ = submitted(site, demo_shards, tmp_path, line)
    missing = [field for field in SHOWN[line] if not re.search(rf"(^|\s){re.escape(field)}(\s|$)", record)]
    assert not missing, record


@pytest.mark.parametrize("requests", [TAKEN, TAKEN_TOO])
def test_requests_that_are_not_shown_are_taken(
    site: Site, demo_shards: Path, tmp_path: Path, requests: list[str]
) -> None:
    _, sent = submitted(site, demo_shards, tmp_path, " ".join(requests))
    assert set(lines_of(requests)) <= set(sent.splitlines())


def test_requests_of_another_slurm_are_in_the_script(site: Site, tmp_path: Path, demo_shards: Path) -> None:
    words = ["submit", "demo", "--shards", demo_shards, "--runs", tmp_path, "--tasks_per_node", "2"]
    words += shlex.split(" ".join(WRITTEN))
    assert set(lines_of(WRITTEN)) <= set(medtrain(*words, "--dry-run").stdout.splitlines())
    refused = medtrain(*words, env={**os.environ, **site.env}, check=False)
    assert refused.returncode == 1 and "Slurm did not take the job: sbatch: unrecognized option" in refused.stderr


def test_packing_jobs_and_their_arrays_have_what_is_requested(site: Site, demo_tree: Path, tmp_path: Path) -> None:
    profile = tmp_path / "site.yaml"
    profile.write_text(
        "partition: none\ngpus_per_node: fake:2\nsbatch: [--nice=7, --exclusive, --comment=from the file]\n"
    )
    words = [
        "shard",
        "folder",
        "--root",
        demo_tree,
        "--out",
        tmp_path / "out",
        "--slurm",
        "--cluster",
        profile,
        "--json",
    ]
    words += ["--tasks", "4", "--array_throttle", "2", "--exclude", "127.0.0.2", "--sbatch=--nice=8"]
    read, pack, finish = json.loads(medtrain(*words, env={**os.environ, **site.env}).stdout)["jobs"]
    for job, throttle in ((read, "ArrayTaskThrottle=2"), (pack, "ArrayTaskThrottle=2"), (finish, "")):
        record = site.run("scontrol", "--oneliner", "show", "job", job).stdout
        wanted = ("ExcNodeList=127.0.0.2", "Nice=8", "Comment=from the file", throttle)
        assert all(field in record for field in wanted), record
        assert "Tres" not in record and "OverSubscribe=NO" not in record, "no GPUs, and no whole nodes, for packing"


def test_the_probe_of_a_cluster_has_what_is_requested(site: Site, tmp_path: Path) -> None:
    asked = site.ask_doctor(tmp_path / "runs", "partition: low\n", "--reservation", "nowhere", "--sbatch=--nice=9")
    out, error = asked.communicate()
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert "reservation" in checks["request"]["text"].lower(), (checks, error)
