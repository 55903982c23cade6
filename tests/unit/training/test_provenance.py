"""training.provenance: resuming a run on another machine logs why the last bits may differ."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
import torch

from medtrain.distributed import process_group
from medtrain.runs.environment_record import recorded
from medtrain.runs.run import Run
from medtrain.training.provenance import note_environment, processor

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU computes here, and is named instead")


def test_another_processor_is_said_and_the_first_one_stays_written_down(tmp_path: Path) -> None:
    run, world = Run.create(tmp_path, "first"), process_group.init_distributed("fp32")
    note_environment(run, world)
    assert recorded(run)["processor"] == processor() != ""
    note_environment(run, world)
    assert not run.log.exists() or "warning" not in run.log.read_text()
    other = run.environment.read_text().replace(processor(), "Another (AVX2)").replace("\ntorch ", "\ntorch 0.")
    run.environment.write_text(other)
    note_environment(run, world)
    said = (
        f"differs from the first (processor {processor()}, torch {metadata.version('torch')}): last bits may differ too"
    )
    (warning,) = [line for line in run.log.read_text().splitlines() if "warning" in line]
    assert said in warning, "one warning, whatever differs"
    assert run.environment.read_text() == other


def test_of_what_an_earlier_version_did_not_write_down_nothing_is_said(tmp_path: Path) -> None:
    run, world = Run.create(tmp_path, "first"), process_group.init_distributed("fp32")
    note_environment(run, world)
    lines = run.environment.read_text().splitlines(keepends=True)
    run.environment.write_text("".join(line for line in lines if not line.startswith("processor")))
    note_environment(run, world)
    assert not run.log.exists() or "warning" not in run.log.read_text()
    assert torch.backends.cpu.get_cpu_capability() in recorded(run)["processor"]
