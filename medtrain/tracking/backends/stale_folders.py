"""What earlier attempts left behind, kept until the replay of this attempt holds as much."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

DROPPED = ".dropped-"


class StaleFolders:
    """The folders that match `pattern` in `parent` at the start of an attempt; they hold files named `files`."""

    def __init__(self, parent: Path, pattern: str, files: str) -> None:
        self._parent, self._pattern = parent, pattern
        self._folders = self._listed()
        self._bytes = max((file.stat().st_size for folder in self._folders for file in folder.glob(files)), default=0)

    def drop_once_replayed(self, file: Path) -> None:
        """Drop them if `file`, this attempt's own, is as large as theirs: it repeats their steps before it adds any."""
        if self._folders and file.exists() and file.stat().st_size >= self._bytes:
            self.drop(file.parent)

    def drop(self, own: Path) -> None:
        """Drop them, and what a killed attempt's orphaned process has made since: its name tells an earlier time.

        They are renamed first, as such a process may still make files there, and a folder that fills cannot be removed.
        What cannot be removed now is tried again next time.
        """
        late = [folder for folder in self._listed() if folder != own and time_in(folder) <= time_in(own)]
        for folder in {*self._folders, *late}:
            with contextlib.suppress(OSError):
                folder.rename(folder.with_name(DROPPED + folder.name))
        for folder in self._parent.glob(f"{DROPPED}*"):
            shutil.rmtree(folder, ignore_errors=True)
        self._folders = [folder for folder in self._folders if folder.exists()]

    def _listed(self) -> list[Path]:
        return [
            folder
            for folder in self._parent.glob(self._pattern)
            if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith(DROPPED)
        ]


def time_in(folder: Path) -> str:
    """The time with which the name of a tracker's folder begins, behind W&B's `run-` or `offline-run-`."""
    return folder.name.rpartition("run-")[2]
