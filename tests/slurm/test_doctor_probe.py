"""`medtrain doctor --cluster`: every planted defect by its name with a remedy, and no false alarm on a good cluster."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from probed_sites import IN_VENV, MAY_NAMESPACE, Network, Report, Site, in_mounts, other_medtrain
from slurm_cluster import PATH

from medtrain.config.schema import SlurmConfig
from medtrain.core.errors import MachineError
from medtrain.doctor.checks import cluster
from medtrain.doctor.probe import send

pytestmark = pytest.mark.skipif(not shutil.which("slurmctld", path=PATH), reason="this machine has no Slurm")
NO_SIGNAL = """
function slurm_cli_setup_defaults(options, early) return slurm.SUCCESS end
function slurm_cli_pre_submit(options, offset)
  if options["signal"] ~= "0@0" then options["signal"] = "CONT@1" end
  return slurm.SUCCESS
end
function slurm_cli_post_submit(offset, job, step) return slurm.SUCCESS end
"""
NO_REQUEUE = """
function slurm_job_submit(job, partitions, uid) job.requeue = 0; return slurm.SUCCESS end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
"""
NEEDS_ACCOUNT = """
function slurm_job_submit(job, partitions, uid)
  if job.account == nil then slurm.log_user("name your account"); return slurm.ERROR end
  if job.account == "small" and job.min_nodes > 1 then slurm.log_user("one node only"); return slurm.ERROR end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
"""
SKEW = """#!/bin/sh
[ "$SLURMD_NODENAME" = 127.0.0.2 ] && echo "export PYTHONPATH=%s:$PYTHONPATH"
exit 0
"""
TWO = "partition: low\nnodes: 2\ntasks_per_node: 2\ntime: '1:00:00'\n"
LIKE_A_REAL_ONE = ("KillWait=5", "KillWait=30")
SITES = ("good", "rules", "node", "network", "start", "alone", "killed")

# what was done to the cluster: the site, the check that finds it, its state, words of the finding
PLANTED = {
    "JobRequeue=0": ("rules", "requeueing", "warn", "JobRequeue=0"),
    "partition with GraceTime=0 and PreemptMode=CANCEL": ("rules", "preemption", "warn", "low are cancelled"),
    "KillWait=2": ("rules", "ending", "warn", "s later (KillWait=2)"),
    "cli_filter that replaces --signal": ("rules", "warning", "FAIL", "did not reach ranks 0, 1"),
    "GPUs without device files": ("rules", "gpus", "FAIL", "CUDA_VISIBLE_DEVICES is not set"),
    "weights of a recipe that nobody plans": ("rules", "weights", "warn", "kinetics (r2plus1d_18) are not there"),
    "batch script that is taken for a shell": (
        "rules",
        "supervisor",
        "FAIL",
        "takes itself for a shell, and would not",
    ),
    "300 MB a core": ("rules", "memory", "FAIL", "0.3 GB a rank"),
    "folder not shared": ("node", "sharing", "FAIL", "is not shared: 127.0.0.2: another folder of that name"),
    "clock of a node": ("node", "clocks", "warn", "127.0.0.2's clock is 100 s ahead of 127.0.0.1's"),
    "other medtrain on a node": ("node", "software", "FAIL", "127.0.0.2: medtrain 0.0.9"),
    "closed ports between nodes": ("network", "ports", "FAIL", "gpu-b cannot reach 127.0.0.1"),
    "node name that does not resolve": ("network", "names", "FAIL", "gpu-b does not resolve"),
    "own name that leads to the loopback": ("network", "names", "FAIL", "its own name"),
    "read-only folder on a node": ("network", "writing", "FAIL", "gpu-b: "),
    "pretrained weights missing": ("network", "weights", "FAIL", "imagenet (densenet121) are not there"),
    "job_submit that takes --requeue off": ("network", "requeue", "FAIL", "refuses to requeue the job"),
    "no environment on a node": ("start", "ranks", "FAIL", "on 127.0.0.2 no rank can start (exit code 127): "),
    "one GPU for two ranks": ("start", "gpus", "FAIL", "2 ranks share 1 GPU(s) (SLURM_GPU_BIND=map_gpu:0,0)"),
    "folder not shared with the first node": ("alone", "start", "FAIL", "left nothing in"),
}
NEED_ROOT = ("node", "network", "start", "alone")


def test_what_the_probe_finds(tmp_path: Path) -> None:
    """All sites are asked at once, as a probe mostly waits: each planted defect is found, and nothing else."""
    reports = ask_all(tmp_path)
    good = reports["good"]
    assert not [check for check in good.values() if check["state"] != "ok"]
    there = ("sharing", "rename", "clocks", "ports", "gpus", "weights", "supervisor", "signals", "warning", "ending")
    for name in (*there, "requeue"):
        assert name in good, "nothing was left out"
    assert "all 4 ranks" in good["warning"]["text"]
    assert "scontrol requeue sends TERM to all 4 ranks" in good["ending"]["text"]
    assert reports.pop("killed")["left"]["text"] == "[]", "the probe of a killed doctor clears up"
    not_found, not_tested = {}, []
    for defect, (site, check, state, words) in PLANTED.items():
        found = reports.get(site, {}).get(check, {"state": "nothing was said", "text": "", "fix": ""})
        if site not in reports or (defect == "no environment on a node" and not IN_VENV):
            not_tested.append(defect)
        elif (found["state"], words in found["text"]) != (state, True) or not found["fix"]:
            not_found[defect] = found
    assert not not_found, reports
    planted = {(site, check) for site, check, _, _ in PLANTED.values()}
    alarms = {(site, check) for site, report in reports.items() for check in report if report[check]["state"] != "ok"}
    assert alarms <= planted, reports
    if not_tested:
        pytest.skip(f"!!! NOT TESTED: {', '.join(not_tested)}: this needs root, namespaces and a virtual environment")
    text = reports["start"]["ranks"]["text"]
    assert f"{sys.executable}: not found" in text and "CANCELLED" not in text, "it says why a rank cannot start"


def ask_all(place: Path) -> dict[str, Report]:
    """Bring up every site that this machine allows, send all probes, wait for all answers."""
    with contextlib.ExitStack() as stack:
        asked = {}
        network = Network()
        stack.callback(network.down)
        usable = [name for name in SITES if MAY_NAMESPACE or name not in NEED_ROOT]
        if "network" in usable and network.up():
            usable.remove("network")
        for name in usable:
            runs = place / name
            runs.mkdir()
            site, profile, options = make(name, place, network)
            stack.enter_context(site)
            asked[name] = (site, runs, site.ask_doctor(runs, profile, *options))
            stack.callback(asked[name][2].kill)
        killed = asked.pop("killed")
        wait_for_ranks(killed[1])
        killed[2].kill()
        reports = {name: site.report(process, runs) for name, (site, runs, process) in asked.items()}
        return {**reports, "killed": left_by(killed[0], killed[1])}


def wait_for_ranks(runs: Path) -> None:
    """Until the probe's ranks speak."""
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in runs.glob(".medtrain-doctor-*/ranks.log")):
        assert time.monotonic() < deadline, "the ranks say nothing"
        time.sleep(0.1)


