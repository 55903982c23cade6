"""How long a person waits for the answer to a typical slip: each of tests/helpers/slips.py as a fresh command.

python benchmarks/slips.py
"""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
ROUNDS = 3


def main() -> None:
    """Print the median time of each slip, and the longest."""
    import slips

    with tempfile.TemporaryDirectory() as made:
        slips.make(Path(made))
        times: dict[str, list[float]] = {name: [] for name in slips.SLIPS}
        for _ in range(ROUNDS):
            for name, slip in slips.SLIPS.items():
                command = [sys.executable, "-m", "medtrain", *shlex.split(slip.words)]
                begun = time.perf_counter()
                done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
                times[name].append(time.perf_counter() - begun)
                assert done.returncode == 2 and slip.problem in done.stderr and slip.fix in done.stderr, done.stderr
    medians = {name: statistics.median(own) for name, own in times.items()}
    for name, seconds in sorted(medians.items(), key=lambda item: item[1]):
        print(f"{seconds:6.2f} s  {name}")
    print(f"{len(medians)} slips; the longest takes {max(medians.values()):.2f} s, the longest time seen is "
          f"{max(map(max, times.values())):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
