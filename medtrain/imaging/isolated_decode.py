"""Files that a command or a program reads a few of: by a process beside this one, for a decoder may end its process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MachineError
from medtrain.core.isolated_processes import NO_MEMORY, Ended, Lost, Pool, Work, announce
from medtrain.core.regular_files import whole_file
from medtrain.imaging.decode import decode

Made = TypeVar("Made")
_lock = threading.Lock()
_pool: Pool | None = None  # of one process, from the first file on; it ends with this one


def image(path: Path, at_least: int, colour: bool = False) -> NDArray[np.uint8]:
    """An image file decoded; errors as of `whole_file` and `decode`."""
    return decode(whole_file(path), at_least, colour)


def apart(function: Callable[..., Made], *arguments: Any) -> Made:
    """What a function of a module makes of these, in the other process. Raises what it raises, and ValueError where it
    ends its process, also when it is tried again."""
    global _pool
    with _lock:
        _pool = _pool or Pool(1)
        try:
            ((_, made),) = _pool.run(READING, [_Call(function, arguments)])
        except MemoryError:
            raise ValueError(NO_MEMORY) from None
        except Lost as error:
            raise MachineError(f"the process that reads files was killed ({error})", "ask for more --mem") from None
    if isinstance(made, _Unusable):
        raise ValueError(made.reason)
    return made  # type: ignore[no-any-return]


class _Call(NamedTuple):
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Unusable(NamedTuple):
    reason: str


def _do(call: _Call, ended: Ended) -> Any:
    if ended:
        return _Unusable(ended[0])
    announce(0)
    try:
        return call.function(*call.arguments)
    except ValueError as error:
        return _Unusable(str(error))


def _touch(call: _Call, _: int) -> None:
    call.function(*call.arguments)


READING = Work(_do, _touch)
