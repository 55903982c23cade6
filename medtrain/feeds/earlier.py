"""What earlier attempts left behind, kept until the replay of this attempt holds as much."""

from __future__ import annotations

import shutil
from pathlib import Path


class Earlier:
    """The folders that match `pattern` in `parent` at the start of an attempt; they hold files named `files`."""

    def __init__(self, parent: Path, pattern: str, files: str) -> None:
        self._folders = [folder for folder in parent.glob(pattern) if folder.is_dir() and not folder.is_symlink()]
        self._bytes = max((file.stat().st_size for folder in self._folders for file in folder.glob(files)), default=0)

    def drop_once_replayed(self, file: Path) -> None:
        """Drop them if `file`, this attempt's own, is as large as theirs: it repeats their steps before it adds any."""
        if self._folders and file.exists() and file.stat().st_size >= self._bytes:
            self.drop()

    def drop(self) -> None:
        """Drop them; what cannot be removed now is tried again next time."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders = [folder for folder in self._folders if folder.exists()]
