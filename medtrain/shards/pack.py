"""Records -> WebDataset tar shards + index + manifest: planned once, packed in any number of processes, verified."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medtrain import __version__, datasets
from medtrain.core.console import Progress
from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import alone, npy, sweep, write_whole
from medtrain.core.jsonfiles import read_json, read_json_lines, write_json
from medtrain.core.mortal import Lost, Pool
from medtrain.datasets.labels import UNKNOWN, task_of
from medtrain.datasets.record import Record, labels_sha256
from medtrain.imaging.dicom import is_dicom
from medtrain.imaging.encode import rule
from medtrain.imaging.pixel_limit import allowed
from medtrain.imaging.video import media_file
from medtrain.shards.file_hashes import beginning, contents, there
from medtrain.shards.index import (
    CHECKSUM,
    MANIFEST,
    SCHEMA,
    SPLITS,
    ShardIndex,
    index_digest,
    label_counts,
    manifest_checksum,
    open_index,
    read_manifest,
    read_rows,
    sample_dtype,
)
from medtrain.shards.plan import (
    MAX_REJECTS,
    PackOptions,
    Plan,
    chosen,
    in_several_splits,
    make_plan,
    plan_digest,
    sample_key,
    split_rule,
    without_copies,
)
from medtrain.shards.tar_writer import PACKING, Shard, file_sha256, write_rejects

CONTENTS = "contents"  # what is known of the files, while they are packed
__all__ = ["PackOptions", "ShardIndex", "open_index", "pack"]


def pack(
    records: list[Record],
    classes: tuple[str, ...],
    out: Path,
    options: PackOptions = PackOptions(),  # noqa: B008 (frozen)
    workers: int = 0,
    max_rejects: int = MAX_REJECTS,
) -> dict[str, Any]:
    """Pack `records` into `out` and return the manifest. Goes on where an earlier call was cut off.

    The bytes depend on the records and `options` alone, never on `workers`. A shard is done when its .idx has been
    renamed into place. Images that do not decode go to rejects.jsonl; more than `max_rejects` is an InputError.
    MachineError where `out` cannot be written; what is whole stays.
    """
    check_options(options, workers)
    check_records(records, options)
    with _writing(out), alone(out, "packing into"), allowed(options.max_pixels), Pool(workers or _cores()) as pool:
        if not (out / MANIFEST).exists():
            sweep(out)
        try:
            plan, claim, copies = _plan(records, classes, out, options, pool)
            if not (out / MANIFEST).exists():
                _pack_missing(plan, list(plan), len(classes), out, options, pool)
                sweep(out)  # what packers that died left half written
                described = _described(records, classes, options, claim)
                _finish(plan, copies, classes, out, described, max_rejects)
            return read_manifest(out)
        finally:
            if (out / MANIFEST).exists():
                shutil.rmtree(out / CONTENTS, ignore_errors=True)


def read_share(records: list[Record], out: Path, options: PackOptions, part: int, parts: int) -> None:
    """Read a share of the files, so that `pack_share` and `pack` need not; beside others that read other shares."""
    with _writing(out), allowed(options.max_pixels), Pool(_cores()) as pool:
        contents(chosen(records, options)[part::parts], out / CONTENTS, pool, bool(options.colours))


def pack_share(
    records: list[Record], classes: tuple[str, ...], out: Path, options: PackOptions, part: int, parts: int
) -> None:
    """Pack a share of the shards, beside others that pack other shares; `pack` puts them together."""
    with _writing(out), allowed(options.max_pixels), Pool(_cores()) as pool:
        plan, _, _ = _plan(records, classes, out, options, pool)
        if not (out / MANIFEST).exists():
            _pack_missing(plan, list(plan)[part::parts], len(classes), out, options, pool)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say in words what goes wrong with the folder that is written."""
    again = "then give the same command again: it goes on with what is missing"
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o750)
        yield
    except (Lost, MemoryError) as error:
        how = str(error) or "out of memory?"
        problem = f"{out}: a packing process was killed ({how}); whole shards are kept"
        raise MachineError(problem, f"choose fewer --workers, {again}") from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = f"{out}: cannot be written ({error.strerror}); whole shards are kept"
        raise MachineError(problem, f"{'make room' if full else 'mend that'}, {again}") from None


