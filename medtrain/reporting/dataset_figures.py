"""The commands data list, info, download and explore: what can be had, and what it looks like."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.curation.scan import FileScan
from medtrain.datasets.record import SCORE, Record
from medtrain.datasets.source import Source
from medtrain.imaging.isolated_decode import apart, image
from medtrain.imaging.video import reader, sector
from medtrain.reporting.figure_files import new_files

# What class_counts shows, by the kind of labels.
POSITIVES = {"multiclass": "Images of each class", "abnormality": "Abnormal images of each study type"}
PRESENT = "Images in which each label is present"
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
    source: Source, records: list[Record], readable: Readable, examples: Examples, out: Path, name: str
) -> dict[str, Path]:
    """All figures of a dataset called `name`, written beside those that a folder holds: what it shows -> file."""
    scored, peopled = are_scored(records), any(record.patient for record in records)
    of_labels = ("label_states", "patients_and_studies") if peopled and not scored else ()
    images = ("scores" if scored else "class_counts", "image_sizes", "sample_grid", *of_labels)
    shown = (*(("distributions", "contact_sheet") if source.clips else images), *(("group_sizes",) * peopled))
    with new_files(out, [f"{name}-{each}.png" for each in shown]) as files:
        paths = dict(zip(shown, files, strict=True))
        (_draw_clips if source.clips else _draw_images)(source, records, readable, examples, paths)
        if peopled and not (source.clips or scored):
            _draw_people(source, records, paths)
        if peopled:
            _draw_groups(records, source.unit, paths["group_sizes"])
    return paths


def _draw_images(
    source: Source, records: list[Record], readable: Readable, examples: Examples, paths: dict[str, Path]
) -> None:
    """The figures of images."""
    from medtrain.reporting import clip_figures, count_figures, plots

    splits = Counter(record.split or "all" for record in records)
    heads = {split: f"{split} ({count:,} images)" for split, count in splits.items()}
    if "scores" in paths:
        clip_figures.scores(_scores_by_split(records), source.unit, paths["scores"])
    else:
        title = POSITIVES.get(source.task, PRESENT)
        count_figures.class_counts(_positives_by_split(records), paths["class_counts"], title, heads)
    count_figures.image_sizes([(look.width, look.height) for _, look in readable], paths["image_sizes"])
    plots.sample_grid(examples, paths["sample_grid"])


def _draw_clips(
    source: Source, records: list[Record], readable: Readable, examples: Examples, paths: dict[str, Path]
) -> None:
    """The figures of clips."""
    from medtrain.reporting import clip_figures, plots

    looks = [look for _, look in readable]
    rates = [1000 / look.frame_ms for look in looks if look.frame_ms]
    sizes = [(look.width, look.height) for look in looks]
    frames = [look.frames for look in looks]
    scores = _scores_by_split(records)
    clip_figures.distributions(scores, source.states, frames, rates, sizes, paths["distributions"])
    plots.sample_grid(examples, paths["contact_sheet"])


def _sheet(source: Source, readable: Readable) -> Examples:
    """Frames of some clips of each class, evenly spaced and cut to the sector; where no class is known, of the clips of
    the highest and lowest scores."""
    words = source.states
    own = {
        words[state]: [(record, look) for record, look in readable if record.labels[source.classes[0]] == state]
        for state in (1, 0)
    }
    if not any(own.values()):
        scored = [pair for pair in readable if pair[0].raw[SCORE] is not None]
        scored.sort(key=lambda pair: pair[0].raw[SCORE], reverse=True)
        own = {"high": scored[: len(scored) // 2], "low": scored[len(scored) // 2 :][::-1]}
    found: Examples = {}
    for word, pairs in own.items():
        rows = 0
        for record, look in pairs[:: max(1, len(pairs) // (2 * SHEET_ROWS))]:  # half of them may show no sector
            if rows < SHEET_ROWS and (frames := _strip(record.path, look.frames)):
                found[f"{word}, {record.raw[SCORE]:g}\n{record.image}"] = frames
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


def _draw_people(source: Source, records: list[Record], paths: dict[str, Path]) -> None:
    """The figures of labels, and of how many patients and studies tell of each."""
    from medtrain.reporting import count_figures

    known = {name: [record for record in records if record.labels.get(name) in (0, 1)] for name in source.classes}
    states = {
        word: {name: sum(record.labels[name] == state for record in own) for name, own in known.items()}
        for state, word in enumerate(source.states)
    }
    if source.task != "abnormality":  # there, what is unknown is of another study type
        states["unknown"] = {name: len(records) - len(own) for name, own in known.items()}
    count_figures.class_counts(
        states, paths["label_states"], f"{len(records):,} images by the state of each label", unit="images"
    )
    people = {
        "studies": {name: len({study_of(record) for record in own}) for name, own in known.items()},
        "patients": {name: len({record.patient for record in own} - {""}) for name, own in known.items()},
    }
    title = "Studies and patients with an image of which the label is known"
    count_figures.class_counts(people, paths["patients_and_studies"], title, unit="")


def study_of(record: Record) -> tuple[str, str]:
    """What tells a study from others: an image of which none is named is one by itself."""
    return record.patient, record.study or record.image


def _draw_groups(records: list[Record], kind: str, path: Path) -> None:
    """The figure of how large studies and patients are."""
    from medtrain.reporting import count_figures

    images = Counter(study_of(record) for record in records)
    studies = Counter(patient for patient, _ in images if patient)
    nameless = sum(not record.patient for record in records)
    note = f"\n(not of {nameless:,} {kind} whose patient is unknown)" if nameless else ""
    tallies = {
        f"{kind} in a study": (Counter(images.values()), "studies"),
        f"studies of a patient{note}": (Counter(studies.values()), "patients"),
    }
    count_figures.group_sizes(tallies, path)


def are_scored(records: list[Record]) -> bool:
    """Whether images or clips have scores in place of labels."""
    scored = any(record.raw.get(SCORE) is not None for record in records)
    return scored and not any(state in (0, 1) for record in records for state in record.labels.values())


def _scores_by_split(records: list[Record]) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if (score := record.raw.get(SCORE)) is not None:
            scores[record.split or "all"].append(score)
    return scores


def _positives_by_split(records: list[Record]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record.split or "all"].update({name: int(state == 1) for name, state in record.labels.items()})
    return counts


def _pictures(source: Source, records: list[Record]) -> Examples:
    """Up to eight images of each class, picked evenly over the dataset; where each image tells of one class alone, also
    of those that have it not."""
    if are_scored(records):
        return _by_score(records)
    words = source.states
    both = all(sum(state in (0, 1) for state in record.labels.values()) <= 1 for record in records)
    found = {}
    for name in source.classes:
        for state, title in ((1, f"{name} {words[1]}" if both else name), (0, f"{name} {words[0]}"))[: 1 + both]:
            own = [record for record in records if record.labels.get(name) == state]
            picked = own[:: max(1, len(own) // GRID_COLUMNS)][:GRID_COLUMNS]
            found[title] = [image for record in picked if (image := _thumbnail(record)) is not None]
    return found


def _by_score(records: list[Record]) -> Examples:
    """The images of the lowest scores, of those between, and of the highest."""
    scored = sorted((each for each in records if each.raw.get(SCORE) is not None), key=lambda each: each.raw[SCORE])
    third = max(1, -(-len(scored) // 3))
    found: Examples = {}
    for own in (scored[first : first + third] for first in range(0, len(scored), third)):
        title = f"{own[0].raw[SCORE]:g} to {own[-1].raw[SCORE]:g}"
        picked = own[:: max(1, len(own) // GRID_COLUMNS)][:GRID_COLUMNS]
        found.setdefault(title, []).extend(image for each in picked if (image := _thumbnail(each)) is not None)
    return found


def _thumbnail(record: Record) -> NDArray[np.uint8] | None:
    try:
        return apart(image, record.path, 192, True)
    except (ValueError, OSError):  # a damaged image with a whole header
        return None
