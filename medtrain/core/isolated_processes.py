"""Processes that may die of a file: a decoder that ends its process costs that one file, and nothing else.

Decoders are C libraries, and some end the process at some streams (a failed assertion, a wild pointer), which no
`except` sees. So a process announces each file in shared memory before it touches it. Where it dies, its task is done
again; the file is first tried alone, by a process that does nothing else while nothing else is done, and rejected by
name where that dies too. Nothing that is decoded goes through a pipe: what a task makes, it writes itself.

As a program it is one such process. Its arguments, PARENT SOCKET MEMORY PLACE, are a process id, two file descriptors
and its place in the shared memory.
"""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import selectors
import signal
import subprocess
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

from medtrain.core import processes
from medtrain.core.errors import MedtrainError
from medtrain.core.processes import end_with

Task = TypeVar("Task")
Result = TypeVar("Result")
Ended = dict[int, str]  # by a file's number in its task: why no process may touch it again

WORD = 8  # bytes of a process's slot: the number of the file that it is at, and 1; 0 where it is at none
DEATHS = 3  # of a task without a file to blame, before it is given up
NO_MEMORY = "it takes more memory than there is"
_slot = memoryview(bytearray(WORD)).cast("q")  # of a process that is no worker: announced to nobody


class Lost(Exception):
    """A process died again and again, and at no file: killed from outside, as where memory is short."""


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """What is done with a task, which is some files. Both functions are found by name in the other process.

    `do(task, ended)` announces each file and leaves out those in `ended`, for the reason that stands there.
    `touch(task, number)` only decodes that file; whatever it raises is met again by `do`.
    """

    do: Callable[[Task, Ended], Result]
    touch: Callable[[Task, int], object]


def announce(number: int) -> None:
    """Say that this process now works on that file of its task."""
    _slot[0] = number + 1


