"""Which sample goes to which split, shard and place: decided once, before any shard is written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from medtrain.config.renamed import canonical, current
from medtrain.datasets.labels import UNKNOWN
from medtrain.datasets.record import FRACTIONS, TRAIN_VAL, Record, View, number_of
from medtrain.imaging.encode import BYTES_A_PIXEL
from medtrain.imaging.pixel_limit import MAX_PIXELS
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.shards.packed_dataset import SPLITS
from medtrain.shards.sample_keys import keys_by_content, sample_key

MAX_REJECTS = 100  # images that may be left out unless somebody allows more
OFFICIAL = {**{split: place for place, split in enumerate(SPLITS)}, TRAIN_VAL: 0}


@dataclass(frozen=True)
class PackOptions:
    """What decides the bytes of a packed dataset, besides its records."""

    seed: int = 42
    shard_mb: float = 256.0
    max_samples: int = 0
    encoding: str = "copy"
    size: int = 0
    views: tuple[View, ...] = ()
    color_mode: Literal["", "gray", "rgb"] = ""  # of images in gray none, as the first version has it
    fractions: tuple[float, float, float] = FRACTIONS
    max_pixels: int = MAX_PIXELS  # of an image or a frame
    clips: bool = False

    @property
    def unit(self) -> str:
        """What the samples are called."""
        return "clips" if self.clips else "images"

    @property
    def rgb(self) -> bool:
        """Whether they are packed in color."""
        return self.color_mode == "rgb"

    @property
    def shape(self) -> Shape | None:
        """Of the clips that are packed; None for images."""
        return Shape(self.size, 3 if self.rgb else 1) if self.clips else None

    def stored(self) -> dict[str, Any]:
        """All of it, by the names and values that files have had since the first version."""
        old = (canonical(f"data.{name}", value) for name, value in asdict(self).items())
        return {name.removeprefix("data."): value for name, value in old}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> PackOptions:
        """From what `stored` and JSON make of one."""
        new = (current(f"data.{name}", value) for name, value in stored.items())
        made: dict[str, Any] = {name.removeprefix("data."): value for name, value in new}
        for name in {"views", "fractions"} & made.keys():  # JSON has lists
            made[name] = tuple(made[name])
        made.setdefault("clips", bool(made.get("color_mode")))  # images in color are younger than clips
        return cls(**made)

    def described(self) -> dict[str, Any]:
        """As a mapping; without what came later, where it has no say, so that what was packed before stays the same."""
        fields = self.stored()
        unused = {"copy": ("encoding", "size")}.get(self.encoding, ())
        later = {
            "views": (), "colours": "", "fractions": FRACTIONS, "max_pixels": MAX_PIXELS,
            "clips": bool(self.color_mode),
        }  # fmt: skip
        return {
            name: value
            for name, value in fields.items()
            if name not in unused and (name not in later or value != later[name])
        }


@dataclass(frozen=True)
class PlannedSample:
    """A sample's fixed place: everything a packing process needs to know of it; `size` counts a clip's frames."""

    path: str
    image: str
    key: str
    group: int
    study: int
    content: int
    size: int
    labels: tuple[int, ...]
    raw: dict[str, Any]
    meta: dict[str, Any]


Plan = dict[str, list[PlannedSample]]  # shard name -> its samples, in the order of the tar


def chosen(records: list[Record], options: PackOptions) -> list[Record]:
    """The records that are packed, shuffled by the seed, so that a shard is a random sample."""
    shuffled = sorted(records, key=lambda record: number_of("order", options.seed, record.source, record.image))
    return shuffled[: options.max_samples or len(shuffled)]


def without_copies(
    records: list[Record], contents: list[tuple[int, int]]
) -> tuple[list[Record], list[tuple[int, int]], list[dict[str, str]]]:
    """Records and contents without the images whose bytes stand in a later official split too, and a row for each of
    those: official splits stay as they are, and what is tested on is not trained on."""
    last: dict[int, int] = {}
    for record, (content, _) in zip(records, contents, strict=True):
        if record.split:
            last[content] = max(last.get(content, 0), OFFICIAL.get(record.split, 0))
    kept, kept_contents, copies = [], [], []
    for record, found in zip(records, contents, strict=True):
        if record.split and OFFICIAL.get(record.split, 0) < last[found[0]]:
            reason = f"the same bytes are in the official {SPLITS[last[found[0]]]} split"
            copies.append({"image": record.image, "reason": reason})
        else:
            kept.append(record)
            kept_contents.append(found)
    return kept, kept_contents, copies


def make_plan(
    shuffled: list[Record], contents: list[tuple[int, int]], classes: tuple[str, ...], options: PackOptions
) -> Plan:
    """Give every record a split, a shard and a place in it. `contents` are as of medtrain.shards.file_hashes."""
    groups = group_linked(shuffled, [content for content, _ in contents])
    studies = number_studies(shuffled, [content for content, _ in contents])
    splits = assign_splits(shuffled, groups, options.seed, options.fractions)
    keys = keys_by_content(shuffled, contents) if options.clips else [sample_key(record) for record in shuffled]
    plan: Plan = {}
    for split in SPLITS:
        own_samples = [
            PlannedSample(
                str(record.path), record.image, key, group, study, content, size,
                tuple(UNKNOWN if (value := record.labels[name]) is None else value for name in classes),
                record.raw, record.meta,
            )
            for record, key, group, study, (content, size), own in zip(
                shuffled, keys, groups, studies, contents, splits, strict=True
            )
            if own == split
        ]  # fmt: skip
        plan.update(_cut(own_samples, split, options))
    return plan


def group_linked(records: list[Record], contents: list[int]) -> list[int]:
    """One group number for all images tied by a patient or by identical bytes, over however many links.

    The number is the smallest content hash of the group: a patient's id has no part in it.
    """
    smaller: dict[int, int] = {}

    def smallest(content: int) -> int:
        while (link := smaller.setdefault(content, content)) != content:
            smaller[content] = content = smaller[link]  # halves the path for the next who asks
        return content

    first: dict[tuple[str, str], int] = {}
    for record, content in zip(records, contents, strict=True):
        known = first.setdefault((record.source, record.patient), content) if record.patient else content
        one, other = smallest(content), smallest(known)
        smaller[max(one, other)] = min(one, other)
    return [smallest(content) for content in contents]


def number_studies(records: list[Record], contents: list[int]) -> list[int]:
    """One number for the images of each study, from what is in them all; an image that is of none is its own."""
    images: dict[tuple[str, str, str], list[int]] = {}
    for record, content in zip(records, contents, strict=True):
        if record.study:
            images.setdefault((record.source, record.patient, record.study), []).append(content)
    numbers = {study: number_of("study", *sorted(own)) if len(own) > 1 else own[0] for study, own in images.items()}
    return [
        numbers.get((record.source, record.patient, record.study), content)
        for record, content in zip(records, contents, strict=True)
    ]


def assign_splits(
    records: list[Record], groups: list[int], seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> list[str]:
    """The official split where a record has one; else `fractions` (train, val, test) by group, in proportion within
    each set of labels.

    A group goes where its first image with an official split is; only official splits may cut one apart. What is
    officially for training and validation together is cut as these two are (of 80/10/10: 8 to 1).
    """
    unknown = {record.split for record in records} - {"", *OFFICIAL}
    if unknown:
        raise ValueError(f"a record's split is {unknown}, not one of {SPLITS}")
    sizes = Counter(groups)
    labels: dict[int, tuple[Any, ...]] = {}
    split_of: dict[int, str] = {}
    no_test = set()
    for record, group in zip(records, groups, strict=True):
        labels.setdefault(group, tuple(record.labels.values()))
        if record.split == TRAIN_VAL:
            no_test.add(group)
        elif record.split:
            split_of.setdefault(group, record.split)
    open_groups = sorted(set(groups) - set(split_of), key=lambda group: number_of("split", seed, group))
    alike = Counter((labels[group], group in no_test) for group in open_groups)
    # Labels too rare to be cut in ten are cut together: each alone would go to train.
    stratum = {
        group: (labels[group] if alike[labels[group], group in no_test] >= 10 else (), group in no_test)
        for group in open_groups
    }
    totals: Counter[tuple[Any, ...]] = Counter()
    for group in open_groups:
        totals[stratum[group]] += sizes[group]
    taken = dict.fromkeys(totals, 0)
    for group in open_groups:
        own = stratum[group]
        split_of[group] = _cut_at(taken[own] / totals[own], own[1], fractions)
        taken[own] += sizes[group]
    return [
        split_of[group] if record.split in ("", TRAIN_VAL) else record.split
        for record, group in zip(records, groups, strict=True)
    ]


def _cut_at(position: float, no_test: bool, fractions: tuple[float, float, float]) -> str:
    """The split of what lies at a position from 0 to 1."""
    train, _, test = fractions
    position *= 1 - test if no_test else 1
    return "train" if position < train else "val" if position < 1 - test else "test"


def split_rule(records: list[Record], fractions: tuple[float, float, float] = FRACTIONS) -> str:
    """The rule that `assign_splits` follows, in words, for the manifest."""
    percent = [round(100 * part) for part in fractions]
    known = any(record.patient for record in records)
    groups = "patient and by duplicate files" if known else "duplicate files, as patients are unknown"
    cut = f"{'/'.join(map(str, percent))} grouped by {groups}, stratified by label"
    told = sum(bool(record.split) for record in records)
    if any(record.split == TRAIN_VAL for record in records):
        ratio = Fraction(percent[0], percent[1])
        return f"official, its {TRAIN_VAL} cut {ratio.numerator} to {ratio.denominator}; without one {cut}"
    return "official" if told == len(records) else f"official where there is one, else {cut}" if told else cut


def in_several_splits(plan: Plan) -> int:
    """How many groups (patients) an official split has cut apart."""
    splits: dict[int, set[str]] = {}
    for name, samples in plan.items():
        for sample in samples:
            splits.setdefault(sample.group, set()).add(name.partition("-")[0])
    return sum(len(own) > 1 for own in splits.values())


def _cut(samples: list[PlannedSample], split: str, options: PackOptions) -> Plan:
    """Shards of at most `shard_mb`, at least 8 where a split is large enough, so that packing goes in parallel."""
    if not samples:
        return {}
    total = sum(_tar_bytes(_image_bytes(sample.size, options)) for sample in samples)
    count = max(-(-total // int(options.shard_mb * 1e6)), min(8, len(samples) // 1000), 1)
    count = min(count, len(samples))
    bounds = [len(samples) * i // count for i in range(count + 1)]
    return {f"{split}-{i:06d}.tar": samples[bounds[i] : bounds[i + 1]] for i in range(count)}


def _image_bytes(source_bytes: int, options: PackOptions) -> int:
    """What an image takes in a shard: more or less, where it is encoded anew; of a clip its frames are given."""
    if options.shape:
        return options.shape.file_bytes(source_bytes)
    if options.encoding == "copy" or not options.size:
        return source_bytes
    channels = 3 if options.rgb else 1
    return min(source_bytes, int(BYTES_A_PIXEL[options.encoding] * channels * options.size**2))


def _tar_bytes(image_bytes: int) -> int:
    return 512 + -(-image_bytes // 512) * 512 + 1024


def plan_digest(plan: Plan, classes: tuple[str, ...], options: PackOptions) -> str:
    """Pins every image, label and option that decides the packed bytes."""
    digest = hashlib.sha256(json.dumps([classes, options.described()]).encode())
    for name, samples in plan.items():
        digest.update(name.encode())
        for sample in samples:
            digest.update(repr((sample.key, sample.content, sample.labels, sample.raw, sample.meta)).encode())
    return digest.hexdigest()