def left_by(site: Site, runs: Path) -> Report:
    """What a doctor who was killed leaves to his probe, once it has found that out."""
    deadline = time.monotonic() + 150
    while (left := [*runs.iterdir(), *site.run("squeue", "--noheader").stdout.split()]) and time.monotonic() < deadline:
        time.sleep(0.5)
    return {"left": {"state": "FAIL" if left else "ok", "text": str(left)}}


def make(name: str, place: Path, network: Network) -> tuple[Site, str, list[object]]:
    """A site, the profile that is used there, and options of the doctor."""
    runs = place / name
    weights = place / "weights.safetensors"
    weights.write_bytes(b"")
    (place / "planned.yaml").write_text(f"model:\n  weights: {weights}\n")
    planned: list[object] = ["--config", place / "planned.yaml"]
    if name == "rules":
        edits = [
            ("PreemptMode=REQUEUE GraceTime=20\nPartitionName=nograce", "PreemptMode=CANCEL\nPartitionName=nograce"),
            ("JobRequeue=1", "JobRequeue=0"),
            ("KillWait=5", "KillWait=2"),
            ("DefMemPerCPU=4000", "DefMemPerCPU=300"),
        ]
        files = {"cli_filter.lua": NO_SIGNAL}
        site = Site(edits, "CliFilterPlugins=lua\n", files, gpu_devices=False, nodes=1, gpus_per_node=2)
        site.env["HF_HOME"] = str(place / "no-hf-home")
        return site, "partition: low\ngpus_per_node: 2\nsetup: ['export ENVIRONMENT=production']\n", []
    if name == "node":
        copy = other_medtrain(place / "other" / "medtrain")
        (place / "skew").mkdir()
        (place / "skew" / "sitecustomize.py").write_text(
            "import time\nnow = time.time\ntime.time = lambda: now() + 100\n"
        )
        wrap = in_mounts(
            f"mount -t tmpfs tmpfs {runs}", f"mount --bind {copy} {Path(sys.modules['medtrain'].__path__[0])}"
        )
        files = {"prolog.sh": SKEW % (place / "skew")}
        return Site([LIKE_A_REAL_ONE], "TaskProlog={folder}/prolog.sh\n", files, {"127.0.0.2": wrap}), TWO, planned
    if name == "network":
        return network_site(runs, network)
    if name == "start":
        (place / "empty").mkdir()
        wraps = {"127.0.0.2": in_mounts(f"mount --bind {place / 'empty'} {sys.prefix}")} if IN_VENV else {}
        profile = "partition: low\nnodes: 2\ngpus_per_node: 2\nsetup: ['export SLURM_GPU_BIND=map_gpu:0,0']\n"
        return Site([LIKE_A_REAL_ONE], wraps=wraps, gpus_per_node=2), profile, planned
    if name == "killed":
        return Site(nodes=1), "partition: low\n", []
    if name == "alone":
        return Site(wraps={"127.0.0.1": in_mounts(f"mount -t tmpfs tmpfs {runs}")}, nodes=1), "partition: low\n", []
    # Slurm 26.05 starts a batch script with the number of a step that is none of tasks.
    profile = TWO.replace("tasks_per_node", "gpus_per_node") + "setup: ['export SLURM_STEP_ID=-5 SLURM_STEPID=-5']\n"
    return Site([LIKE_A_REAL_ONE], gpus_per_node=2), profile, planned


