"""One worker process of a loader: reads, checks, decodes and augments images or clips straight into shared memory.

Its arguments, TRAINER SOCKET MEMORY, are a process id and two file descriptors from loader_pool. It imports no torch,
so it starts in a fraction of a second, and it ends when its trainer does.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection

import cv2
import numpy as np
import numpy.typing as npt

from medtrain.config.schema import AugmentConfig
from medtrain.core.processes import end_with
from medtrain.imaging.decode import decode, decode_all
from medtrain.imaging.video import clip_tiff
from medtrain.imaging.video.clip_tiff import DamagedFrame
from medtrain.loading import transforms
from medtrain.loading.clip_sampling import ClipSetup, Drawn, fit_clip, window

CHUNK_BYTES = 1 << 20
HEADER = struct.Struct("<qq")
SAMPLE_LOCATION = np.dtype(
    [
        ("shard", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("crc32", "<u4"), ("draw", "<i8"),
        ("frames", "<u4"), ("frame_ms", "<f4"),  # of a clip
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What all images or clips of a loader have in common; `augment=None` only resizes."""

    shards: tuple[str, ...]
    image_size: int
    augment: AugmentConfig | None
    seed: int
    clip: ClipSetup | None = None
    rgb: bool = False  # of images

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pixels of a sample: (H, W), in RGB (H, W, 3), of a clip (T, H, W, C)."""
        side = (self.image_size, self.image_size)
        if self.clip:
            return (self.clip.frames, *side, self.clip.shape.channels)
        return (*side, 3) if self.rgb else side


@dataclass(frozen=True)
class WorkItem:
    """Some of a batch's images: `places` [n] of dtype SAMPLE_LOCATION, and the byte of the shared memory that their
    pixels start at. With the draws of `epoch` they are augmented, with None only resized, and a draw is the number of a
    window of a clip."""

    start: int
    epoch: int | None
    places: npt.NDArray[np.void]

    def pack(self) -> bytes:
        """As a message."""
        return HEADER.pack(self.start, -1 if self.epoch is None else self.epoch) + self.places.tobytes()

    @classmethod
    def unpack(cls, message: bytes) -> WorkItem:
        """From a message."""
        start, epoch = HEADER.unpack_from(message)
        return cls(start, None if epoch < 0 else epoch, np.frombuffer(message, SAMPLE_LOCATION, offset=HEADER.size))

    def chunks(self) -> Iterator[slice]:
        """Cuts after each megabyte of files: what is read, then decoded, then augmented, so that the pixels of a few
        large images are held at a time."""
        total = np.cumsum(self.places["size"], dtype=np.int64)
        cuts = np.flatnonzero(np.diff(total // CHUNK_BYTES)) + 1
        return (slice(start, end) for start, end in pairwise([0, *cuts.tolist(), len(self.places)]))


class Fault(Exception):
    """An image that cannot be had: its position in the piece, why, and whether the filesystem is to blame."""

    def __init__(self, position: int, reason: str, filesystem: bool = False) -> None:
        super().__init__(position, reason, filesystem)
        self.position, self.reason, self.filesystem = position, reason, filesystem


class Images:
    """Makes the pixels of pieces."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._descriptors = Descriptors(setup.shards)

    def make(self, piece: WorkItem, out: npt.NDArray[np.uint8]) -> None:
        """Fill `out` uint8 [n, size, size], in RGB [n, size, size, 3], with the piece's images; raises Fault."""
        augment, size, rgb = self._setup.augment, self._setup.image_size, self._setup.rgb
        for chunk in piece.chunks():
            files = self._read(piece.places[chunk], chunk.start)
            if augment is None or piece.epoch is None:
                transforms.fit(_decoded(files, size, rgb, chunk.start), out[chunk])
            else:
                # A JPEG may be decoded at half its size or less, where that leaves what the largest zoom shows.
                images = _decoded(files, math.ceil(size * max(1.0, augment.zoom_max)), rgb, chunk.start)
                draws = piece.places["draw"][chunk]
                transforms.augment(augment, self._setup.seed, piece.epoch, draws, images, out[chunk])

    def _read(self, places: npt.NDArray[np.void], first: int) -> list[bytes]:
        files, position = [], first
        descriptors, pread, crc32 = self._descriptors, os.pread, zlib.crc32  # looked up once: images are small
        try:
            for position, (shard, offset, size, checksum, *_) in enumerate(places.tolist(), first):
                data = pread(descriptors[shard], size, offset)
                if crc32(data) != checksum:
                    raise Fault(position, "the bytes do not match their checksum")
                files.append(data)
        except OSError as error:
            raise Fault(position, f"cannot be read ({error.strerror})", filesystem=True) from None
        return files


