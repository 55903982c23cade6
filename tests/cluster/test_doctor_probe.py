"""`medtrain doctor --cluster`: no false alarm on a good cluster; each planted defect is found and has a remedy."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import MISSING, REASON
from slurm_cluster import Cluster

import medtrain

PROFILE = "partition: low\nnodes: 2\ngpus_per_node: 2\ntime: '10'\nmem_gb: 8\n"
Findings = dict[str, dict[str, str]]


class Site(Cluster):
    """A cluster with something wrong about it: lines of slurm.conf, node names, or what the second node sees."""

    def __init__(
        self, conf: str = "", names: tuple[str, str] | None = None, second: str = "", files: bool = False
    ) -> None:
        super().__init__(nodes=2, cpus=4, gpus_per_node=2)
        self.nodes = list(names or self.nodes)
        self.runs = self.folder / "runs"
        self.runs.mkdir()
        self._conf_lines, self._second, self._plain_files = conf, second, files

    def _write_settings(self) -> None:
        super()._write_settings()
        known = [line for line in self.conf.read_text().splitlines() if not self._sets(line)]
        self.conf.write_text("\n".join([self._conf_lines, *known]) + "\n")
        for gpu in self.folder.glob("gpu?") if self._plain_files else []:
            gpu.unlink()
            gpu.touch()  # Slurm counts it, but does not know its number

    def _sets(self, line: str) -> bool:
        return line.partition("=")[0] in [own.partition("=")[0] for own in self._conf_lines.splitlines()]

    def _start(self, name: str, *cmd: str) -> None:
        if name == self.nodes[1] and self._second:
            script = f'mount --make-rprivate / && {self._second.format(runs=self.runs)} && exec "$@"'
            cmd = ("unshare", "--mount", "sh", "-c", script, "sh", *cmd)
        super()._start(name, *cmd)

    def doctor(self, profile: str = PROFILE, *more: str, **environment: str) -> subprocess.Popen[str]:
        """Ask the doctor."""
        path = self.folder / "site.yaml"
        path.write_text(profile)
        command = [sys.executable, "-m", "medtrain.cli", "doctor", "--cluster", str(path), "--folder", str(self.runs)]
        return subprocess.Popen(
            [*command, *more, "--json"], stdout=subprocess.PIPE, text=True, env={**self.env, **environment}
        )


def told(process: subprocess.Popen[str]) -> Findings:
    """What the doctor found, by the name of the check; each complaint has a remedy."""
    text, _ = process.communicate(timeout=300)
    found = {check["name"]: check for check in json.loads(text)["checks"]}
    assert all(check["fix"] for check in found.values() if check["state"] != "ok"), found
    assert process.returncode == any(check["state"] == "FAIL" for check in found.values())
    return found


def bad(found: Findings) -> dict[str, str]:
    """The complaints."""
    return {name: check["text"] for name, check in found.items() if check["state"] != "ok"}


@pytest.mark.skipif(bool(MISSING), reason=REASON)
def test_what_the_probe_finds(tmp_path: Path) -> None:
    """Four clusters at once, of which one is good: a probe waits most of its minute."""
    other = tmp_path / "__init__.py"
    source = Path(medtrain.__file__)
    other.write_text(source.read_text().replace(medtrain.__version__, "0.0.9"))
    weights = tmp_path / "weights.yaml"
    weights.write_text("model:\n  weights: imagenet\n")
    empty = {"TORCH_HOME": str(tmp_path)}
    with ExitStack() as stack:
        good = stack.enter_context(Site())
        blind = stack.enter_context(Site(conf="KillWait=1", files=True))
        away = f"mount -t tmpfs none {{runs}} && mount --bind {other} {source}"
        apart = stack.enter_context(Site(names=("nowhere1", "nowhere2"), second=away))
        bare = stack.enter_context(Site(second=f"mount -t tmpfs none {sys.prefix}"))
        processes = [
            good.doctor(),
            blind.doctor(PROFILE.replace("mem_gb: 8", "mem_gb: 2"), SBATCH_SIGNAL="B:USR2@240"),
            apart.doctor(PROFILE, "--settings", str(weights), **empty),
            bare.doctor(SBATCH_NO_REQUEUE="1"),
        ]
        of_good, of_blind, of_apart, of_bare = map(told, processes)
        assert bad(of_good) == {} and len(of_good) >= 20
        assert set(bad(of_blind)) == {"killwait", "binding", "memory", "signals", "term"}
        assert "ranks would compute on those of other jobs" in bad(of_blind)["binding"]
        assert "KillWait is 1 s" in bad(of_blind)["killwait"]
        assert "has 1,024 MB of memory" in bad(of_blind)["memory"]
        assert "no rank heard Slurm's warning before the time limit (SIGUSR2)" in bad(of_blind)["signals"]
        assert "SBATCH_SIGNAL" in of_blind["signals"]["fix"]
        assert "s after TERM" in bad(of_blind)["term"]
        assert {"software", "sharing", "names", "weights"} <= set(bad(of_apart))
        assert "nowhere2 has medtrain 0.0.9" in bad(of_apart)["software"]
        assert f"node nowhere2: {apart.runs} is another folder here" in bad(of_apart)["sharing"]
        assert "do not resolve on the nodes: nowhere1, nowhere2" in bad(of_apart)["names"]
        assert "imagenet (densenet121)" in bad(of_apart)["weights"]
        assert {"ranks", "requeue"} <= set(bad(of_bare))
        assert "2 of 4 ranks did not come up (on 127.0.0.2): " in bad(of_bare)["ranks"]
        assert "not found" in bad(of_bare)["ranks"]
        assert "does not requeue the job" in bad(of_bare)["requeue"]
        assert "SBATCH_NO_REQUEUE" in of_bare["requeue"]["fix"]
        for site in (good, blind, apart, bare):
            assert not list(site.runs.iterdir()), "the probe's folder is gone"
            assert site.run("squeue", "--noheader").stdout == "", "and its job"


@pytest.mark.skipif(bool(MISSING), reason=REASON)
def test_what_needs_no_probe() -> None:
    with Site() as site:

        def found(profile: str = "", **changes: Any) -> dict[str, str]:
            lines = PROFILE.splitlines() + [f"{name}: {value}" for name, value in changes.items()]
            text = "\n".join({line.partition(":")[0]: line for line in lines}.values())
            return bad(told(site.doctor(text)))

        assert "invalid partition" in found(partition="nosuch")["profile"].lower()
        assert "configuration is not available" in found(gpus_per_node=9)["profile"]
        assert "asks for 10, and short gives 00:01:00: its jobs never start" in found(partition="short")["time"]
        hasty = found(partition="nograce", gpus_per_node=9)
        assert hasty["grace"].startswith("preempted jobs of nograce have 0 s to save")
        assert "to be warned 120 s before: at once" in found(time="'1'")["time"]
        site.run("scontrol", "update", "PartitionName=high", "MaxNodes=1")
        assert "gives a job 1 nodes at the most, the profile asks for 2" in found(partition="high")["partition"]
        site.run("scontrol", "update", "PartitionName=low", "State=DOWN")
        assert "low is DOWN: its jobs wait until it is opened" in found()["partition"]
        site.run("scontrol", "update", "PartitionName=low", "State=UP")
        site.run("scontrol", "update", "NodeName=127.0.0.2", "State=DRAIN", "Reason=test")
        assert "1 of 2 nodes of low are in service" in found()["partition"]
        site.run("scontrol", "update", "NodeName=127.0.0.2", "State=RESUME")
        site.runs.rmdir()
        assert "cannot be written" in found()["folder"]
        site.runs.mkdir()
        site._daemons["slurmctld"].kill()
        site._daemons["slurmctld"].wait()
        site.conf.write_text(site.conf.read_text() + "MessageTimeout=2\n")
        assert "Slurm does not answer" in found()["partitions"]


@pytest.mark.skipif(bool(MISSING), reason=REASON)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_doctor_who_is_sent_away_leaves_nothing(number: int) -> None:
    with Site() as site:
        process = site.doctor()
        site._poll(lambda: site.run("squeue", "--noheader", "--states=RUNNING").stdout, "the probe to run")
        process.send_signal(number)
        process.communicate(timeout=100)
        assert process.returncode == 130
        assert not list(site.runs.iterdir())
        assert site.run("squeue", "--noheader").stdout == ""
