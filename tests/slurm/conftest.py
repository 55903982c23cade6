"""Hands a real Slurm cluster to the tests that ask for one, and says so loudly where there is no Slurm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slurm_accounting
from cluster_user import User
from slurm_cluster import Cluster
from slurm_there import MISSING, REASON

NO_ACCOUNTING = (
    f"this machine has no Slurm accounting (missing: {', '.join(slurm_accounting.MISSING)});"
    f" get it by: {slurm_accounting.INSTALL}"
)
FIXTURES = {"cluster", "cluster_user_signal", "accounted"}
NEEDING = {  # what is missing -> the fixtures that cannot do without
    **({REASON: FIXTURES} if MISSING else {}),
    **({NO_ACCOUNTING: {"accounted"}} if slurm_accounting.MISSING else {}),
}
LOUD = {reason: f"!!! Slurm tests SKIPPED: {reason}" for reason in NEEDING}


def _running_cluster(preempt_send_user_signal: bool) -> Iterator[Cluster]:
    if MISSING:
        pytest.skip(REASON)
    with Cluster(preempt_send_user_signal=preempt_send_user_signal) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Slurm cluster of two nodes for the whole session; under xdist each worker has its own."""
    yield from _running_cluster(preempt_send_user_signal=False)


@pytest.fixture(scope="session")
def cluster_user_signal() -> Iterator[Cluster]:
    """The same, where a preempted job first gets the signal that it asked for by --signal."""
    yield from _running_cluster(preempt_send_user_signal=True)


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    """The same with slurmdbd and MariaDB, so that sacct answers."""
    for reason in NEEDING:
        pytest.skip(reason)
    with slurm_accounting.AccountedCluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def leave_no_jobs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clears the session's clusters after each test that used them, so that a failure stays its own."""
    yield
    for name in FIXTURES.intersection(request.fixturenames):
        request.getfixturevalue(name).reset()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one loud line that Slurm tests did not run, and what to do about it."""
    reports = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for reason, line in LOUD.items():
        if any(reason in report for report in reports):
            terminalreporter.write_line(line, red=True, bold=True)


# An xdist controller loads this file only if its command line names this folder or the one above. Then it
# tells its workers, and the summary is its own; else the first worker speaks, on the terminal that it shares.


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Lets an xdist worker know that its controller will print the summary."""
    node.workerinput["controller_knows_slurm"] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Prints the loud line from the first xdist worker where the controller cannot."""
    worker = getattr(session.config, "workerinput", {"workerid": "none"})
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if worker["workerid"] == "gw0" and "controller_knows_slurm" not in worker:
        for reason, line in LOUD.items():
            if asked & NEEDING[reason]:
                print(f"\n{line}", file=sys.__stderr__, flush=True)


SLOW_START = """\
import os, pathlib, time
if "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
    pathlib.Path(__file__).with_name("starts").touch()
    time.sleep(20)
"""


@pytest.fixture
def slow_to_start(user: User) -> Path:
    """Python starts slowly in the first life of a job, as from a cold shared folder; returns what then exists."""
    folder = user.folder / "slow"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLOW_START)
    user.env["PYTHONPATH"] = str(folder)
    return folder / "starts"
