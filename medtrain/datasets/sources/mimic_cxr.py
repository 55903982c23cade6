"""MIMIC-CXR-JPG: 377,110 chest X-rays of Beth Israel Deaconess; labels that the CheXpert labeller read from reports."""

from __future__ import annotations

from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.download import physionet
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.record import Record
from medtrain.datasets.sources.chexpert import NO_FINDING, OBSERVATIONS, TOO_WIDE, observed, raw_values

TITLE = "MIMIC-CXR-JPG (Boston): chest X-rays, seven of the 14 labels, read from the reports by the CheXpert labeller."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 377_110
LICENCE = "PhysioNet Credentialed Health Data License; cite Johnson et al. 2019 and 2024, and PhysioNet."
SHARING = "forbidden"  # but on PhysioNet, under the agreement of the data
ACCESS = (
    "PhysioNet, with a credentialed account, CITI training and the signed agreement (570 GB): "
    "https://physionet.org/content/mimic-cxr-jpg/2.1.0/   then use --root FOLDER"
)

TELLS = tuple(OBSERVATIONS.values())
METADATA, SPLIT, LABELS = (f"mimic-cxr-2.0.0-{name}.csv" for name in ("metadata", "split", "chexpert"))
RELEASE = "mimic-cxr-jpg/2.1.0"
DOWNLOADED = f"physionet.org/files/{RELEASE}"  # where wget -r puts it
SPLITS = {"train": "train", "validate": "val", "test": "test"}
# ViewCodeSequence_CodeMeaning, where ViewPosition is blank
MEANINGS = {"": "", "postero-anterior": "PA", "antero-posterior": "AP"}


def download(root: Path) -> None:
    """Fetch every file of the release, with a PhysioNet login."""
    physionet.download(RELEASE, root)


def records(root: Path) -> list[Record]:
    """Every row of the metadata table, in its order, also where the image file is not there."""
    base = root / DOWNLOADED if (root / DOWNLOADED).is_dir() else root
    splits = {
        row["dicom_id"]: row["split"]
        for row in csvfile.rows(csvfile.find(base, (SPLIT,), ACCESS), ("dicom_id", "split"))
    }
    labels, raw = _labels(csvfile.find(base, (LABELS,), ACCESS))
    unlabelled: dict[str, int | None] = dict.fromkeys(PATHOLOGIES)
    table = csvfile.find(base, (METADATA,), ACCESS)
    found = []
    for line, row in enumerate(csvfile.rows(table, ("dicom_id", "subject_id", "study_id", "ViewPosition")), start=2):
        image, patient, study = row["dicom_id"], csvfile.id_in(row["subject_id"]), csvfile.id_in(row["study_id"])
        split = SPLITS.get(splits.get(image, ""))
        if split is None:
            raise InputError(f"{table}, line {line}: {image} has no split in {SPLIT}", "fetch both tables again")
        name = f"p{patient[:2]}/p{patient}/s{study}/{image}.jpg"
        meta = {"view": _view(row)}
        known = labels.get(study, unlabelled)
        found.append(
            Record("mimic_cxr", name, base / "files" / name, known, patient, study, split, raw.get(study, {}), meta)
        )
    return found


def _labels(table: Path) -> tuple[dict[str, dict[str, int | None]], dict[str, dict[str, str]]]:
    """study -> its labels, and study -> its raw values. Eight studies have no row."""
    columns = ("study_id", NO_FINDING, *OBSERVATIONS, *TOO_WIDE)
    labels, raw = {}, {}
    for line, row in enumerate(csvfile.rows(table, columns), start=2):
        study = csvfile.id_in(row["study_id"])
        labels[study], raw[study] = observed(row, f"{table}, line {line}"), raw_values(row)
    return labels, raw


def _view(row: csvfile.Row) -> str:
    """PA, AP, lateral, other, or nothing where nobody says."""
    position = row["ViewPosition"].strip().upper()
    if position:
        side = "lateral" if position in ("LL", "RL") or "LATERAL" in position else "other"
        return position if position in ("PA", "AP") else side
    meaning = (row.get("ViewCodeSequence_CodeMeaning") or "").strip().lower()
    return MEANINGS.get(meaning, "lateral" if "lateral" in meaning else "other")
