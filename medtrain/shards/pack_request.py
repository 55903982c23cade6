"""What is to be packed, as one JSON document: the same for packing here and in jobs of Slurm."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medtrain import datasets
from medtrain.core.console import warn
from medtrain.core.errors import InputError
from medtrain.datasets.record import Record, with_validation, with_views
from medtrain.shards.file_hashes import there
from medtrain.shards.plan import PackOptions

CLIP_SIZE = 112  # pixels: what networks of clips are made for (Tran et al., CVPR 2018)


@dataclass(frozen=True)
class Request:
    """What is to be packed."""

    dataset: str
    root: Path
    options: PackOptions
    max_rejects: int
    partial: bool
    annotations: Path | None = None

    def told(self) -> dict[str, Any]:
        """As values for JSON; its paths hold in every folder."""
        annotations = str(self.annotations.absolute()) if self.annotations else None
        options = self.options.stored()
        return {**asdict(self), "options": options, "root": str(self.root.absolute()), "annotations": annotations}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Request:
        """From what `told` and JSON make of one."""
        annotations = Path(told["annotations"]) if told.get("annotations") else None
        return cls(
            **{
                **told,
                "root": Path(told["root"]),
                "options": PackOptions.of(told["options"]),
                "annotations": annotations,
            }
        )


def options_for(dataset: str, asked: PackOptions) -> PackOptions:
    """What is asked, with what the dataset decides: how it is split, and that clips are packed without loss at one
    size."""
    found = replace(asked, fractions=datasets.source(dataset).fractions)
    if not datasets.source(dataset).clips:
        if asked.color_mode:
            raise InputError(f"{dataset} holds images, and --color_mode is for clips", "omit it")
        return found
    if asked.encoding == "jpeg":
        raise InputError("clips are packed without loss", "omit --encoding")
    return replace(found, encoding="tiff", size=asked.size or CLIP_SIZE, color_mode=asked.color_mode or "gray")


def records_of(request: Request) -> list[Record]:
    """The records to pack: those of the views that are wanted, and with `partial` those whose image is there."""
    root, partial = request.root, request.partial
    read = datasets.read(request.dataset, root, request.annotations)
    if told := datasets.source(request.dataset).warned(read):
        warn(told)
    records = with_views(with_validation(read), request.options.views)
    found: list[Record] = []
    missing: list[Record] = []
    for record in records:
        (found if there(record.path) else missing).append(record)
    if len(missing) > request.max_rejects and not partial:
        raise InputError(
            f"{len(missing):,} of {len(records):,} images are not in {root} (the first: {missing[0].image})",
            "complete the dataset, or pack what there is: --partial",
        )
    if partial and missing:
        warn(f"{len(missing):,} of {len(records):,} images are not there and were left out")
    return found if partial else records
