"""How arguments that many commands share look on the command line."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

Dataset = Positional[Annotated[str, arg(metavar="DATASET")]]
RunName = Positional[Annotated[str, arg(metavar="RUN")]]
SbatchOptions = Annotated[tuple[str, ...], UseAppendAction]  # one by one: --sbatch=--gres=gpu:1 --sbatch=--exclusive
Flag = FlagCreatePairsOff[bool]  # --json without a --no-json beside it
Figures = tuple[Literal["png", "svg", "pdf"], ...]  # the formats in which figures are written
