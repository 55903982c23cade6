"""Index + order -> batches for one rank: threads read, check, decode and augment straight into uint8 batches."""

from __future__ import annotations

import errno
import math
import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from medtrain import transforms
from medtrain.config import AugmentConfig
from medtrain.decode import decode, decode_all
from medtrain.errors import InputError, MachineError
from medtrain.index import ShardIndex
from medtrain.order import epoch_order, rank_share

Samples = npt.NDArray[np.int64]
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Batch:
    """One rank's samples of one optimizer step (training) or of one forward pass (evaluation).

    `inputs` uint8 [B, 1, H, W]; `labels` int8 [B, L] of 1, 0 or -1 (unknown); `samples` int64 [B], positions in the
    index; `global_known` int64 [L], known cells over the global batch on all ranks, which a loss divides by.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    samples: npt.NDArray[np.int64]
    global_known: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.samples)

    def split(self, size: int) -> Iterator[Batch]:
        """Views of at most `size` samples each: the micro-batches of gradient accumulation."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Batch(self.inputs[part], self.labels[part], self.samples[part], self.global_known)


class Loader:
    """Batches of one split for one rank; keeps no position of its own, so resuming costs no reading.

    Global batch k of an epoch is `order[k*G : (k+1)*G]` for G = `global_batch`, whatever the number of ranks, threads
    or shards; a rank takes its contiguous piece. The last partial batch of an epoch is left out, so every rank makes
    the same number of steps. Augmentation is keyed by (seed, epoch, sample). `augment=None` only resizes.
    """

    def __init__(
        self,
        index: ShardIndex,
        *,
        global_batch: int,
        image_size: int,
        seed: int = 0,
        augment: AugmentConfig | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 2,
        prefetch: int = 4,
        max_samples: int = 0,
    ) -> None:
        self.index = index
        self.samples = min(len(index), max_samples or len(index))
        self.global_batch = global_batch
        self.image_size = image_size
        self.seed = seed
        self.augment = augment
        self.rank, self.world = rank, world
        self._prefetch = prefetch
        self._pin = torch.cuda.is_available()
        self._files = ShardFiles(index)
        self._labels = np.ascontiguousarray(index.labels[: self.samples])
        cv2.setNumThreads(0)  # the threads here already fill the cores
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return self.samples // self.global_batch

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's training batches of an epoch, from `first_step` (counted within the epoch) on."""
        if self.steps == 0:
            raise InputError(
                f"the {self.index.split} split has {self.samples} samples, too few for a batch of {self.global_batch}",
                "lower --batch_size or --accumulate, or pack more samples",
            )
        order = epoch_order(self.seed, epoch, self.index.digest, self.samples)
        share = rank_share(self.global_batch, self.rank, self.world)
        whole = (order[k * self.global_batch : (k + 1) * self.global_batch] for k in range(first_step, self.steps))
        yield from self._ahead((step[share], step, epoch) for step in whole)

    def every_sample(self, batch_size: int) -> Iterator[Batch]:
        """This rank's part of the split in index order, every sample exactly once over all ranks, not augmented.

        Batches are cut before they are dealt out, so a sample is scored in the same company at any number of ranks.
        """
        starts = range(self.rank * batch_size, self.samples, self.world * batch_size)
        parts = (np.arange(start, min(start + batch_size, self.samples)) for start in starts)
        yield from self._ahead((part, part, None) for part in parts)

    def close(self) -> None:
        """End the threads and close the shards."""
        self._pool.shutdown(cancel_futures=True)
        self._files.close()

    def _ahead(self, parts: Iterator[tuple[Samples, Samples, int | None]]) -> Iterator[Batch]:
        """Make batches in the threads, `prefetch` of them ahead of the consumer, and yield them in order."""
        waiting: deque[Future[Batch]] = deque()
        try:
            for part in parts:
                waiting.append(self._pool.submit(self._make, *part))
                if len(waiting) > self._prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _make(self, samples: Samples, step: Samples, epoch: int | None) -> Batch:
        """The batch of `samples`, this rank's share of `step`; augmented by the draws of `epoch`, or only resized."""
        size = self.image_size
        inputs = torch.empty((len(samples), 1, size, size), dtype=torch.uint8, pin_memory=self._pin)
        pixels = inputs.numpy()[:, 0]
        for part in self._files.pieces(samples):
            self._fill(pixels[part], samples[part], epoch)
        known = (self._labels[step] >= 0).sum(0)
        return Batch(inputs, torch.from_numpy(self._labels[samples]), samples, known)

    def _fill(self, out: npt.NDArray[np.uint8], samples: Samples, epoch: int | None) -> None:
        if self.augment is None or epoch is None:
            transforms.fit(self._images(samples, self.image_size), out)
        else:
            # A JPEG may be decoded at half its size or less where that leaves the pixels that the largest zoom shows.
            at_least = math.ceil(self.image_size * max(1.0, self.augment.zoom_max))
            maps = transforms.linear_maps(self.augment, self.seed, epoch, samples)
            transforms.warp(self._images(samples, at_least), maps, out)

    def _images(self, samples: Samples, at_least: int) -> list[npt.NDArray[np.uint8]]:
        files = self._files.read(samples)
        try:
            return decode_all(files, at_least)
        except ValueError:
            for data, sample in zip(files, samples.tolist(), strict=True):
                self._blame(data, sample)
            raise

    def _blame(self, data: bytes, sample: int) -> None:
        try:
            decode(data)
        except ValueError as error:
            raise InputError(f"{self._files.name(sample)}: {error}", self._files.remedy) from None