def network_site(runs: Path, network: Network) -> tuple[Site, str, list[object]]:
    """The second node is another machine, with a firewall, a name that nobody knows, and a folder it cannot write."""
    site = Site(nodes=2, files={"job_submit.lua": NO_REQUEUE})
    controller, first, second = site._port, site._port + 1, site._port + 2
    site.nodes[1] = "gpu-b"
    node = "NodeName={} NodeHostname=localhost NodeAddr={} Port={} CPUs=4"
    rows = [node.format("127.0.0.1", network.here, first), node.format("gpu-b", network.there, second)]
    old, nodes = node.format("127.0.0.1,gpu-b", "127.0.0.1", f"[{first}-{second}]"), " RealMemory=16000\n".join(rows)
    site._edits = [(old, nodes), ("localhost(127.0.0.1)", f"localhost({network.here})"), LIKE_A_REAL_ONE]
    site._more = f"JobSubmitPlugins=lua\nSrunPortRange={controller + 10}-{controller + 50}\n"
    mounts = in_mounts(f"mount --bind {runs} {runs}", f"mount -o remount,bind,ro {runs}")
    site._wraps = {"gpu-b": [*network.close(controller, second, controller + 10), *mounts]}
    settings = runs.parent / "network.yaml"
    settings.write_text("model:\n  weights: imagenet\n")
    site.env["TORCH_HOME"] = str(runs.parent / "no-torch-home")
    return site, TWO, ["--config", settings]


# What is found without a probe, and what becomes of one that is not left in peace.


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
        out, error = closed.ask_doctor(tmp_path / "runs", "partition: low\n").communicate(timeout=120)
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
    out, error = asked.communicate(timeout=120)
    assert out, error
    found = {check["name"]: check for check in json.loads(out)["checks"]}["start"]
    assert found["state"] == "warn", "a busy cluster is a good one"
    assert "did not start within" in found["text"]
    assert "the nodes asked for are busy (Resources)" in found["text"]
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
    asked.communicate(timeout=120)
    assert asked.returncode == 130
    assert list(runs.iterdir()) == []
    assert closed.run("squeue", "--noheader").stdout == ""


def test_a_bad_profile(closed: Site, tmp_path: Path) -> None:
    asked = closed.ask_doctor(tmp_path / "runs", "partitoin: low\n")
    _, error = asked.communicate(timeout=60)
    assert asked.returncode == 2
    assert "partitoin" in error
