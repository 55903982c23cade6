"""MURA: 40,005 bone X-rays of 14,656 studies of the upper extremity, seven study types, normal or abnormal."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrain.core.console import table
from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.labels import ABSENT, PRESENT, absent_share
from medtrain.datasets.record import TRAIN_VAL, Record

TITLE = "MURA (Stanford): bone X-rays of seven study types; every study is normal or abnormal."
STUDY_TYPES = ("XR_ELBOW", "XR_FINGER", "XR_FOREARM", "XR_HAND", "XR_HUMERUS", "XR_SHOULDER", "XR_WRIST")
CLASSES = STUDY_TYPES  # an image is abnormal or normal as one of its own study type, and unknown as one of another
STATES = ("normal", "abnormal")
TASK = "abnormality"
IMAGES = 40_005
LICENCE = "Stanford University Dataset Research Use Agreement: research only; cite Rajpurkar et al., MIDL 2018."
ACCESS = (
    "by a form at https://stanfordmlgroup.github.io/competitions/mura/ (3.3 GB)   unpack MURA-v1.1.zip, then use "
    "--root MURA-v1.1"
)

SPLITS = {"train": TRAIN_VAL, "valid": "test"}  # the set that is called valid is what results are told of
NAMED = re.compile(r"(?:^|/)((train|valid)/(XR_[A-Z]+)/(patient\d+)/(study\d+)_(positive|negative))(?:/([^/]*))?$")
LABELS = {"positive": PRESENT, "negative": ABSENT}
FIX = "unpack MURA-v1.1.zip again"


def records(root: Path) -> list[Record]:
    """Every image, by its path, also where a table names it and the file is not there.

    ROOT is MURA-v1.1 or MURA-v1.0, or the folder that holds it. The images are those of the tables
    (train_image_paths.csv and valid_image_paths.csv), or where these are not there, those of the folders. A study is
    abnormal as the name of its folder and the table of studies say; where the two do not agree, nobody knows.
    """
    base = _base(root)
    told, found = _told(base), []
    for split in SPLITS:
        for path in sorted(_listed(base, split) or _on_disk(base, split)):
            found.append(_record(base, path, told))
    return found


def left_out(root: Path) -> dict[str, int]:
    """Images in the folders that the tables do not name."""
    base = _base(root)
    extra = sum(len(set(_on_disk(base, split)) - set(listed)) for split in SPLITS if (listed := _listed(base, split)))
    return {"images that the tables do not name": extra} if extra else {}


def about(root: Path, records: list[Record]) -> dict[str, Any]:
    """`version`, `layout`, `conflicts_of_labels` (studies whose folder says otherwise than the table), and
    `study_types`: type -> split -> studies, images, patients, normal and abnormal images, views per study, and the
    weights of the paper's loss."""
    base = _base(root)
    tables = any(_table(base, f"{split}_image_paths.csv") for split in SPLITS)
    folders = any((base / split).is_dir() for split in SPLITS)
    conflicts = sorted({record.study for record in records if state_of(record) is None})
    types = {
        name: {split: _numbers([record for record in records if record.image.startswith(f"{split}/{name}/")])
               for split in SPLITS}
        for name in STUDY_TYPES
    }  # fmt: skip
    return {
        "version": base.name if base.name.startswith("MURA-") else "unknown",
        "layout": " and ".join(filter(None, ("folders" if folders else "", "tables" if tables else ""))),
        "conflicts_of_labels": conflicts,
        "study_types": {
            name: splits for name, splits in types.items() if any(own["images"] for own in splits.values())
        },
    }


def told(found: dict[str, Any]) -> str:
    """What `about` found, as tables."""
    head = ("study type", "split", "studies", "images", "patients", "normal", "abnormal", "weight 1", "weight 0")
    rows = [
        (
            name, split, own["studies"], own["images"], own["patients"], own["normal_images"], own["abnormal_images"],
            f"{own['weight_positive']:.6f}", f"{own['weight_negative']:.6f}",
        )
        for name, splits in found["study_types"].items()
        for split, own in splits.items()
    ]  # fmt: skip
    views: Counter[int] = Counter()
    for splits in found["study_types"].values():
        for own in splits.values():
            views.update(own["views_per_study"])
    studies = ", ".join(f"{count} ({number:,})" for count, number in sorted(views.items()))
    lines = [f"{found['version']}, by its {found['layout']}", table(head, rows), f"images in a study: {studies}"]
    if found["conflicts_of_labels"]:
        some = ", ".join(found["conflicts_of_labels"][:5])
        number = len(found["conflicts_of_labels"])
        lines.append(f"LABEL ERROR: of {number:,} studies folder and table disagree, they count as unknown: {some}")
    return "\n".join(lines)


