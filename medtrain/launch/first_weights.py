"""The weights that a run begins from: fetched where they are published, and written down with their licence."""

from __future__ import annotations

from pathlib import Path

from medtrain.config.backbones import OWN_WEIGHTS
from medtrain.config.schema import PUBLISHED, ModelConfig
from medtrain.core.files import file_sha256
from medtrain.core.jsonfiles import write_json
from medtrain.runs.run import Run


def fetched(config: ModelConfig) -> Path | None:
    """The file of first weights, downloaded where they are published and not in the cache; None where they are
    random. MachineError where they cannot be had."""
    if not config.weights:
        return None
    if config.weights not in PUBLISHED:
        return Path(config.weights)
    from medtrain import models  # torch

    return models.fetch(config.backbone, config.weights)


def write_down(run: Run, config: ModelConfig, file: Path) -> None:
    """`first_weights.json`: `began_as`, the file's `sha256`, its `licence` as the Hugging Face Hub writes it (empty:
    unknown), and the `source` that states it. A file of one's own has no name there: that may be a person's."""
    licence, source = "", OWN_WEIGHTS
    if config.weights in PUBLISHED:
        from medtrain import models  # torch, which the download has imported

        licence, source = models.licence(config.backbone)
    began = f"{config.backbone} ({config.weights})" if config.weights in PUBLISHED else OWN_WEIGHTS
    write_json(
        run.first_weights, {"began_as": began, "sha256": file_sha256(file), "licence": licence, "source": source}
    )
