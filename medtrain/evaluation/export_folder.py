"""The folder that `medtrain export` writes, read in place of a run: no torch here, it costs seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import DamagedFile, read_json
from medtrain.runs.run import Run
from medtrain.shards.tar_writer import file_sha256

DESCRIPTION = "medtrain.json"
SETTINGS = "settings.yaml"
AGAIN = "export it again: medtrain export RUN --to FORMAT"


class Export(Run):
    """An export as the run that it stands for, of which it has what a prediction needs."""

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        self.config_file = self.folder / SETTINGS
        self._told: dict[str, Any] | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What its medtrain.json says; InputError where anything that is needed is missing there."""
        if self._told is None:
            path = self.folder / DESCRIPTION
            told = read_json(path)
            if not _is_description(told):
                raise DamagedFile(path, "it is no description of an export")
            try:
                _ = told["format"], told["file"], told["classes"], told["output"]["unlearned"], told["input"]
                if SETTINGS not in told["files"] or told["file"] not in told["files"]:
                    raise KeyError("files")
            except KeyError as error:
                raise DamagedFile(path, f"it lacks {error}") from None
            self._told = told
        return self._told

    @property
    def rgb(self) -> bool:
        """Whether its program takes images in color."""
        return "frames" not in self.told["input"] and self.told["input"].get("channels") == 3

    def counts(self) -> dict[str, tuple[int, int]]:
        """As of a run, but that of each label no more is known than whether training showed it."""
        unlearned = set(self.told["output"]["unlearned"])
        return {name: (1, int(name not in unlearned)) for name in self.told["classes"]}

    def tuning(self) -> dict[str, Any]:
        """What the validation chose, as a report has it."""
        output: Mapping[str, Any] = self.told["output"]
        if output.get("temperature") is None:
            return {}
        limits = {name: {"threshold": limit} for name, limit in output["thresholds"].items()}
        return {"temperature": output["temperature"], "per_class": limits}

    def verify(self) -> None:
        """InputError where a file is not the one that was proved: it is missing, or its SHA-256 is another."""
        for name, told in self.told["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise InputError(f"{path} is not there", f"copy the whole folder, or {AGAIN}")
            if file_sha256(path) != told:
                raise InputError(f"{path} is damaged or changed: {DESCRIPTION} has another SHA-256 for it", AGAIN)


def run_or_export(folder: Path) -> Run:
    """The export in that folder, or the run where there is none."""
    run = Run(folder)
    if run.config_file.exists() or not (folder / DESCRIPTION).is_file():
        return run
    export = Export(folder)
    _ = export.told  # a damaged description is told before torch is imported
    if not export.config_file.is_file():
        raise InputError(
            f"the export {folder} is incomplete: {SETTINGS} is not there", f"copy the whole folder, or {AGAIN}"
        )
    return export


def _is_description(told: Any) -> bool:
    """Whether what is there has the types that are read; what is missing is told apart."""
    if not isinstance(told, dict) or not all(
        isinstance(told.get(name, {}), dict) for name in ("files", "output", "input")
    ):
        return False
    lists = (told.get("classes", []), told.get("output", {}).get("unlearned", []))
    return all(isinstance(value, list) for value in lists) and isinstance(told.get("file", ""), str)
