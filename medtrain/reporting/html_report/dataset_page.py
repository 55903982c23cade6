"""The report of a packed dataset as a page: what is in it, what was left out, and where it came from."""

from __future__ import annotations

from pathlib import Path

from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import write_whole
from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.dataset_facts import UNKNOWN, DatasetFacts, gather_dataset
from medtrain.reporting.html_report.groups_section import ATTRIBUTES
from medtrain.reporting.html_report.markup import Html, facts, joined, listed, more, note, number, paragraph, table, tag
from medtrain.reporting.html_report.overview import FEW_NOTE
from medtrain.reporting.html_report.page_frame import DATASET, Section, ensure_ours, page, section
from medtrain.reporting.html_report.run_record import data_facts
from medtrain.reporting.small_cells import masked, masked_classes
from medtrain.shards.compatibility import stated
from medtrain.shards.packed_dataset import STATES

MB = 1e6
TITLES = {"dataset": "Dataset", **ATTRIBUTES, "age": "Age in years, by decade"}


def write_dataset_page(folder: Path, out: Path | None = None, small_cells: bool = False) -> Path:
    """Write the page of a packed dataset, `report.html` in its folder or `out`, and return the path.

    InputError where the folder holds no whole packed dataset, or `out` is a file that is none of medtrain's.
    """
    path = out or folder / "report.html"
    ensure_ours(path, DATASET)
    told = gather_dataset(folder, small_cells)
    sections = [write(told) for write in (_overview, _labels, _people, _left_out, _provenance)]
    text = page(folder.resolve().name, f"medtrain report: packed dataset {told.packed.name}", sections, DATASET)
    try:
        write_whole(path, text.encode())
    except FileNotFoundError:
        raise InputError(f"{path.parent}: there is no such folder", "make it, or give another --out") from None
    except PermissionError:
        raise MachineError(f"{path} cannot be written: permission denied", "give --out FILE.html") from None
    return path


def _overview(told: DatasetFacts) -> Section:
    packed = told.packed
    rows = [
        (
            split, told.samples[split], told.groups[split], told.studies[split], len(packed.shards(split)),
            sum(shard.bytes for shard in packed.shards(split)) / MB, told.copies[split],
            *(value / 1000 for value in told.sizes[split]),
        )
        for split in told.splits
    ]  # fmt: skip
    files = (f"{word} file, KB" for word in ("smallest", "median", "largest"))
    heads = ("split", told.unit, "patients", "studies", "shards", "MB", "copies", *files)
    parts: list[object] = [
        facts([
            ("dataset", packed.name), ("task", packed.manifest.get("task", UNKNOWN)), (told.unit, packed.samples),
            ("labels", len(packed.classes)), ("split", packed.manifest.get("split_rule", UNKNOWN)),
            ("rejected or left out as copies", packed.manifest.get("rejects", 0)),
        ]),
        table("Splits", heads, rows),
        note(
            "Where no patient is known, files of the same bytes count as one. Copies are files of the same bytes as"
            " another of their split: a test counts them once."
        ),
    ]  # fmt: skip
    if torn := packed.manifest.get("patients_in_several_splits"):
        many = torn if isinstance(torn, int) else len(torn)
        parts.append(tag("p", f"Patients in several official splits: {many:,}.", class_="warn"))
    if told.shared:
        parts.append(tag("p", f"Files whose bytes are in several splits: {told.shared:,}.", class_="warn"))
    if told.frames:
        shape = packed.clips
        lines = [(split, *map(int, own)) for split, own in told.frames.items()]
        parts.append(table("Frames of a clip", ("split", "fewest", "median", "most"), lines))
        parts.append(note(f"Packed at {shape.side} pixels, {shape.channels} channels.") if shape else None)
    if told.scores:
        lines_of = [(split, *own) for split, own in told.scores.items()]
        parts.append(table("Scores", ("split", "with a score", "mean", "deviation"), lines_of))
    return section("overview", "Overview", *parts)