ENCODINGS = ("copy", "jpeg", "tiff")


def check_options(options: PackOptions, workers: int = 0) -> None:
    """InputError where the options cannot be used."""
    if options.shard_mb < 0.001:
        raise InputError(f"shard_mb is {options.shard_mb}: it must be above 0", "give --shard_mb 256")
    if options.max_pixels < 1:
        raise InputError(f"max_pixels is {options.max_pixels}: an image has some", "leave it out, or give more")
    if min(options.max_samples, options.size, workers) < 0:
        raise InputError("max_samples, size and workers cannot be negative", "give 0 (all, as they are) or more")
    if options.encoding not in ENCODINGS:
        raise InputError(f"there is no encoding {options.encoding!r}", "choose of " + ", ".join(ENCODINGS))
    if options.colours and (options.encoding != "tiff" or not options.size):
        raise InputError("clips are packed without loss, at one size", "give --encoding tiff and --size 112")
    if options.size and options.encoding == "copy":
        raise InputError("size needs an encoding: a copy keeps the files as they are", "give --encoding jpeg (or tiff)")


def check_records(records: list[Record], options: PackOptions) -> None:
    """InputError where there is nothing to pack, or only what could not be packed so, or an image twice."""
    if not records:
        raise InputError("there is no image to pack", "look at the dataset: medtrain check DATASET --root DIR")
    if told := _named_twice(records):
        raise InputError(told, "keep one row of each in the table")
    if options.encoding == "copy":
        first = next((record for record in records if there(record.path)), None)
        if first and is_dicom(beginning(first.path)):
            raise InputError(f"{first.image} is a DICOM file, which is not copied into shards", "give --encoding jpeg")


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


def _plan(
    records: list[Record], classes: tuple[str, ...], out: Path, options: PackOptions, pool: Pool
) -> tuple[Plan, dict[str, str], list[dict[str, str]]]:
    """Where every sample goes, what claims the folder for that, and what is left out; refuses another's folder."""
    claim = refuse_others(records, classes, out, options)
    shuffled = chosen(records, options)
    known = contents(shuffled, out / CONTENTS, pool, bool(options.colours))
    kept, found, copies = without_copies(shuffled, known)
    plan = make_plan(kept, found, classes, options)
    claim["plan"] = plan_digest(plan, classes, options)
    if options.colours:  # its first change of pixels is a second decoder in one dataset
        claim["decoder"] = ", ".join(f"{name} {version}" for name, version in media_file.versions().items())
    if not _is_claimed(out, claim):
        write_json(out / "plan.json", claim)
    return plan, claim, copies


def _names(records: list[Record]) -> str:
    """Of the datasets that the records are of."""
    return "+".join(dict.fromkeys(record.source for record in records))


def _described(
    records: list[Record], classes: tuple[str, ...], options: PackOptions, claim: dict[str, str]
) -> dict[str, Any]:
    """What the manifest says of the whole."""
    return {
        "schema": SCHEMA, "dataset": _names(records), "task": _task(records, classes), "classes": classes,
        "encoding": options.encoding,
        "pixels": rule(options.encoding, options.size, options.colours), "options": options.described(),
        "split_rule": split_rule(records, options.fractions), "labels_sha256": claim["labels_sha256"],
        "plan": claim["plan"], "medtrain": __version__,
        **({"clips": asdict(options.shape), "decoder": claim["decoder"]} if options.shape else {}),
    }  # fmt: skip


def _task(records: list[Record], classes: tuple[str, ...]) -> str:
    """What the labels are for: as the datasets say (`TASK`), else what they look like."""
    known = {record.source for record in records} & set(datasets.names())
    told = {getattr(datasets.source(name), "TASK", "") for name in known}
    if len(told) == 1 and "" not in told:
        return str(told.pop())
    rows = [[UNKNOWN if (state := record.labels[name]) is None else state for name in classes] for record in records]
    return task_of(np.array(rows, np.int8))


