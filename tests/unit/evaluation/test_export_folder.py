"""An export that is damaged or incomplete says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import write_json
from medtrain.evaluation.export_folder import DESCRIPTION, SETTINGS, Export, run_or_export

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
