"""The cluster for the storm, and the loud line where there is no Slurm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from slurm_cluster import PATH, Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of its own: the storm changes partitions and kills daemons."""
    if shutil.which("slurmctld", path=PATH) is None:
        pytest.skip("!!! NOT TESTED: the storm needs Slurm: apt-get install slurmctld slurmd slurm-client munge")
    with Cluster() as cluster:
        yield cluster
