"""training.provenance: a run of `--nodes A-B` stays on the GPU model that it began on, unless it may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.errors import InputError
from medtrain.runs.environment_record import DIFFERS, other_devices, record
from medtrain.runs.run import Run
from medtrain.training.provenance import ensure_same_device

A, B = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"


def test_another_gpu_model_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    run, ranged = Run(tmp_path / "first"), SlurmConfig(nodes=4, min_nodes=2)
    run.folder.mkdir()
    ensure_same_device(run, Config(slurm=ranged), A)
    record(run, {"device": A})
    ensure_same_device(run, Config(slurm=ranged), A)
    with pytest.raises(InputError, match=f"has {B}, and run first began on {A}") as refused:
        ensure_same_device(run, Config(slurm=ranged), B)
    assert "--allow_device_change" in refused.value.fix
    ensure_same_device(run, Config(slurm=SlurmConfig(nodes=4, min_nodes=2, allow_device_change=True)), B)
    ensure_same_device(run, Config(), B)


def test_the_report_names_other_devices_by_the_warnings(tmp_path: Path) -> None:
    run = Run(tmp_path / "first")
    run.folder.mkdir()
    assert other_devices(run) == []
    end = "last bits may differ too"
    run.log.write_text(f"warning: {DIFFERS} (device {B}, torch 2.9): {end}\nwarning: {DIFFERS} (torch 2.9): {end}\n")
    assert other_devices(run) == [B]
    run.log.write_text(f"warning: {DIFFERS} (device {B}): {end}\n")
    assert other_devices(run) == [B]
