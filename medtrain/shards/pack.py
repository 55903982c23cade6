"""Records -> WebDataset tar shards + index + manifest: planned once, packed in any number of processes, verified."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medtrain import __version__, datasets
from medtrain.core.counts import by_reason, counted
from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import alone, file_sha256, sweep, write_whole
from medtrain.core.isolated_processes import Lost, Pool
from medtrain.core.jsonfiles import read_json_lines, write_json
from medtrain.core.progress import Progress
from medtrain.datasets.labels import UNKNOWN, task_of
from medtrain.datasets.record import SCORE, Record
from medtrain.imaging.encode import clip_rule, rule
from medtrain.imaging.pixel_limit import allowed
from medtrain.imaging.video import media_file
from medtrain.shards import sample_names
from medtrain.shards.file_hashes import hash_files
from medtrain.shards.index import index_digest, label_counts, read_rows, sample_dtype
from medtrain.shards.npy import npy
from medtrain.shards.pack_checks import (
    NOTHING,
    check_options,
    check_records,
    dataset_names,
    ensure_same_dataset,
    is_claimed,
)
from medtrain.shards.packed_dataset import (
    CHECKSUM,
    MANIFEST,
    SCHEMA,
    SPLITS,
    PackedDataset,
    is_packed,
    manifest_checksum,
)
from medtrain.shards.plan import (
    MAX_REJECTS,
    PackOptions,
    Plan,
    chosen,
    in_several_splits,
    make_plan,
    plan_digest,
    split_rule,
    without_copies,
)
from medtrain.shards.tar_writer import PACKING, Shard, write_rejects

CONTENTS = "contents"  # what is known of the files, while they are packed


def pack(
    records: list[Record],
    classes: tuple[str, ...],
    out: Path,
    options: PackOptions = PackOptions(),  # noqa: B008 (frozen)
    workers: int = 0,
    max_rejects: int = MAX_REJECTS,
    origin: Mapping[str, str] = NOTHING,
    keep_names: bool = False,
) -> dict[str, Any]:
    """Pack `records` into `out` and return the manifest, which states `origin`. Goes on where an earlier call was cut
    off. With `keep_names` a table beside `out` names the file of each sample.

    The bytes depend on the records and `options` alone, never on `workers`. A shard is done when its .idx has been
    renamed into place. Images that do not decode go to rejects.jsonl; more than `max_rejects` is an InputError.
    MachineError where `out` cannot be written; what is whole stays.
    """
    check_options(options, workers)
    check_records(records, options)
    with _writing(out), alone(out, "packing into"), allowed(options.max_pixels), Pool(workers or _cores()) as pool:
        if not is_packed(out):
            sweep(out)
        try:
            plan, claim, copies = _plan(records, classes, out, options, pool, origin)
            if keep_names:
                sample_names.write(plan, out)
            if not is_packed(out):
                _pack_missing(plan, list(plan), len(classes), out, options, pool)
                sweep(out)  # what packers that died left half written
                described = _described(records, classes, options, claim) | dict(origin)
                _finish(plan, copies, classes, out, described, max_rejects)
            return PackedDataset.open(out).manifest
        finally:
            if is_packed(out):
                shutil.rmtree(out / CONTENTS, ignore_errors=True)


def read_share(records: list[Record], out: Path, options: PackOptions, part: int, parts: int) -> None:
    """Read a share of the files, so that `pack_share` and `pack` need not; beside others that read other shares."""
    with _writing(out), allowed(options.max_pixels), Pool(_cores()) as pool:
        hash_files(chosen(records, options)[part::parts], out / CONTENTS, pool, options.clips)


def pack_share(
    records: list[Record],
    classes: tuple[str, ...],
    out: Path,
    options: PackOptions,
    part: int,
    parts: int,
    origin: Mapping[str, str] = NOTHING,
) -> None:
    """Pack a share of the shards, beside others that pack other shares; `pack` puts them together."""
    with _writing(out), allowed(options.max_pixels), Pool(_cores()) as pool:
        plan, _, _ = _plan(records, classes, out, options, pool, origin)
        if not is_packed(out):
            _pack_missing(plan, list(plan)[part::parts], len(classes), out, options, pool)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say in words what goes wrong with the folder that is written."""
    again = "then give the same command again: it continues with what is missing"
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
        raise MachineError(problem, f"{'make room' if full else 'fix that'}, {again}") from None


