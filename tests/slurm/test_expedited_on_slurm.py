"""Where a site lets jobs be requeued first, runs are back at once, and one that ends is not left held in the queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_user import TWO_NODES, User
from probed_sites import Site
from slurm_there import MISSING, REASON


@pytest.mark.skipif(bool(MISSING), reason=REASON)
def test_a_run_is_requeued_first_where_slurm_can(demo_shards: Path, tmp_path: Path) -> None:
    """From 25.11 on; an older Slurm with that setting, as Debian's, gets what it knows."""
    # The delay before a requeued job may start, which an expedited one does not wait for.
    with Site([("cred_expire=5", "cred_expire=15")], "SlurmctldParameters=enable_expedited_requeue\n") as site:
        user = User(site, tmp_path, demo_shards)
        able = site.version() >= (25, 11)
        job = user.submit("first", *TWO_NODES, "--time", "30")
        script = site.run("scontrol", "write", "batch_script", job, "-").stdout
        assert ("#SBATCH --requeue=expedite\n" in script) == able
        user.until("first", "trains", lambda s: s["step"] > 0 and s["state"] == "running")
        site.run("scontrol", "requeue", job)
        user.until("first", "trains again", lambda s: s["attempts"] == 2 and s["state"] == "running")
        rows = user.attempts("first")
        back = next(row["time"] for row in reversed(rows) if row["event"] == "start")
        left = next(row["time"] for row in rows if row["event"] == "end")
        assert (back - left < 12) == able, "it did not wait for the delay"
        answer = json.loads(user.medtrain("stop", "first", "--json"))["answer"]
        assert "is saved at step" in answer
        site.wait_for_an_empty_queue()
        assert site.job(job)["JobState"] == ("CANCELLED" if able else "FAILED"), "not held in the queue"
