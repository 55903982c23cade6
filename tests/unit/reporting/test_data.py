"""reporting.dataset_figures: what data list, info, download and explore print, on files drawn here."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tyro
from PIL import Image
from places import SHARED
from spoiled import spoil

from medtrain import datasets
from medtrain.cli.commands import check as cli_commands_check
from medtrain.cli.commands import data as cli_commands_data
from medtrain.core.errors import InputError, MachineError
from medtrain.datasets.sources import demo

REAL = SHARED / "MedNIST.tar.gz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    demo.download(tmp_path / "demo", samples=60)
    return tmp_path / "demo"


def test_list_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    cli_commands_data.data_list()
    out = capsys.readouterr().out
    assert re.search(r"^mednist +58,954 +6 ", out, re.MULTILINE)
    cli_commands_data.data_list(json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == datasets.names()
    cli_commands_data.data_info("mednist", json=True)
    assert json.loads(capsys.readouterr().out) in listed
    cli_commands_data.data_info("mednist")
    out = capsys.readouterr().out
    assert "CC BY-SA 4.0" in out
    assert "MedNIST.tar.gz" in out


def test_download_draws_what_check_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli_commands_data.data_download("demo", tmp_path / "demo")
    assert f"medtrain check demo --root {tmp_path / 'demo'}" in capsys.readouterr().out
    assert len(demo.records(tmp_path / "demo")) == demo.IMAGES


def test_download_of_what_must_be_fetched_by_hand_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="cannot fetch padchest by itself"):
        cli_commands_data.data_download("padchest", tmp_path / "padchest")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1. by a form at https://bimcv.cipf.es")
    assert second.startswith("2. unpack them")


def test_info_names_the_command_that_fetches_and_the_labels_never_known(capsys: pytest.CaptureFixture[str]) -> None:
    cli_commands_data.data_info("nih")
    assert "get it   medtrain data download nih --root DIR\n         or by hand:\n" in capsys.readouterr().out
    cli_commands_data.data_info("chexpert")
    assert "(never known: Emphysema, Fibrosis, Hernia," in capsys.readouterr().out
    cli_commands_data.data_list()
    assert re.search(r"^chexpert +223,648 +7 ", capsys.readouterr().out, re.MULTILINE)


def test_download_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"demo cannot be written \(File exists: .*/file\)"):
        cli_commands_data.data_download("demo", tmp_path / "file" / "demo")


def test_explore_writes_three_figures(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(root)
    out = tmp_path / "new" / "figures"
    cli_commands_data.data_explore("demo", root, out=out)
    printed, err = capsys.readouterr()
    paths = [out / f"demo-{name}.png" for name in ("class_counts", "image_sizes", "sample_grid")]
    assert printed.split() == [str(path) for path in paths]
    assert f"images that cannot be read: 3; see what is wrong: medtrain check demo --root {root}" in err
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 100


def test_explore_without_a_readable_image(root: Path, tmp_path: Path) -> None:
    for path in root.rglob("*.jpeg"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="has no demo image that shows a class and can be read"):
        cli_commands_data.data_explore("demo", root, out=tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


COMMANDS = [
    cli_commands_check.check,
    cli_commands_data.data_list,
    cli_commands_data.data_info,
    cli_commands_data.data_download,
    cli_commands_data.data_explore,
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_parameter_has_a_sentence_of_help(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tyro.cli(command, args=["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(parameter.default):  # its fields say it themselves
            assert all(f"--{field.name.replace('_', '-')}" in shown for field in dataclasses.fields(parameter.default))
            continue
        described = [line for line in (command.__doc__ or "").splitlines() if line.strip().startswith(f"{name}: ")]
        assert described, f"{command.__name__}: no help for {name}"
        assert " ".join(described[0].split(": ", 1)[1].split()) in shown


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it, piped; the names of all imported modules follow the mark %."""
    code = (
        "import sys, tyro; from medtrain.cli.commands import check, data; "
        "known = {**vars(data), 'check': check.check}; "
        "tyro.cli(known[sys.argv[1]], args=sys.argv[2:]); "
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
        assert "medtrain.reporting.dataset_figures" in loaded
        assert {"torch", "accelerate", "torchvision"}.isdisjoint(loaded), arguments
    figures = {name: str(tmp_path / f"demo-{name}.png") for name in ("class_counts", "image_sizes", "sample_grid")}
    assert documents[-1] == {"dataset": "demo", "root": str(root), "figures": figures}
