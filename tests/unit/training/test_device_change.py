"""training.provenance: a run of `--nodes A-B` stays on the GPU model that it began on, unless it may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.errors import InputError
from medtrain.distributed import process_group
from medtrain.runs.environment_record import other_devices, record, recorded
from medtrain.runs.run import Run
from medtrain.training.provenance import ensure_same_device, note_environment

A, B = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has not begun."""
    return Run.create(tmp_path, "first")


def test_another_gpu_model_is_refused_unless_it_is_allowed(run: Run) -> None:
    ranged = Config(slurm=SlurmConfig(nodes=4, min_nodes=2))
    ensure_same_device(run, ranged, A, A)
    with pytest.raises(InputError, match=f"has {B}, and run first began on {A}"):
        ensure_same_device(run, ranged, B, A)  # of two nodes in the first attempt
    record(run, {"device": A})
    ensure_same_device(run, ranged, A, A)
    with pytest.raises(InputError, match=f"has {B}, and run first began on {A}") as refused:
        ensure_same_device(run, ranged, B, B)
    assert "--allow_device_change" in refused.value.fix
    ensure_same_device(run, Config(slurm=SlurmConfig(nodes=4, min_nodes=2, allow_device_change=True)), B, B)
    ensure_same_device(run, Config(), B, B)


def test_the_report_names_other_devices_by_the_warnings(run: Run) -> None:
    """Those that the training writes: with what else differs, and alone."""
    world = process_group.init_distributed("fp32")
    note_environment(run, world)
    assert other_devices(run) == []
    facts = recorded(run)
    record(run, {**facts, "device": A, "numpy": "1.0", "accelerate": "0.1"})
    note_environment(run, world)
    first = run.log.read_text()
    record(run, {**facts, "device": A})
    note_environment(run, world)
    both = run.log.read_text()
    for text in (first, both.removeprefix(first)):
        run.log.write_text(text)
        assert other_devices(run) == [facts["device"]]
    run.log.write_text(both.replace(facts["device"], B))
    assert other_devices(run) == [B]
