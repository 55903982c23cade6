"""Slurm clusters with planted defects, and what `medtrain doctor --cluster` says of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command import command_line
from limits import HANG_S
from slurm_cluster import Cluster

import medtrain

PACKAGE = Path(medtrain.__file__).parent
Report = dict[str, dict[str, Any]]


class Site(Cluster):
    """A cluster with other settings, files beside slurm.conf, and nodes that live in namespaces of their own."""

    def __init__(
        self,
        edits: Sequence[tuple[str, str]] = (),
        more: str = "",
        files: dict[str, str] | None = None,
        wraps: dict[str, list[str]] | None = None,
        gpu_devices: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._edits, self._more, self._files, self._wraps = edits, more, files or {}, wraps or {}
        self._gpu_devices = gpu_devices

    def _write_settings(self) -> None:
        super()._write_settings()
        text = self.conf.read_text()
        for old, new in self._edits:
            assert old in text, old
            text = text.replace(old, new)
        self.conf.write_text(text + self._more.format(folder=self.folder, tasks=self._port + 10))
        for name, content in self._files.items():
            (self.folder / name).write_text(content)
            (self.folder / name).chmod(0o755)
        if not self._gpu_devices:
            for device in self.folder.glob("gpu[0-9]"):
                device.unlink()
                device.write_text("")

    def _start_node(self, name: str) -> None:
        wrap = self._wraps.get(name, [])
        self._start(name, *wrap, "slurmd", "-D", "-c", "-f", str(self.conf), "-N", name)

    def ask_doctor(self, runs: Path, profile: str, *options: object) -> subprocess.Popen[str]:
        """`medtrain doctor --cluster` with a profile of that text; it answers in JSON."""
        runs.mkdir(exist_ok=True)
        path = self.folder / "profile.yaml"
        path.write_text(profile)
        command = command_line("doctor", "--cluster", path, "--folder", runs, "--json", *options)
        python_path = os.pathsep.join(filter(None, [str(PACKAGE.parent), self.env.get("PYTHONPATH", "")]))
        return subprocess.Popen(
            command, env={**self.env, "PYTHONPATH": python_path}, cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def report(self, asked: subprocess.Popen[str], runs: Path) -> Report:
        """What the doctor answered; nothing of it is left, in the folder or in the queue."""
        out, error = asked.communicate(timeout=HANG_S)
        assert out, error
        left = [path.name for path in runs.iterdir()]
        queue = self.run("squeue", "--noheader").stdout
        assert (left, queue) == ([], ""), f"left behind: {left} {queue}"
        return {check["name"]: check for check in json.loads(out)["checks"]}


def in_mounts(*lines: str) -> list[str]:
    """A command that runs another one in a mount namespace of its own, after these lines."""
    return ["unshare", "--mount", "sh", "-ec", "\n".join([*lines, 'exec "$@"']), "sh"]


def other_medtrain(place: Path) -> Path:
    """A copy of medtrain that calls itself another version."""
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "__init__.py").write_text('"""Train."""\n__version__ = "0.0.9"\n')
    return place


class Network:
    """A network namespace, joined to this machine by a cable, that lets only Slurm's own ports through.

    What a firewall on a compute node does: slurmd answers, srun's ports (SrunPortRange) are open, all else is not.
    """

    def __init__(self) -> None:
        number = os.getpid() % 16_000
        self.name, self._cable = f"medtrain-{number}", f"mt{number}"
        start = f"10.{100 + number // 64 // 250}.{number // 64 % 250}."
        self.here, self.there = start + str(number % 64 * 4 + 1), start + str(number % 64 * 4 + 2)

    def up(self) -> str:
        """Make it; returns why that is not possible, or an empty string."""
        inside = ["-n", self.name]
        for words in (
            ["netns", "add", self.name],
            ["link", "add", self._cable, "type", "veth", "peer", "name", "inside", "netns", self.name],
            ["addr", "add", f"{self.here}/30", "dev", self._cable],
            ["link", "set", self._cable, "up"],
            [*inside, "addr", "add", f"{self.there}/30", "dev", "inside"],
            [*inside, "link", "set", "inside", "up"],
            [*inside, "link", "set", "lo", "up"],
        ):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                return done.stderr.strip()
        return ""

    def close(self, controller: int, node: int, tasks: int) -> list[str]:
        """A command that runs another one inside, where all but these ports are closed."""
        rules = (
            f"sport {node} lookup main", f"dport {controller} lookup main", f"dport {tasks}-{tasks + 40} lookup main",
            "unreachable",
        )  # fmt: skip
        for number, rule in enumerate(rules, start=10):
            command = ["ip", "-n", self.name, "rule", "add", "pref", str(number), "ipproto", "tcp", *rule.split()]
            subprocess.run(command, check=True)
        # Not `ip netns exec`, which hides /sys/fs/cgroup.
        return ["nsenter", f"--net=/var/run/netns/{self.name}"]

    def down(self) -> None:
        """Take it away, its cable too."""
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._cable], check=False, capture_output=True)


MAY_NAMESPACE = shutil.which("unshare") and not subprocess.run(["unshare", "--mount", "true"], check=False).returncode
IN_VENV = sys.prefix != sys.base_prefix


def wait_for_ranks(runs: Path) -> None:
    """Until the probe's ranks speak."""
    deadline = time.monotonic() + HANG_S
    while not any(path.stat().st_size for path in runs.glob(".medtrain-doctor-*/ranks.log")):
        assert time.monotonic() < deadline, "the ranks say nothing"
        time.sleep(0.1)
