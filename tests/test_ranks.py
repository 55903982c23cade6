"""The processes of one attempt on this machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from medtrain.ranks import LocalRanks

RANK = """
import os, signal, sys, time
if os.environ["RANK"] == sys.argv[1]:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(20)
open(os.path.join(sys.argv[2], os.environ["RANK"]), "w").close()
"""


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_the_others_do_not_outlive_a_killed_rank(victim: int, tmp_path: Path) -> None:
    ranks = LocalRanks(3, [sys.executable, "-c", RANK, str(victim), str(tmp_path)])
    assert ranks.start_and_wait() == -signal.SIGKILL
    assert ranks.first == str(victim)
    assert not list(tmp_path.iterdir())  # they wait for a peer that is gone, and never come to their end
