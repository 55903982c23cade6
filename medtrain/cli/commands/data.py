"""The commands data list, info, download and explore: what can be had, and what it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from medtrain import datasets
from medtrain.cli.flag_types import Dataset, Figures, Flag
from medtrain.core.console import say, say_json, table, warn
from medtrain.core.errors import InputError, MachineError
from medtrain.core.shell_quoting import command
from medtrain.curation.scan import scan_files
from medtrain.datasets.own_data import NOTHING, OwnData
from medtrain.reporting.dataset_figures import draw_dataset, examples_of
from medtrain.reporting.style import formats_now, written_as

SHARING = {
    "free": "what is trained on it may be published",
    "forbidden": "what is trained on it may not be published, except where the licence says so",
    "": "read the licence before you publish what is trained on it",
}


def data_list(json: Flag = False) -> None:
    """List the datasets that medtrain can read.

    Args:
        json: Print one JSON document.
    """
    found = [_description(name) for name in datasets.names()]
    if json:
        say_json(found)
    else:
        rows = [(each["name"], each["images"] or "-", len(each["tells"]) or "-", each["title"]) for each in found]
        say(table(("dataset", "images", "labels", "what it is"), rows) + "\n\nmore: medtrain data info DATASET")


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
    never = [label for label in found["classes"] if label not in found["tells"]]
    about = {
        "images": f"{found['images']:,}" if found["images"] else "yours",
        "labels": (", ".join(found["tells"]) or "yours") + (f" (never known: {', '.join(never)})" if never else ""),
        "licence": found["licence"],
        "models": SHARING[found["sharing"]],
        "get it": "\n         ".join(_steps(name)),
    }
    say(f"{name}: {found['title']}\n")
    for head, text in about.items():
        say(f"{head:<9}{text}")


def data_download(name: Dataset, root: Path) -> None:
    """Fetch or draw a dataset, where medtrain can.

    Args:
        name: Name of the dataset (medtrain data list).
        root: New folder for its raw files.
    """
    source = datasets.source(name)
    if source.download is None:
        say("\n".join(_steps(name)))
        raise InputError(f"medtrain cannot fetch {name} by itself", "follow the steps above")
    try:
        source.download(root)
    except OSError as error:
        problem = f"{root} cannot be written ({error.strerror}: {error.filename})"
        raise MachineError(problem, "choose another --root, or make room") from None
    say(f"{name} is in {root}\ninspect it: {command('check', name, root)}")


def data_explore(
    dataset: Dataset,
    root: Path | None = None,
    out: Path = Path("explore"),
    annotations: Path | None = None,
    own: OmitArgPrefixes[OwnData] = NOTHING,
    figures: Figures = ("png",),
    json: Flag = False,
) -> None:
    """Draw a dataset as PNG files: samples of each class, image sizes, a grid of examples, patients and their studies;
    of clips, how their scores, frames, rates and sizes are distributed, and a contact sheet of what the sector shows.

    Args:
        dataset: Name of the dataset (medtrain data list); folder or csv: your own.
        root: Folder with its raw files.
        out: Folder for the figures. None that is there already is written over: the new ones get a number.
        annotations: The table of a dataset whose table may lie anywhere (default: the one in the root).
        figures: Formats of the figures: png, svg, pdf.
        json: Print one JSON document.
    """
    source, records = datasets.open_dataset(dataset, root, annotations, own)
    clips, place = source.clips, root or own.table
    see_why = f"see what is wrong: {command('check', dataset, root, annotations, own)}"
    looks = scan_files(records, True, 0, json, clips)
    readable = [(record, look) for record, look in zip(records, looks, strict=True) if not look.reason]
    examples = examples_of(source, readable)
    if not any(examples.values()):
        what = "clip in which something moves" if clips else "image that shows a class and can be read"
        raise InputError(f"{place} has no {dataset} {what}", see_why)
    out.mkdir(parents=True, exist_ok=True)
    with written_as(figures):
        paths = draw_dataset(source, records, readable, examples, out, own.name or dataset)
        files = {name: formats_now(path) for name, path in paths.items()}
    if json:
        drawn = {name: str(first) for name, (first, *_) in files.items()}
        others = [str(path) for _, *rest in files.values() for path in rest]
        more = {"other_formats": others} if others else {}
        say_json({"dataset": dataset, "root": str(place), "figures": drawn, **more})
    else:
        for each in files.values():
            say("   ".join(map(str, each)))
    if len(readable) < len(records):
        warn(f"{'clips' if clips else 'images'} that cannot be read: {len(records) - len(readable):,}; {see_why}")


def _description(name: str) -> dict[str, Any]:
    source = datasets.source(name)
    return {
        "name": name, "title": source.title, "images": source.images, "classes": list(source.classes),
        "tells": list(source.tells or source.classes), "licence": source.licence, "sharing": source.sharing,
        "access": source.access,
    }  # fmt: skip


def _steps(name: str) -> list[str]:
    """How to get a dataset: by the command that fetches it, or by hand."""
    source = datasets.source(name)
    steps = [f"{i}. {step}" for i, step in enumerate(source.access.split("   "), start=1)]
    if source.download is None or f"download {name}" in source.access:  # it tells of the command itself
        return steps
    return [f"medtrain data download {name} --root DIR", "or by hand:", *steps]
