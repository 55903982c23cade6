"""curation.faults: what check prints, on files drawn here and on the real MedNIST."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from places import SHARED
from spoiled import spoil

from medtrain import datasets
from medtrain.cli.commands import check as cli_commands_check
from medtrain.cli.commands import data as cli_commands_data
from medtrain.core.errors import InputError
from medtrain.curation import faults
from medtrain.datasets import labels
from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo

REAL = SHARED / "MedNIST.tar.gz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    demo.download(tmp_path / "demo", samples=60)
    return tmp_path / "demo"


def check_json(root: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    assert cli_commands_check.check("demo", root, json=True, **options) is None
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_check_of_a_sound_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_json(root, capsys) == {
        "dataset": "demo",
        "root": str(root),
        "records": 60,
        "patients": 0,
        "splits": {},
        "left_out": {},
        "images": {"found": 60, "missing": 0, "unreadable": []},
        "labels": {name: {"positive": 10, "negative": 50, "unknown": 0} for name in demo.CLASSES},
        "sizes": {"64x64": 60},
        "duplicates": 0,
        "conflicts": 0,
    }


def test_check_in_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli_commands_check.check("demo", root)
    out, err = capsys.readouterr()
    assert err == ""
    assert "records     60 (the complete dataset has 720)" in out
    assert "patients    unknown: the dataset has no patient ids" in out
    assert "splits      no official split: packing assigns one" in out
    assert "images      60 found, 0 missing, 0 unreadable (all were decoded)" in out
    assert "sizes       64x64 (60)" in out
    assert "modes       L (60)" in out
    assert "disc           10        50        0" in out
    assert out.endswith(f"pack it: medtrain shard demo --root {root} --out shards/demo\n")


def test_unreadable_files_and_label_errors_are_told_and_do_not_fail(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(root)
    cli_commands_check.check("demo", root)
    out, err = capsys.readouterr()
    assert "records     61" in out
    assert "images      60 found, 1 missing, 3 unreadable" in out
    assert "copies      1 " in out
    assert err.splitlines() == [
        "warning: images that are not there (1); packing leaves them out:",
        "  ring/x.jpeg",
        "warning: images that cannot be read (3); packing leaves them out:",
        "  disc/000000.jpeg: truncated JPEG",
        "  disc/000001.jpeg: the file is empty",
        "  disc/000002.jpeg: not a JPEG, PNG, TIFF or DICOM image",
        "warning: LABEL ERROR: identical images with different labels (1):",
        "  disc/000007.jpeg (disc) = ring/000007.jpeg (ring)",
    ]


def test_json_names_every_unreadable_image(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    found = check_json(root, capsys)
    assert found["images"] == {
        "found": 60,
        "missing": 1,
        "unreadable": [
            {"image": "disc/000000.jpeg", "reason": "truncated JPEG"},
            {"image": "disc/000001.jpeg", "reason": "the file is empty"},
            {"image": "disc/000002.jpeg", "reason": "not a JPEG, PNG, TIFF or DICOM image"},
        ],
    }
    assert (found["records"], found["duplicates"], found["conflicts"]) == (61, 1, 1)
    assert found["sizes"] == {"64x64": 57}


def test_what_was_not_looked_at_is_not_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check_json(root, capsys, metadata_only=True)
    assert (found["records"], found["labels"]["disc"]["positive"]) == (60, 10)
    assert found["images"] == {"found": None, "missing": None, "unreadable": None}
    assert (found["sizes"], found["duplicates"], found["conflicts"]) == (None, None, None)
    cli_commands_check.check("demo", root, metadata_only=True)
    out, _ = capsys.readouterr()
    assert "images      not looked for" in out
    assert "sizes" not in out


def test_quick_reads_headers_only(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    reasons = {each["image"]: each["reason"] for each in check_json(root, capsys, quick=True)["images"]["unreadable"]}
    assert "disc/000000.jpeg" not in reasons  # its header is whole
    assert len(reasons) == 2
    cli_commands_check.check("demo", root, quick=True)
    assert "(only the headers were read)" in capsys.readouterr().out


def test_the_number_of_processes_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    assert check_json(root, capsys, workers=1) == check_json(root, capsys, workers=7)


def test_long_lists_are_cut(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(root.rglob("*.jpeg"))[:12]:
        path.write_bytes(b"")
    cli_commands_check.check("demo", root)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "warning: images that cannot be read (12); packing leaves them out:"
    assert lines[11] == "  and 2 more (--json lists all)"


def test_a_class_without_images_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (root / "cross").iterdir():
        path.unlink()
    cli_commands_check.check("demo", root)
    assert "warning: no image shows cross: nothing can be learned about it" in capsys.readouterr().err


def test_sizes_and_modes_are_counted_most_frequent_first(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "blob" / "colour.png")
    Image.fromarray(pixels[..., 0]).convert("I;16").save(root / "blob" / "deep.png")
    cli_commands_check.check("demo", root)
    out = capsys.readouterr().out
    assert "sizes       64x64 (60), 40x30 (2)" in out
    assert "modes       L (60), RGB (1), I;16 (1)" in out


def test_a_printed_command_survives_spaces(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spaced = root.rename(root.with_name("my demo"))
    cli_commands_check.check("demo", spaced)
    assert f"medtrain shard demo --root '{spaced}' --out shards/demo" in capsys.readouterr().out


def test_no_images_at_all_is_an_input_error(tmp_path: Path) -> None:
    for label in demo.CLASSES:
        (tmp_path / label).mkdir()
    with pytest.raises(InputError, match="hold no images"):
        cli_commands_check.check("demo", tmp_path)


def test_an_unknown_dataset_is_an_input_error(tmp_path: Path) -> None:
    for command in (cli_commands_check.check, cli_commands_data.data_explore, cli_commands_data.data_download):
        with pytest.raises(InputError, match=r"did you mean demo\?"):
            command("dmo", tmp_path)
    with pytest.raises(InputError, match=r"did you mean demo\?"):
        cli_commands_data.data_info("dmo")


def test_identical_images_clash_only_where_one_says_yes_and_the_other_no(tmp_path: Path) -> None:
    def records(*labels: dict[str, int | None]) -> list[Record]:
        return [Record("s", str(i), tmp_path, each) for i, each in enumerate(labels)]

    same = [faults.FileScan(digest=1)] * 3
    assert faults.copies_of(records({"a": 1}, {"a": None}, {"a": 1}), same) == (2, [])
    clash = records({"a": 1, "b": 0}, {"a": 1, "b": None}, {"a": 1, "b": 1})
    assert faults.copies_of(clash, same) == (2, [clash])
    assert faults.copies_of(clash, [faults.FileScan(reason="the file is empty")] * 3) == (0, [])


def test_patients_and_unknown_labels_are_counted(tmp_path: Path) -> None:
    records = [Record("s", str(i), tmp_path, {"a": state}, patient=f"p{i % 2}") for i, state in enumerate((1, 0, None))]
    assert faults.summary_of("s", tmp_path, records, [faults.FileScan()] * 3)["patients"] == 2
    assert faults.state_counts("a", records, "nan", "nan") == {"positive": 1, "negative": 1, "unknown": 1}


def test_open_labels_count_by_policy(tmp_path: Path) -> None:
    states = (1, 0, None, labels.UNCERTAIN, labels.UNMENTIONED)
    records = [Record("s", str(i), tmp_path, {"a": state}) for i, state in enumerate(states)]
    assert faults.state_counts("a", records, "one", "zero") == {"positive": 2, "negative": 2, "unknown": 1}
    assert faults.state_counts("a", records, "soft", "nan") == {"positive": 2, "negative": 1, "unknown": 2}
    assert faults.state_counts("a", records, "zero", "nan") == {"positive": 1, "negative": 2, "unknown": 2}


@pytest.mark.skipif(
    not REAL.exists(), reason="!!! NOT TESTED on real data: no MedNIST here (../shared/data/MedNIST.tar.gz)"
)
@pytest.mark.parametrize(
    ("files", "of_breast", "duplicates"), [("*0.jpeg", 896, 14), pytest.param("*", 8_954, 440, marks=pytest.mark.slow)]
)
def test_check_of_the_real_mednist(
    files: str, of_breast: int, duplicates: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not in tmp_path itself: pytest would keep the 58,954 files of the last three runs.
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        wanted = ["--wildcards", f"MedNIST/{files}"]
        subprocess.run(["tar", "--extract", "--file", REAL, "--directory", folder, *wanted], check=True)
        cli_commands_check.check("mednist", Path(folder), json=True)
    found = json.loads(capsys.readouterr().out)
    positive = {name: states["positive"] for name, states in found["labels"].items()}
    of_others = {8_954: 10_000, 896: 1_000}[of_breast]
    assert positive == dict.fromkeys(datasets.source("mednist").classes, of_others) | {"BreastMRI": of_breast}
    assert found["records"] == found["images"]["found"] == found["sizes"]["64x64"] == 5 * of_others + of_breast
    assert (found["images"]["unreadable"], found["duplicates"], found["conflicts"]) == ([], duplicates, 0)
