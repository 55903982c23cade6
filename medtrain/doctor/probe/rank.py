"""The probe on one rank: it says what it sees and notes every signal, in JSON on standard output.

srun carries the lines to the batch script, and the orders of the batch script back to standard input, so that a rank
is heard even where no folder is shared. It outlives a TERM for a while, to see whether it may.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from medtrain.core.processes import ASKING
from medtrain.doctor.probe import LAST_PIECE, LINGER_SECONDS, PIECE, PIECE_BYTES, machine, peers

LIFE_SECONDS = 280.0  # nothing outlives the job's limit, whoever forgot it
HEARTBEAT_SECONDS = 0.5


class Rank:
    """One rank: its place, what it heard, and whom it talks to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.rank = int(os.environ.get("SLURM_PROCID", "0"))
        self.node = os.environ.get("SLURMD_NODENAME", "?")
        self.local = int(os.environ.get("SLURM_LOCALID", "0"))  # 0 speaks for its node
        self._heard: list[tuple[str, float]] = []
        self._told = 0
        self._term = 0.0
        self._unread = b""

    def run(self) -> int:
        """Do as ordered until the end, a while after a TERM, or until the batch script is gone."""
        for number in ASKING:
            signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
        self.say("hello", local=self.local, **machine.rank_facts())
        end = time.monotonic() + LIFE_SECONDS
        listening = True
        while time.monotonic() < end:
            orders = self._orders() if listening else []
            self._tell()
            if self._term:
                if time.time() > self._term + LINGER_SECONDS:
                    break
                self.say("alive")
            for order in orders or ():
                self._obey(**order)
            if not listening:
                time.sleep(HEARTBEAT_SECONDS)
            elif orders is None:
                listening = False  # srun lets go of its standard input before it ends the ranks
                end = min(end, time.monotonic() + 2 * LINGER_SECONDS)
        self.say("left")
        return 0

    def say(self, event: str, **facts: Any) -> None:
        """One line, in pieces that srun leaves whole."""
        line = {"event": event, "rank": self.rank, "node": self.node, "time": time.time(), **facts}
        text = json.dumps(line)
        pieces = [text[i : i + PIECE_BYTES] for i in range(0, len(text), PIECE_BYTES)]
        marks = [PIECE] * (len(pieces) - 1) + [LAST_PIECE]
        print("".join(f"{mark}{piece}\n" for mark, piece in zip(marks, pieces, strict=True)), end="", flush=True)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard.append((signal.Signals(number).name, time.time()))
        if number == signal.SIGTERM and not self._term:
            self._term = time.time()

    def _tell(self) -> None:
        while self._told < len(self._heard):
            name, at = self._heard[self._told]
            self._told += 1
            self.say("signal", name=name, at=at)

    def _orders(self) -> list[dict[str, Any]] | None:
        """What the batch script has ordered; None when it can order no more."""
        if not select.select([0], [], [], HEARTBEAT_SECONDS)[0]:
            return []
        piece = os.read(0, 65536)
        if not piece:
            return None
        *lines, self._unread = (self._unread + piece).split(b"\n")
        return [json.loads(line) for line in lines]

    def _obey(self, order: str, **facts: Any) -> None:
        if order == "end":
            sys.exit(0)
        if self.local == 0:
            known: dict[str, Callable[..., None]] = {"look": self._look, "meet": self._meet, "flip": self._flip}
            known[order](**facts)

    def _look(self, weights: list[dict[str, str]]) -> None:
        facts = machine.node_facts(self.place, weights)
        self.say("node", **facts, port=peers.listen(), token=peers.leave_token(self.place, self.node))

    def _meet(self, nodes: dict[str, tuple[str, int]]) -> None:
        others = [node for node in nodes if node != self.node]
        with ThreadPoolExecutor(32) as pool:  # a closed port and a silent name server each take seconds
            met = pool.map(lambda node: peers.meet(*nodes[node]), others)
            resolved = pool.map(machine.addresses, nodes)
        facts = {"met": dict(zip(others, met, strict=True)), "resolved": dict(zip(nodes, resolved, strict=True))}
        self.say("met", **facts, unseen=peers.unseen(self.place, others))

    def _flip(self, writer: str) -> None:
        facts = peers.flip(self.place, writer) if writer == self.node else peers.watch(self.place, writer)
        self.say("flipped", writer=writer, **facts)


if __name__ == "__main__":
    sys.exit(Rank(Path(sys.argv[1])).run())
