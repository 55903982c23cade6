"""Export a run: weights, how images become its input, what its outputs mean, where it is from, and the proof."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from medtrain import __version__
from medtrain.config import configfile
from medtrain.config.backbones import weights_in_public
from medtrain.core.errors import InputError, NumericalError
from medtrain.core.files import file_sha256
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.evaluation.export_folder import DESCRIPTION, SETTINGS, SUMS, Export, write_sums
from medtrain.evaluation.inference import TrainedModel, load_best_model
from medtrain.evaluation.pixel_network import FINAL
from medtrain.exporting import formats, licences, monai_bundle, verify_export
from medtrain.exporting.consumers import PROGRAMS
from medtrain.exporting.hub_card import write_card
from medtrain.exporting.settings_file import write_settings
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.run import Run, command_for
from medtrain.shards import mixture

GRAY, RGB = "a color image becomes gray first (ITU-R BT.601 luma)", "RGB; a gray image is repeated in three channels"
# How far probabilities may lie apart: float32 is summed in another order; a run in bf16 rounds its own answers.
BOUNDS = {"fp32": 1e-4, "bf16": 0.05, "fp16": 0.01}


def export_run(
    run: Run, kind: str, out: Path | None = None, bound: float = 0.0, licence: str = "", reuse: bool = False
) -> dict[str, Any]:
    """Write an export of a run's best weights into a new folder (default: `exports/KIND` in the run's), and return what
    its medtrain.json says.

    It is there only when a program without medtrain has loaded it, and said of every image of the test split what the
    run says, within `bound` (0: BOUNDS). `licence` is stated in it, by the name that the Hugging Face Hub has for it;
    else it is that of the weights that training began from. InputError where the run has no report yet, the folder is
    there, or another licence must be kept; NumericalError where the answers lie further apart. To `reuse` is to take
    what is there where it is whole, and of the same weights, format and licence.
    """
    folder = (out or run.folder / "exports" / kind).absolute()
    if reuse and (folder / DESCRIPTION).exists():
        return _there(run, folder, kind, licence)
    if folder.exists():
        raise InputError(f"{folder} exists already", "give --out a new folder, or delete this one")
    if not run.report.exists():
        raise InputError(f"run {run.name} has no report yet", f"evaluate it first: {command_for(run, 'evaluate')}")
    config = configfile.load(run.config_file)
    licences.ensure_name(licence)
    licences.ensure_kept(run, config, licence)
    opened = load_best_model(run)
    limit = bound or BOUNDS.get(str(opened.world.accelerator.mixed_precision).replace("no", "fp32"), 1e-4)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    unfinished.mkdir(parents=True, mode=0o750)
    try:
        about = _about(run, opened, licence)
        weights = formats.WRITERS[kind](opened, unfinished, about)
        write_settings(opened.config, unfinished / SETTINGS)
        paths = sorted(path for path in unfinished.rglob("*") if path.is_file())
        files = {path.relative_to(unfinished).as_posix(): file_sha256(path) for path in paths}
        described = {"format": kind, "file": weights, "sha256": files[weights], "files": files, "sums": SUMS, **about}
        write_json(unfinished / DESCRIPTION, described)
        proof = verify_export.prove(opened, kind, unfinished, mixture.tested(opened.config.data))
        if not proof.largest <= limit:
            raise NumericalError(
                f"the export's answers to the {proof.split} split lie up to {proof.largest:.3g} from the run's, and the"
                f" bound is {limit:.3g}",
                "give another --to, or accept it: --bound X",
            )
        described["proof"] = verify_export.told(proof, limit)
        write_json(unfinished / DESCRIPTION, described)
        (unfinished / "consumer.py").write_text(PROGRAMS[kind].lstrip(), encoding="utf-8")
        write_card(run, opened.config, described, unfinished / "README.md")
        if kind == "monai_bundle":
            monai_bundle.finish(unfinished, described)
        write_sums(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {**described, "folder": str(folder)}


def _there(run: Run, folder: Path, kind: str, licence: str) -> dict[str, Any]:
    """The export that is there already; InputError where it is damaged, or another one."""
    export = Export(folder)
    told = export.told
    own = (kind, _best(run), licence or told["licence"]["id"])
    if (told["format"], told["source"]["checkpoint"], told["licence"]["id"]) != own or "proof" not in told:
        raise InputError(
            f"{folder} exists already, and is of another format, of other weights or under another licence",
            "give --out a new folder, or delete this one",
        )
    export.verify()
    return {**told, "folder": str(folder)}


def _best(run: Run) -> str:
    """The name of the checkpoint that is the best."""
    return (run.checkpoints / "best").resolve().name


def _about(run: Run, opened: TrainedModel, licence: str) -> dict[str, Any]:
    """What there is to know of it in whatever format it is."""
    config, report = opened.config, read_json(run.report)
    thresholds = {
        name: row["threshold"] for name, row in report["per_class"].items() if row.get("threshold") is not None
    }
    return {
        "medtrain": __version__, "torch": torch.__version__, "run": run.name, "task": config.task,
        "network": formats.network_of(opened), "classes": list(opened.classes),
        "input": _input(opened), "normalization": formats.normalization_of(config),
        "output": {
            "labels": list(opened.task.output_names), "function": FINAL[config.task],
            "unlearned": sorted(opened.task.unlearned), "thresholds": thresholds,
            "temperature": report.get("temperature"),
        },
        "licence": licences.described(run, config, licence),
        "source": {
            "checkpoint": _best(run),
            "data": newest_manifest(run.checkpoints).get("fingerprints", {}).get("data", ""),
            "weights_began_as": weights_in_public(config.model.weights) or "random",
        },
    }  # fmt: skip


def _input(opened: TrainedModel) -> dict[str, Any]:
    config = opened.config
    side, clips = config.data.image_size, config.data.frames
    axes = "batch, channels, frames, height, width" if clips else "batch, channels, height, width"
    found: dict[str, Any] = {
        "axes": axes, "dtype": "float32", "range": [0, 255], "height": side, "width": side,
        "channels": opened.channels,
        "resize": "to that height and width, whatever the shape: by areas where a side is more than twice as large,"
                  " then bilinear",
        "colour": config.data.color_mode if clips else RGB if opened.rgb else GRAY,
    }  # fmt: skip
    if clips:
        found |= {"frames": clips, "stride": config.data.stride, "fps": config.data.fps, "windows": config.data.clips,
                  "of_windows": "the mean of the outputs", "packed_as": asdict(opened.shape)}  # fmt: skip
    return found
