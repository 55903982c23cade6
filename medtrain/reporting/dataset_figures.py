"""The commands data list, info, download and explore: what can be had, and what it looks like."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.curation.scan import FileScan
from medtrain.datasets.record import Record
from medtrain.datasets.source import Source
from medtrain.imaging.isolated_decode import apart, image
from medtrain.imaging.video import reader, sector

GRID_COLUMNS = 8
SHEET_ROWS, SHEET_FRAMES = 4, 6  # clips of each class in the contact sheet, and how many frames of each


Readable = list[tuple[Record, FileScan]]
Examples = dict[str, list[NDArray[np.uint8]]]


def examples_of(source: Source, readable: Readable) -> Examples:
    """What a person would look at first: title -> images, or frames of a clip."""
    if source.clips:
        return _sheet(source, readable)
    return _pictures(source, [record for record, _ in readable])


def draw_dataset(
    source: Source, records: list[Record], readable: Readable, examples: Examples, out: Path
) -> dict[str, Path]:
    """All figures of a dataset, written into a folder: name -> file."""
    paths = (_draw_clips if source.clips else _draw_images)(source, records, readable, examples, out)
    if any(record.patient for record in records):
        paths |= {} if source.clips else _draw_people(source, records, out)
        paths |= _draw_groups(records, source.unit, out)
    return paths


def _draw_images(
    source: Source, records: list[Record], readable: Readable, examples: Examples, out: Path
) -> dict[str, Path]:
    """The figures of images: name -> file."""
    from medtrain.reporting import plots

    paths = {name: out / f"{name}.png" for name in ("class_counts", "image_sizes", "sample_grid")}
    plots.class_counts(_positives_by_split(records), paths["class_counts"])
    plots.image_sizes([(look.width, look.height) for _, look in readable], paths["image_sizes"])
    plots.sample_grid(examples, paths["sample_grid"])
    return paths


def _draw_clips(
    source: Source, records: list[Record], readable: Readable, examples: Examples, out: Path
) -> dict[str, Path]:
    """The figures of clips: name -> file."""
    from medtrain.reporting import clip_figures, plots

    paths = {name: out / f"{name}.png" for name in ("distributions", "contact_sheet")}
    scores: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if (score := record.raw["quality_score"]) is not None:
            scores[record.split or "all"].append(score)
    looks = [look for _, look in readable]
    rates = [1000 / look.frame_ms for look in looks if look.frame_ms]
    sizes = [(look.width, look.height) for look in looks]
    frames = [look.frames for look in looks]
    clip_figures.distributions(scores, source.states, frames, rates, sizes, paths["distributions"])
    plots.sample_grid(examples, paths["contact_sheet"])
    return paths


def _sheet(source: Source, readable: Readable) -> Examples:
    """Frames of some clips of each class, evenly spaced and cut to the sector; where no class is known, of the clips of
    the highest and lowest scores."""
    words = source.states
    own = {
        words[state]: [(record, look) for record, look in readable if record.labels[source.classes[0]] == state]
        for state in (1, 0)
    }
    if not any(own.values()):
        scored = [pair for pair in readable if pair[0].raw["quality_score"] is not None]
        scored.sort(key=lambda pair: pair[0].raw["quality_score"], reverse=True)
        own = {"high": scored[: len(scored) // 2], "low": scored[len(scored) // 2 :][::-1]}
    found: Examples = {}
    for word, pairs in own.items():
        rows = 0
        for record, look in pairs[:: max(1, len(pairs) // (2 * SHEET_ROWS))]:  # half of them may show no sector
            if rows < SHEET_ROWS and (frames := _strip(record.path, look.frames)):
                found[f"{word}, {record.raw['quality_score']:g}\n{record.image}"] = frames
                rows += 1
    return found


def _strip(path: Path, frames: int) -> list[NDArray[np.uint8]]:
    """Frames of a clip, evenly spaced, of which only the sector is left: what is around it may name the patient.
    Nothing where no sector is found, or the file is damaged."""
    which = sorted({round(place) for place in np.linspace(0, frames - 1, SHEET_FRAMES)})
    try:
        return apart(_sectors, path, which)
    except (ValueError, OSError):
        return []


def _sectors(path: Path, which: list[int]) -> list[NDArray[np.uint8]]:
    seen = sector.find_sector(path, reader.header(path))
    return [seen.cut(frame) for frame in reader.frames(path, which)]


def _draw_people(source: Source, records: list[Record], out: Path) -> dict[str, Path]:
    """The figures of labels, and of how many patients and studies tell of each: name -> file."""
    from medtrain.reporting import plots

    paths = {name: out / f"{name}.png" for name in ("label_states", "patients_and_studies")}
    told = {name: [record for record in records if record.labels.get(name) in (0, 1)] for name in source.classes}
    states = {
        word: {name: sum(record.labels[name] == state for record in own) for name, own in told.items()}
        for state, word in enumerate(source.states)
    }
    plots.class_counts(states, paths["label_states"], "Images of which each label is known", "images")
    people = {
        "studies": {name: len({record.study for record in own}) for name, own in told.items()},
        "patients": {name: len({record.patient for record in own}) for name, own in told.items()},
    }
    plots.class_counts(people, paths["patients_and_studies"], "Studies and patients of which each label is known", "")
    return paths


def _draw_groups(records: list[Record], kind: str, out: Path) -> dict[str, Path]:
    """The figure of how large studies and patients are: name -> file."""
    from medtrain.reporting import plots

    path = out / "group_sizes.png"
    images = Counter(record.study or record.image for record in records)
    studies = Counter(patient for patient, _ in {(record.patient, record.study or record.image) for record in records})
    tallies = {
        f"{kind} in a study": Counter(images.values()),
        "studies of a patient": Counter(studies.values()),
    }
    plots.group_sizes(tallies, path)
    return {"group_sizes": path}


def _positives_by_split(records: list[Record]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record.split or "all"].update({name: int(state == 1) for name, state in record.labels.items()})
    return counts


def _pictures(source: Source, records: list[Record]) -> Examples:
    """Up to eight images of each class, picked evenly over the dataset; where each image tells of one class alone, also
    of those that have it not."""
    words = source.states
    both = all(sum(state in (0, 1) for state in record.labels.values()) <= 1 for record in records)
    found = {}
    for name in source.classes:
        for state, title in ((1, f"{name} {words[1]}" if both else name), (0, f"{name} {words[0]}"))[: 1 + both]:
            own = [record for record in records if record.labels.get(name) == state]
            picked = own[:: max(1, len(own) // GRID_COLUMNS)][:GRID_COLUMNS]
            found[title] = [image for record in picked if (image := _thumbnail(record)) is not None]
    return found


def _thumbnail(record: Record) -> NDArray[np.uint8] | None:
    try:
        return apart(image, record.path, 192, True)
    except (ValueError, OSError):  # a damaged image with a whole header
        return None
