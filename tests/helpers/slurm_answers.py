"""What the commands of Slurm 22.05 to 26.05 answer, as recorded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from places import RECORDED

from medtrain.doctor.checks import slurm
from medtrain.slurm.queries import parse

VERSIONS = ("22.05", "24.05", "25.05", "25.11", "26.05")
BROUGHT_BACK = ("24.05", "25.05", "25.11", "26.05")  # by Slurm itself, in the grace time of a preemption
# What the commands answer: the recorded texts of one version; each call is a line of `calls`.
ANSWERS = """#!/bin/sh
cd "{folder}" || exit 1
echo "$(basename "$0") $*" >>calls
case "$(basename "$0") $*" in
    *" ping")
        if [ -s silent ]; then sed -i 1d silent; state=DOWN; fi
        echo "Slurmctld(primary) at n0 is ${{state:-UP}}" ;;
    *" show config") cat config.txt ;;
    *" show partition"*) cat partition.txt ;;
    *" show node") cat node.txt ;;
    *" show job "*) cat job.txt ;;
    *" show node "*) cat node.txt ;;
    *" show hostnames "*) sed "s/.*NodeName=\\([^ ]*\\).*/\\1/" node.txt ;;
    *" show step "*) cat step.txt && cp last.txt step.txt ;;
    *" --version") cat version.txt ;;
    "squeue "*) cat squeue.txt ;;
    "sacctmgr "*) cat qos.txt ;;
esac
"""


class Answers:
    """The commands of one version of Slurm, which answer for job 7 and note what they are asked."""

    def __init__(self, folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for text in (RECORDED / f"slurm-{version}").glob("*.txt"):
            (folder / text.name).write_text(text.read_text())
        for name in ("scontrol", "squeue", "scancel", "sacctmgr"):
            (folder / name).write_text(ANSWERS.format(folder=folder))
            (folder / name).chmod(0o700)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
        for name, value in {"SLURM_JOB_ID": "7", "ENVIRONMENT": "BATCH", "SLURM_JOB_NODELIST": "n[1-2]"}.items():
            monkeypatch.setenv(name, value)
        slurm.configuration.cache_clear()
        self.now("job_running")

    def now(self, name: str, **changed: str) -> None:
        """From now on the job is as it is recorded under a name, but for some fields."""
        text = (self.folder / f"{name}.txt").read_text()
        for field, value in changed.items():
            before = f"{field}={parse(text)[field]}"
            assert before in text
            text = text.replace(before, f"{field}={value}", 1)
        (self.folder / "job.txt").write_text(text)

    def silent(self, times: int) -> None:
        """The controller is down when it is asked next, so many times."""
        (self.folder / "silent").write_text("x\n" * times)

    def change(self, name: str, before: str, after: str) -> None:
        """Another answer than the recorded one."""
        path = self.folder / f"{name}.txt"
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

    def orders(self) -> list[str]:
        """What Slurm was told to do."""
        calls = (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []
        return [call for call in calls if call.split()[1] == "requeue" or call.startswith("scancel")]