class _Process:
    """One process, and the task that it is at."""

    def __init__(self, memory: int, place: int) -> None:
        self.place, self.task = place, -1
        self.connection, theirs = Pipe()
        with theirs:
            descriptors = (theirs.fileno(), memory)
            arguments = map(str, (os.getpid(), *descriptors, place))
            self.process: subprocess.Popen[bytes] = processes.start(
                "medtrain.core.isolated_processes", *arguments, pass_fds=descriptors, stdin=subprocess.DEVNULL
            )

    def ask(self, task: int, *message: Any) -> None:
        """Have it call a function: (function, arguments ...)."""
        self.task = task
        with suppress(ConnectionError):  # it is dead: `hear` says so
            self.connection.send_bytes(pickle.dumps(message))

    def hear(self) -> tuple[Any, Exception | None] | None:
        """What it made or raised; None where it has died."""
        try:
            answer: tuple[Any, Exception | None] = pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError):
            return None
        return answer

    def close(self) -> str:
        """End it, whatever it is at; how it had ended, if it had."""
        self.connection.close()
        self.process.kill()
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "SIGKILL: out of memory?"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class Pool:
    """Up to `workers` such processes, started when they are first needed and kept until the pool is closed."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._descriptor = os.memfd_create("medtrain-isolated")
        os.ftruncate(self._descriptor, (workers + 1) * WORD)
        self._memory = mmap.mmap(self._descriptor, (workers + 1) * WORD)
        self._slots = memoryview(self._memory).cast("q")
        self._processes: dict[int, _Process] = {}  # by place

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._processes:
            self._processes.popitem()[1].close()
        self._slots.release()
        self._memory.close()
        os.close(self._descriptor)

    def run(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Each task's number and what `work` made of it, as they are done. What a task raises is raised here, when the
        tasks that were begun are done. Raises Lost where processes die at no file, OSError where none can be started.
        """
        ended: list[Ended] = [{} for _ in tasks]
        deaths: Counter[tuple[int, int]] = Counter()  # of a task at a file, -1 for none
        waiting = list(range(len(tasks)))
        while waiting:
            died: list[tuple[int, int, str]] = []
            yield from self._round(work, tasks, waiting, ended, died)
            waiting = []
            for task, file, how in sorted(died):
                deaths[task, file] += 1
                if file < 0 and deaths[task, file] == DEATHS:
                    raise Lost(how)
                twice = how if deaths[task, file] > 1 else file >= 0 and self._alone(work, tasks[task], file)
                if file >= 0 and twice:
                    ended[task][file] = f"its decoder ends the process ({twice})"
                waiting.append(task)

    def _round(
        self, work: Work[Task, Result], tasks: Sequence[Task], numbers: list[int], ended: list[Ended],
        died: list[tuple[int, int, str]],
    ) -> Iterator[tuple[int, Result]]:  # fmt: skip
        """Each of these tasks once; `died` gets (task, file, how) of those that ended their process."""
        waiting, error = deque(numbers), None
        with selectors.DefaultSelector() as answers:
            for place in range(min(self.workers, len(waiting))):
                self._give(self._process(place), work, tasks, waiting, ended, answers)
            while answers.get_map():
                for key, _ in answers.select():
                    process: _Process = key.data
                    answer, task = process.hear(), process.task
                    answers.unregister(process.connection)
                    if answer is None:
                        died.append((task, *self._buried(process)))
                    elif answer[1] is not None:
                        error = error or answer[1]
                    else:
                        yield task, answer[0]
                    if waiting and not error:
                        self._give(self._process(process.place), work, tasks, waiting, ended, answers)
        if error:
            raise error

    def _give(
        self, process: _Process, work: Work[Task, Result], tasks: Sequence[Task], waiting: deque[int],
        ended: list[Ended], answers: selectors.BaseSelector,
    ) -> None:  # fmt: skip
        task = waiting.popleft()
        answers.register(process.connection, selectors.EVENT_READ, process)
        process.ask(task, work.do, tasks[task], ended[task])

    def _alone(self, work: Work[Task, Result], task: Task, file: int) -> str:
        """How a fresh process ends at a file while no other works; nothing where it does not."""
        process = _Process(self._descriptor, self.workers)
        try:
            process.ask(0, work.touch, task, file)
            survived = process.hear() is not None
        finally:
            how = process.close()
        return "" if survived else how

    def _process(self, place: int) -> _Process:
        """The one of a place, started where there is none."""
        if place not in self._processes:
            self._processes[place] = _Process(self._descriptor, place)
        return self._processes[place]

    def _buried(self, process: _Process) -> tuple[int, str]:
        """The file that a dead process was at (-1: none) and how it ended; its place is free."""
        with suppress(subprocess.TimeoutExpired):  # its socket closes a moment before it is gone
            process.process.wait(10)
        file, how = int(self._slots[process.place]) - 1, process.close()
        self._slots[process.place] = 0
        del self._processes[process.place]
        return file, how


def serve(connection: Connection) -> None:
    """Call functions as they come, and answer each with what it made or raised."""
    while True:
        function, *arguments = pickle.loads(connection.recv_bytes())
        made, error = None, None
        try:
            made = function(*arguments)
        except Exception as raised:
            error = raised
            if not isinstance(raised, MedtrainError | OSError | MemoryError):
                traceback.print_exc()  # it does not go through the pipe
        _slot[0] = 0
        connection.send_bytes(pickle.dumps((made, error)))


def main(parent: str, socket: str, memory: str, place: str) -> None:
    """Serve until the parent closes the socket or ends."""
    global _slot
    end_with(int(parent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # no gigabytes a death
    slots = memoryview(mmap.mmap(int(memory), 0)).cast("q")
    _slot = slots[int(place) : int(place) + 1]
    with suppress(EOFError, ConnectionError):
        serve(Connection(int(socket)))


if __name__ == "__main__":
    # By its own name: what announces a file imports that module, and here it is __main__.
    from medtrain.core import isolated_processes

    isolated_processes.main(*sys.argv[1:])
