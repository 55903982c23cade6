"""Which part of a step the time goes to: waiting for data, computing, communicating, saving.

The borders are those that the loop has anyway. On a GPU each is an event in the stream, read when the GPU has passed
it: nothing waits for it. A part of a step is then the time of the GPU, also that in which it waits for the CPU.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import torch
from torch import nn

from medtrain.core.running_time import CLOCK
from medtrain.runs.step_times import BUSY, COMMUNICATION, COMPUTE, KEYS, PARTS

INTERVAL_S = 5.0  # a line of the journal every so often has the sums


class StepClock:
    """The seconds of this rank's steps by part."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._last = self._told = time.perf_counter()
        self._worked: float | None = None  # of the processor, when the steps of this interval began
        self._busy = 0.0
        self._stopped = CLOCK.stopped()
        self._trail: deque[tuple[str, Any]] = deque()  # borders that the GPU may not have reached yet
        self._passed: Any = None  # the newest that it has
        self._spare: list[Any] = []
        self._reached = False
        self._hook: Any = None

    def watch_backward(self, model: nn.Module, ranks: int) -> None:
        """Know when a backward pass is over but for the sum over ranks: when the first layer has its gradient."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        first = next((one for one in model.parameters() if one.requires_grad), None)
        if ranks > 1 and first is not None:
            self._hook = first.register_post_accumulate_grad_hook(self._last_gradient)

    def _last_gradient(self, _: torch.Tensor) -> None:
        self.lap(COMPUTE)
        self._reached = True

    def backward_done(self) -> None:
        """A backward pass has returned: what it did after its last gradient was waiting for the other ranks'."""
        self.lap(COMMUNICATION if self._reached else COMPUTE)
        self._reached = False

    def begin(self) -> None:
        """Steps begin here, or something of them after a pause that is none: what was since the last border is not
        theirs."""
        self._worked, self._told = time.process_time(), time.perf_counter()
        if self._cuda:
            self._trail.append(("", self._event()))
        else:
            self._last = time.perf_counter()

    def pause(self) -> None:
        """Something begins that is no step: validating."""
        if self._worked is not None:
            self._busy += time.process_time() - self._worked
            self._worked = None

    def lap(self, part: str) -> None:
        """What was since the last border belongs to `part`."""
        if self._cuda:
            self._trail.append((part, self._event()))
        else:
            now = time.perf_counter()
            self._spent[part] += now - self._last
            self._last = now

    def _event(self) -> Any:
        event = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _drain(self) -> None:
        """Read the events that the GPU has passed; each asked alone, as asking never waits."""
        while self._trail and self._trail[0][1].query():
            part, event = self._trail.popleft()
            if part and self._passed is not None:
                self._spent[part] += self._passed.elapsed_time(event) / 1000
            if self._passed is not None:
                self._spare.append(self._passed)
            self._passed = event

    def due(self, now: bool = False) -> dict[str, float]:
        """The sums since they were told last, as fields of a journal's line; empty before their time. Of a time in
        which this process was suspended nothing is told."""
        if self._cuda:
            self._drain()
        at = time.perf_counter()
        if not now and at - self._told < INTERVAL_S:
            return {}
        if self._worked is not None:
            before, self._worked = self._worked, time.process_time()
            self._busy += self._worked - before
        told = {KEYS[part]: round(seconds, 4) for part, seconds in self._spent.items()}
        if not self._cuda:
            told[KEYS[BUSY]] = round(self._busy, 4)
        suspended, self._stopped = CLOCK.stopped() > self._stopped, CLOCK.stopped()
        self._told, self._busy = at, 0.0
        self._spent = dict.fromkeys(PARTS, 0.0)
        return {} if suspended else told
