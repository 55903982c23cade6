"""medtrain.data: what check, data list, info, download and explore print, on files drawn here."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from PIL import Image

from medtrain import data, datasets
from medtrain.datasets import demo
from medtrain.errors import InputError, MachineError
from medtrain.record import Record

REAL = Path(__file__).parents[2] / "shared" / "data" / "MedNIST.tar.gz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    demo.download(tmp_path / "demo", samples=60)
    return tmp_path / "demo"


def spoil(root: Path) -> None:
    """Four files that cannot be read, and one image under two labels."""
    (root / "disc" / "000000.jpeg").write_bytes((root / "disc" / "000000.jpeg").read_bytes()[:500])
    (root / "disc" / "000001.jpeg").write_bytes(b"")
    (root / "disc" / "000002.jpeg").write_text("an error page")
    (root / "ring" / "x.jpeg").symlink_to("gone.jpeg")
    (root / "ring" / "000007.jpeg").write_bytes((root / "disc" / "000007.jpeg").read_bytes())


def check_json(root: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    assert data.check("demo", root, json=True, **options) is None
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_check_of_a_sound_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_json(root, capsys) == {
        "dataset": "demo",
        "root": str(root),
        "records": 60,
        "patients": 0,
        "images": {"found": 60, "unreadable": []},
        "labels": {name: {"positive": 10, "negative": 50, "unknown": 0} for name in demo.CLASSES},
        "sizes": {"64x64": 60},
        "duplicates": 0,
        "conflicts": 0,
    }


def test_check_in_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.check("demo", root)
    out, err = capsys.readouterr()
    assert err == ""
    assert "records     60 (the complete dataset has about 720)" in out
    assert "patients    unknown: the dataset has no patient ids" in out
    assert "images      60 found, 0 unreadable (all were decoded)" in out
    assert "sizes       64x64 (60)" in out
    assert "modes       L (60)" in out
    assert "disc           10        50        0" in out
    assert out.endswith(f"pack it: medtrain shard demo --root {root} --out shards/demo\n")


def test_unreadable_files_and_label_errors_are_told_and_do_not_fail(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(root)
    data.check("demo", root)
    out, err = capsys.readouterr()
    assert "records     61" in out
    assert "images      60 found, 4 unreadable" in out
    assert "copies      1 " in out
    assert err.splitlines() == [
        "warning: images that cannot be read (4); packing leaves them out:",
        "  disc/000000.jpeg: truncated JPEG",
        "  disc/000001.jpeg: the file is empty",
        "  disc/000002.jpeg: not a JPEG, PNG or TIFF image",
        "  ring/x.jpeg: No such file or directory",
        "warning: LABEL ERROR: identical images with different labels (1):",
        "  disc/000007.jpeg (disc) = ring/000007.jpeg (ring)",
    ]


def test_json_names_every_unreadable_image(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    found = check_json(root, capsys)
    assert found["images"] == {
        "found": 60,
        "unreadable": [
            {"image": "disc/000000.jpeg", "reason": "truncated JPEG"},
            {"image": "disc/000001.jpeg", "reason": "the file is empty"},
            {"image": "disc/000002.jpeg", "reason": "not a JPEG, PNG or TIFF image"},
            {"image": "ring/x.jpeg", "reason": "No such file or directory"},
        ],
    }
    assert (found["records"], found["duplicates"], found["conflicts"]) == (61, 1, 1)
    assert found["sizes"] == {"64x64": 57}


def test_quick_reads_headers_only(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    reasons = {each["image"]: each["reason"] for each in check_json(root, capsys, quick=True)["images"]["unreadable"]}
    assert "disc/000000.jpeg" not in reasons  # its header is whole
    assert len(reasons) == 3
    data.check("demo", root, quick=True)
    assert "(only the headers were read)" in capsys.readouterr().out


def test_the_number_of_threads_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    assert check_json(root, capsys, workers=1) == check_json(root, capsys, workers=7)


def test_long_lists_are_cut(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(root.rglob("*.jpeg"))[:12]:
        path.write_bytes(b"")
    data.check("demo", root)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "warning: images that cannot be read (12); packing leaves them out:"
    assert lines[11] == "  and 2 more (--json lists every unreadable image)"


def test_a_class_without_images_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (root / "cross").iterdir():
        path.unlink()
    data.check("demo", root)
    assert "warning: no image shows cross: nothing can be learned about it" in capsys.readouterr().err


def test_sizes_and_modes_are_counted_most_frequent_first(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "blob" / "colour.png")
    Image.fromarray(pixels[..., 0]).convert("I;16").save(root / "blob" / "deep.png")
    data.check("demo", root)
    out = capsys.readouterr().out
    assert "sizes       64x64 (60), 40x30 (2)" in out
    assert "modes       L (60), RGB (1), I;16 (1)" in out


def test_a_printed_command_survives_spaces(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spaced = root.rename(root.with_name("my demo"))
    data.check("demo", spaced)
    assert f"medtrain shard demo --root '{spaced}' --out shards/demo" in capsys.readouterr().out


def test_no_images_at_all_is_an_input_error(tmp_path: Path) -> None:
    for label in demo.CLASSES:
        (tmp_path / label).mkdir()
    with pytest.raises(InputError, match="hold no images"):
        data.check("demo", tmp_path)


def test_an_unknown_dataset_is_an_input_error(tmp_path: Path) -> None:
    for command in (data.check, data.data_explore, data.data_download):
        with pytest.raises(InputError, match=r"did you mean demo\?"):
            command("dmo", tmp_path)
    with pytest.raises(InputError, match=r"did you mean demo\?"):
        data.data_info("dmo")


def test_identical_images_clash_only_where_one_says_yes_and_the_other_no(tmp_path: Path) -> None:
    def records(*labels: dict[str, int | None]) -> list[Record]:
        return [Record("s", str(i), tmp_path, each) for i, each in enumerate(labels)]

    same = [data.Look(digest=1)] * 3
    assert data._copies(records({"a": 1}, {"a": None}, {"a": 1}), same) == (2, [])
    clash = records({"a": 1, "b": 0}, {"a": 1, "b": None}, {"a": 1, "b": 1})
    assert data._copies(clash, same) == (2, [clash])
    assert data._copies(clash, [data.Look(reason="the file is empty")] * 3) == (0, [])


def test_patients_and_unknown_labels_are_counted(tmp_path: Path) -> None:
    records = [Record("s", str(i), tmp_path, {"a": state}, patient=f"p{i % 2}") for i, state in enumerate((1, 0, None))]
    found = data._summary("s", tmp_path, records, [data.Look()] * 3, ("a",))
    assert found["patients"] == 2
    assert found["labels"] == {"a": {"positive": 1, "negative": 1, "unknown": 1}}


def test_list_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    data.data_list()
    out = capsys.readouterr().out
    assert "mednist  58,954        6" in out
    data.data_list(json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == datasets.names()
    data.data_info("mednist", json=True)
    assert json.loads(capsys.readouterr().out) in listed
    data.data_info("mednist")
    out = capsys.readouterr().out
    assert "CC BY-SA 4.0" in out
    assert "MedNIST.tar.gz" in out


def test_download_draws_what_check_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.data_download("demo", tmp_path / "demo")
    assert f"medtrain check demo --root {tmp_path / 'demo'}" in capsys.readouterr().out
    assert check_json(tmp_path / "demo", capsys)["records"] == demo.IMAGES


def test_download_of_what_must_be_fetched_by_hand_says_how(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot fetch mednist by itself") as caught:
        data.data_download("mednist", tmp_path / "mednist")
    assert "MedNIST.tar.gz" in caught.value.fix


def test_download_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"demo cannot be written \(File exists: .*/file\)"):
        data.data_download("demo", tmp_path / "file" / "demo")


def test_explore_writes_three_figures(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    out = tmp_path / "new" / "figures"
    data.data_explore("demo", root, out=out)
    printed, err = capsys.readouterr()
    paths = [out / f"{name}.png" for name in ("class_counts", "image_sizes", "sample_grid")]
    assert printed.split() == [str(path) for path in paths]
    assert f"images that cannot be read: 3; see what is wrong: medtrain check demo --root {root}" in err
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 100


def test_explore_without_a_readable_image(root: Path, tmp_path: Path) -> None:
    for path in root.rglob("*.jpeg"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="has no demo image that shows a class and can be read"):
        data.data_explore("demo", root, out=tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


COMMANDS = [data.check, data.data_list, data.data_info, data.data_download, data.data_explore]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_parameter_has_a_sentence_of_help(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tyro.cli(command, args=["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in inspect.signature(command).parameters:
        described = [line for line in (command.__doc__ or "").splitlines() if line.strip().startswith(f"{name}: ")]
        assert described, f"{command.__name__}: no help for {name}"
        assert " ".join(described[0].split(": ", 1)[1].split()) in shown


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it, piped; the names of all imported modules follow the mark %."""
    code = (
        "import sys, tyro; from medtrain import data; tyro.cli(getattr(data, sys.argv[1]), args=sys.argv[2:]); "
        "print('%', *sys.modules, file=sys.stderr)"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)


