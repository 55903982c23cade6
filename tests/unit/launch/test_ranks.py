"""The processes of one attempt on this machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from medtrain.launch.rank_processes import LocalRanks, for_srun
from medtrain.runs import fencing

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
    assert ranks.start_and_wait({}) == -signal.SIGKILL
    assert ranks.first == str(victim)
    assert not list(tmp_path.iterdir())  # they wait for a peer that is gone, and never come to their end


def test_the_ranks_publish_under_the_number_of_their_attempt_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that another run's job left in the environment is dropped, and the own one arrives all the same."""
    monkeypatch.setenv(fencing.NUMBER, "99")
    assert fencing.NUMBER not in for_srun()
    run = tmp_path / "run"
    run.mkdir()
    assert fencing.claim(run, 7, fencing.myself())
    code = f"import os, sys; open(sys.argv[1] + os.environ['RANK'], 'w').write(os.environ['{fencing.NUMBER}'])"
    ranks = LocalRanks(2, [sys.executable, "-c", code, str(tmp_path / "rank")])
    try:
        assert ranks.start_and_wait(fencing.for_ranks(run)) == 0
    finally:
        fencing.release(run)
    assert [(tmp_path / f"rank{number}").read_text() for number in range(2)] == ["7", "7"]
