"""What the cells of tables mean: states of labels, splits, sexes, views, ages.

An InputError says what a cell is and what to write; whoever knows its place adds that (`at`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.labels import ABSENT, PRESENT, UNCERTAIN
from medtrain.datasets.record import years

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validate": "val", "validation": "val",
    "test": "test", "testing": "test", "train+val": "train+val", "": "",
}  # fmt: skip
WORDS: dict[str, int | None] = {
    **dict.fromkeys(("1", "true", "yes", "y", "present", "positive", "pos"), PRESENT),
    **dict.fromkeys(("0", "false", "no", "n", "absent", "negative", "neg"), ABSENT),
    **dict.fromkeys(("u", "uncertain"), UNCERTAIN),
    **dict.fromkeys(csvfile.EMPTY),
}
SEXES = {"": "", "m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}
VIEWS = {
    **{view.lower(): view for view in ("frontal", "PA", "AP", "lateral", "other")},
    "ll": "lateral", "unknown": "", "": "",
}  # fmt: skip


@contextmanager
def at(where: str, what: str) -> Iterator[None]:
    """Say of what is wrong with a cell where it is, and what of: "label"."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: the {what} is {error.problem}", error.fix) from None


def without_point(cell: str) -> str:
    """`1.0` is 1: pandas writes whole numbers so in a column with a gap."""
    whole, point, rest = cell.partition(".")
    return whole if point and whole.removeprefix("-").isdigit() and not rest.strip("0") else cell


def state(cell: str) -> int | None:
    """PRESENT, ABSENT, UNCERTAIN, or None for unknown."""
    word = without_point(cell.strip().lower())
    if word == "-1":
        raise InputError(
            "-1, which is uncertain in some tables and unknown in others", "write u (uncertain) or nothing"
        )
    if word not in WORDS:
        raise InputError(shown(cell), "write 1 (present), 0 (absent), u (uncertain), or nothing (unknown)")
    return WORDS[word]


def is_state(cell: str) -> bool:
    """Whether a cell reads as a state."""
    return without_point(cell.strip().lower()) in WORDS


def split(cell: str | None) -> str:
    """The official split that a cell names."""
    word = csvfile.filled(cell).lower()
    if word not in SPLITS:
        raise InputError(shown(word), "write train, val, test, train+val, or nothing")
    return SPLITS[word]


def sex(cell: str | None) -> str:
    """M, F, `other`, or nothing where it is not known."""
    return SEXES.get(csvfile.filled(cell).lower(), "other")


def view(cell: str | None) -> str:
    """One of record.View; what is none of them is `other`: free text may name a person."""
    return VIEWS.get(csvfile.filled(cell).lower(), "other")


def age(cell: str | None) -> int | None:
    """Whole years, or None where it is not known."""
    text = csvfile.filled(cell)
    found = years(text)
    if found is None and text:
        raise InputError(shown(text), "write whole years, or nothing")
    return found


def shown(cell: str) -> str:
    """A cell as messages quote it."""
    return repr(cell if len(cell) <= 24 else f"{cell[:21]}...")