def _labels(told: DatasetFacts) -> Section:
    """How many samples of each label are present, absent and unknown, by split."""
    packed, splits = told.packed, told.splits
    words = ("present", "absent", "unknown")
    rows, drawn, hidden = [], {}, []
    of_split = [_label_cells(told, split) for split in splits]
    for label in packed.classes:
        cells = [own[label] for own in of_split]
        rows.append((label, *(cell for own in cells for cell in own)))
        present = [own[0] for own in cells]
        if all(isinstance(count, int) for count in present):
            drawn[label] = sum(int(str(count)) for count in present)
        else:
            hidden.append(label)
    figure = charts.amounts("labels-present", "present", drawn, told.unit) if drawn else None
    return section(
        "labels",
        "Labels",
        tag("div", figure, class_="figures wide") if figure else None,
        note(f"Not drawn, because a count is not shown: {listed(hidden)}.") if hidden else None,
        table(
            f"{told.unit.capitalize()} by label and split", ("label", *(word for _ in splits for word in words)), rows,
            above=[("", 1), *((split, len(words)) for split in splits)],
        ),
        note(FEW_NOTE) if any(isinstance(cell, str) for _, *own in rows for cell in own) else None,
        note("Absent is what the source says is not there; of what it does not say, a label is unknown."),
    )  # fmt: skip


def _label_cells(told: DatasetFacts, split: str) -> dict[str, list[object]]:
    """How many samples of a split are present, absent and unknown, by label, as they may be told."""
    packed = told.packed
    own = packed.splits[split]
    counts = {label: [own["counts"][label][state] for state in STATES] for label in packed.classes}
    if stated(packed) == "multiclass":
        return masked_classes(counts, own["samples"], told.small_cells)
    return {label: masked(cells, told.small_cells) for label, cells in counts.items()}


def _people(told: DatasetFacts) -> Section:
    """Counts by dataset, sex, age and view."""
    parts: list[object] = []
    for name, counts in told.by.items():
        groups = sorted({group for own in counts.values() for group in own}, key=lambda one: (one == UNKNOWN, one))
        columns = [masked([counts[split].get(group, 0) for group in groups], told.small_cells or name == "dataset")
                   for split in told.splits]  # fmt: skip
        cells = dict(zip(groups, zip(*columns, strict=True), strict=True))
        whole = {group: sum(int(str(cell)) for cell in own) for group, own in cells.items()
                 if all(isinstance(cell, int) for cell in own)}  # fmt: skip
        title, rows = TITLES[name], [(_shown(name, group), *own) for group, own in cells.items()]
        hides = len(whole) < len(groups)
        shown = {_shown(name, group): many for group, many in whole.items()}
        figure = charts.amounts(f"amounts-{name}", title, shown, told.unit) if len(groups) > 1 and shown else None
        parts += [
            tag("h3", title),
            tag("div", figure, class_="figures wide") if figure else None,
            table(
                f"{told.unit.capitalize()} by {title[0].lower()}{title[1:]} and split", ("group", *told.splits), rows
            ),
            note(FEW_NOTE, " The figure has the groups without such a count.") if hides else None,
        ]
    if set(told.by) == {"dataset"}:
        parts.append(paragraph("The shards tell nothing of the patients (sex, age) or of the view."))
    return section("groups", "Datasets, patients and views", *parts)


def _shown(name: str, group: str) -> str:
    """A group's name; a decade without the zero by which it is sorted."""
    return group.replace("00 to 09", "0 to 9") if name == "age" else group


def _left_out(told: DatasetFacts) -> Section:
    rows = list(told.rejects.items())
    if not rows:
        return section("rejects", "Left out", paragraph(f"No {told.unit[:-1]} was rejected or left out as a copy."))
    return section(
        "rejects",
        "Left out",
        table("Rejected and left out, by reason", ("reason", told.unit), rows, class_="wrap"),
        note("rejects.jsonl beside the shards names the files. Names and numbers in reasons are left out here: …"),
    )


def _provenance(told: DatasetFacts) -> Section:
    packed = told.packed
    shards = [
        (shard.name, shard.samples, shard.bytes / MB, tag("code", shard.sha256))
        for split in told.splits for shard in packed.shards(split)
    ]  # fmt: skip
    options = [(tag("code", name), str(value)) for name, value in packed.manifest.get("options", {}).items()]
    heads: tuple[Html | str, ...] = ("shard", told.unit, "MB", "SHA-256")
    return section(
        "provenance",
        "Provenance",
        facts(data_facts(packed)),
        table("Options of packing", ("option", "value"), options, words=(1,)) if options else None,
        more(
            joined("The shards and their hashes (", number(len(shards)), ")"),
            table("Shards", heads, shards, words=(3,)),
        ),
    )
