"""What is to be packed, as one JSON document: the same for packing here and in jobs of Slurm."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medtrain import datasets
from medtrain.core.console import warn
from medtrain.core.counts import are
from medtrain.core.errors import InputError
from medtrain.core.files import write_whole
from medtrain.core.jsonfiles import read_json
from medtrain.datasets import plugin
from medtrain.datasets.own_data import NOTHING, OwnData
from medtrain.datasets.record import Record, with_views
from medtrain.datasets.source import Source
from medtrain.shards.file_hashes import there
from medtrain.shards.plan import PackOptions

CLIP_SIZE = 112  # pixels: what networks of clips are made for (Tran et al., CVPR 2018)


@dataclass(frozen=True)
class Request:
    """What is to be packed. A dataset file of one's own has a digest, and a change of it is refused."""

    dataset: str
    root: Path | None
    options: PackOptions
    max_rejects: int
    partial: bool
    annotations: Path | None = None
    own: OwnData = NOTHING
    plugin_sha256: str = ""
    keep_names: bool = False

    def told(self) -> dict[str, Any]:
        """As values for JSON; its paths hold in every folder."""
        paths = {
            name: str(path.absolute()) if (path := getattr(self, name)) else None for name in ("root", "annotations")
        }
        return {**asdict(self), "options": self.options.stored(), "own": self.own.told(), **paths}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Request:
        """From what `told` and JSON make of one."""
        paths = {name: Path(told[name]) if told.get(name) else None for name in ("root", "annotations")}
        own = OwnData.of(told.get("own", {}))
        return cls(**{**told, "options": PackOptions.of(told["options"]), "own": own, **paths})

    def open(self) -> tuple[Source, list[Record]]:
        """The dataset and all of its records; InputError where it cannot be read, or its file was changed."""
        if self.plugin_sha256 and self.own.plugin and self.plugin_sha256 != plugin.sha256(self.own.plugin):
            problem = f"{self.own.plugin} was changed since the packing was sent"
            raise InputError(problem, "choose another --out, and give the same command again with your own file")
        source, records = datasets.open_dataset(self.dataset, self.root, self.annotations, self.own)
        if told := source.warned(records):
            warn(told)
        return source, records

    def kept(self, read: list[Record]) -> list[Record]:
        """Those to pack: of the views that are wanted, and with `partial` those whose image is there; InputError where
        more than `max_rejects` are not."""
        records = with_views(read, self.options.views)
        found: list[Record] = []
        missing: list[Record] = []
        for record in records:
            (found if there(record.path) else missing).append(record)
        some = f"{len(missing):,} of {len(records):,} images"
        if len(missing) > self.max_rejects and not self.partial:
            where = self.root or missing[0].path.parent
            raise InputError(
                f"{some} {are(len(missing))} not in {where} (the first: {missing[0].image})",
                "complete the dataset, or pack what there is: --partial",
            )
        if self.partial and missing:
            warn(f"{some} {are(len(missing))} not there and {'was' if len(missing) == 1 else 'were'} left out")
        return found if self.partial else records

    def origin(self, source: Source) -> dict[str, str]:
        """What plan and manifest say of data of one's own: the task of its labels, and the digest of its file."""
        found = {"task": source.task if self.is_own(source) else "", "plugin": self.plugin_sha256}
        return {name: value for name, value in found.items() if value}

    def is_own(self, source: Source) -> bool:
        """Whether it is data of one's own, of which no more is known than it says."""
        return source.opened is not None or bool(self.own.told())

    def pinned(self, out: Path) -> Request:
        """With its dataset file copied into `out`, where every packing task runs it; InputError where `out` was begun
        with another."""
        file = self.own.plugin or datasets.file_outside(self.dataset)
        if file is None:
            return self
        copy, digest = out / file.name, plugin.sha256(file)
        claimed = read_json(out / "plan.json")
        if (claimed and claimed.get("plugin") != digest) or (copy.exists() and plugin.sha256(copy) != digest):
            raise InputError(
                f"{out}: was begun with another {file.name}", "choose another --out, or delete that folder"
            )
        if not copy.exists():
            out.mkdir(parents=True, exist_ok=True, mode=0o750)
            write_whole(copy, file.read_bytes())
        return replace(self, own=replace(self.own, plugin=copy), plugin_sha256=digest)


def options_for(source: Source, asked: PackOptions) -> PackOptions:
    """What is asked, with what the dataset decides: how it is split, that images are in gray by default, and that clips
    are packed without loss at one size."""
    found = replace(asked, fractions=source.fractions)
    if not source.clips:
        return replace(found, color_mode="rgb" if asked.rgb else "")
    if asked.encoding == "jpeg":
        raise InputError("clips are packed without loss", "omit --encoding")
    size, mode = asked.size or CLIP_SIZE, asked.color_mode or "gray"
    return replace(found, encoding="tiff", size=size, color_mode=mode, clips=True)
