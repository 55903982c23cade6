"""Who may read what medtrain writes: its user alone, with `--share group` the group of the folder too, others never.

The umask decides, which every process sets before it writes anything: so no file is forgotten, also none that another
library writes. A folder with the setgid bit hands it and its group on to what is made in it, as the system does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from medtrain.core.console import warn

Share = Literal["private", "group"]
UMASKS = {"private": 0o077, "group": 0o027}
_users_own: int | None = None


def apply(share: str = "private") -> None:
    """What this process and those that it starts write from now on is for these eyes only."""
    global _users_own
    before = os.umask(UMASKS[share])
    _users_own = before if _users_own is None else _users_own


@contextmanager
def as_the_user_has_it() -> Iterator[None]:
    """With the umask from before, for what is no secret and lies where other programs and people look for it."""
    ours = os.umask(0o077 if _users_own is None else _users_own)
    os.umask(ours if _users_own is None else _users_own)
    try:
        yield
    finally:
        os.umask(ours)


def warn_of_open(folder: Path, share: str = "private") -> None:
    """Of a folder that was there, and is left as it is: who can look into it, or with `group` who cannot."""
    mode = folder.stat().st_mode & 0o777
    if opened := mode & UMASKS[share]:
        who = "others" if opened & 0o007 else "its group"
        names = "" if opened & 0o022 == 0 else " and change"
        warn(
            f"{folder} was there already, and {who} can see{names} what it holds (mode {mode:03o}); the files that are"
            f" written into it are {'for its group' if share == 'group' else 'yours alone'}"
        )
    closed = [place for place in (folder, *folder.parents) if not place.stat().st_mode & 0o011]
    if share == "group" and closed:
        warn(f"the group cannot reach {folder}: {closed[0]} is closed to it (chmod g+rx {closed[0]})")
