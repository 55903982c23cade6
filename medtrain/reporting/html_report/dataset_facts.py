"""What is known of a packed dataset, gathered from its folder once: from manifest, indices, sidecars and rejects."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.jsonfiles import read_json_lines
from medtrain.reporting.html_report.run_facts import without_paths
from medtrain.shards import mixture
from medtrain.shards.index import open_index
from medtrain.shards.packed_dataset import SPLITS, PackedDataset
from medtrain.shards.sample_metadata import metadata_of

DECADE, OLDEST = 10, 90  # years; people are known by a higher age
QUOTED, DIGITS = re.compile(r"'[^']*'|\"[^\"]*\""), re.compile(r"\d[\d,.]*")
UNKNOWN = "unknown"
Counts = dict[str, dict[str, int]]  # split -> group -> how many


@dataclass(frozen=True)
class DatasetFacts:
    """Everything that the page says of a packed dataset."""

    packed: PackedDataset
    splits: list[str]
    samples: dict[str, int]
    groups: dict[str, int]  # patients, or images of the same bytes where none is known
    studies: dict[str, int]
    copies: dict[str, int]  # samples of the same bytes as an earlier one of their split
    shared: int  # files whose bytes are in several splits
    sizes: dict[str, NDArray[np.float64]]  # bytes of the files of images: lowest, median, highest
    by: dict[str, Counts]  # attribute -> counts
    frames: dict[str, NDArray[np.float64]]  # of clips: lowest, median, highest
    scores: dict[str, tuple[int, float, float]]  # how many have one, mean, deviation
    rejects: dict[str, int]
    small_cells: bool

    @property
    def unit(self) -> str:
        """What a sample is."""
        return "clips" if self.packed.clips else "images"


def gather_dataset(folder: Path, small_cells: bool = False) -> DatasetFacts:
    """All of it; InputError where the folder is no packed dataset, or is damaged."""
    packed = PackedDataset.open(folder)
    splits = [split for split in SPLITS if packed.splits.get(split, {}).get("samples")]
    rows, by = {}, {name: {} for name in ("dataset", *ATTRIBUTES)}  # type: dict[str, Any], dict[str, Counts]
    for split in splits:
        index = open_index(folder, split)
        rows[split] = index.samples
        names, of = mixture.sources(index.samples)
        by["dataset"][split] = {name: int(np.sum(of == i)) for i, name in enumerate(names)}
        about = metadata_of(index, index.samples)
        for name, group_of in ATTRIBUTES.items():
            by[name][split] = dict(Counter(group_of(one.get(name)) for one in about))
    contents = [np.unique(one["content"]) for one in rows.values()]
    return DatasetFacts(
        packed=packed,
        splits=splits,
        samples={split: len(own) for split, own in rows.items()},
        groups={split: len(np.unique(own["group"])) for split, own in rows.items()},
        studies={split: len(np.unique(own["study"])) for split, own in rows.items()},
        copies={split: len(own) - len(np.unique(own["content"])) for split, own in rows.items()},
        shared=int(np.sum(np.unique(np.concatenate(contents), return_counts=True)[1] > 1)) if contents else 0,
        sizes={split: _range(own["size"]) for split, own in rows.items()},
        by={name: counts for name, counts in by.items() if name == "dataset" or _tells(counts)},
        frames={split: _range(own["frames"]) for split, own in rows.items() if "frames" in (own.dtype.names or ())},
        scores={split: _score(own["score"]) for split, own in rows.items() if "score" in (own.dtype.names or ())},
        rejects=_rejects(folder),
        small_cells=small_cells,
    )


def _tells(counts: Counts) -> bool:
    return any(group != UNKNOWN for own in counts.values() for group in own)


def _range(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.quantile(values, (0, 0.5, 1)), np.float64)


def _score(values: NDArray[Any]) -> tuple[int, float, float]:
    known = values[~np.isnan(values)].astype(np.float64)
    return len(known), *((float(known.mean()), float(known.std())) if len(known) else (np.nan, np.nan))


def _rejects(folder: Path) -> dict[str, int]:
    """Reason -> how many, the most frequent first; without names, paths and numbers, which differ from file to file."""
    reasons = (DIGITS.sub("…", QUOTED.sub("…", without_paths(row["reason"]))) for row in _rows(folder))
    return dict(Counter(reasons).most_common())


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "rejects.jsonl"
    return list(read_json_lines(path)) if path.exists() else []


def _age(value: Any) -> str:
    """The decade of an age."""
    if value is None:
        return UNKNOWN
    if value >= OLDEST:
        return f"{OLDEST}+"
    first = int(value) // DECADE * DECADE
    return f"{first:02} to {first + DECADE - 1:02}"


def _plain(value: Any) -> str:
    return UNKNOWN if value in (None, "") else str(value)


ATTRIBUTES: dict[str, Callable[[Any], str]] = {"sex": _plain, "age": _age, "view": _plain, "labelled_by": _plain}
