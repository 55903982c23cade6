"""Why a DICOM file cannot be used, in our own words: those of pydicom may quote what the file says of a person."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from medtrain.core.errors import MedtrainError


class Unusable(ValueError):
    """Why a file cannot be used, in our own words."""


class Damaged(ValueError):
    """What is wrong with a part of it, in our own words."""


class _Silence:
    """No warnings while any thread is inside, and those of before when the last one is out. To have each thread catch
    its own (warnings.catch_warnings) lets them restore each other's filters, up to Python 3.14."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_SILENCE = _Silence()


@contextmanager
def unusable(reason: str) -> Iterator[None]:
    """Whatever pydicom and its decoders raise here becomes Unusable for this `reason`, and they warn of nothing; with
    no reason given what is Damaged is told. An Unusable, a lack of memory or of a package and a failing disk stay what
    they are."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        with _SILENCE:
            yield
    except (MemoryError, Unusable, MedtrainError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk: pydicom's own have no number
            raise
        raise Unusable(reason or (str(error) if isinstance(error, Damaged) else "")) from None
