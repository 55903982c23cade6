"""The commands that make and prove packed datasets: shard and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from medtrain import datasets
from medtrain.console import say, say_json, table, warn
from medtrain.index import read_manifest
from medtrain.plan import PackOptions
from medtrain.shards import pack
from medtrain.verify import verify_shards

Flag = FlagCreatePairsOff[bool]


def shard(
    dataset: Positional[Annotated[str, arg(metavar="DATASET")]],
    root: Path,
    out: Path | None = None,
    max_samples: int = 0,
    shard_mb: float = 256.0,
    seed: int = 42,
    workers: int = 0,
    max_rejects: int = 100,
    json: Flag = False,
) -> None:
    """Pack a dataset into WebDataset tar shards. A call that was cut off goes on where it stopped.

    Args:
        dataset: Name of the dataset (medtrain data list).
        root: Folder with its raw files.
        out: Folder for the shards (default: shards/DATASET).
        max_samples: Pack only this many images, drawn at random by the seed (0: all).
        shard_mb: Size of a shard in MB.
        seed: Decides the split and the order in the shards.
        workers: Processes that pack (0: one a core). The bytes are the same for any number.
        max_rejects: More unreadable images than this are an error.
        json: Print the manifest as one JSON document.
    """
    source = datasets.source(dataset)
    out = out or Path("shards") / dataset
    options = PackOptions(seed=seed, shard_mb=shard_mb, max_samples=max_samples)
    manifest = pack(source.records(root), source.CLASSES, out, options, workers, max_rejects)
    if manifest["rejects"]:
        warn(f"{manifest['rejects']} images cannot be used and were left out: see {out / 'rejects.jsonl'}")
    if json:
        say_json(manifest)
        return
    rows = [
        (split, entry["samples"], len(entry["shards"]), sum(s["bytes"] for s in entry["shards"]) / 1e6,
         *(entry["counts"][name]["positive"] for name in manifest["classes"]))
        for split, entry in manifest["splits"].items()
    ]  # fmt: skip
    say(table(("split", "images", "shards", "MB", *manifest["classes"]), rows))
    say(f"\npacked in {out} (split {manifest['split_rule']})\ntrain on it: medtrain train RECIPE --shards {out}")


def verify(
    out: Positional[Annotated[Path, arg(metavar="SHARDS")]],
    level: Literal["quick", "crc", "decode"] = "crc",
    workers: int = 0,
    json: Flag = False,
) -> int:
    """Prove that a packed dataset is whole and that no patient or image stands in two splits. Exit code 2 if not.

    Args:
        out: Folder of the packed dataset.
        level: Sizes only, every byte, or every image decoded.
        workers: Threads (0: one a core).
        json: Print one JSON document.
    """
    faults = verify_shards(out, level, workers)
    images = sum(entry["samples"] for entry in read_manifest(out)["splits"].values())
    if json:
        say_json({"folder": str(out), "level": level, "images": images, "faults": faults})
    else:
        for fault in faults:
            say(f"FAULT {fault}")
        mend = "copy what is damaged again, or delete each such shard, its .idx and manifest.json and pack again"
        say(f"{out}: {len(faults)} faults; {mend}" if faults else f"{out}: {images:,} images, no fault (level {level})")
    return 2 if faults else 0
