"""What is in a packed dataset, as the table that `shard` prints."""

from __future__ import annotations

from typing import Any

from medtrain.core.console import table

WIDE = 8  # labels that fit beside each other
COUNTED = {
    "multilabel": "under each label: {unit} in which it is present",
    "abnormality": "under each study type: its abnormal {unit}",
}  # of classes nothing need be said: each image has one


def contents_table(manifest: dict[str, Any]) -> str:
    """Images, shards and positives of each split, and what is counted; many labels are a table of their own."""
    classes, splits = manifest["classes"], manifest["splits"]
    unit = "clips" if "clips" in manifest else "images"
    sizes = {
        split: (entry["samples"], len(entry["shards"]), sum(shard["bytes"] for shard in entry["shards"]) / 1e6)
        for split, entry in splits.items()
    }
    positives = {split: [entry["counts"][name]["positive"] for name in classes] for split, entry in splits.items()}
    heads, lines = ("split", unit, "shards", "MB"), [(split, *own) for split, own in sizes.items()]
    if manifest.get("task") == "score":
        return table(heads, lines)
    if len(classes) <= WIDE:
        whole = table((*heads, *classes), [(split, *own, *positives[split]) for split, own in sizes.items()])
        return "\n".join([whole, *_counted(manifest, unit)])
    states = ("positive", "negative", "unknown")
    empty = [name for i, name in enumerate(classes) if not any(own[i] for own in positives.values())]
    rows = [
        (name, *(sum(entry["counts"][name][state] for entry in splits.values()) for state in states),
         *(positives[split][i] for split in splits))
        for i, name in enumerate(classes) if name not in empty
    ]  # fmt: skip
    by_label = table(("label", *states, *(f"in {split}" for split in splits)), rows)
    none = f"\nno image shows {', '.join(empty)}" if empty else ""
    return f"{table(heads, lines)}\n\n{by_label}{none}"


def _counted(manifest: dict[str, Any], unit: str) -> list[str]:
    """A line that says what the numbers below the labels are, and of how many images one is unknown."""
    task = manifest.get("task", "")
    if task not in COUNTED:
        return []
    unknown = {
        name: sum(entry["counts"][name]["unknown"] for entry in manifest["splits"].values())
        for name in manifest["classes"]
    }
    lacking = [f"{name} in {count:,}" for name, count in unknown.items() if count and task == "multilabel"]
    told = f"; unknown: {', '.join(lacking)}" if lacking else ""
    return [COUNTED[task].format(unit=unit) + told]
