"""Records -> WebDataset tar shards + index + manifest: planned once, packed in any number of processes, verified."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain import __version__
from medtrain.console import Progress
from medtrain.decode import decode, extension
from medtrain.errors import InputError, MachineError
from medtrain.index import SCHEMA, SPLITS, UNKNOWN, ShardIndex, index_digest, open_index, sample_dtype
from medtrain.plan import PackOptions, Plan, Planned, make_plan, plan_digest, split_rule
from medtrain.record import Record
from medtrain.run import read_json, read_json_lines, write_json

__all__ = ["PackOptions", "ShardIndex", "open_index", "pack"]


def pack(
    records: list[Record],
    classes: tuple[str, ...],
    out: Path,
    options: PackOptions = PackOptions(),  # noqa: B008 (frozen)
    workers: int = 0,
    max_rejects: int = 100,
) -> dict[str, Any]:
    """Pack `records` into `out` and return the manifest. Goes on where an earlier call was cut off.

    The bytes depend on the records and `options` alone, never on `workers`. A shard is done when its .idx has been
    renamed into place. Images that do not decode go to rejects.jsonl; more than `max_rejects` is an InputError.
    """
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    workers = workers or len(os.sched_getaffinity(0))
    plan = make_plan(records, classes, options, workers)
    digest = plan_digest(plan, classes, options)
    _claim(out, digest, records[0].source)
    if not (out / "manifest.json").exists():
        _pack_missing(plan, len(classes), out, workers)
        described = {
            "schema": SCHEMA, "dataset": records[0].source, "classes": classes, "encoding": "copy",
            "options": asdict(options), "split_rule": split_rule(records), "plan": digest, "medtrain": __version__,
        }  # fmt: skip
        _finish(plan, classes, out, described, max_rejects)
    return read_json(out / "manifest.json")


def _claim(out: Path, digest: str, dataset: str) -> None:
    """Refuse a folder that holds something else; sweep what a killed packer left half written."""
    claimed = read_json(out / "plan.json")
    if claimed and claimed["plan"] != digest:
        raise InputError(
            f"{out}: holds shards of {claimed['dataset']} packed from other images, labels or options",
            "choose another --out, or delete that folder",
        )
    for litter in out.glob(".*.tmp"):
        litter.unlink(missing_ok=True)
    write_json(out / "plan.json", {"plan": digest, "dataset": dataset})


# ---- one shard ------------------------------------------------------------------------------------------------------


def _pack_missing(plan: Plan, labels: int, out: Path, workers: int) -> None:
    missing = {name: samples for name, samples in plan.items() if not (out / name).with_suffix(".idx").exists()}
    progress = Progress(sum(map(len, plan.values())), "packing", "images")
    progress.advance(progress.total - sum(map(len, missing.values())))
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            jobs = {
                pool.submit(pack_shard, out / name, samples, labels): len(samples) for name, samples in missing.items()
            }
            for job in as_completed(jobs):
                job.result()
                progress.advance(jobs[job])
    except OSError as error:
        raise MachineError(
            f"{out}: a shard could not be written ({error.strerror}); whole shards are kept",
            "make room, then give the same command again: it goes on with what is missing",
        ) from None
    finally:
        progress.close()


def pack_shard(path: Path, samples: list[Planned], labels: int) -> None:
    """Write one tar and its .idx. Both appear under their names only when whole and on the disk."""
    rows = np.zeros(len(samples), sample_dtype(labels, max(len(sample.key) for sample in samples)))
    rejects: list[dict[str, str]] = []
    kept = 0
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
        for sample in samples:
            data, reason = _readable(sample)
            if reason:
                rejects.append({"image": sample.image, "reason": reason})
                continue
            rows[kept] = (
                tar.offset + 512,
                sample.group,
                sample.content,
                len(data),
                zlib.crc32(data),
                0,
                sample.key,
                sample.labels,
            )
            _add(tar, f"{sample.key}.{extension(data)}", data)
            _add(tar, f"{sample.key}.json", _sidecar(sample))
            kept += 1
        tar.close()
        _sync(file)
    os.replace(temporary, path)
    if rejects:
        _write_whole(path.with_suffix(".rejects.jsonl"), "".join(json.dumps(row) + "\n" for row in rejects).encode())
    _write_whole(path.with_suffix(".idx"), _npy(rows[:kept]))


def _readable(sample: Planned) -> tuple[bytes, str]:
    """The bytes of a sample's image and why they cannot be used (empty: they can)."""
    try:
        data = Path(sample.path).read_bytes()
        decode(data)
    except (OSError, ValueError) as error:
        return b"", str(error.strerror if isinstance(error, OSError) else error)
    if xxhash.xxh3_64_intdigest(data) != sample.content:
        return b"", "the file changed while the dataset was packed"
    return data, ""


def _sidecar(sample: Planned) -> bytes:
    value = {"key": sample.key, "labels": sample.labels, "raw": sample.raw, "meta": sample.meta}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without time, owner or rights of its own, so that the bytes are the same each time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o444
    tar.addfile(member, io.BytesIO(data))


def _npy(rows: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def _write_whole(path: Path, data: bytes) -> None:
    """Write, fsync, rename, fsync the folder: after a power loss the file is whole or absent."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        _sync(file)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# ---- the whole ------------------------------------------------------------------------------------------------------


def _finish(plan: Plan, classes: tuple[str, ...], out: Path, described: dict[str, Any], max_rejects: int) -> None:
    """Merge the shards' indexes and write the manifest, the last file to appear."""
    rejects = [row for name in plan for row in read_json_lines((out / name).with_suffix(".rejects.jsonl"))]
    _write_whole(out / "rejects.jsonl", "".join(json.dumps(row) + "\n" for row in rejects).encode())
    if len(rejects) > max_rejects:
        raise InputError(
            f"{len(rejects):,} images cannot be used (first: {rejects[0]['image']}: {rejects[0]['reason']})",
            f"see {out / 'rejects.jsonl'}; mend the dataset, or allow it: --max_rejects {len(rejects)}",
        )
    splits = {}
    for split in SPLITS:
        names = [name for name in plan if name.startswith(f"{split}-")]
        if names:
            splits[split] = _merge_split(out, split, names, classes)
    manifest = {**described, "rejects": len(rejects), "splits": splits}
    _write_whole(out / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())


def _merge_split(out: Path, split: str, names: list[str], classes: tuple[str, ...]) -> dict[str, Any]:
    parts = [np.load((out / name).with_suffix(".idx"), allow_pickle=False) for name in names]
    for number, rows in enumerate(parts):
        rows["shard"] = number
    merged = np.concatenate(parts)
    _write_whole(out / f"{split}.idx", _npy(merged))
    counts = {
        name: {state: int((merged["labels"][:, i] == value).sum()) for state, value in _STATES.items()}
        for i, name in enumerate(classes)
    }
    shards = [
        {"name": name, "samples": len(rows), "bytes": (out / name).stat().st_size, "sha256": file_sha256(out / name)}
        for name, rows in zip(names, parts, strict=True)
    ]
    return {"samples": len(merged), "digest": index_digest(out / f"{split}.idx"), "counts": counts, "shards": shards}


_STATES = {"positive": 1, "negative": 0, "unknown": UNKNOWN}


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
