"""A loader's side of its worker processes: starts them, hands them pieces of batches, waits for the pixels.

Processes, because threads that decode small images spend their time waiting for Python's interpreter lock, and make
the training step wait for it too. Their memory is anonymous (memfd_create(2)): it takes no room in /dev/shm and is
gone with the last process that has it, however that ends.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import selectors
import shlex
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import Pipe

import numpy as np
import numpy.typing as npt

from medtrain.core import processes
from medtrain.core.errors import InputError, MachineError
from medtrain.loading.worker import SAMPLE_LOCATION, Fault, Setup, WorkItem
from medtrain.shards.index import ShardIndex

Samples = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
MIN_CHUNK = 128  # images in a piece: with fewer, what a piece costs adds to what small images cost; clips come alone
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class BatchRequest:
    """One rank's `samples` int64 [B] of a `step` (the global batch they are from); augmented by the numbers of `epoch`
    and `draws` [B], or only resized."""

    samples: Samples
    draws: Samples
    step: Samples
    epoch: int | None


@dataclass
class _PendingBatch:
    """A part in the making: where its pixels will be, how many pieces of it are not there yet, what went wrong."""

    part: BatchRequest
    pixels: Pixels
    missing: int = 0
    error: InputError | MachineError | None = None


class _Worker:
    """A process, the socket to it, and the pieces that it has been asked for, each with its first place in a part."""

    def __init__(self, memory: int, setup: Setup) -> None:
        self.in_flight: deque[tuple[_PendingBatch, int]] = deque()
        self.connection, theirs = Pipe()
        with theirs:
            descriptors = (theirs.fileno(), memory)
            self.process: subprocess.Popen[bytes] = processes.start(
                "medtrain.loading.worker", *map(str, (os.getpid(), *descriptors)), pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )  # fmt: skip
        self.connection.send(setup)

    def ask(self, order: _PendingBatch, first: int, piece: WorkItem) -> None:
        """Send a piece of an order."""
        order.missing += 1
        self.in_flight.append((order, first))
        try:
            self.connection.send_bytes(piece.pack())
        except ConnectionError:
            raise self._died() from None

    def hear(self) -> tuple[_PendingBatch, int, Fault | None]:
        """The order that one more piece of is there, or is at fault; waits for it."""
        try:
            answer = self.connection.recv_bytes()
        except (EOFError, ConnectionError):
            raise self._died() from None
        order, first = self.in_flight.popleft()
        order.missing -= 1
        return order, first, pickle.loads(answer) if answer else None

    def close(self) -> None:
        """End it, whatever it is at."""
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def _died(self) -> MachineError:
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return MachineError(
                "a loader process was killed (out of memory?)", "ask for more --mem, or fewer --workers"
            )
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return MachineError(f"a loader process ended {how}", "its last words are above this line in the log")


class LoaderPool:
    """Worker processes, and a ring of slots in shared memory that they fill, each slot as large as a batch.

    Large batches are cut into pieces. A piece goes to the worker that owes the fewest; which one makes it changes
    nothing in its pixels.
    """

    def __init__(self, index: ShardIndex, setup: Setup, workers: int) -> None:
        self._index, self._setup, self._count = index, setup, workers
        self._shape, self._fewest = setup.shape, 1 if setup.clip else MIN_CHUNK
        # The columns that workers need, by themselves: a row of the mapped index is wide, and on a page of its own.
        self._places = np.zeros(len(index), SAMPLE_LOCATION)
        for name in set(SAMPLE_LOCATION.names or ()) & set(index.samples.dtype.names or ()):
            self._places[name] = index.samples[name]
        self._memory = os.memfd_create("medtrain-loader")
        self._pixels = np.empty(0, np.uint8)
        self._callers = 0
        self._workers: list[_Worker] = []
        self._answers = selectors.DefaultSelector()

    def start(self) -> None:
        """Start the workers, where they do not run; raises MachineError. The first batch asked for does so, too."""
        try:
            while len(self._workers) < self._count:
                self._workers.append(_Worker(self._memory, self._setup))
                self._answers.register(self._workers[-1].connection, selectors.EVENT_READ, self._workers[-1])
        except OSError as error:
            self.close()
            raise MachineError(f"a loader process cannot be started ({error})", "choose fewer --workers") from None

    def make(self, parts: Iterator[BatchRequest], largest: int, ahead: int) -> Iterator[tuple[BatchRequest, Pixels]]:
        """Yield each part with its pixels, uint8 [B, *Setup.shape], which are good until the next one is requested.

        No part may have more than `largest` samples. At least `ahead` parts are in the making while the caller works.
        What the workers still make for an earlier caller is thrown away, and that one is told so if it asks for more.
        """
        self.start()
        self._callers += 1
        caller, waiting = self._callers, deque[_PendingBatch]()
        ring = self._ring(largest, ahead)
        for number, part in enumerate(parts):
            self._ensure_newest(caller)  # before its next part is made, in a slot that is another's by now
            waiting.append(self._order(part, ring, number % len(ring)))
            if len(waiting) == len(ring):
                yield self._made(waiting.popleft())
        while waiting:
            self._ensure_newest(caller)
            yield self._made(waiting.popleft())

    def close(self) -> None:
        """End the processes and free the memory; a second call does nothing."""
        self._count = 0
        while self._workers:
            self._workers.pop().close()
        self._answers.close()
        if self._memory >= 0:
            os.close(self._memory)
        self._memory = -1

    def _ring(self, batch: int, ahead: int) -> Pixels:
        """[slots, batch, ...] of shared memory that no worker writes to any more."""
        while any(worker.in_flight for worker in self._workers):
            self._hear()
        keep_busy = -(-2 * len(self._workers) // self._cuts(batch))  # parts that have two pieces for every worker
        shape = (1 + max(ahead, keep_busy), batch, *self._shape)
        need = int(np.prod(shape, dtype=np.int64))
        if need > len(self._pixels):
            os.ftruncate(self._memory, need)
            self._pixels = np.frombuffer(mmap.mmap(self._memory, need), np.uint8)
        return self._pixels[:need].reshape(shape)

    def _cuts(self, samples: int) -> int:
        return max(1, min(len(self._workers), samples // self._fewest))

    def _order(self, part: BatchRequest, ring: Pixels, slot: int) -> _PendingBatch:
        self._hear(wait=False)
        count = len(part.samples)
        order = _PendingBatch(part, ring[slot, :count])
        cuts = self._cuts(count)
        for start, end in pairwise(count * cut // cuts for cut in range(cuts + 1)):
            first_byte = (slot * ring.shape[1] + start) * math.prod(self._shape)
            idlest = min(self._workers, key=lambda worker: len(worker.in_flight))
            places = self._places[part.samples[start:end]]
            places["draw"] = part.draws[start:end]
            idlest.ask(order, start, WorkItem(first_byte, part.epoch, places))
        return order

    def _ensure_newest(self, caller: int) -> None:
        if caller != self._callers:
            raise RuntimeError("these batches ended when others of the same Loader began")

    def _made(self, order: _PendingBatch) -> tuple[BatchRequest, Pixels]:
        while order.missing:
            self._hear()
        if order.error:
            raise order.error
        return order.part, order.pixels

    def _hear(self, wait: bool = True) -> None:
        """Take the answers that have come; with `wait`, at least one."""
        for key, _ in self._answers.select(None if wait else 0):
            order, first, fault = key.data.hear()
            if fault and not order.error:
                order.error = self._error(fault, int(order.part.samples[first + fault.position]))

    def _error(self, fault: Fault, sample: int) -> InputError | MachineError:
        row = self._index.samples[sample]
        path = self._index.shard_path(int(row["shard"]))
        problem = f"{path}: sample {row['key'].decode()} at byte {row['offset']}: {fault.reason}"
        if fault.filesystem:
            return MachineError(problem, "check the filesystem, then resume: medtrain resume NAME")
        folder = shlex.quote(str(path.parent))
        remedy = f"find every fault: medtrain verify {folder} --level decode   then pack that shard again"
        return InputError(problem, remedy)
