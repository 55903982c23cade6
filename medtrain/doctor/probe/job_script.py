"""The probe's batch script: starts a rank wherever the profile would, has them look at each other, and asks Slurm
for the signals that a run gets.

One pass in the job's first life, which ends with a requeue (or, where that is refused, a cancel); in its second life
it only notes that it is back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medtrain.core import processes
from medtrain.core.jsonfiles import append_json, read_json
from medtrain.core.processes import ASKING
from medtrain.doctor.probe import BATCH, LAST_PIECE, LINGER_SECONDS, PIECE, RANKS, REQUEST, SRUN, read_clock
from medtrain.launch import grace_time
from medtrain.launch.rank_processes import for_srun
from medtrain.slurm import job_environment, queries
from medtrain.slurm.environment import in_batch_script, in_slurm_job, own_job, tasks_given

HELLO_SECONDS = 60.0  # the first start of Python from a shared folder may be slow
LOOK_SECONDS = 45.0
SIGNAL_SECONDS = 5.0
WARNING_SECONDS = 75.0  # it comes 30 to 60 s after the start, see send.request
DOCTOR_SECONDS = 60.0  # a network file system may keep a file's old content so long
# A shell around each rank: it lives where Python does not, and says so. It must outlive the signals too.
SHELL = """trap : TERM USR1 USR2
"$@" || printf 'probe.{"event":"died","rank":%s,"node":"%s","code":%s}\\n' "$SLURM_PROCID" "$SLURMD_NODENAME" "$?"
"""


class Step:
    """All ranks, started by one srun; what they say, and what they are told."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.count = tasks_given()
        command = ["srun", "--kill-on-bad-exit=0", "--label", "sh", "-c", SHELL, "probe"]
        with (place / RANKS).open("ab") as out, (place / SRUN).open("ab") as complaints:
            self.process = subprocess.Popen(
                [*command, *processes.command("medtrain.doctor.probe.rank", str(place))],
                env=for_srun(), stdin=subprocess.PIPE, stdout=out, stderr=complaints, start_new_session=True,
            )  # fmt: skip

    def said(self, event: str) -> list[dict[str, Any]]:
        """What all ranks said of one kind so far."""
        return [line for line in read_ranks(self.place / RANKS) if line["event"] == event]

    def order(self, order: str, **facts: Any) -> None:
        """Tell every rank."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"order": order, **facts}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:  # srun has ended: nobody is left to obey
            pass

    def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait for something that the ranks say, but not for ever, and not for ranks that are no more."""
        deadline = time.monotonic() + seconds
        while not holds() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)

    def alive(self) -> int:
        """Ranks that run."""
        return self.count - len(self.said("died"))


def read_ranks(path: Path) -> list[dict[str, Any]]:
    """What the ranks said, in what srun has written so far: `RANK: ` before each piece, lines of others in between."""
    found = []
    begun: dict[str, str] = {}
    for line in path.read_text(errors="replace").split("\n")[:-1] if path.exists() else []:
        rank, _, text = line.partition(": ")
        if text.startswith((PIECE, LAST_PIECE)):
            piece = text[len(PIECE) :]
            # One that died in the middle of a line left the rest of it unsaid.
            begun[rank] = piece if piece.startswith('{"event"') else begun.get(rank, "") + piece
        if text.startswith(LAST_PIECE):
            with contextlib.suppress(ValueError):  # a network file system may show the end as zeros for a moment
                found.append(json.loads(begun.pop(rank)))
    return found


def first_life(place: Path) -> None:
    """Everything that is measured."""
    step = Step(place)
    begun = time.monotonic()
    step.until(lambda: len(step.said("hello")) >= step.alive(), HELLO_SECONDS)
    fields, _ = queries.show(os.environ["SLURM_JOB_ID"])
    note(place, "up", seconds=time.time() - (queries.seconds(fields, "StartTime") or time.time()))
    note(place, "decides", **decisions(), preempted=queries.seconds(fields, "PreemptTime") is not None)
    leaders = {line["node"] for line in step.said("hello")}
    step.order("look", weights=read_json(place / REQUEST)["weights"])
    step.until(lambda: len(step.said("node")) >= len(leaders), LOOK_SECONDS)
    ports = {line["node"]: line["port"] for line in step.said("node")}
    if len(ports) > 1:
        step.order("meet", nodes={node: (address(node), port) for node, port in ports.items()})
        step.until(lambda: len(step.said("met")) >= len(ports), LOOK_SECONDS)
        writers = [line["node"] for line in step.said("node") if not line["token"]]
        step.order("flip", writer=max(writers, default=""))
        step.until(lambda: len(step.said("flipped")) >= len(ports), LOOK_SECONDS)
    # As the supervisor passes a signal on. USR1, so that it is not taken for the time limit's USR2.
    job, clock = os.environ["SLURM_JOB_ID"], read_clock(place)
    note(place, "signalled", problem=queries.ask("scancel", "--signal=USR1", job)[1])
    step.until(lambda: heard(step, "SIGUSR1") >= step.alive(), SIGNAL_SECONDS)
    if not doctor_lives(place, clock):
        step.order("end")
        return
    step.until(lambda: heard(step, "SIGUSR2") >= step.alive(), begun + WARNING_SECONDS - time.monotonic())
    _, problem = queries.ask("scontrol", "requeue", job)
    note(place, "requeued", problem=problem)
    if problem:
        queries.ask("scancel", job)  # its TERM is as good
    step.until(lambda: False, 2 * LINGER_SECONDS)
    step.order("end")


def decisions() -> dict[str, Any]:
    """What the supervisor of a run would decide in this place, by the questions that it asks itself."""
    return {
        "in_job": in_slurm_job(),
        "batch": in_batch_script(),
        "own_job": own_job(),
        "ranks": tasks_given(),
        "leaves": grace_time.brings_back(own_job()),
        "step": os.environ.get("SLURM_STEP_ID", ""),
    }


def doctor_lives(place: Path, clock: float) -> bool:
    """Whether the doctor's clock goes on; else he was killed, and his folder goes: nobody else will clear up."""
    deadline = time.monotonic() + DOCTOR_SECONDS
    while read_clock(place) == clock and time.monotonic() < deadline:
        time.sleep(0.1)
    if read_clock(place) != clock:
        return True
    shutil.rmtree(place, ignore_errors=True)
    return False


def heard(step: Step, name: str) -> int:
    """How many ranks got a signal."""
    return len({line["rank"] for line in step.said("signal") if line["name"] == name})


def address(node: str) -> str:
    """Where the others find a node: its address as Slurm has it, as names may not resolve."""
    shown, _ = queries.ask("scontrol", "--oneliner", "show", "node", node)
    return queries.parse(shown).get("NodeAddr", node)


def note(place: Path, event: str, **facts: Any) -> None:
    """Write down what the batch script does."""
    row = {"event": event, "node": os.environ.get("SLURMD_NODENAME", "?"), "time": time.time(), **facts}
    append_json(place / BATCH, row)


def main() -> int:
    """Signals are for the ranks: this process only must not die of them."""
    for number in ASKING:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
    job_environment.reconcile_environment()
    place = Path(sys.argv[1])
    life = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    note(place, "begun", life=life)
    if life == 0:
        first_life(place)
    else:
        doctor_lives(place, read_clock(place))
    return 0


if __name__ == "__main__":
    sys.exit(main())
