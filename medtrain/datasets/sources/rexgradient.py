"""ReXGradient-160K: 273,004 chest X-rays of 79 sites in the US, labelled by medtrain from their reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.download.archives import unpack_zstd
from medtrain.datasets.download.credentials import hugging_face
from medtrain.datasets.download.http_client import GO_ON, Remote, fetch
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.record import Record, Report, report_text, years
from medtrain.datasets.report_labeler import report_states

TITLE = "ReXGradient-160K (Gradient Health): chest X-rays with reports; medtrain reads the labels from their text."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 273_004
LICENCE = "Non-commercial data use agreement of Gradient Health; cite Zhang et al., arXiv 2505.00228."
ACCESS = (
    "Hugging Face, after accepting the agreement, with a token (about 150 GB): rajpurkarlab/ReXGradient-160K   "
    "cat deid_png.part* | tar --zstd -x   beside metadata/, then use --root FOLDER"
)

PAGE = "https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K"
PARTS = tuple(f"deid_png.part{number:02d}" for number in range(10))  # of one archive
UNPACKED = "images"  # where `download` unpacks it; by hand it is unpacked in the folder itself
SPLITS = {"train": "train", "valid": "val", "test": "test"}
VIEWS = {
    "PA": "PA", "POSTERO_ANTERIOR": "PA", "AP": "AP", "ANTERO_POSTERIOR": "AP", "AP AXIAL": "AP",
    "LATERAL": "lateral", "LL": "lateral", "RL": "lateral",
    "LAO": "other", "RAO": "other", "RPO": "other", "LPO": "other",
}  # fmt: skip
COLUMNS = ("id", "Findings", "Impression")


def records(root: Path) -> list[Record]:
    """Every image of the studies that have a text, in the order of the tables, also where the file is not there."""
    return [record for name, split in SPLITS.items() for record in _of_split(root, name, split)]


def left_out(root: Path) -> dict[str, int]:
    """Studies that are none of the records."""
    rows = (row for name in SPLITS for row in csvfile.rows(_table(root, name), COLUMNS))
    studies = sum(not report_text(row["Findings"], row["Impression"]) for row in rows)
    return {"studies without a text": studies} if studies else {}


def download(root: Path) -> None:
    """Fetch the tables and the images, 150 GB, with a Hugging Face token."""
    tables = [f"metadata/{name}_metadata{end}" for name in SPLITS for end in (".csv", "_view_position.json")]
    parts = () if (root / UNPACKED / "deid_png").exists() else PARTS
    remotes = [Remote(f"{PAGE}/resolve/main/{name}", name) for name in (*tables, *parts)]
    fetch(remotes, root, hugging_face(PAGE))
    if parts:
        unpack_zstd([root / name for name in parts], root / UNPACKED, GO_ON)


def reports(root: Path) -> list[Report]:
    """Every study with a text; there is no gold file."""
    return [
        Report(row["id"], text)
        for name in SPLITS
        for row in csvfile.rows(_table(root, name), COLUMNS)
        if (text := report_text(row["Findings"], row["Impression"]))
    ]


def _of_split(root: Path, name: str, split: str) -> Iterator[Record]:
    """A row of the table is a study; its images are in the JSON file beside it, as parallel lists."""
    table = _table(root, name)
    base = root / UNPACKED if (root / UNPACKED / "deid_png").is_dir() else root
    images = _images(table.parent / f"{name}_metadata_view_position.json")
    for line, row in enumerate(csvfile.rows(table, COLUMNS), start=2):
        text = report_text(row["Findings"], row["Impression"])
        if not text:
            continue
        labels: dict[str, int | None] = dict(report_states(text))
        own = images.get(row["id"])
        if own is None:
            raise InputError(f"{table}, line {line}: {row['id']} is not in the JSON file", "fetch both files again")
        paths, views = own["ImagePath"], own.get("ImageViewPosition") or [""] * len(own["ImagePath"])
        if len(paths) != len(views):
            problem = f"{len(paths)} images with {len(views)} views"
            raise InputError(f"{table}, line {line}: {row['id']} has {problem}", "fetch both files again")
        about = {"sex": row.get("PatientSex", ""), "age": years(row.get("PatientAge", ""))}
        for path, view in zip(paths, views, strict=True):
            image = str(path).removeprefix("../")
            meta = {"view": VIEWS.get(str(view), ""), **about}
            patient, study = str(own["PatientID"]), str(own["StudyInstanceUid"])
            yield Record("rexgradient", image, base / image, labels, patient, study, split, {}, meta)


def _table(root: Path, name: str) -> Path:
    folder = root / "metadata" if (root / "metadata").is_dir() else root
    return csvfile.find(folder, (f"{name}_metadata.csv",), ACCESS)


def _images(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})", f"fetch it again: {ACCESS}") from None
    needed = {"ImagePath", "PatientID", "StudyInstanceUid"}
    if not isinstance(found, dict) or any(
        not isinstance(own, dict) or needed - set(own) or not isinstance(own["ImagePath"], list)
        for own in found.values()
    ):
        raise InputError(f"{path}: not every study has {', '.join(sorted(needed))}", f"fetch it again: {ACCESS}")
    return found
