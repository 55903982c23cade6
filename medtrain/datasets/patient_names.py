"""A guess at what in the paths of images tells the patient, as the regular expression of `--patient_from`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

SEEN = 2_000  # paths that a guess looks at
BEGINNING = re.compile(r"(?P<id>(?P<letters>[A-Za-z]*)(?P<dash>[-_]?)[0-9]+)(?P<mark>[-_ ])[^/]*$")
UNKNOWN = "where file names tell them, as P03 in P03_left.jpg: --patient_from '/(P[0-9]+)_'"


def hint(paths: Sequence[str], above: int) -> str:
    """What to add to a command so that it knows the patients of `paths`, which have `above` folders that are none."""
    some = paths[:: max(1, len(paths) // SEEN)]
    if any(path.count("/") > above for path in some):
        expression = "^" + "[^/]+/" * above + "([^/]+)/"
        return f"are the folders below the classes patients? --patient_from {shlex.quote(expression)}"
    if expression := _of_names(some):
        patient = re.search(expression, some[0])
        assert patient is not None
        name = some[0].rpartition("/")[2]
        return f"is {patient[1]} in {name} the patient? --patient_from {shlex.quote(expression)}"
    return UNKNOWN


def _of_names(paths: Sequence[str]) -> str:
    """The expression for file names that all begin with an id (P03_left.jpg, 0017-2.png), where some ids have several
    images and there are several ids; empty for others."""
    found = [BEGINNING.match(path.rpartition("/")[2]) for path in paths]
    ids = [match["id"] for match in found if match]
    if len(ids) < len(paths) or not 1 < len(set(ids)) < len(ids):
        return ""
    letters, dashes, marks = ({match[part] for match in found if match} for part in ("letters", "dash", "mark"))
    if "" in letters and len(letters) > 1:
        return ""
    word = letters.pop() if len(letters) == 1 else "[A-Za-z]+"
    dash = dashes.pop() if len(dashes) == 1 else "[-_]?"
    expression = f"/({word}{dash}[0-9]+)" + (marks.pop() if len(marks) == 1 else "[-_ ]")
    alike = [
        match and match[1] == own for match, own in zip(map(re.compile(expression).search, paths), ids, strict=True)
    ]
    return expression if all(alike) else f"{expression}[^/]*$"
