"""How arguments that many commands share look on the command line."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

Dataset = Positional[Annotated[str, arg(metavar="DATASET")]]
RunName = Positional[Annotated[str, arg(metavar="RUN")]]
Flag = FlagCreatePairsOff[bool]  # --json without a --no-json beside it
Figures = tuple[Literal["png", "svg", "pdf"], ...]  # the formats in which figures are written
