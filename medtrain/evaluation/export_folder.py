"""The folder that `medtrain export` writes, read in place of a run: no torch here, it costs seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError, nearest
from medtrain.core.files import file_sha256
from medtrain.core.jsonfiles import DamagedFile, read_json
from medtrain.runs.run import EXPORT_FILE, Run

DESCRIPTION = EXPORT_FILE
SETTINGS = "settings.yaml"
SUMS = "SHA256SUMS"  # of all other files, as sha256sum writes and checks it
CARD = "README.md"  # which its authors go on writing
FORMATS = ("hf", "monai_bundle", "onnx", "safetensors", "timm", "torch_export")
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
            if told["format"] not in FORMATS:
                problem = f"{path}: its format is {told['format']!r}, and there are {', '.join(FORMATS)}"
                raise InputError(f"{problem}{nearest(str(told['format']), FORMATS)}", AGAIN)
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
        """InputError where a file is not the one that was exported: it is missing, or its SHA-256 is another.

        This finds damage and edits, and no forgery: whoever changes a file can write its sum anew. The model card may
        be edited. Exports of older versions have sums of the files that were proved alone.
        """
        sums = {DESCRIPTION: self.told["files"], SUMS: self._sums()}
        for name in dict.fromkeys(name for known in sums.values() for name in known):
            path = self.folder / name
            if not path.is_file():
                raise InputError(f"{path} is not there", f"copy the whole folder, or {AGAIN}")
            digest = file_sha256(path)
            if changed := [place for place, known in sums.items() if known.get(name, digest) != digest]:
                raise InputError(f"{path} is damaged or changed: {changed[0]} has another SHA-256 for it", AGAIN)

    def _sums(self) -> dict[str, str]:
        """Name -> SHA-256 of each file that must be as it was exported; none of an export of an older version."""
        path = self.folder / SUMS
        if not path.is_file():
            if self.told.get("sums"):
                raise InputError(f"{path} is not there", f"copy the whole folder, or {AGAIN}")
            return {}
        rows = [line.partition("  ") for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(mark and len(digest) == 64 for digest, mark, _ in rows) or not rows:
            raise InputError(f"{path} is damaged: a line is a SHA-256, two blanks and a name", AGAIN)
        return {name: digest for digest, _, name in rows if Path(name).name != CARD}


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every file of an export, so that `sha256sum -c SHA256SUMS` checks it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in names if name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


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
