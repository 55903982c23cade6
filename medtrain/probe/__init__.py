"""A short job that looks at a cluster from the inside: sent by `medtrain doctor --cluster`, and gone after a minute.

`send` runs where the doctor does, `batch` is the job's batch script, `rank` is what srun starts; `machine` and `peers`
are what a rank looks at. Nothing here imports torch.
"""

from __future__ import annotations

REQUEST = "request.json"  # send -> batch: what to look for
CLOCK = "clock"  # send: its time, written anew every second
BATCH = "batch.jsonl"  # batch: what it did
RANKS = "ranks.jsonl"  # srun: what the ranks say, `RANK: {json}`
SRUN = "srun.log"  # srun: what it and failing ranks complain of
LINGER_SECONDS = 12.0  # so long a rank outlives a TERM, to see whether it may
