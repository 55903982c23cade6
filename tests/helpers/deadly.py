"""A decoder that ends its process, in place of the real ones: what packs, checks, degrades and reads must outlive it.

No file that ends a real decoder is kept here. Files say in a comment how this one ends at them; else the real one has
them. The functions run in processes of their own, which find them here by name.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.isolated_processes import Ended, Work
from medtrain.curation import scan
from medtrain.imaging import isolated_decode
from medtrain.imaging.decode import decode
from medtrain.imaging.video import clip_frames, degraded_pair, reader, sector
from medtrain.shards import tar_writer

MARK = re.compile(rb"deadly:(\w+)(?::([^\0]+)\0)?")


def marked(data: bytes, how: str, once: Path | None = None) -> bytes:
    """A JPEG at which the decoder below ends its process: how = abort, exit, kill, memory; only one time, where it is
    told a file to note it in."""
    text = f"deadly:{how}".encode() + (f":{once}".encode() + b"\0" if once else b"")
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


def _obey(data: bytes) -> None:
    if not (found := MARK.search(data)):
        return
    if found[2] and (once := Path(found[2].decode())).exists():
        return
    if found[2]:
        once.touch()
    if found[1] == b"memory":
        raise MemoryError
    if found[1] == b"exit":
        os._exit(3)
    os.kill(os.getpid(), {b"abort": signal.SIGABRT, b"kill": signal.SIGKILL}[found[1]])


def _decode(data: bytes, *options: Any, **more: Any) -> Any:
    _obey(data)
    return decode(data, *options, **more)


def _frames(path: Path, which: Sequence[int] | None = None) -> Iterator[Any]:
    _obey(path.read_bytes())
    yield from _real_frames(path, which)


_real_frames = reader.frames


def _with_it(function: Callable[..., Any]) -> Callable[..., Any]:
    tar_writer.decode = scan.decode = isolated_decode.decode = _decode  # type: ignore[attr-defined]
    for module in (clip_frames, degraded_pair, scan, sector):
        module.reader.frames = _frames  # type: ignore[attr-defined]
    return function


def _pack(shard: tar_writer.Shard, ended: Ended) -> None:
    _with_it(tar_writer.pack_shard)(shard, ended)


def _touch(shard: tar_writer.Shard, number: int) -> None:
    _with_it(tar_writer.PACKING.touch)(shard, number)


def _looks(task: scan.Task, ended: Ended) -> list[scan.FileScan]:
    return _with_it(scan.LOOKING.do)(task, ended)  # type: ignore[no-any-return]


def _one(task: scan.Task, number: int) -> scan.FileScan:
    return _with_it(scan.LOOKING.touch)(task, number)  # type: ignore[no-any-return]


def _pair(pair: degraded_pair.Pair, ended: Ended) -> str:
    return _with_it(degraded_pair.write_pair)(pair, ended)  # type: ignore[no-any-return]


def _touch_pair(pair: degraded_pair.Pair, number: int) -> None:
    _with_it(degraded_pair.WRITING.touch)(pair, number)


def _read(call: Any, ended: Ended) -> Any:
    return _with_it(isolated_decode.READING.do)(call, ended)


def _touch_new(call: Any, number: int) -> None:
    _with_it(isolated_decode.READING.touch)(call, number)


READING = Work(_read, _touch_new)
PACKING = Work(_pack, _touch)
LOOKING = Work(_looks, _one)
WRITING = Work(_pair, _touch_pair)


def die(_: int, __: Ended) -> None:
    """At no file."""
    os._exit(7)


def nothing(_: int, __: int) -> None:
    """Touch it."""


def double(number: int, _: Ended) -> int:
    """What a task is made into; of 13 there is none."""
    if number == 13:
        raise ArithmeticError("13")
    return 2 * number
