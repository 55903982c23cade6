"""Ends an attempt that hangs, says which rank is to blame, and leaves the stacks of all ranks."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from medtrain.core.errors import Hang
from medtrain.core.files import write_whole
from medtrain.core.running_time import CLOCK
from medtrain.runs.run import Run, resume_command, set_status
from medtrain.slurm.environment import node_name

START_S = 300.0  # for what happens once: meeting the others, reading a checkpoint, the first step; where none is known
START_AGAIN_S = 60.0  # the least for the same where an earlier attempt has shown how long it takes
TICK_S = 1.0
APART_S = 20.0  # the nodes of a suspended job wake one after the other
GATHER_S = 3.0  # ranks that hang together notice within this and a step's time of each other
# A rank whose main thread is in one of these waits for the others; it is not the one that they wait for.
WAITING = {
    "all_gather", "all_reduce", "barrier", "broadcast", "broadcast_object_list", "wait", "receive", "backward",
    "_engine_run_backward", "monitored_barrier", "init_process_group", "store_based_barrier", "rendezvous",
}  # fmt: skip


class Watchdog:
    """A thread that counts the seconds since the last heartbeat from the main thread.

    It counts its own ticks, not the clock: a job that Slurm suspends for an hour has not hung. After that it waits a
    little longer, as other ranks may wake later. Who waits for a rank that alone is stopped misses no tick, and finds
    it in time. When the ticks are too many, it writes the stacks of this rank's threads to `hangs/`, waits for the
    other ranks to do the same, and calls `end` with a Hang that names the rank that the others wait for.
    """

    def __init__(self, run: Run, rank: int, size: int, end: Callable[[Hang], Any]) -> None:
        self._run, self._rank, self._size, self._end = run, rank, size, end
        self._main = threading.main_thread().ident
        self._ticks = 0
        self._granted = 0.0  # seconds for others to wake, since the last heartbeat
        self._step_began = self._slowest = 0.0
        self._began = CLOCK.now()
        known = run.status().get("start_seconds")
        self._start_s = max(START_AGAIN_S, 5 * known) if known else START_S
        self._limit = self._start_s
        self._doing = "starting"
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self, doing: str, seconds: float) -> None:
        """A heartbeat from the main thread: what begins now, and how long it may take."""
        self._doing, self._limit, self._ticks, self._granted = doing, seconds, 0, 0.0

    def step_begins(self, step: int, seconds: float) -> None:
        """A heartbeat at the start of a step, which may take `seconds`, or three times as long as the slowest one so
        far; the first of an attempt as long as starting does, by what earlier attempts took for that. The time in
        which the job was suspended is none."""
        now = CLOCK.now()
        first = not self._step_began
        if not first:
            if not self._slowest and self._rank == 0:
                set_status(self._run, start_seconds=round(now - self._began, 1))
            self._slowest = max(self._slowest, now - self._step_began)
        self._step_began = now
        self.alive(f"step {step}", max(seconds, self._start_s if first else 3 * self._slowest))

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _watch(self) -> None:
        stopped = CLOCK.stopped()
        while not self._closed.wait(TICK_S):
            before, stopped = stopped, CLOCK.stopped()
            if stopped > before:
                self._wait_for_the_others()
            self._ticks += 1
            if self._ticks * TICK_S > self._limit:
                self._bark()

    def _wait_for_the_others(self) -> None:
        """After a suspension; not without end: where two jobs take turns (gang scheduling), a hang is still found."""
        more = min(APART_S, max(APART_S, self._limit) - self._granted)
        self._granted += more
        self._ticks -= int(more / TICK_S)

    def _bark(self) -> None:
        began, stopped = time.time(), CLOCK.stopped()
        with suppress(OSError):  # a full disk must not keep the rank alive
            self._run.hangs.mkdir(mode=0o750, exist_ok=True)
            self._dump()
        gather = GATHER_S + self._slowest
        seen: dict[int, dict[str, Any]] = {}
        while time.time() < began + gather and len(seen) < self._size:
            time.sleep(0.1)
            found = reports(self._run.hangs).items()  # those of earlier hangs are still there
            seen = {rank: report for rank, report in found if report["time"] > began - gather}
        if self._closed.is_set() or self._ticks == 0 or CLOCK.stopped() > stopped:  # only slow, or suspended by now
            return
        words, rank = blame(seen, self._size)
        problem = f"no heartbeat for {self._limit:g} s while {self._doing}: {words}"
        slow = f"{resume_command(self._run)} --hang_timeout_seconds 600"
        fix = f"see the stacks in {self._run.hangs}; if it was only slow: {slow}"
        self._end(Hang(problem, fix, rank))

    def _dump(self) -> None:
        frame = sys._current_frames().get(self._main or 0)
        report = {"rank": self._rank, "host": node_name(), "pid": os.getpid(), "time": time.time(),
                  "doing": self._doing, **where(frame)}  # fmt: skip
        with (self._run.hangs / f"rank-{self._rank}.txt").open("w") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        write_whole(self._run.hangs / f"rank-{self._rank}.json", json.dumps(report).encode())


def where(frame: FrameType | None) -> dict[str, Any]:
    """The innermost function of the main thread, the innermost one of this package, and whether it waits for peers."""
    stack = traceback.extract_stack(frame) if frame else []
    own = [entry for entry in stack if f"{os.sep}medtrain{os.sep}" in entry.filename]
    names = {entry.name for entry in stack}
    return {
        "at": f"{Path(stack[-1].filename).name}:{stack[-1].lineno} {stack[-1].name}" if stack else "?",
        "in": f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}" if own else "?",
        "waiting": bool(names & WAITING),
    }


def reports(folder: Path) -> dict[int, dict[str, Any]]:
    """rank -> what it wrote when it noticed the hang."""
    found = {}
    for path in folder.glob("rank-*.json"):
        with suppress(OSError, ValueError):
            report = json.loads(path.read_bytes())
            found[int(report["rank"])] = report
    return found


def blame(seen: dict[int, dict[str, Any]], size: int) -> tuple[str, str]:
    """Which ranks the others wait for, in words, and the first of them; empty where they wait for none."""
    silent = [rank for rank in range(size) if rank not in seen]
    stuck = [report for _, report in sorted(seen.items()) if not report["waiting"]]
    if size > 1 and stuck:
        words = [f"rank {r['rank']} on {r['host']} is in {r['in']} ({r['at']})" for r in stuck]
        return "; ".join(words) + (", the others wait for it" if len(stuck) < len(seen) else ""), str(stuck[0]["rank"])
    if silent:
        names = ", ".join(map(str, silent))
        return f"rank {names} does not answer (stopped, or its node is gone), the others wait for it", str(silent[0])
    if size > 1:
        return "all ranks wait for each other: the network between them", ""
    report = next(iter(seen.values()), {"in": "?", "at": "?"})
    return f"the process is in {report['in']} ({report['at']})", ""
