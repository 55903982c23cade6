"""data metadata mura: its two tables, of folders and of tables, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from command import medtrain

from medtrain.cli.commands import metadata as cli_commands_metadata
from medtrain.core.errors import InputError
from medtrain.datasets.sources import chest_demo, mura, mura_demo

STUDIES = [  # split, study, what its table says, images
    ("train", "XR_ELBOW/patient00004/study1_negative", "0", 1),
    ("train", "XR_WRIST/patient00001/study1_positive", "1", 3),
    ("train", "XR_WRIST/patient00001/study2_negative", "1", 2),
    ("valid", "XR_WRIST/patient11185/study1_negative", "0", 11),
]
LABELS = ["0", "1", "", "0"]  # unknown where folder and table disagree


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """MURA's four tables, and the folders of its studies, whose images nobody opens."""
    base = tmp_path / "MURA-v1.1"
    for split, study, state, images in STUDIES:
        folder = base / split / study
        folder.mkdir(parents=True)
        names = [f"image{number}.png" for number in range(1, images + 1)]
        for name in names:
            (folder / name).touch()
        with (base / f"{split}_image_paths.csv").open("a") as file:
            file.writelines(f"MURA-v1.1/{split}/{study}/{name}\n" for name in names)
        with (base / f"{split}_labeled_studies.csv").open("a") as file:
            file.write(f"MURA-v1.1/{split}/{study}/,{state}\n")
    return base


def read(path: Path) -> list[list[str]]:
    with path.open() as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("form", [("mura",), ("--datasets", "mura")])
@pytest.mark.parametrize("above", [False, True])
def test_a_row_for_each_image_and_for_each_study(form: tuple[str, ...], above: bool, base: Path) -> None:
    words = ("data", "metadata", *form, "--root", "." if above else "MURA-v1.1", "--json")
    told = json.loads(medtrain(*words, cwd=base.parent).stdout)
    head, *images = read(base.parent / "mura_images.csv")
    assert head == ["path", "label"]
    state = dict(zip((str(base / split / study) for split, study, *_ in STUDIES), LABELS, strict=True))
    assert [(row[0], row[1]) for row in images] == [
        (str(record.path), state[str(record.path.parent)]) for record in mura.records(base)
    ]
    head, *studies = read(base.parent / "mura_studies.csv")
    assert head == ["path", "count", "label"]
    assert studies == [
        [str(base / split / study), str(count), label]
        for (split, study, _, count), label in zip(STUDIES, LABELS, strict=True)
    ]
    assert told == {
        "images": {"table": "mura_images.csv", "rows": 17, "abnormal": 3, "normal": 12, "unknown": 2},
        "studies": {"table": "mura_studies.csv", "rows": 4, "abnormal": 1, "normal": 2, "unknown": 1},
    }
    for name in ("mura_images.csv", "mura_studies.csv"):
        assert (base.parent / name).stat().st_mode & 0o777 == 0o600, "paths name patients"


def test_the_tables_alone_do(base: Path, tmp_path: Path) -> None:
    for split in mura.SPLITS:
        (base / split).rename(tmp_path / split)
    cli_commands_metadata.data_metadata(("mura",), base, tmp_path / "out.csv")
    assert len(read(tmp_path / "out_images.csv")) == 18
    assert read(tmp_path / "out_studies.csv")[1] == [str(base / "train" / STUDIES[0][1]), "1", "0"]


def test_drawn_bones_and_what_a_person_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the folder of all datasets is given, its own is found in it."""
    mura_demo.download(tmp_path / "data" / "mura_demo", samples=50)
    cli_commands_metadata.data_metadata(("mura_demo",), tmp_path / "data", tmp_path / "bones")
    _, *images = read(tmp_path / "bones_images.csv")
    _, *studies = read(tmp_path / "bones_studies.csv")
    counts = Counter(str(Path(path).parent) for path, _ in images)
    assert {path: int(count) for path, count, _ in studies} == counts and sum(counts.values()) == 50
    told = capsys.readouterr().out.splitlines()
    assert told[2].split()[:3] == ["images", str(tmp_path / "bones_images.csv"), "50"]


def test_a_chest_dataset_by_itself_may_be_given_by_its_own_folder(tmp_path: Path) -> None:
    chest_demo.download(tmp_path / "drawn", samples=30)
    cli_commands_metadata.data_metadata(("chest_demo",), tmp_path / "drawn", tmp_path / "all.csv")
    assert len(read(tmp_path / "all.csv")) == 31


@pytest.mark.parametrize("names", [("nih", "mura"), ("mura", "mura_demo")])
def test_a_table_of_two_kinds_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mura has tables of its own") as error:
        cli_commands_metadata.data_metadata(names, tmp_path, tmp_path / "all.csv")
    assert error.value.fix == "by itself: medtrain data metadata mura --root DIR"
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_not_there_is_said(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mura_images\.csv cannot be written"):
        cli_commands_metadata.data_metadata(("mura",), base, tmp_path / "nowhere" / "mura.csv")


def test_views_of_bones_are_not_known(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image shows a view of PA"):
        cli_commands_metadata.data_metadata(("mura",), base, tmp_path / "all.csv", views=("PA",))