def _numbers(own: list[Record]) -> dict[str, Any]:
    states = Counter(state_of(record) for record in own)
    views = Counter(Counter(record.study for record in own).values())
    normal, abnormal = states[ABSENT], states[PRESENT]
    return {
        "studies": len({record.study for record in own}), "images": len(own),
        "patients": len({record.patient for record in own}),
        "normal_images": normal, "abnormal_images": abnormal,
        "weight_positive": absent_share(normal, abnormal), "weight_negative": absent_share(abnormal, normal),
        "views_per_study": dict(sorted(views.items())),
    }  # fmt: skip


def state_of(record: Record) -> int | None:
    """What is known of an image, whatever its study type."""
    return next((state for state in record.labels.values() if state is not None), None)


def _record(base: Path, path: str, told: dict[str, int]) -> Record:
    named = NAMED.search(path)
    assert named is not None  # both listings give such paths alone
    study, split, kind, patient, number, word, _ = named.groups()
    state: int | None = LABELS[word]
    if told.get(study, state) != state:
        state = None
    labels = {name: state if name == kind else None for name in STUDY_TYPES}
    raw = {"folder": word, **({"table": told[study]} if study in told else {})}
    return Record("mura", path, base / path, labels, patient, f"{kind}/{patient}/{number}_{word}", SPLITS[split], raw)


def _base(root: Path) -> Path:
    """MURA's own folder."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder" if root.exists() else f"{root} does not exist", ACCESS)
    places = [root, *sorted(root.glob("MURA-v*"), reverse=True)]  # of two versions the newer
    for place in places:
        if any((place / split).is_dir() or _table(place, f"{split}_image_paths.csv") for split in SPLITS):
            return place
    holds = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
    raise InputError(f"{root} has neither train/ and valid/ nor train_image_paths.csv; it holds {holds}", ACCESS)


def _table(base: Path, name: str) -> Path | None:
    return csvfile.first(base, (name,))


def _listed(base: Path, split: str) -> list[str]:
    """The images of a split as its table names them, without what stands before `train/` or `valid/`."""
    listing = _table(base, f"{split}_image_paths.csv")
    rows = csvfile.rows_without_header(listing) if listing else ()
    return [_inside(row[0], f"{listing}, line {line}") for line, row in rows]


def _on_disk(base: Path, split: str) -> Iterator[str]:
    """The images of a split in their folders; hidden files are none."""
    for folder, _, names in os.walk(base / split):
        inside = Path(folder).relative_to(base).as_posix()
        if NAMED.search(inside):
            yield from (f"{inside}/{name}" for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith((".png", ".jpg", ".jpeg"))


def _told(base: Path) -> dict[str, int]:
    """Study -> its label, of the tables of studies."""
    told = {}
    for split in SPLITS:
        listing = _table(base, f"{split}_labeled_studies.csv")
        for line, row in csvfile.rows_without_header(listing) if listing else ():
            where = f"{listing}, line {line}"
            study = _inside(row[0], where)
            if len(row) < 2 or row[1].strip() not in ("0", "1"):
                raise InputError(f"{where}: {','.join(row)!r} has no label of 0 or 1", FIX)
            told[study.rstrip("/")] = int(row[1])
    return told


def _inside(path: str, where: str) -> str:
    """The part of a path from `train/` or `valid/` on, as in the folder MURA-v1.1."""
    path = path.strip()
    named = NAMED.search(path)
    if named is None or named[3] not in STUDY_TYPES:
        raise InputError(f"{where}: {path!r} names no study of MURA", FIX)
    return path[named.start(1) :]