def refuse_others(records: list[Record], classes: tuple[str, ...], out: Path, options: PackOptions) -> dict[str, str]:
    """Refuse a folder that holds something else, before any file is read; what claims it for these records."""
    labels = labels_sha256(records)
    asked = json.dumps([classes, options.described(), labels])
    request = hashlib.sha256(asked.encode()).hexdigest()
    claim = {"dataset": _names(records), "labels_sha256": labels, "request": request}
    _is_claimed(out, claim)
    return claim


def _is_claimed(out: Path, claim: dict[str, str]) -> bool:
    """Whether a folder holds anything; InputError where that is of another claim."""
    claimed = read_json(out / "plan.json")
    if any(claimed.get(what, own) != own for what, own in claim.items()):
        differ = [what for what, own in claim.items() if claimed.get(what, own) != own]
        if differ == ["decoder"]:
            raise InputError(
                f"{out}: was begun with {claimed['decoder']}, and here is {claim['decoder']}: pixels may differ",
                "install those versions again, choose another --out, or delete that folder",
            )
        raise InputError(
            f"{out}: holds shards of {claimed['dataset']} packed from other images, labels or options",
            "choose another --out, or delete that folder",
        )
    return bool(claimed)


def _pack_missing(plan: Plan, names: list[str], labels: int, out: Path, options: PackOptions, pool: Pool) -> None:
    """Those of some of the plan's shards that are not there yet."""
    longest = max(len(sample.key) for samples in plan.values() for sample in samples)
    row = sample_dtype(labels, longest, bool(options.colours))
    done = {name for name in names if (out / name).with_suffix(".idx").exists() and (out / name).exists()}
    missing = {name: plan[name] for name in names if name not in done}
    total = sum(len(plan[name]) for name in names)
    progress = Progress(total, "packing", options.unit, done=total - sum(map(len, missing.values())))
    shards = [Shard(out / name, samples, row, options) for name, samples in missing.items()]
    try:
        for number, _ in pool.run(PACKING, shards):
            progress.advance(len(shards[number].samples))
    finally:
        progress.close()


def _finish(
    plan: Plan,
    copies: list[dict[str, str]],
    classes: tuple[str, ...],
    out: Path,
    described: dict[str, Any],
    max_rejects: int,
) -> None:
    """Merge the shards' indexes and write the manifest, the last file to appear."""
    rejects = [row for name in plan for row in read_json_lines((out / name).with_suffix(".rejects.jsonl"))]
    write_rejects(out / "rejects.jsonl", [*rejects, *copies])
    unit = "clips" if "clips" in described else "images"
    if len(rejects) > max_rejects:
        raise InputError(
            f"{len(rejects):,} {unit} cannot be used (first: {rejects[0]['image']}: {rejects[0]['reason']})",
            f"see {out / 'rejects.jsonl'}; mend the dataset, or allow it: --max_rejects {len(rejects)}",
        )
    splits = {}
    for split in SPLITS:
        names = [name for name in plan if name.startswith(f"{split}-")]
        if names:
            splits[split] = _merge_split(out, split, names, classes)
    manifest = {**described, "rejects": len(rejects) + len(copies), "splits": splits}
    if torn := in_several_splits(plan):
        manifest["patients_in_several_splits"] = torn
    write_json(out / MANIFEST, {**manifest, CHECKSUM: manifest_checksum(manifest)})


def _merge_split(out: Path, split: str, names: list[str], classes: tuple[str, ...]) -> dict[str, Any]:
    parts = [read_rows((out / name).with_suffix(".idx"), writable=True) for name in names]
    for number, rows in enumerate(parts):
        rows["shard"] = number
    merged = np.concatenate(parts)
    write_whole(out / f"{split}.idx", npy(merged))
    counts = label_counts(merged["labels"], classes)
    shards = [
        {"name": name, "samples": len(rows), "bytes": (out / name).stat().st_size, "sha256": file_sha256(out / name)}
        for name, rows in zip(names, parts, strict=True)
    ]
    return {"samples": len(merged), "digest": index_digest(out / f"{split}.idx"), "counts": counts, "shards": shards}
