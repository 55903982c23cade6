"""The form of index files: a .idx is a .npy file of one structured array (NumPy's NEP 1)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def npy(rows: npt.NDArray[Any]) -> bytes:
    """The bytes of a .npy file; the same for the same rows."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()
