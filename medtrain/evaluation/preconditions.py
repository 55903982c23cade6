"""What evaluate, predict and explain are asked, looked at before torch is imported, which takes seconds."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medtrain.config import configfile
from medtrain.core.errors import InputError, nearest
from medtrain.core.jsonfiles import read_json
from medtrain.datasets.sources import mura
from medtrain.evaluation import file_patterns
from medtrain.evaluation.export_folder import DESCRIPTION, Export, run_or_export
from medtrain.imaging.isolated_decode import apart, image
from medtrain.runs.run import GROUP_FILE, Run, command_for, resume_command, run_names, runs_flag
from medtrain.runs.run_group import RunGroup
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import CHANNELS, PackedDataset

ONE_ANSWER = {"abnormality": "abnormal", "score": "score"}  # tasks whose networks have one output


def models_for(runs: Path | str, name: str | Path, study_type: str = "") -> list[Run]:
    """The runs that answer for the name (or folder) of a run or a group: of a group its ensemble, or of one of its
    study types; or the export in that folder. InputError where none does, or one of them has no checkpoint."""
    marks = ("config.yaml", GROUP_FILE, DESCRIPTION)
    places = [place for place in (Path(runs, name), Path(name)) if any((place / mark).exists() for mark in marks)]
    if not places and Path(name).exists():
        first = f"medtrain predict RUN {shlex.quote(str(name))}   (the runs: medtrain status{runs_flag(runs)})"
        raise InputError(f"{name} is no run, and the run comes first", first)
    folder = places[0] if places else Run.find(runs, str(name)).folder  # which says that there is none
    group = RunGroup(folder)
    own = members(group) if (folder / GROUP_FILE).exists() else [run_or_export(folder)]
    configs = {run: configfile.load(run.config_file) for run in own}
    types = list(dict.fromkeys(config.data.study_type for config in configs.values()))
    if study_type:
        mixture.ensure_study_type(study_type, labels_of(own[0]))
        able = [run for run, own in configs.items() if own.data.study_type in (*mixture.TOGETHER, study_type)]
        if not able or any(own.task != "abnormality" for own in configs.values()):
            known = ", ".join(dict.fromkeys(own.data.study_type or own.task for own in configs.values()))
            raise InputError(f"run {name} judges {known}", "name a run of that study type")
        own = able
    elif len(types) > 1:
        raise InputError(
            f"{group.name} is a group of {len(types)} study types, and none is named",
            f"give one: --study_type {types[0]}   (of {', '.join(types)})",
        )
    for run in own:
        if not isinstance(run, Export):
            require_checkpoint(run)
    return own


def members(group: RunGroup) -> list[Run]:
    """The runs of a group whose scores its report averages; InputError where it has none yet."""
    told = read_json(group.report).get("runs", {})
    found = [run for run in group.runs if told.get(run.name, {}).get("averaged")]
    if not found:
        report = command_for(Run(group.folder), "report")
        raise InputError(f"group {group.name} has no report yet", f"put it together: {report}")
    return found


def labels_of(run: Run) -> tuple[str, ...]:
    """The labels of the dataset that a run was trained on."""
    return tuple(run.counts()) or mixture.classes(configfile.load(run.config_file).data)


def ensure_run(study_type: str, runs: Path | str) -> None:
    """InputError where a predictor is made without a run: which study types there are, and which runs judge it."""
    mixture.ensure_study_type(study_type, mura.CLASSES)
    known = ", ".join(run_names(runs)) or "none"
    raise InputError(f"no run is given for {study_type}", f"name one: run=NAME   (in {Path(runs).absolute()}: {known})")


def require_checkpoint(run: Run) -> None:
    """InputError where a run has no weights yet."""
    if not any((run.checkpoints / link).exists() for link in ("best", "last")):
        raise InputError(f"run {run.name} has no checkpoint yet", f"train it first: {resume_command(run)}")


def require_split(run: Run, split: str, shards: Path | None) -> None:
    """InputError where a packed dataset has no such split, or other labels or colors than the run."""
    config = configfile.load(run.config_file)
    if shards is not None:
        packed = PackedDataset.open(shards)
        packed.need_classes(labels_of(run))
        _require_colors(run, packed)
    folders = [shards] if shards is not None else mixture.folders(config.data)
    known = dict.fromkeys(name for folder in folders for name in PackedDataset.open(folder).splits)
    if shards is None and config.data.holdout:
        known[mixture.EXTERNAL] = None
    if split and split not in known:
        raise InputError(f"there is no split {split!r}{nearest(split, list(known))}", "choose of " + ", ".join(known))


def _require_colors(run: Run, packed: PackedDataset) -> None:
    """InputError where samples are packed in color and the run was trained on gray, or the other way."""
    if packed.clips:
        own = CHANNELS[configfile.load(run.config_file).data.color_mode]
    else:
        own = 3 if run.rgb else 1
    if packed.channels != own:
        kind = "clips" if packed.clips else "images"
        mode, there = ("rgb", "gray") if own == 3 else ("gray", "color")
        raise InputError(
            f"{packed.folder}: holds {kind} in {there}, and run {run.name} was trained on {kind} in"
            f" {'color' if own == 3 else 'gray'}",
            f"give shards that were packed with --color_mode {mode}",
        )


def require_labels(run: Run, labels: Sequence[str]) -> None:
    """InputError where a run answers for no such label, or has learned nothing about it."""
    task = configfile.load(run.config_file).task
    answers = (ONE_ANSWER[task],) if task in ONE_ANSWER else labels_of(run)
    counts = run.counts()
    for label in labels:
        if label not in answers:
            near = nearest(label, list(answers))
            raise InputError(f"run {run.name} knows no label {label!r}{near}", "choose " + ", ".join(answers))
        if label in counts and not counts[label][1]:
            raise InputError(
                f"run {run.name} has learned nothing about {label}: no image of its training shows it", "omit it"
            )


def files(named: Sequence[Path]) -> tuple[Path, ...]:
    """The files that are named, by patterns too, and of each folder the images and clips in it. InputError that names
    all that are not there, or are neither."""
    found: list[Path] = []
    wrong: list[str] = []
    for path in file_patterns.expanded(named):
        try:
            kind = path.stat().st_mode
        except OSError as error:
            wrong.append(f"{path} ({error.strerror})")
            continue
        inside = sorted(filter(file_patterns.looks_readable, path.rglob("*"))) if stat.S_ISDIR(kind) else []
        if not inside and not stat.S_ISREG(kind):
            what = "no image or clip is in it" if stat.S_ISDIR(kind) else "neither a file nor a folder"
            wrong.append(f"{path} ({what})")
        found += inside or [path]
    if wrong:
        raise InputError(f"cannot be read: {', '.join(wrong)}", "give image files or folders: JPEG, PNG, TIFF or DICOM")
    require_images(found)
    return tuple(found)


def require_images(images: Sequence[Path]) -> None:
    """InputError where none is given."""
    if not images:
        raise InputError("no image is named", "give image files: JPEG, PNG, TIFF or DICOM")


def read_image(path: Path, size: int, rgb: bool = False) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An image file, as the loader reads it for a model of that size; InputError where it is none."""
    try:
        return apart(image, path, size, rgb)  # as the loader does, so that scores are the same
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cannot be read as an image: {reason}", "give JPEG, PNG, TIFF or DICOM files"
        ) from None
