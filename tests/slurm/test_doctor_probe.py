"""`medtrain doctor --cluster`: every planted defect by its name with a remedy, and no false alarm on a good cluster."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path

import pytest
from limits import HANG_S
from probed_sites import IN_VENV, MAY_NAMESPACE, Network, Report, Site, in_mounts, other_medtrain, wait_for_ranks
from slurm_cluster import PATH

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
    "partition with GraceTime=0 and PreemptMode=CANCEL": (
        "rules",
        "preemption",
        "warn",
        "of cancelled ones another job",
    ),
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
    "one GPU for two ranks": ("start", "gpus", "FAIL", "2 ranks share 1 GPU (SLURM_GPU_BIND=map_gpu:0,0)"),
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


def left_by(site: Site, runs: Path) -> Report:
    """What a doctor who was killed leaves to his probe, once it has found that out."""
    deadline = time.monotonic() + HANG_S
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
