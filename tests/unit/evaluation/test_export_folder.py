"""An export that is damaged or incomplete says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import InputError
from medtrain.core.files import file_sha256
from medtrain.core.jsonfiles import write_json
from medtrain.evaluation import export_programs
from medtrain.evaluation.export_folder import (
    CARD,
    DESCRIPTION,
    FORMATS,
    SETTINGS,
    SUMS,
    Export,
    run_or_export,
    write_sums,
)
from medtrain.exporting import formats

TOLD: dict[str, Any] = {
    "format": "onnx", "file": "model.onnx", "files": {"model.onnx": "0", SETTINGS: "0"}, "classes": ["a", "b"],
    "output": {"unlearned": ["b"], "thresholds": {}}, "input": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [[1], "an export", None, {**TOLD, "files": None}, {**TOLD, "output": []}, {**TOLD, "file": ["model.onnx"]},
     {**TOLD, "classes": 2}, {**TOLD, "output": {"unlearned": None}}],
)  # fmt: skip
def test_a_file_that_is_no_description(told: Any, tmp_path: Path) -> None:
    write_json(tmp_path / DESCRIPTION, told)
    with pytest.raises(InputError, match="is no description of an export"):
        run_or_export(tmp_path)


@pytest.mark.parametrize("name", ["format", "file", "files", "classes", "output", "input"])
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / DESCRIPTION, {key: value for key, value in TOLD.items() if key != name})
    with pytest.raises(InputError, match=f"it lacks '{name}'"):
        run_or_export(tmp_path)


def test_without_its_settings_it_is_incomplete(tmp_path: Path) -> None:
    write_json(tmp_path / DESCRIPTION, TOLD)
    with pytest.raises(InputError, match=r"is incomplete: settings\.yaml is not there") as raised:
        run_or_export(tmp_path)
    assert "medtrain export RUN" in raised.value.fix
    (tmp_path / SETTINGS).touch()
    found = run_or_export(tmp_path)
    assert isinstance(found, Export) and found.counts() == {"a": (1, 1), "b": (1, 0)}


def exported(folder: Path) -> Export:
    """One with its sums, of which predict would read the settings."""
    for name in ("model.onnx", SETTINGS, "consumer.py", CARD):
        (folder / name).write_text(name)
    files = {name: file_sha256(folder / name) for name in ("model.onnx", SETTINGS)}
    write_json(folder / DESCRIPTION, {**TOLD, "files": files, "sums": SUMS})
    write_sums(folder)
    return Export(folder)


def test_a_format_that_is_none_is_refused(tmp_path: Path) -> None:
    assert set(formats.WRITERS) == set(export_programs.LOADERS) == set(FORMATS)
    for kind, near in (("tflite", "timm"), ("onxx", "onnx (did you mean onnx?)"), (7, "timm")):
        write_json(tmp_path / DESCRIPTION, {**TOLD, "format": kind})
        with pytest.raises(InputError, match="its format is") as raised:
            run_or_export(tmp_path)
        assert f"{kind!r}, and there are hf, monai_bundle, onnx, safetensors, timm, torch_export" in str(raised.value)
        assert near.partition(" ")[2] in str(raised.value)


def test_an_edited_threshold_is_seen(tmp_path: Path) -> None:
    export = exported(tmp_path)
    export.verify()
    told = dict(export.told)
    write_json(tmp_path / DESCRIPTION, {**told, "output": {"unlearned": ["b"], "thresholds": {"a": 0.1}}})
    with pytest.raises(InputError, match=r"medtrain\.json is damaged or changed: SHA256SUMS has another SHA-256"):
        Export(tmp_path).verify()


@pytest.mark.parametrize("name", ["model.onnx", "consumer.py", SETTINGS])
def test_a_changed_or_missing_file_is_seen(name: str, tmp_path: Path) -> None:
    export = exported(tmp_path)
    (tmp_path / name).write_text("another")
    with pytest.raises(InputError, match=f"{name} is damaged or changed"):
        export.verify()
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is not there"):
        export.verify()


def test_sums_that_are_gone_or_damaged(tmp_path: Path) -> None:
    export = exported(tmp_path)
    (tmp_path / CARD).write_text("as its authors have completed it")
    export.verify()
    for damage in ("", "a line\n"):
        (tmp_path / SUMS).write_text(damage)
        with pytest.raises(InputError, match="SHA256SUMS is damaged"):
            export.verify()
    (tmp_path / SUMS).unlink()
    with pytest.raises(InputError, match="SHA256SUMS is not there"):
        export.verify()
    write_json(tmp_path / DESCRIPTION, {name: value for name, value in export.told.items() if name != "sums"})
    Export(tmp_path).verify()  # of an older version
