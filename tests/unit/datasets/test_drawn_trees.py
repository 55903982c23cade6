"""The five sets that nobody may hand on, drawn with real image files, one broken, one missing: from tree to pixels."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SYNTAXES, as_bytes, compressed, dataset, stored
from PIL import Image

from medtrain import datasets
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.sources import chexpert, mimic_cxr, padchest, vindr_cxr
from medtrain.imaging.decode import decode
from medtrain.shards.index import open_index
from medtrain.shards.pack import PackOptions, pack

GREY = np.add.outer(np.arange(60), 2 * np.arange(80)).astype(np.uint8)  # no two rows or columns alike
OBSERVED = (chexpert.NO_FINDING, *chexpert.OBSERVATIONS, *chexpert.TOO_WIDE)


def png16(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def draw_chexpert(root: Path, folder: Path) -> dict[str, bytes]:
    rows = [",".join(("Path", *chexpert.ABOUT, *OBSERVED))]
    files = {}
    for patient in range(1, 7):
        name = f"train/patient{patient:05d}/study1/view1_frontal.jpg"
        rows.append(f"CheXpert-v1.0/{name},Female,60,Frontal,AP," + ",".join("1.0" for _ in OBSERVED[1:]) + ",")
        files[name] = jpeg(GREY + patient)
    (root / "train.csv").write_text("\n".join(rows))
    return files


def draw_mimic_cxr(root: Path, folder: Path) -> dict[str, bytes]:
    images = {f"d-{i}": (f"1{i:07d}", f"5{i:07d}") for i in range(6)}
    tables = {
        mimic_cxr.METADATA: ["dicom_id,subject_id,study_id,ViewPosition"],
        mimic_cxr.SPLIT: ["dicom_id,study_id,subject_id,split"],
        mimic_cxr.LABELS: [",".join(("subject_id", "study_id", *OBSERVED))],
    }
    files = {}
    for image, (patient, study) in images.items():
        tables[mimic_cxr.METADATA].append(f"{image},{patient},{study},PA")
        tables[mimic_cxr.SPLIT].append(f"{image},{study},{patient},train")
        tables[mimic_cxr.LABELS].append(f"{patient},{study}," + ",".join("-1.0" for _ in OBSERVED))
        files[f"files/p{patient[:2]}/p{patient}/s{study}/{image}.jpg"] = jpeg(GREY + int(image[-1]))
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines))
    return files


def draw_padchest(root: Path, folder: Path) -> dict[str, bytes]:
    rows = [",".join(("", *padchest.COLUMNS))]
    files = {}
    for i in range(6):
        rows.append(f"{i},{i}.png,{i},20140915,s{i},p{i},1950,F,PA,Physician,['pneumonia']")
        files[f"{i}/{i}.png"] = png16(GREY.astype(int) * 257 + i)
    (root / padchest.TABLE).write_text("\n".join(rows))
    return files


def draw_rexgradient(root: Path, folder: Path) -> dict[str, bytes]:
    (root / "metadata").mkdir()
    files = {}
    for split, numbers in (("train", range(4)), ("valid", range(4, 5)), ("test", range(5, 6))):
        rows, told = ["id,Findings,Impression"], {}
        for i in numbers:
            name = f"deid_png/{i}/1/studies/u{i}/series/s/instances/x.png"
            rows.append(f"p{i},Small effusion.,No pneumothorax.")
            told[f"p{i}"] = {"PatientID": str(i), "StudyInstanceUid": f"u{i}", "ImagePath": [f"../{name}"],
                             "ImageViewPosition": ["PA"]}  # fmt: skip
            files[name] = png16(GREY.astype(int) * 16 + 200 + i)  # the 12 bits of a detector
        (root / "metadata" / f"{split}_metadata.csv").write_text("\n".join(rows))
        (root / "metadata" / f"{split}_metadata_view_position.json").write_text(json.dumps(told))
    return files


def draw_vindr_cxr(root: Path, folder: Path) -> dict[str, bytes]:
    names = ("Nodule/Mass", *vindr_cxr.COLUMNS)
    head, cells = ",".join(("image_id", "rad_id", *names)), ",".join("1" for _ in names)
    (root / "annotations").mkdir()
    files = {}
    kinds = (("JPEG lossless", "1"), ("JPEG 2000", "1"), ("JPEG 2000", "2"), ("RLE", "2"), ("", "1"), ("", "2"))
    for i, (kind, monochrome) in enumerate(kinds):
        data = as_bytes(dataset(stored(12 + i % 3), 12 + i % 3, PhotometricInterpretation=f"MONOCHROME{monochrome}"))
        files[f"train/i{i}.dicom"] = compressed(data, SYNTAXES[kind], folder) if kind else data
    rows = [f"i{i},R{reader},{cells}" for i in range(len(kinds)) for reader in range(3)]
    (root / "annotations" / "image_labels_train.csv").write_text("\n".join((head, *rows)))
    return files


DRAWN = {
    "chexpert": draw_chexpert, "mimic_cxr": draw_mimic_cxr, "padchest": draw_padchest,
    "rexgradient": draw_rexgradient, "vindr_cxr": draw_vindr_cxr,
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_from_the_tree_to_the_pixels(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    files = DRAWN[name](root, tmp_path)
    whole, (broken, missing) = list(files)[:-2], list(files)[-2:]
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data if path in whole else data[: len(data) // 2])
    (root / missing).unlink()

    records = datasets.source(name).records(root)
    assert len(records) == len(files)
    manifest = pack(records, PATHOLOGIES, tmp_path / "shards", PackOptions(encoding="tiff"), 1)
    rejects = [json.loads(line) for line in (tmp_path / "shards" / "rejects.jsonl").read_text().splitlines()]
    assert manifest["rejects"] == len(rejects) == 2
    assert {Path(row["image"]).name for row in rejects} == {Path(broken).name, Path(missing).name}
    assert {row["reason"] for row in rejects} & {"No such file or directory"}

    found = set()
    for split in manifest["splits"]:
        index = open_index(tmp_path / "shards", split)
        for row in index.samples:
            with index.shard_path(int(row["shard"])).open("rb") as file:
                pixels = decode(os.pread(file.fileno(), int(row["size"]), int(row["offset"])))
            assert np.ptp(pixels) > 100, "neither black nor white"
            found.add(pixels.tobytes())
    assert found == {decode(files[path]).tobytes() for path in whole}
    text = "".join(path.read_text(errors="replace") for path in (tmp_path / "shards").glob("*.tar"))
    assert "Nobody" not in text
