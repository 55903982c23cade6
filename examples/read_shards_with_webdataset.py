"""Read packed shards with the webdataset library alone: nothing of medtrain is imported.

    pip install webdataset pillow
    python examples/read_shards_with_webdataset.py shards/demo train

A shard is a plain tar of `KEY.jpg` (or png, tif) and `KEY.json` for each sample. The classes are in manifest.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import webdataset

PRESENT, ABSENT = 1, 0  # a negative number: unknown (-1), left open (-2) or not mentioned (-3) by the source


def state(label: int) -> str:
    """The state of one label: unknown is not absent, and no loss or count may take it for that."""
    return {PRESENT: "present", ABSENT: "absent"}.get(label, "unknown")


def main() -> None:
    """Decode a split, and count the three states of each class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="folder of a packed dataset of images")
    parser.add_argument("split", nargs="?", default="train", choices=("train", "val", "test"))
    options = parser.parse_args()

    classes = json.loads((options.shards / "manifest.json").read_text())["classes"]
    tars = sorted(map(str, options.shards.glob(f"{options.split}-*.tar")))
    samples = webdataset.WebDataset(tars, shardshuffle=False).decode("l8").to_tuple("jpg;png;tif", "json")
    counts: dict[str, Counter[str]] = {name: Counter() for name in classes}
    sizes: Counter[tuple[int, ...]] = Counter()
    for pixels, sidecar in samples:  # uint8 [H, W], and {"key": ..., "labels": [...], "meta": {...}, "raw": {...}}
        sizes[pixels.shape] += 1
        for name, label in zip(classes, sidecar["labels"], strict=True):
            counts[name][state(label)] += 1
    print(f"{sizes.total()} images of {options.split}; {len(sizes)} sizes, most often {sizes.most_common(1)[0][0]}")
    for name, count in counts.items():
        print(f"{name}: " + ", ".join(f"{count[each]} {each}" for each in ("present", "absent", "unknown")))


if __name__ == "__main__":
    main()