class ShardFiles:
    """Reads samples by their positions in the index: one `pread` and one checksum each, from any thread."""

    def __init__(self, index: ShardIndex) -> None:
        self._index = index
        try:
            self._descriptors = [os.open(index.shard_path(shard), os.O_RDONLY) for shard in range(len(index.shards))]
        except OSError as error:
            fix = "allow more open files (ulimit -n 65536)" if error.errno == errno.EMFILE else "look at the filesystem"
            raise MachineError(f"{error.filename}: cannot be opened ({error.strerror})", fix) from None
        # Columns of their own: gathering a field of the wide mapped rows touches a page a sample.
        self._columns = {
            name: np.ascontiguousarray(index.samples[name]) for name in ("shard", "offset", "size", "crc32")
        }
        self.remedy = f"find every fault: medtrain verify {index.folder} --level decode   then pack that shard again"

    def pieces(self, samples: Samples) -> Iterator[slice]:
        """Cuts through `samples` after each megabyte of files: what a thread reads, then decodes, then augments.

        Small images go by the hundred, because the threads of one Python wait for each other least in tight loops;
        large ones go a few at a time, because their pixels are held until the piece is done.
        """
        total = np.cumsum(self._columns["size"][samples])
        cuts = np.flatnonzero(np.diff(total // PIECE_BYTES)) + 1
        return (slice(start, end) for start, end in pairwise([0, *cuts.tolist(), len(samples)]))

    def read(self, samples: Samples) -> list[bytes]:
        """The bytes of each sample's image. InputError names the shard and key where they do not match their crc32,
        MachineError where the filesystem fails."""
        places = [column[samples].tolist() for column in self._columns.values()]
        descriptors, files = self._descriptors, []
        for sample, shard, offset, size, crc32 in zip(samples.tolist(), *places, strict=True):
            try:
                data = os.pread(descriptors[shard], size, offset)
            except OSError as error:
                fix = "look at the filesystem, then go on: medtrain resume NAME"
                raise MachineError(f"{self.name(sample)}: cannot be read ({error.strerror})", fix) from None
            if zlib.crc32(data) != crc32:
                raise InputError(f"{self.name(sample)}: the bytes do not match their checksum", self.remedy)
            files.append(data)
        return files

    def name(self, sample: int) -> str:
        """Where a sample lies, for an error message."""
        row: Any = self._index.samples[sample]
        path: Path = self._index.shard_path(int(row["shard"]))
        return f"{path}: sample {row['key'].decode()} at byte {row['offset']}"

    def close(self) -> None:
        """Close the shards."""
        while self._descriptors:
            os.close(self._descriptors.pop())
