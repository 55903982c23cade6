"""Slurm clusters of different kinds, and what `medtrain cluster init` and `doctor --cluster` say of them."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slurm_accounting
from command import command_line, run
from probed_sites import PACKAGE, Site

LONG_ENOUGH = ("KillWait=5", "KillWait=10")  # for the doctor, and not longer: his ranks live until the KILL
PARTITIONS = """\
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=nograce Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=short Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 MaxTime=1
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""
QOS = {"normal": "preemptmode=cancel", "spot": "gracetime=60 maxwall=10:00:00", "urgent": "preempt=normal,spot"}


class SurveyedSite(Site):
    """A cluster with partitions of its own, on which a user has cluster files in the folder `clusters`."""

    def __init__(
        self,
        partitions: str = "",
        types: tuple[str, ...] = (),
        edits: tuple[tuple[str, str], ...] = (LONG_ENOUGH,),
        **options: Any,
    ) -> None:
        """`types` are those of the GPUs, one for each node."""
        super().__init__(edits, **options)
        self._partitions, self._types = partitions, types
        self.clusters = self.folder / "clusters"
        python_path = os.pathsep.join(filter(None, [str(PACKAGE.parent), self.env.get("PYTHONPATH", "")]))
        self.env |= {"MEDTRAIN_CLUSTERS": str(self.clusters), "PYTHONPATH": python_path}

    def _write_settings(self) -> None:
        super()._write_settings()
        text = self.conf.read_text()
        if self._partitions:
            assert PARTITIONS in text
            text = text.replace(PARTITIONS, self._partitions)
        if self._types:
            line = next(line for line in text.splitlines() if line.startswith("NodeName="))
            text = text.replace(line, "\n".join(self._typed(line)))
            gpus = (self.folder / "gres.conf").read_text()
            rows = [f"NodeName={node} {gpus}".replace("fake", kind) for node, kind in self._kinds()]
            (self.folder / "gres.conf").write_text("".join(rows))
        self.conf.write_text(text)

    def _kinds(self) -> list[tuple[str, str]]:
        return list(zip(self.nodes, self._types, strict=True))

    def _typed(self, line: str) -> Iterator[str]:
        """The line of all nodes as one for each, with its own port and GPUs."""
        start = self._port + 1
        for number, (node, kind) in enumerate(self._kinds()):
            own = line.replace(",".join(self.nodes), node).replace(":fake:", f":{kind}:")
            yield re.sub(r"Port=\[.*?\]", f"Port={start + number}", own)

    def medtrain(self, *words: object) -> subprocess.CompletedProcess[str]:
        """A command of the cluster's user."""
        return run(command_line(*words), env=self.env, cwd=self.folder)

    def init(self, name: str, *options: object) -> str:
        """The text of the cluster file that `cluster init` writes."""
        done = self.medtrain("cluster", "init", name, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return (self.clusters / f"{name}.yaml").read_text()

    def doctor(self, name: str, runs: Path, *options: object) -> subprocess.Popen[str]:
        """The doctor is asked about a cluster file by its name; `report` reads what it answers."""
        command = command_line("doctor", "--cluster", name, "--folder", runs, "--json", *options)
        return subprocess.Popen(
            command, env=self.env, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


class QosSite(SurveyedSite, slurm_accounting.AccountedCluster):
    """A cluster whose accounting says who may use what, and whose jobs are preempted by their QOS."""

    def _up(self) -> None:
        super()._up()
        for name, rule in QOS.items():
            verb = ["modify", "qos", name, "set"] if name == "normal" else ["add", "qos", name]
            self._demand("sacctmgr", "-i", *verb, *rule.split())
        me = pwd.getpwuid(os.getuid()).pw_name
        self._demand("sacctmgr", "-i", "add", "account", "lab")
        self._demand("sacctmgr", "-i", "add", "account", "other")
        self._demand("sacctmgr", "-i", "add", "user", me, "account=lab,other", "qos=normal,spot")
        self._demand("sacctmgr", "-i", "modify", "user", me, "set", "defaultaccount=lab")


def forty() -> str:
    """Partitions of a large site: a few for GPUs, of groups and projects, most of them not this user's."""
    lines = [
        "PartitionName=main Nodes=127.0.0.1 Default=YES MaxTime=2-0 DefaultTime=30 MaxNodes=1 PreemptMode=OFF",
        "PartitionName=gpu Nodes=ALL MaxTime=3-0 PreemptMode=REQUEUE GraceTime=120",
        "PartitionName=gpu-long Nodes=ALL MaxTime=14-0 AllowAccounts=vip PreemptMode=OFF",
        "PartitionName=gpu-spot Nodes=ALL MaxTime=7-0 PreemptMode=CANCEL",
        "PartitionName=gpu-week Nodes=ALL MaxTime=7-0 PreemptMode=REQUEUE GraceTime=60",
        "PartitionName=maintenance Nodes=ALL MaxTime=30-0 State=DOWN",
        "PartitionName=closed Nodes=ALL MaxTime=30-0 ReqResv=YES",
        "PartitionName=empty MaxTime=30-0",
        "PartitionName=debug Nodes=ALL MaxTime=1 PreemptMode=OFF",
    ]
    lines += [
        f"PartitionName=project{number:02} Nodes=127.0.0.{1 + number % 2} MaxTime=10-0 PreemptMode=OFF"
        f" AllowAccounts=p{number:02},p{number:02}a,p{number:02}b,p{number:02}c,p{number:02}d"
        for number in range(40 - len(lines))
    ]
    return "\n".join(lines) + "\n"
