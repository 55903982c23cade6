"""Hold what a manifest says against the indexes, the shards and the plan that it was written with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.imaging.decode import extension
from medtrain.shards.index import ShardIndex, label_counts
from medtrain.shards.mixture import sources
from medtrain.shards.packed_dataset import STATES, PackedDataset

# What manifests without a checksum have: any other entry is one whose name was damaged, the checksum's among them.
BEFORE = frozenset(
    ("schema", "dataset", "classes", "encoding", "pixels", "options", "split_rule", "labels_sha256", "plan", "medtrain",
     "clips", "rejects", "splits", "patients_in_several_splits")
)  # fmt: skip
EXTENSIONS = {"jpeg": ("jpg",), "tiff": ("tif",), "copy": ("jpg", "png", "tif")}
FIRST_BYTES = 132


def manifest_faults(packed: PackedDataset, indexes: list[ShardIndex]) -> list[str]:
    """Every difference between a manifest and what lies beside it, one sentence each.

    Counts, sizes and the number of classes are those of the indexes, the encoding is that of each shard's first image,
    the dataset is that of the samples' keys. The names of the classes and the options are those of the request that
    plan.json holds a digest of, which manifests had before they had a checksum.
    """
    found = [fault for index in indexes for fault in _unlike_index(packed, index)]
    folder, manifest = packed.folder, packed.manifest
    if not packed.sealed and (others := sorted(set(manifest) - BEFORE)):
        found.append(f"has an entry {others[0]!r}, which medtrain does not write")
    named = set(packed.name.split("+"))
    if unnamed := {name for index in indexes for name in sources(index.samples)[0]} - named:
        found.append(f"says that the dataset is {packed.name}, and there are samples of {sorted(unnamed)[0]}")
    rejects = folder / "rejects.jsonl"
    if rejects.exists() and (lines := rejects.read_bytes().count(b"\n")) != manifest["rejects"]:
        found.append(f"counts {manifest['rejects']} rejects, and rejects.jsonl has {lines}")
    return [f"{folder / 'manifest.json'}: {fault}" for fault in [*found, *_unlike_plan(folder, manifest)]]


def _unlike_index(packed: PackedDataset, index: ShardIndex) -> list[str]:
    """How a split's entry differs from its index and its shards' first images."""
    entry, columns = packed.splits[index.split], index.labels.shape[1]
    if columns != len(index.classes):
        return [f"names {len(index.classes)} classes, and {index.split}.idx has {columns}"]
    found = []
    counts = [sum(index.samples["shard"] == number) for number in range(len(index.shards))]
    for told, own, what in (
        (entry["samples"], len(index), f"{index.split} has {{}} samples"),
        *((shard.samples, int(n), f"{shard.name} has {{}}") for shard, n in zip(index.shards, counts, strict=True)),
    ):
        if told != own:
            found.append(f"says that {what.format(told)}, and its index has {own}")
    states = STATES if packed.sealed else STATES[:2]  # older ones counted fewer states as unknown
    for name, own_counts in label_counts(index.labels, index.classes).items():
        told_counts = entry["counts"][name]
        for state in states:
            if told_counts[state] != own_counts[state]:
                says = f"{told_counts[state]} {state} of {name} in {index.split}"
                found.append(f"counts {says}, and {index.split}.idx has {own_counts[state]}")
    if ("frames" in (index.samples.dtype.names or ())) != (index.clips is not None):
        found.append(f"says that they are {'clips' if index.clips else 'images'}, and {index.split}.idx says otherwise")
    return found + _unlike_images(packed.manifest, index)


def _unlike_images(manifest: dict[str, Any], index: ShardIndex) -> list[str]:
    """Where the first image of a shard has another encoding than the manifest says."""
    allowed = EXTENSIONS.get(manifest["encoding"])
    if allowed is None:
        return [f"has an encoding {manifest['encoding']!r}, which there is not"]
    for number in range(len(index.shards)):
        path, rows = index.shard_path(number), index.samples[index.samples["shard"] == number]
        if not len(rows) or not path.exists() or path.stat().st_size != index.shards[number].bytes:
            continue  # told of as damage to the shard
        with path.open("rb") as file:
            file.seek(int(rows["offset"][0]))
            try:
                kind = extension(file.read(min(FIRST_BYTES, int(rows["size"][0]))))
            except ValueError:
                continue  # as above
        if kind not in allowed:
            return [f"says that the encoding is {manifest['encoding']}, and {path.name} holds .{kind} files"]
    return []


def _unlike_plan(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Whether classes, options, labels and plan are those that plan.json was made from."""
    try:
        plan = read_json(folder / "plan.json")
    except ValueError as error:
        raise InputError(f"{folder / 'plan.json'}: cannot be read: {error}", "restore the file") from None
    if not plan:
        return []
    asked = json.dumps([manifest["classes"], manifest["options"], manifest["labels_sha256"]])
    found = []
    if plan.get("request", "") not in ("", hashlib.sha256(asked.encode()).hexdigest()):
        found.append("its classes, options or labels_sha256 are not those that were packed, by plan.json")
    if plan.get("plan", manifest["plan"]) != manifest["plan"]:
        found.append("its plan is not that of plan.json")
    return found
