"""An NVML of known figures, as a shared library that pynvml loads: see nvml_library.c."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
GIB = 2**30


class KnownGpus:
    """The figures of the GPUs GPU-0, GPU-1, ... of this machine, for processes that are started from now on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *rows: tuple[int, int, int, int]) -> None:
        folder.mkdir()
        library = folder / "libnvidia-ml.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
        self._file = folder / "figures"
        self.become(*rows)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
        monkeypatch.setenv("NVML_FIGURES", str(self._file))
        self.uuids = [str(number) for number in range(len(rows))]

    def become(self, *rows: tuple[int, int, int, int]) -> None:
        """Utilization in percent, bytes used, milliwatts, 1 with an energy counter; -1 is not supported."""
        new = self._file.with_suffix(".new")
        new.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
        new.replace(self._file)
