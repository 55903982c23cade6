"""The command data degrade: each clip twice, as it is and of low quality, in a new folder that names nobody."""

from __future__ import annotations

from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.core.files import sweep
from medtrain.core.isolated_processes import Pool
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.core.progress import Progress
from medtrain.datasets import csvfile
from medtrain.datasets.record import SCORE, Record
from medtrain.datasets.sources import echo
from medtrain.imaging.video.degraded_pair import WRITING, Degradation, Pair
from medtrain.shards.tar_writer import write_rejects

VERSIONS = ("original", "degraded")  # the folders of the new set
HEADER = (*echo.NEEDED, *echo.OPTIONAL, "pair")
CLAIM = "degrade.json"  # what the clips of a folder are made of
AGAIN = "then give the same command again: it continues with what is missing"


def _claim(out: Path, asked: dict[str, object]) -> None:
    """Make the folder, or continue in it; InputError where it holds anything else."""
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    claimed = read_json(out / CLAIM)
    if claimed != asked and (claimed or any(not path.name.startswith(".") for path in out.iterdir())):
        what = "clips degraded from another table or with other options" if claimed else "something else"
        raise InputError(f"{out} holds {what}", "choose a new folder for --out, or delete this one")
    write_json(out / CLAIM, asked)
    for version in VERSIONS:
        (out / version).mkdir(exist_ok=True, mode=0o700)


def _write_missing(
    records: list[Record], out: Path, how: Degradation, seed: int, workers: int, quiet: bool
) -> dict[str, str]:
    """Write the pairs that are not there; by Record.image, in the order of the table, why some cannot be."""
    for version in VERSIONS:
        sweep(out / version)
    missing = [record for record in records if not all(path.exists() for path in _paths(out, record))]
    if not missing:
        return {}
    done = len(records) - len(missing)
    every = float("inf") if quiet else 30.0
    progress = Progress(len(records), "degrading", "clips", done=done, every_seconds=every)
    pairs = [Pair(record.path, _paths(out, record), how, (seed, _line(record))) for record in missing]
    reasons = [""] * len(pairs)
    try:
        with Pool(min(workers, len(pairs))) as pool:
            for number, reason in pool.run(WRITING, pairs):
                reasons[number] = reason
                progress.advance()
    finally:
        progress.close()
    return {record.image: reason for record, reason in zip(missing, reasons, strict=True) if reason}


def _line(record: Record) -> int:
    """Of the table: what names a clip, because its file's name may be a person's."""
    return int(record.image.removeprefix("line "))


def _pair(record: Record) -> str:
    return f"line-{_line(record):05}"


def _paths(out: Path, record: Record) -> tuple[Path, Path]:
    original, degraded = (out / version / f"{_pair(record)}.dcm" for version in VERSIONS)
    return original, degraded


def _end(records: list[Record], faults: dict[str, str], out: Path, score: float) -> None:
    """Write the table of the pairs and the list of what was left out; InputError where that is everything."""
    write_rejects(out / "rejects.jsonl", [{"image": image, "reason": reason} for image, reason in faults.items()])
    if len(faults) == len(records):
        first = f"{records[0].image}: {faults[records[0].image]}"
        problem = f"none of {len(records):,} clips can be used (first: {first})"
        raise InputError(problem, f"see {out / 'rejects.jsonl'}; fix what it says, {AGAIN}")
    people: dict[tuple[str, str], str] = {}
    rows = []
    for record in records:
        whose = (record.patient, "" if record.patient else record.image)  # who is not known is nobody else
        patient = people.setdefault(whose, f"patient-{len(people) + 1:04}")
        if record.image in faults:
            continue
        about = (patient, record.meta.get("view", ""), record.split, _pair(record))
        for path, own in zip(_paths(out, record), (record.raw[SCORE], score), strict=True):
            rows.append((path.relative_to(out).as_posix(), own, *about))
    csvfile.write(out / "annotations.csv", HEADER, rows)