def _plan(
    records: list[Record],
    classes: tuple[str, ...],
    out: Path,
    options: PackOptions,
    pool: Pool,
    origin: Mapping[str, str],
) -> tuple[Plan, dict[str, str], list[dict[str, str]]]:
    """Where every sample goes, what claims the folder for that, and what is left out; refuses another's folder."""
    claim = ensure_same_dataset(records, classes, out, options, origin)
    shuffled = chosen(records, options)
    known = hash_files(shuffled, out / CONTENTS, pool, options.clips)
    kept, found, copies = without_copies(shuffled, known)
    plan = make_plan(kept, found, classes, options)
    claim["plan"] = plan_digest(plan, classes, options)
    if options.clips:  # its first change of pixels is a second decoder in one dataset
        claim["decoder"] = ", ".join(f"{name} {version}" for name, version in media_file.versions().items())
    if not is_claimed(out, claim):
        write_json(out / "plan.json", claim)
    return plan, claim, copies


def _described(
    records: list[Record], classes: tuple[str, ...], options: PackOptions, claim: dict[str, str]
) -> dict[str, Any]:
    """What the manifest says of the whole."""
    stored, size = options.described(), options.size
    pixels = clip_rule(stored["colours"], size) if options.clips else rule(options.encoding, size, options.rgb)
    return {
        "schema": SCHEMA, "dataset": dataset_names(records), "task": _task(records, classes), "classes": classes,
        "encoding": options.encoding, "pixels": pixels, "options": stored,
        "split_rule": split_rule(records, options.fractions), "labels_sha256": claim["labels_sha256"],
        "plan": claim["plan"], "medtrain": __version__,
        **({"clips": asdict(options.shape), "decoder": claim["decoder"]} if options.shape else {}),
    }  # fmt: skip


def _task(records: list[Record], classes: tuple[str, ...]) -> str:
    """What the labels are for: as the datasets say, else those of the same classes, else what the labels look like."""
    known = {record.source for record in records} & set(datasets.names())
    # A table of one's own names sources that are no datasets here; that each row knows one finding makes no study type.
    known = known or {name for name in datasets.names() if datasets.source(name).classes == classes}
    told = {datasets.source(name).task for name in known}
    if len(told) == 1 and "" not in told:
        return str(told.pop())
    rows = [[UNKNOWN if (state := record.labels[name]) is None else state for name in classes] for record in records]
    return task_of(np.array(rows, np.int8))


def _pack_missing(plan: Plan, names: list[str], labels: int, out: Path, options: PackOptions, pool: Pool) -> None:
    """Those of some of the plan's shards that are not there yet."""
    longest = max(len(sample.key) for samples in plan.values() for sample in samples)
    scored = any(SCORE in sample.raw for samples in plan.values() for sample in samples)
    row = sample_dtype(labels, longest, options.clips, scored)
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
        reasons = by_reason(row["reason"] for row in rejects)
        raise InputError(
            f"{counted(len(rejects), unit)} cannot be used ({reasons}; the first: {rejects[0]['image']})",
            f"see {out / 'rejects.jsonl'}; fix the dataset, or allow it: --max_rejects {len(rejects)}",
        )
    if len(rejects) == sum(map(len, plan.values())):
        reason = f"{rejects[0]['image']}: {rejects[0]['reason']}"
        many = len(rejects) > 1
        none = f"none of {len(rejects):,} {unit} can" if many else f"the only {unit.removesuffix('s')} cannot"
        raise InputError(f"{none} be used (first: {reason})", "replace the files by whole ones")
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
