"""The commands that look at raw data before it is packed: check, and data list, info, download and explore."""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray
from tyro.conf import FlagCreatePairsOff, Positional, arg

from medtrain import datasets
from medtrain.console import Progress, say, say_json, table, warn
from medtrain.decode import decode, header
from medtrain.errors import InputError, MachineError
from medtrain.record import Record

SHOWN = 10  # of a list of faulty images
GRID_COLUMNS = 8
CHUNK = 64  # images a task of the thread pool: one at a time would cost more than decoding a small image

Dataset = Positional[Annotated[str, arg(metavar="DATASET")]]
Flag = FlagCreatePairsOff[bool]  # --json without a --no-json beside it


class Look(NamedTuple):
    """What one image file turned out to be; `reason` says why it cannot be used, or is empty."""

    there: bool = True
    reason: str = ""
    digest: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""


def check(dataset: Dataset, root: Path, quick: Flag = False, workers: int = 0, json: Flag = False) -> None:
    """Look at every image of a dataset before it is packed: layout, labels, sizes, damaged files and copies.

    Unreadable images are a warning, not an error: they are left out when the dataset is packed.

    Args:
        dataset: Name of the dataset (medtrain data list).
        root: Folder with its raw files.
        quick: Read the header of each image only, and decode none.
        workers: Threads that read and decode (0: two a core).
        json: Print one JSON document.
    """
    source = datasets.source(dataset)
    records = _records(source, dataset, root)
    looks = list(_looks(records, quick, workers, quiet=json))
    found = _summary(dataset, root, records, looks, source.CLASSES)
    found["duplicates"], conflicts = _copies(records, looks)
    found["conflicts"] = len(conflicts)
    if json:
        say_json(found)
    else:
        _show(found, source.IMAGES, Counter(look.mode for look in looks if not look.reason), quick)
    _warn_of_faults(found, conflicts)
    if not json:
        say(f"\npack it: {_command('shard', dataset, root)} --out shards/{dataset}")


def data_list(json: Flag = False) -> None:
    """List the datasets that medtrain can read.

    Args:
        json: Print one JSON document.
    """
    found = [_description(name) for name in datasets.names()]
    if json:
        say_json(found)
    else:
        rows = [(each["name"], each["images"], len(each["classes"]), each["title"]) for each in found]
        say(table(("dataset", "images", "classes", "what it is"), rows) + "\n\nmore: medtrain data info DATASET")


def data_info(name: Dataset, json: Flag = False) -> None:
    """Say what a dataset is, what it may be used for, and how to get it.

    Args:
        name: Name of the dataset (medtrain data list).
        json: Print one JSON document.
    """
    found = _description(name)
    if json:
        say_json(found)
        return
    say(f"{name}: {found['title']}\n\nimages   about {found['images']:,}")
    say(f"classes  {', '.join(found['classes'])}")
    say(f"licence  {found['licence']}")
    say(f"get it   {found['access']}")


def data_download(name: Dataset, root: Path) -> None:
    """Fetch or draw a dataset, where medtrain can.

    Args:
        name: Name of the dataset (medtrain data list).
        root: New folder for its raw files.
    """
    source = datasets.source(name)
    download = getattr(source, "download", None)
    if download is None:
        raise InputError(f"medtrain cannot fetch {name} by itself", source.ACCESS)
    try:
        download(root)
    except OSError as error:
        problem = f"{root} cannot be written ({error.strerror}: {error.filename})"
        raise MachineError(problem, "choose another --root, or make room") from None
    say(f"{name} is in {root}\nlook at it: {_command('check', name, root)}")


def data_explore(dataset: Dataset, root: Path, out: Path = Path("explore"), json: Flag = False) -> None:
    """Draw a dataset: samples of each class, image sizes and a grid of examples, as PNG files.

    Args:
        dataset: Name of the dataset (medtrain data list).
        root: Folder with its raw files.
        out: Folder for the figures.
        json: Print one JSON document.
    """
    from medtrain import figures

    source = datasets.source(dataset)
    records = _records(source, dataset, root)
    see_why = f"see what is wrong: {_command('check', dataset, root)}"
    looks = list(_looks(records, quick=True, workers=0, quiet=json))
    readable = [(record, look) for record, look in zip(records, looks, strict=True) if not look.reason]
    examples = _examples(source.CLASSES, [record for record, _ in readable])
    if not any(examples.values()):
        raise InputError(f"{root} has no {dataset} image that shows a class and can be read", see_why)
    out.mkdir(parents=True, exist_ok=True)
    paths = {name: out / f"{name}.png" for name in ("class_counts", "image_sizes", "sample_grid")}
    figures.class_counts(_positives_by_split(records), paths["class_counts"])
    figures.image_sizes([(look.width, look.height) for _, look in readable], paths["image_sizes"])
    figures.sample_grid(examples, paths["sample_grid"])
    if json:
        say_json({"dataset": dataset, "root": str(root), "figures": {name: str(path) for name, path in paths.items()}})
    else:
        for path in paths.values():
            say(str(path))
    if len(readable) < len(records):
        warn(f"images that cannot be read: {len(records) - len(readable):,}; {see_why}")


def _command(verb: str, dataset: str, root: Path) -> str:
    return f"medtrain {verb} {dataset} --root {shlex.quote(str(root))}"


def _description(name: str) -> dict[str, Any]:
    source = datasets.source(name)
    return {
        "name": name, "title": source.TITLE, "images": source.IMAGES, "classes": list(source.CLASSES),
        "licence": source.LICENCE, "access": source.ACCESS,
    }  # fmt: skip


def _records(source: datasets.Source, dataset: str, root: Path) -> list[Record]:
    records = source.records(root)
    if not records:
        raise InputError(f"{root} holds no records of {dataset}", source.ACCESS)
    return records


