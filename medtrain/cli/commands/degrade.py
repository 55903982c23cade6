"""The command data degrade: low-quality versions of clips, in pairs with the originals."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path

from medtrain import datasets
from medtrain.cli.flag_types import Dataset, Flag
from medtrain.core.console import say, say_json, warn
from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import alone, sweep
from medtrain.core.isolated_processes import Lost
from medtrain.core.shell_quoting import command, listing
from medtrain.curation.degraded_copy import AGAIN, VERSIONS, _claim, _end, _write_missing
from medtrain.datasets.record import SCORE, Record, labels_sha256
from medtrain.datasets.sources import echo
from medtrain.imaging.video.degraded_pair import Degradation


def data_degrade(
    dataset: Dataset,
    root: Path,
    out: Path,
    annotations: Path | None = None,
    noise: float = 0.2,
    blur: int = 5,
    contrast: float = 0.5,
    score: float = 0.0,
    seed: int = 42,
    workers: int = 0,
    json: Flag = False,
) -> None:
    """Write each clip of a set twice, as it is and of low quality, as a set of its own for medtrain check and shard
    echo: DICOM clips without loss, of the pixels inside the ultrasound sector alone, and annotations.csv.

    Neither names nor ids go with them: patients and clips are numbered. Both of a pair have one patient, and so one
    split. Clips that cannot be used are left out with a warning. A call that was cut off continues where it stopped.

    Args:
        dataset: Name of a dataset of clips (medtrain data list).
        root: Folder with its raw files.
        out: New folder for the pairs.
        annotations: The table of a dataset whose table may lie anywhere (default: the one in the root).
        noise: Standard deviation of Gaussian noise, as a share of the full range (0: none).
        blur: Size of the kernel of a Gaussian blur in pixels, odd (1: none).
        contrast: Factor of the distance from mid-grey (1: as it is).
        score: Quality score of the degraded clips.
        seed: Decides the noise, with the line of the table.
        workers: Processes (0: one a core). The bytes are the same for any number.
        json: Print one JSON document.
    """
    how = Degradation(blur, contrast, noise)
    _check_options(how, score, seed, workers)
    if not datasets.source(dataset).clips:
        raise InputError(f"{dataset} holds images, and clips are degraded", "see which holds clips: medtrain data list")
    records = datasets.read(dataset, root, annotations)
    scores = [record.raw[SCORE] for record in records]
    if echo.is_share(scores) and any(known is not None for known in scores) and not echo.is_share([score]):
        raise InputError(f"score is {score:g}, and all others lie in 0..1", "give --score 0, or another in 0..1")
    try:
        _claim(out, {"labels_sha256": labels_sha256(records), "seed": seed, **asdict(how)})
        with alone(out, "writing into"):
            faults = _write_missing(records, out, how, seed, workers or len(os.sched_getaffinity(0)), json)
            for version in VERSIONS:
                sweep(out / version)  # what processes that died left half written
            _end(records, faults, out, score)
    except (Lost, MemoryError) as error:
        ended = str(error) or "out of memory?"
        problem = f"{out}: a writing process was killed ({ended}); whole clips are kept"
        raise MachineError(problem, f"choose fewer --workers, {AGAIN}") from None
    except OSError as error:
        problem = f"{out}: cannot be written ({error.strerror}); whole clips are kept"
        raise MachineError(problem, f"fix that, {AGAIN}") from None
    _tell(records, faults, out, how, json)


def _check_options(how: Degradation, score: float, seed: int, workers: int) -> None:
    if how.blur < 1 or how.blur % 2 == 0:
        raise InputError(f"blur is {how.blur}: a kernel has an odd number of pixels", "give --blur 5 (1: none)")
    if not 0 < how.contrast <= 1:
        problem = f"contrast is {how.contrast:g}: it must be above 0 and at most 1"
        raise InputError(problem, "give --contrast 0.5 (1: as it is)")
    if not 0 <= how.noise <= 1:
        raise InputError(f"noise is {how.noise:g}: it is a share of the full range, 0..1", "give --noise 0.2 (0: none)")
    if how == Degradation(1, 1.0, 0.0):
        raise InputError("no blur, all contrast and no noise degrade nothing", "leave one of them at its default")
    if not math.isfinite(score):
        raise InputError(f"score is {score}: it is a number", "give --score 0")
    if min(seed, workers) < 0:
        raise InputError("seed and workers cannot be negative", "give 0 or more")


def _tell(records: list[Record], faults: dict[str, str], out: Path, how: Degradation, json: bool) -> None:
    """What a person or a script is told at the end."""
    pairs = len(records) - len(faults)
    unknown = sum(not record.patient and record.image not in faults for record in records)
    if json:
        left = [{"clip": image, "reason": reason} for image, reason in faults.items()]
        say_json({"out": str(out), "pairs": pairs, "left_out": left, "pairs_without_patient": unknown, **asdict(how)})
    else:
        say(f"{pairs:,} pairs are in {out}: {VERSIONS[0]}/, {VERSIONS[1]}/ and annotations.csv")
        say(f"degraded by {how.told()}")
    if unknown:
        warn(f"clips without a patient id ({unknown:,}): each pair of them has a patient of its own")
    if faults:
        lines = [f"{image}: {reason}" for image, reason in faults.items()]
        head = f"clips that cannot be used and were left out ({len(lines):,}):"
        warn(head, *listing(lines, f" ({out / 'rejects.jsonl'} lists all)"))
    if not json:
        say(f"\ninspect them: {command('data explore', 'echo', out)}")
        say(f"pack them: {command('shard', 'echo', out)} --out shards/{out.name}")
