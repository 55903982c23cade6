"""The command check: every image and label of a raw dataset, before it is packed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes

from medtrain import datasets
from medtrain.cli.flag_types import Dataset, Flag
from medtrain.core.console import busy, say, say_json, table, warn
from medtrain.core.counts import are, counted
from medtrain.core.shell_quoting import SHOWN, command, listing
from medtrain.curation import clip_faults
from medtrain.curation.faults import copies_of, positives_of, state_counts, summary_of
from medtrain.curation.scan import scan_files
from medtrain.datasets.own_data import NOTHING, OwnData
from medtrain.datasets.record import Record, View, with_views
from medtrain.imaging.pixel_limit import MAX_PIXELS
from medtrain.shards.pack_checks import ensure_named_once
from medtrain.shards.plan import MAX_REJECTS


def check(
    dataset: Dataset,
    root: Path | None = None,
    quick: Flag = False,
    metadata_only: Flag = False,
    uncertain: Literal["nan", "zero", "one", "soft"] = "nan",
    unmentioned: Literal["nan", "zero"] = "nan",
    views: tuple[View, ...] = (),
    workers: int = 0,
    max_pixels: int = MAX_PIXELS,
    annotations: Path | None = None,
    own: OmitArgPrefixes[OwnData] = NOTHING,
    json: Flag = False,
) -> None:
    """Look at every image or clip of a dataset before it is packed: layout, labels, sizes, damaged files and copies.

    Missing and unreadable ones are a warning, not an error: they are left out when the dataset is packed. An image that
    a table names in several rows is an error, as it is for packing.

    Args:
        dataset: Name of the dataset (medtrain data list); folder or csv: your own.
        root: Folder with its raw files.
        quick: Read the header of each image or clip only, and decode none.
        metadata_only: Read the tables only, and look for no image.
        uncertain: What a label that the source leaves open counts as (nan: unknown).
        unmentioned: What a label counts as where the source could have named it and does not.
        views: Only images of these views (frontal: PA and AP too; none named: all).
        workers: Processes that read and decode (0: one a core).
        max_pixels: An image, or a frame of a clip, of more pixels counts as unreadable.
        annotations: The table of a dataset whose table may lie anywhere (default: the one in the root).
        json: Print one JSON document.
    """
    busy(f"reading the list of {dataset}")
    source, records = datasets.open_dataset(dataset, root, annotations, own)
    records, place = with_views(records, views), root or own.table or Path()
    ensure_named_once(records)
    clips, kind = source.clips, source.unit
    looks = [] if metadata_only else scan_files(records, quick, workers, json, clips, max_pixels)
    compared = bool(looks) and not (quick and clips)  # clips are too large to be read for that alone
    copies, conflicts = copies_of(records, looks) if compared else (0, [])
    there = [record for record, look in zip(records, looks, strict=True) if look.there] if looks else records
    found = {
        **summary_of(dataset, place, records, looks, kind),
        **(clip_faults.numbers(records, looks) if clips else {}),
        "left_out": source.left_out(place),
        "labels": {name: state_counts(name, there, uncertain, unmentioned) for name in source.classes},
        "duplicates": copies if compared else None,
        "conflicts": len(conflicts) if compared else None,
        **(about := source.about(place, records)),
    }
    if json:
        say_json(found)
    else:
        how = "only the headers were read" if quick else "all were decoded"
        _show(found, source.images, Counter(look.mode for look in looks if not look.reason), how, kind)
        if about:
            say("\n" + source.told(about))
    missing = [record.image for record, look in zip(records, looks, strict=False) if not look.there]
    if told := source.warned(records):
        warn(told)
    _warn_of_faults(found, missing, conflicts, kind)
    if not json:
        partial = " --partial" if len(missing) > MAX_REJECTS else ""
        packing = command("shard", dataset, root, annotations, own)
        dicom = not clips and any(look.mode.endswith(" bit") for look in looks)  # which is not copied into shards
        encoding = " --encoding jpeg" if dicom else ""
        say(f"\npack it: {packing} --out shards/{own.name or dataset}{encoding}{partial}")


def _show(found: dict[str, Any], complete: int, modes: Counter[str], how: str, kind: str) -> None:
    images = found[kind]
    patients = f"{found['patients']:,}" if found["patients"] else "unknown: the dataset has no patient ids"
    say(f"{found['dataset']} in {found['root']}\n")
    whole = f" (the complete dataset has {complete:,})" if complete else ""
    say(f"records     {found['records']:,}{whole}")
    if found["left_out"]:
        say(f"left out    {_tally(found['left_out'])}")
    say(f"patients    {patients}")
    official = f"{_tally(found['splits'])} (official)" if found["splits"] else "no official split: packing assigns one"
    say(f"splits      {official}")
    if images["found"] is None:
        say(f"{kind:<11} not looked for")
    else:
        faults = f"{images['missing']:,} missing, {len(images['unreadable']):,} unreadable"
        say(f"{kind:<11} {images['found']:,} found, {faults} ({how})")
        say(f"sizes       {_tally(found['sizes'])}")
        if kind == "images":
            say(f"modes       {_tally(dict(modes.most_common()))}")
        elif lines := clip_faults.told(found):
            say(lines)
        same = f"byte-identical to another {kind[:-1]}; a split keeps them together"
        copies = "not looked for" if found["duplicates"] is None else f"{found['duplicates']:,} ({same})"
        say(f"copies      {copies}")
    rows = [(name, *states.values()) for name, states in found["labels"].items()]
    if images["missing"]:
        there = f"{counted(images['found'], kind)} that {are(images['found'])} there"
        say(f"\npatients, splits and labels are those of the {there}")
    say("\n" + table(("label", "positive", "negative", "unknown"), rows))


def _tally(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:SHOWN]]
    more = [f"{len(counts) - SHOWN:,} others"] if len(counts) > SHOWN else []
    return ", ".join(shown + more) or "-"


def _warn_of_faults(found: dict[str, Any], missing: list[str], conflicts: list[list[Record]], kind: str) -> None:
    unreadable = found[kind]["unreadable"]
    if missing:
        how = "with --partial packing" if len(missing) > MAX_REJECTS else "packing"
        warn(f"{kind} that are not there ({len(missing):,}); {how} leaves them out:", *listing(missing))
    if unreadable:
        lines = [f"{each[kind[:-1]]}: {each['reason']}" for each in unreadable]
        head = f"{kind} that cannot be read ({len(lines):,}); packing leaves them out:"
        warn(head, *listing(lines, " (--json lists all)"))
    if conflicts:
        lines = [" = ".join(f"{record.image} ({positives_of(record)})" for record in group) for group in conflicts]
        warn(f"LABEL ERROR: identical {kind} with different labels ({len(lines):,}):", *listing(lines))
    empty = [name for name, states in found["labels"].items() if not states["positive"]]
    if empty:
        them = "them" if len(empty) > 1 else "it"
        warn(f"no {kind[:-1]} shows {', '.join(empty)}: nothing can be learned about {them}")