def _looks(records: list[Record], quick: bool, workers: int, quiet: bool) -> Iterator[Look]:
    """A Look at the file of each record, in order; `quiet` keeps the progress lines off standard output."""
    progress = Progress(len(records), "checking", "images", every_seconds=float("inf") if quiet else 30.0)
    chunks = [records[i : i + CHUNK] for i in range(0, len(records), CHUNK)]
    with ThreadPoolExecutor(workers or 2 * len(os.sched_getaffinity(0))) as pool:
        for looks in pool.map(lambda chunk: [_look(record.path, quick) for record in chunk], chunks):
            yield from looks
            progress.advance(len(looks))
    progress.close()


def _look(path: Path, quick: bool) -> Look:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Look(there=not isinstance(error, FileNotFoundError), reason=error.strerror or str(error))
    try:
        found = header(data)
        if not quick:
            decode(data)
    except ValueError as error:
        return Look(reason=str(error))
    return Look(True, "", xxhash.xxh3_128_intdigest(data), *found)


def _copies(records: list[Record], looks: list[Look]) -> tuple[int, list[list[Record]]]:
    """How many images are byte-identical to an earlier one, and the groups of identical images with clashing labels."""
    groups: dict[int, list[Record]] = defaultdict(list)
    for record, look in zip(records, looks, strict=True):
        if not look.reason:
            groups[look.digest].append(record)
    conflicts = [group for group in groups.values() if len(group) > 1 and _clash(group)]
    return sum(len(group) - 1 for group in groups.values()), conflicts


def _clash(group: list[Record]) -> bool:
    """Whether one record says that a label is present and another that it is absent."""
    return any({0, 1} <= {record.labels.get(name) for record in group} for name in group[0].labels)


def _summary(
    dataset: str, root: Path, records: list[Record], looks: list[Look], classes: tuple[str, ...]
) -> dict[str, Any]:
    faulty = [(record, look) for record, look in zip(records, looks, strict=True) if look.reason]
    states = {name: Counter(record.labels.get(name) for record in records) for name in classes}
    sizes = Counter(f"{look.width}x{look.height}" for look in looks if not look.reason)
    return {
        "dataset": dataset,
        "root": str(root),
        "records": len(records),
        "patients": len({record.patient for record in records if record.patient}),
        "images": {
            "found": sum(look.there for look in looks),
            "unreadable": [{"image": record.image, "reason": look.reason} for record, look in faulty],
        },
        "labels": {
            name: {"positive": state[1], "negative": state[0], "unknown": state[None]} for name, state in states.items()
        },
        "sizes": dict(sizes.most_common()),
    }


def _show(found: dict[str, Any], complete: int, modes: Counter[str], quick: bool) -> None:
    images, unreadable = found["images"]["found"], len(found["images"]["unreadable"])
    patients = f"{found['patients']:,}" if found["patients"] else "unknown: the dataset has no patient ids"
    seen = "only the headers were read" if quick else "all were decoded"
    say(f"{found['dataset']} in {found['root']}\n")
    say(f"records     {found['records']:,} (the complete dataset has about {complete:,})")
    say(f"patients    {patients}")
    say(f"images      {images:,} found, {unreadable:,} unreadable ({seen})")
    say(f"sizes       {_tally(found['sizes'])}")
    say(f"modes       {_tally(dict(modes.most_common()))}")
    say(f"copies      {found['duplicates']:,} (byte-identical to another image; a split keeps them together)")
    rows = [(name, *states.values()) for name, states in found["labels"].items()]
    say("\n" + table(("label", "positive", "negative", "unknown"), rows))


def _tally(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:SHOWN]]
    more = [f"{len(counts) - SHOWN:,} others"] if len(counts) > SHOWN else []
    return ", ".join(shown + more) or "-"


def _warn_of_faults(found: dict[str, Any], conflicts: list[list[Record]]) -> None:
    unreadable = found["images"]["unreadable"]
    if unreadable:
        lines = [f"{each['image']}: {each['reason']}" for each in unreadable]
        warn(_listing(f"images that cannot be read ({len(lines):,}); packing leaves them out", lines))
    if conflicts:
        lines = [" = ".join(f"{record.image} ({_positive(record)})" for record in group) for group in conflicts]
        warn(_listing(f"LABEL ERROR: identical images with different labels ({len(lines):,})", lines))
    empty = [name for name, states in found["labels"].items() if not states["positive"]]
    if empty:
        warn(f"no image shows {', '.join(empty)}: nothing can be learned about it")


def _listing(head: str, lines: list[str]) -> str:
    more = [f"and {len(lines) - SHOWN:,} more (--json lists every unreadable image)"] if len(lines) > SHOWN else []
    return "\n  ".join([f"{head}:", *lines[:SHOWN], *more])


def _positive(record: Record) -> str:
    return ", ".join(name for name, state in record.labels.items() if state) or "no finding"


def _positives_by_split(records: list[Record]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record.split or "all"].update({name: int(state == 1) for name, state in record.labels.items()})
    return counts


def _examples(classes: tuple[str, ...], records: list[Record]) -> dict[str, list[NDArray[np.uint8]]]:
    """Up to eight images of each class, picked evenly over the dataset."""
    found = {}
    for name in classes:
        positive = [record for record in records if record.labels.get(name) == 1]
        picked = positive[:: max(1, len(positive) // GRID_COLUMNS)][:GRID_COLUMNS]
        found[name] = [image for record in picked if (image := _thumbnail(record)) is not None]
    return found


def _thumbnail(record: Record) -> NDArray[np.uint8] | None:
    try:
        return decode(record.path.read_bytes(), at_least=192, colour=True)
    except ValueError:  # a damaged image with a whole header
        return None
