"""VinDr-CXR: 18,000 frontal chest X-rays of Hanoi, read by three radiologists (training) or five (test)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from medtrain.core.counts import counted
from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.download import physionet
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN
from medtrain.datasets.record import TRAIN_VAL, Record

TITLE = "VinDr-CXR (Hanoi): chest X-rays as DICOM, labelled by radiologists; Kaggle's VinBigData is its training part."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 18_000
LICENCE = "PhysioNet Credentialed Health Data License; cite Nguyen et al., Scientific Data 2022."
SHARING = "forbidden"  # but on PhysioNet, under the agreement of the data
ACCESS = (
    "PhysioNet, with a credentialed account (about 200 GB): https://physionet.org/content/vindr-cxr/1.0.0/   "
    "(or Kaggle's vinbigdata-chest-xray-abnormalities-detection), then use --root FOLDER"
)

READERS = 3
COLUMNS = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Emphysema": "Emphysema",
    "Infiltration": "Infiltration",
    "Pleural effusion": "Effusion",
    "Pleural thickening": "Pleural_Thickening",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Pulmonary fibrosis": "Fibrosis",
}
TELLS = tuple(name for name in PATHOLOGIES if name != "Hernia")
OTHERS = (
    "Aortic enlargement", "Calcification", "Clavicle fracture", "Enlarged PA", "ILD", "Lung Opacity", "Lung cavity",
    "Lung cyst", "Mediastinal shift", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Tuberculosis",
    "Other diseases", "Other disease", "No finding",
)  # fmt: skip
KAGGLE_HAS_NOT = ("Edema", "Emphysema", "Pneumonia")
EITHER = "Nodule/Mass"  # which of the two, nobody says
RELEASE = "vindr-cxr/1.0.0"
DOWNLOADED = f"physionet.org/files/{RELEASE}"  # where wget -r puts it
KAGGLE_FOLDER = "vinbigdata-chest-xray-abnormalities-detection"
TRAIN, TEST, KAGGLE = "image_labels_train.csv", "image_labels_test.csv", "train.csv"


def download(root: Path) -> None:
    """Fetch every file of the release, with a PhysioNet login."""
    physionet.download(RELEASE, root)


def records(root: Path) -> list[Record]:
    """Every image of the tables, by their order, also where the file is not there. There are no patient ids.

    PhysioNet's tables lie in ROOT/annotations, in ROOT, or beside the images; Kaggle's is train.csv in ROOT or in
    the folder of the competition, and has only the training part.
    """
    base = next((root / name for name in (DOWNLOADED, KAGGLE_FOLDER) if (root / name).is_dir()), root)
    kaggle = csvfile.first(base, (KAGGLE,))
    if kaggle is not None and csvfile.first(_place(base, TRAIN), (TRAIN,)) is None:
        return [_record(base, "train", image, counted, "") for image, counted in _kaggle_votes(kaggle).items()]
    votes, blank = _votes(csvfile.find(_place(base, TRAIN), (TRAIN,), ACCESS))
    found = [_record(base, "train", image, own, TRAIN_VAL, blank.get(image, ())) for image, own in votes.items()]
    if (table := csvfile.first(_place(base, TEST), (TEST,))) is not None:
        test = _consensus(table)
        found += [_record(base, "test", image, given, "test") for image, given in test.items()]
    return found


def _place(base: Path, table: str) -> Path:
    """The folder that holds a table."""
    folders = (base / "annotations", base, base / ("test" if table == TEST else "train"))
    return next((folder for folder in folders if csvfile.first(folder, (table,))), base)


def vote_labels(votes: Mapping[str, int | None], decide: int = 2) -> dict[str, int | None]:
    """Votes for each column (None: unknown) -> labels: from `decide` on it is there, fewer leave it open.

    Two of three in training, which is how the paper's own table was made; the consensus of the test is one vote.
    """
    states: dict[str, int | None] = dict.fromkeys(PATHOLOGIES)
    for column, label in COLUMNS.items():
        count = votes.get(column)
        if count is not None:
            states[label] = PRESENT if count >= decide else UNCERTAIN if count else ABSENT
    if votes.get(EITHER) == 0:
        states |= {"Mass": ABSENT, "Nodule": ABSENT}
    return states


def _record(
    base: Path, folder: str, image: str, votes: Mapping[str, int | None], split: str, blank: Collection[str] = ()
) -> Record:
    """`blank` are the columns where some reader's cell is; the others may still have settled them."""
    what, decide = ("consensus", 1) if split == "test" else ("votes", 2)
    raw = {what: {name: count for name, count in votes.items() if count}}
    name = f"{folder}/{image}.dicom"
    told = {column: None if column in blank and (count or 0) < decide else count for column, count in votes.items()}
    return Record("vindr_cxr", name, base / name, vote_labels(told, decide), "", "", split, raw, {"view": "PA"})


