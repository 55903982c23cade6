"""A short job that looks at a cluster from the inside: sent by `medtrain doctor --cluster`, and gone after a minute.

`send` runs where the doctor does, `batch` is the job's batch script, `rank` is what srun starts; `machine` and `peers`
are what a rank looks at. Nothing here imports torch.
"""

from __future__ import annotations

import time
from pathlib import Path

REQUEST = "request.json"  # send -> batch: what to look for
CLOCK = "clock"  # send: its time, written anew every second
BATCH = "batch.jsonl"  # batch: what it did
RANKS = "ranks.log"  # srun: what the ranks say, in pieces
PIECE, LAST_PIECE = "probe+", "probe."  # srun breaks lines of more than 1024 bytes; each piece begins with one of these
PIECE_BYTES = 900
SRUN = "srun.log"  # srun: what it and failing ranks complain of
LINGER_SECONDS = 12.0  # so long a rank outlives a TERM, to see whether it may
READ_TRIES = 10


def write_clock(place: Path) -> None:
    """Say what time it is where the doctor runs, and that it still does."""
    (place / f"{CLOCK}.new").write_text(str(time.time()))
    (place / f"{CLOCK}.new").replace(place / CLOCK)


def read_clock(place: Path) -> float:
    """What the doctor's clock said last; 0 where it cannot be read."""
    for _ in range(READ_TRIES):
        try:
            return float((place / CLOCK).read_text())
        except FileNotFoundError:
            break
        except OSError:  # ESTALE: NFS, when it was replaced meanwhile
            time.sleep(0.05)
    return 0.0
