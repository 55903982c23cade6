"""Where tests find what lies beside them."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HELPERS = REPOSITORY / "tests" / "helpers"
RECORDED = REPOSITORY / "tests" / "data"  # answers, logs and files of real programs
SHARED = REPOSITORY.parent / "shared" / "data"  # real datasets, on the machines that have them