def _votes(table: Path) -> tuple[dict[str, Counter[str]], dict[str, set[str]]]:
    """image -> votes for each finding of PhysioNet's table, where each of three readers has a row, and the columns
    where one of them has a blank."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    blank: dict[str, set[str]] = defaultdict(set)
    readers: Counter[str] = Counter()
    columns: list[str] = []
    for line, row in enumerate(csvfile.rows(table, ("image_id", "rad_id", EITHER, *COLUMNS)), start=2):
        image, columns = row["image_id"], columns or _findings(row)
        readers[image] += 1
        for column in columns:
            vote = _zero_or_one(row[column], column, f"{table}, line {line}")
            votes[image][column] += vote or 0
            if vote is None:
                blank[image].add(column)
    _need_three(readers, table)
    return votes, blank


def _kaggle_votes(table: Path) -> dict[str, dict[str, int | None]]:
    """The same of Kaggle's table, which has a row for each box, and one for each reader who saw nothing."""
    named: dict[str, dict[str, set[str]]] = {}
    readers: dict[str, set[str]] = defaultdict(set)
    for row in csvfile.rows(table, ("image_id", "class_name", "rad_id")):
        readers[row["image_id"]].add(row["rad_id"])
        named.setdefault(row["image_id"], defaultdict(set))[row["class_name"]].add(row["rad_id"])
    _need_three(Counter({image: len(those) for image, those in readers.items()}), table)
    asked = [column for column in (EITHER, *COLUMNS) if column not in KAGGLE_HAS_NOT]
    return {
        image: {**dict.fromkeys(asked, 0), **{column: len(readers) for column, readers in classes.items()}}
        for image, classes in named.items()
    }


def _consensus(table: Path) -> dict[str, dict[str, int | None]]:
    """The same of the test set: one row an image, 0 or 1, of five readers together."""
    return {
        row["image_id"]: {name: _zero_or_one(row[name], name, f"{table}, line {line}") for name in _findings(row)}
        for line, row in enumerate(csvfile.rows(table, ("image_id", EITHER, *COLUMNS)), start=2)
    }


def _findings(row: csvfile.Row) -> list[str]:
    """The columns that are findings, also those that become no label: they are kept as raw values."""
    return [name for name in (EITHER, *COLUMNS, *OTHERS) if name in row]


def _zero_or_one(text: str | None, column: str, where: str) -> int | None:
    """A cell; None where it is blank, as some are in some copies."""
    if text not in (None, "", "0", "1", "0.0", "1.0"):
        raise InputError(f"{where}: {column} is {text!r}, not 0 or 1", "fetch the table again")
    return int(float(text)) if text else None


def _need_three(readers: Counter[str], table: Path) -> None:
    strange = [image for image, count in readers.items() if count != READERS]
    if strange:
        images = f"{counted(len(strange), 'images')} {'have' if len(strange) > 1 else 'has'}"
        problem = f"{table}: {images} not {READERS} readers (the first: {strange[0]})"
        raise InputError(problem, "fetch the table again: it is cut off, or is another one")