class Clips:
    """Makes the pixels of pieces of clips."""

    def __init__(self, setup: Setup, clip: ClipSetup) -> None:
        self._setup, self._clip = setup, clip
        self._descriptors = Descriptors(setup.shards)

    def make(self, piece: WorkItem, out: npt.NDArray[np.uint8]) -> None:
        """Fill `out` uint8 [n, T, H, W, C] with the piece's clips; raises Fault."""
        setup, clip = self._setup, self._clip
        drawn = None
        if setup.augment is not None and piece.epoch is not None:
            drawn = Drawn.of(setup.augment, setup.seed, piece.epoch, piece.places["draw"])
        for i, (shard, offset, _, _, draw, frames, frame_ms) in enumerate(piece.places.tolist()):
            which = drawn.positions(i, clip, frames, frame_ms) if drawn else window(clip, frames, frame_ms, draw)
            try:
                pixels = clip_tiff.read(self._descriptors[shard], offset, frames, clip.shape, which)
            except DamagedFrame as error:
                raise Fault(i, str(error)) from None
            except OSError as error:
                raise Fault(i, f"cannot be read ({error.strerror})", filesystem=True) from None
            if drawn:
                drawn.change(i, pixels, out[i])
            else:
                fit_clip(pixels, out[i])


class Descriptors(dict[int, int]):
    """Shards as file descriptors, each opened when it is first asked for: with many workers on a shared filesystem,
    opening all at the start is a storm."""

    def __init__(self, shards: tuple[str, ...]) -> None:
        self._shards = shards

    def __missing__(self, shard: int) -> int:
        self[shard] = descriptor = os.open(self._shards[shard], os.O_RDONLY)
        return descriptor


def _decoded(files: list[bytes], at_least: int, rgb: bool, first: int) -> list[npt.NDArray[np.uint8]]:
    try:
        return decode_all(files, at_least, rgb)
    except ValueError:
        for position, data in enumerate(files, first):
            _blame(position, data)
        raise


def _blame(position: int, data: bytes) -> None:
    try:
        decode(data)
    except ValueError as error:
        raise Fault(position, str(error)) from None


def serve(connection: Connection, memory: int) -> None:
    """Make pieces as they come, and answer each with an empty message or its Fault."""
    setup: Setup = connection.recv()
    samples = Clips(setup, setup.clip) if setup.clip else Images(setup)
    pixels, shape = np.empty(0, np.uint8), setup.shape
    while True:
        piece = WorkItem.unpack(connection.recv_bytes())
        end = piece.start + len(piece.places) * math.prod(shape)
        if end > len(pixels):  # the pool has made the memory larger
            pixels = np.frombuffer(mmap.mmap(memory, 0), np.uint8)
        try:
            samples.make(piece, pixels[piece.start : end].reshape(-1, *shape))
            connection.send_bytes(b"")
        except Fault as fault:
            connection.send_bytes(pickle.dumps(fault))


def main(trainer: str, socket: str, memory: str) -> None:
    """Serve until the trainer closes the socket or ends."""
    end_with(int(trainer))
    cv2.setNumThreads(0)  # the processes fill the cores
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor for each shard
    with suppress(EOFError, ConnectionError):
        serve(Connection(int(socket)), int(memory))


if __name__ == "__main__":
    # By its own name, so that the pool knows the classes in the messages: here they are those of __main__.
    from medtrain.loading import worker

    worker.main(*sys.argv[1:])