def test_commands_import_no_torch_and_json_stands_alone_on_stdout(root: Path, tmp_path: Path) -> None:
    spoil(root)
    where = ("--root", str(root))
    documents = []
    for arguments in (
        ("check", "demo", *where),
        ("data_list",),
        ("data_info", "demo"),
        ("data_explore", "demo", *where, "--out", str(tmp_path)),
    ):
        result = run(*arguments, "--json")
        documents.append(json.loads(result.stdout))
        loaded = result.stderr.partition("%")[2].split()
        assert "medtrain.data" in loaded
        assert {"torch", "accelerate", "torchvision"}.isdisjoint(loaded), arguments
    figures = {name: str(tmp_path / f"{name}.png") for name in ("class_counts", "image_sizes", "sample_grid")}
    assert documents[-1] == {"dataset": "demo", "root": str(root), "figures": figures}


@pytest.mark.skipif(
    not REAL.exists(), reason="!!! NOT TESTED on real data: no MedNIST here (../shared/data/MedNIST.tar.gz)"
)
def test_check_of_the_real_mednist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Not in tmp_path itself: pytest would keep the 58,954 files of the last three runs.
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        subprocess.run(["tar", "--extract", "--file", REAL, "--directory", folder], check=True)
        data.check("mednist", Path(folder), json=True)
    found = json.loads(capsys.readouterr().out)
    positive = {name: states["positive"] for name, states in found["labels"].items()}
    assert positive == dict.fromkeys(datasets.source("mednist").CLASSES, 10_000) | {"BreastMRI": 8_954}
    assert found["records"] == found["images"]["found"] == found["sizes"]["64x64"] == 58_954
    assert (found["images"]["unreadable"], found["duplicates"], found["conflicts"]) == ([], 440, 0)
