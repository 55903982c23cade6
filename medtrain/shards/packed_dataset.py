"""A packed dataset as its manifest.json tells it, which is the last file to appear."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from medtrain.core.errors import InputError
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.shards import unpacked_folder

SCHEMA = 1
SPLITS = ("train", "val", "test")
STATES = ("positive", "negative", "unknown")  # that a manifest counts of each label
MANIFEST = "manifest.json"
CHANNELS = {"gray": 1, "rgb": 3}  # of each color mode
CHECKSUM = "checksum"  # of the manifest, in it
RESTORE = "restore the file, or delete it and give its medtrain shard command again: whole shards are kept"


@dataclass(frozen=True)
class ShardInfo:
    """One tar file as the manifest lists it."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PackedDataset:
    """A folder and what its `manifest` tells, proved by its checksum where it has one."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path | str) -> PackedDataset:
        """The one in a folder; InputError that says how to make one, or what is wrong with its manifest."""
        return cls(Path(folder), _read(Path(folder)))

    @property
    def name(self) -> str:
        """Of the dataset; of several that were packed together with + between."""
        return str(self.manifest["dataset"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its labels, in their order."""
        return tuple(self.manifest["classes"])

    @property
    def splits(self) -> dict[str, Any]:
        """split -> its digest, its shards, and how many samples it has, of each label and state."""
        return self.manifest["splits"]  # type: ignore[no-any-return]

    @property
    def samples(self) -> int:
        """Of all splits."""
        return sum(entry["samples"] for entry in self.splits.values())

    @property
    def clips(self) -> Shape | None:
        """What all clips have in common; None of images."""
        return Shape(**self.manifest["clips"]) if "clips" in self.manifest else None

    @property
    def channels(self) -> int:
        """In which samples are read: 3 (RGB) or 1 (gray)."""
        return 3 if self.manifest.get("options", {}).get("colours") == "rgb" else 1

    @property
    def sealed(self) -> bool:
        """Whether the manifest proves itself; older ones have no checksum."""
        return CHECKSUM in self.manifest

    def shards(self, split: str) -> tuple[ShardInfo, ...]:
        """The tar files of a split."""
        return tuple(ShardInfo(**shard) for shard in self.splits[split]["shards"])

    def need_classes(self, known: tuple[str, ...]) -> None:
        """InputError where a run that knows these classes cannot be judged by this dataset."""
        if self.classes != known:
            raise InputError(
                f"{self.folder}: its classes are {', '.join(self.classes)}; the run knows {', '.join(known)}",
                "give a dataset packed with the same classes",
            )


def is_packed(folder: Path) -> bool:
    """Whether a folder holds a dataset that is packed to its end: the manifest is the last file to appear."""
    return (folder / MANIFEST).exists()


def manifest_checksum(manifest: dict[str, Any]) -> str:
    """xxh3-128 of all that a manifest says besides its checksum, however it is laid out. Older ones have none."""
    told = {name: value for name, value in manifest.items() if name != CHECKSUM}
    return xxhash.xxh3_128_hexdigest(json.dumps(told, sort_keys=True, separators=(",", ":")).encode())


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(*unpacked_folder.told(folder)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "pack the dataset again into a new folder") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        told = manifest.get("schema") if isinstance(manifest, dict) else "none"
        raise InputError(f"{path}: schema {told}; this version reads {SCHEMA}", "pack it again")
    if CHECKSUM in manifest and manifest[CHECKSUM] != manifest_checksum(manifest):
        raise InputError(f"{path}: was changed or damaged: it does not match its own checksum", RESTORE)
    if wrong := _misshapen(manifest):
        raise InputError(f"{path}: {wrong} is not as medtrain writes it", RESTORE)
    return manifest


def _misshapen(manifest: dict[str, Any]) -> str:
    """The first part of a manifest that cannot be read as such; empty where all can."""
    names, splits = manifest.get("classes"), manifest.get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return "classes"
    if not isinstance(manifest.get("dataset"), str):
        return "dataset"
    if not isinstance(splits, dict) or not set(splits) <= set(SPLITS):
        return "splits"
    for split, entry in splits.items():
        try:
            counts, shards = entry["counts"], [ShardInfo(**shard) for shard in entry["shards"]]
            numbers = [entry["samples"], *(n for shard in shards for n in (shard.samples, shard.bytes))]
            numbers += [counts[name][state] for name in names for state in STATES]
        except (KeyError, TypeError):
            return f"the split {split}"
        plain = all("/" not in shard.name for shard in shards if isinstance(shard.name, str))
        if not all(type(number) is int for number in numbers) or not isinstance(entry["digest"], str) or not plain:
            return f"the split {split}"
    return ""
