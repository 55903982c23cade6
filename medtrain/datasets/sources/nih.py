"""NIH ChestX-ray14: 112,120 frontal chest X-rays of 30,805 patients; 14 findings, read from reports by a program."""

from __future__ import annotations

from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.download.archives import unpack
from medtrain.datasets.download.credentials import OPEN
from medtrain.datasets.download.http_client import GO_ON, Remote, fetch
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT
from medtrain.datasets.layouts import images_in
from medtrain.datasets.record import TRAIN_VAL, Record, labels_sha256, years

TITLE = "NIH ChestX-ray14: frontal chest X-rays with 14 findings that a program read from the reports."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 112_120
LICENCE = "No restriction on use; cite Wang et al., CVPR 2017, and link to the NIH Clinical Center's page."
SHARING = "free"
ACCESS = (
    "open, about 45 GB in 12 archives, with Data_Entry_2017_v2020.csv and the two split lists: "
    "https://nihcc.app.box.com/v/ChestXray-NIHCC   unpack all into one folder, then use --root FOLDER"
)

BOX = "https://nihcc.box.com/shared/static"
ARCHIVES = (  # of images_001.tar.gz to images_012.tar.gz, as NIH's own download script names them
    "vfk49d74nhbxq3nqjg0900w5nvkorp5c", "i28rlmbvmfjbl8p2n3ril0pptcmcu9d1", "f1t00wrtdk94satdfb9olcolqx20z2jp",
    "0aowwzs5lhjrceb3qp67ahp0rd1l1etg", "v5e3goj22zr6h8tzualxfsqlqaygfbsn", "asi7ikud9jwnkrnkj99jnpfkjdes7l6l",
    "jn1b4mw4n6lnh74ovmcjb8y48h8xj07n", "tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j", "upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj",
    "l6nilvfa9cg3s28tqv1qc1olm3gnz54p", "hhq8fkdgvcari67vfhs7ppg2w6ni4jze", "ioqwiy20ihqwyr8pf4c24eazhh281pbu",
)  # fmt: skip
# Box has no fixed address for the tables; this copy has one, and what it says is known by its checksum.
MIRROR = "https://huggingface.co/datasets/alkzar90/NIH-Chest-X-ray-dataset/resolve/main/data"
LABELS_SHA256 = "20215da61db398f14bda2c81f50266f9e283407b71b13e4e1335ee4097cabcd1"  # of the table of 2020
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")
LISTS = {"train_val_list.txt": TRAIN_VAL, "test_list.txt": "test"}
FOLDERS = ("images", *(f"images_{number:03d}/images" for number in range(1, 13)))
NO_FINDING = "No Finding"
TOKENS = (*PATHOLOGIES, NO_FINDING)


def records(root: Path) -> list[Record]:
    """Every row of the metadata table, in its order, also where the image file is not there.

    The images lie in ROOT, in ROOT/images, or in ROOT/images_001/images to images_012/images. The official split counts
    where both of its lists are beside the table.
    """
    table = csvfile.find(root, TABLES, ACCESS)
    paths, splits = images_in(root, FOLDERS), _official_splits(table.parent)
    known: dict[str, dict[str, int | None]] = {}
    found = []
    for line, row in enumerate(csvfile.rows(table, COLUMNS), start=2):
        image, findings, patient = row["Image Index"], row["Finding Labels"], csvfile.id_in(row["Patient ID"])
        if findings not in known:
            known[findings] = _labels(findings, f"{table}, line {line}")
        if image[:8] != patient.zfill(8):
            raise InputError(f"{table}, line {line}: {image} is not of patient {patient}", "fetch the table again")
        meta = {"view": row["View Position"], "sex": row["Patient Gender"], "age": years(row["Patient Age"])}
        path = paths.get(image, root / "images" / image)
        raw = {"findings": findings}
        found.append(Record("nih", image, path, known[findings], patient, "", splits.get(image, ""), raw, meta))
    unlisted = sum(not record.split for record in found)
    if splits and unlisted:
        raise InputError(
            f"{unlisted:,} images of {table.name} are in none of {', '.join(LISTS)}", "fetch the lists again"
        )
    return found


def warned(records: list[Record]) -> str:
    """What a user should know of these records before they compare results; or nothing."""
    if any(record.split for record in records):
        return ""
    return (
        f"NIH's own lists ({', '.join(LISTS)}) are not beside the table: the split will be medtrain's own, and results"
        " will not compare with published ones, which are of the official test images"
    )


def download(root: Path) -> None:
    """Fetch tables and images, 45 GB."""
    fetch([Remote(f"{MIRROR}/{name}", name) for name in (TABLES[0], *LISTS)], root, OPEN)
    if labels_sha256(records(root)) != LABELS_SHA256:
        (root / TABLES[0]).unlink()
        raise InputError(f"{MIRROR}/{TABLES[0]}: has not the labels of NIH's table", f"take that of NIH: {ACCESS}")
    archives = {f"images_{number:03d}": f"{BOX}/{code}.gz" for number, code in enumerate(ARCHIVES, start=1)}
    missing = {name: url for name, url in archives.items() if not (root / name).exists()}
    fetch([Remote(url, f"{name}.tar.gz") for name, url in missing.items()], root, OPEN)
    for name in missing:
        unpack(root / f"{name}.tar.gz", root / name, GO_ON)


def _labels(findings: str, where: str) -> dict[str, int | None]:
    """`Mass|Nodule`: what is named is present, all else absent."""
    tokens = findings.split("|")
    strange = [token for token in tokens if token not in TOKENS]
    if strange or (NO_FINDING in tokens and len(tokens) > 1):
        raise InputError(f"{where}: the findings are {findings!r}", "fetch the table again: they must be of the 14")
    return {name: PRESENT if name in tokens else ABSENT for name in PATHOLOGIES}


def _official_splits(folder: Path) -> dict[str, str]:
    """image -> its official split; empty where neither list is there. Neither ends in a newline."""
    missing = [name for name in LISTS if not (folder / name).exists()]
    if len(missing) == len(LISTS):
        return {}
    if missing:
        raise InputError(f"{folder} has no {missing[0]}, but the other list", "fetch both lists, or take both away")
    return {
        image: split
        for name, split in LISTS.items()
        for image in (folder / name).read_text(encoding="utf-8-sig").split()
    }
