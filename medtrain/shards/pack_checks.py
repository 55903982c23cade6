"""What is refused before anything is packed: options, records, and a folder that holds something else."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.datasets.record import Record, labels_sha256
from medtrain.imaging.dicom import is_dicom
from medtrain.shards.file_hashes import beginning, there
from medtrain.shards.plan import PackOptions
from medtrain.shards.sample_keys import sample_key

ENCODINGS = ("copy", "jpeg", "tiff")
NOTHING: Mapping[str, str] = MappingProxyType({})


def check_options(options: PackOptions, workers: int = 0) -> None:
    """InputError where the options cannot be used."""
    if options.shard_mb < 0.001:
        raise InputError(f"shard_mb is {options.shard_mb}: it must be above 0", "give --shard_mb 256")
    if options.max_pixels < 1:
        raise InputError(f"max_pixels is {options.max_pixels}: an image has some", "omit it, or give more")
    if min(options.max_samples, options.size, workers) < 0:
        raise InputError("max_samples, size and workers cannot be negative", "give 0 (all, as they are) or more")
    if options.encoding not in ENCODINGS:
        raise InputError(f"there is no encoding {options.encoding!r}", "choose of " + ", ".join(ENCODINGS))
    if options.clips and (options.encoding != "tiff" or not options.size):
        raise InputError("clips are packed without loss, at one size", "give --encoding tiff and --size 112")
    if options.size and options.encoding == "copy":
        raise InputError("size needs an encoding: a copy keeps the files as they are", "give --encoding jpeg (or tiff)")


def ensure_apart(root: Path | None, out: Path) -> None:
    """InputError where shards would lie among the raw files."""
    if root is not None and root.is_dir() and out.absolute().resolve() == root.absolute().resolve():
        beside = shlex.quote(str(root.with_name(f"{root.absolute().name}_shards")) if root.name else "../shards")
        raise InputError(f"--out {out} is the folder of the raw files", f"give a folder of its own: --out {beside}")


def check_records(records: list[Record], options: PackOptions) -> None:
    """InputError where there is nothing to pack, or only what could not be packed so, or an image twice."""
    if not records:
        raise InputError("there is no image to pack", "check the dataset: medtrain check DATASET --root DIR")
    ensure_named_once(records)
    if options.encoding == "copy":
        first = next((record for record in records if there(record.path)), None)
        if first and is_dicom(beginning(first.path)):
            raise InputError(f"{first.image} is a DICOM file, which is not copied into shards", "give --encoding jpeg")


def ensure_named_once(records: list[Record]) -> None:
    """InputError where an image stands in several rows."""
    if told := _named_twice(records):
        raise InputError(told, "keep one row of each in the table")


def _named_twice(records: list[Record]) -> str:
    """How many images stand in several rows, the first of them, and how many of them the rows tell different things
    of; empty where none does."""
    rows: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        rows[sample_key(record)].append(record)
    again = [own for own in rows.values() if len(own) > 1]
    if not again:
        return ""
    first = again[0][0]
    unlike = {
        "labels": sum(any(other.labels != own[0].labels for other in own) for own in again),
        "splits": sum(any(other.split != own[0].split for other in own) for own in again),
    }
    differ = [f"of {count:,} the {what} differ" for what, count in unlike.items() if count]
    count = f"{len(again):,} images are" if len(again) > 1 else "an image is"
    which = f"{first.source}: {first.image} is there {len(again[0])} times"
    return f"{which} ({count} named in several rows; {', '.join(differ) or 'they say the same of each'})"


def dataset_names(records: list[Record]) -> str:
    """Of the datasets that the records are of."""
    return "+".join(dict.fromkeys(record.source for record in records))


def ensure_same_dataset(
    records: list[Record],
    classes: tuple[str, ...],
    out: Path,
    options: PackOptions,
    origin: Mapping[str, str] = NOTHING,
) -> dict[str, str]:
    """Refuse a folder that holds something else, before any file is read; what claims it for these records, and for
    what else decides the manifest (`origin`)."""
    labels = labels_sha256(records)
    asked = json.dumps([classes, options.described(), labels])
    request = hashlib.sha256(asked.encode()).hexdigest()
    claim = {"dataset": dataset_names(records), "labels_sha256": labels, "request": request, **origin}
    is_claimed(out, claim)
    return claim


def is_claimed(out: Path, claim: dict[str, str]) -> bool:
    """Whether a folder holds anything; InputError where that is of another claim."""
    claimed = read_json(out / "plan.json")
    if any(claimed.get(what, own) != own for what, own in claim.items()):
        differ = [what for what, own in claim.items() if claimed.get(what, own) != own]
        if differ == ["decoder"]:
            raise InputError(
                f"{out}: was begun with {claimed['decoder']}, and here is {claim['decoder']}: pixels may differ",
                "install those versions again, choose another --out, or delete that folder",
            )
        what = {"plugin": "packed by another dataset file", "task": f"packed for the task {claimed.get('task')}"}
        how = what.get(differ[0], "") if len(differ) == 1 else ""
        raise InputError(
            f"{out}: holds shards of {claimed['dataset']} {how or 'packed from other images, labels or options'}",
            "choose another --out, or delete that folder",
        )
    return bool(claimed)
