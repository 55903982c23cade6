"""What a job waits for, in Slurm's own syntax: `--dependency` of sbatch, with ids alone for afterok."""

from __future__ import annotations

import re

JOBS = r"\d+(?:_\d+)?"
OK = "afterok"
# man sbatch 25.11, --dependency. `after` alone takes a time behind each job, in minutes.
CLAUSE = re.compile(
    rf"(?:(?P<type>afterok|afterany|afternotok|aftercorr|afterburstbuffer):)?(?P<jobs>{JOBS}(?::{JOBS})*)"
    rf"|after:{JOBS}(?:\+\d+)?(?::{JOBS}(?:\+\d+)?)*|singleton"
)


def clauses(text: str) -> tuple[list[str], str] | None:
    """The conditions of a dependency and what joins them: `,` (all must hold) or `?` (one must). None where it is not
    in Slurm's syntax; ids alone come back as afterok."""
    joint = "?" if "?" in text else ","
    found = [CLAUSE.fullmatch(part) for part in text.split(joint)]
    if not all(found):
        return None
    spelled = (part[0] if part["type"] or not part["jobs"] else f"{OK}:{part['jobs']}" for part in found if part)
    return list(spelled), joint


def as_sbatch_has_it(text: str) -> str:
    """A dependency with each condition named; empty for none."""
    found = clauses(text) if text else None
    return found[1].join(found[0]) if found else ""


def jobs_alone(text: str) -> str:
    """The ids of a dependency that is of afterok alone, as older versions have it; empty where it is of more."""
    conditions, joint = clauses(text) or ([], ",")
    kinds = {condition.partition(":")[0] for condition in conditions}
    return ":".join(condition.partition(":")[2] for condition in conditions) if kinds == {OK} and joint == "," else ""
