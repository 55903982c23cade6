"""Where the time of steps goes: runs made on purpose bound by data, and idle, are named rightly in status."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from inprocess import new_run, train_here
from torch import nn

from medtrain.runs import attempts, journal
from medtrain.runs.run import Run
from medtrain.runs.status import attempts_table, describe
from medtrain.runs.step_times import COMMUNICATION, COMPUTE, DATA, KEYS, SAVING, step_times
from medtrain.tracking.journal_reader import StepReader
from medtrain.training import loop
from medtrain.training.step_clock import StepClock

TIMES = [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 10))]
SLOW_DECODING = Path(__file__).parents[2] / "helpers" / "slow_decoding"


def told_of(shards: Path, folder: Path, number: int) -> tuple[Run, str]:
    """The line of status on the steps of a run that is trained here."""
    run = new_run(shards, folder, f"run{number}", epochs=1, data={"prefetch": 1}, checkpoint={"every_steps": 0})
    attempts.note(run, attempts.start_row(run, 1))
    train_here(run)
    lines = attempts_table(describe(run)).splitlines()
    return run, next(line for line in lines if line.startswith("steps   "))


@pytest.mark.parametrize("number", TIMES)
def test_a_run_that_waits_for_data_is_named(
    demo_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SLOW_DECODING))
    run, line = told_of(demo_shards, tmp_path, number)
    assert "; data " in line and line.endswith("add --workers"), line
    spent = describe(run)["steps_spent"]
    assert spent["data_percent"] > 15 and not spent["idle"]
    reader = StepReader(run.journal)
    reader.take(1000)
    assert reader.last and reader.last.values[KEYS[DATA]] > 0, "the trackers get it"


@pytest.mark.parametrize("number", TIMES)
def test_an_idle_run_is_named(demo_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    step = loop.optimizer_step
    monkeypatch.setattr(loop, "optimizer_step", lambda *given: (time.sleep(0.3), step(*given))[1])
    run, line = told_of(demo_shards, tmp_path, number)
    assert "; idle: the processor works in " in line, line
    assert describe(run)["steps_spent"]["idle"]


def test_the_borders_share_out_all_of_the_time() -> None:
    clock = StepClock(torch.device("cpu"))
    clock.begin()
    began = time.perf_counter()
    for part, seconds in ((DATA, 0.03), (COMPUTE, 0.02), (COMMUNICATION, 0.01), (SAVING, 0.02)):
        time.sleep(seconds)
        clock.lap(part)
    whole = time.perf_counter() - began
    told = clock.due(now=True)
    assert told[KEYS[DATA]] >= 0.03 and told[KEYS[SAVING]] >= 0.02
    assert sum(told[KEYS[part]] for part in (DATA, COMPUTE, COMMUNICATION, SAVING)) == pytest.approx(whole, abs=2e-3)
    assert clock.due() == {}, "the next sums have their time"


def test_what_comes_after_the_last_gradient_is_communication() -> None:
    clock, model = StepClock(torch.device("cpu")), nn.Linear(2, 1)
    clock.watch_backward(model, ranks=2)
    clock.begin()
    model(torch.ones(1, 2)).sum().backward()
    time.sleep(0.02)  # as DDP waits there
    clock.backward_done()
    assert clock.due(now=True)[KEYS[COMMUNICATION]] >= 0.02
    clock.watch_backward(model, ranks=1)
    model(torch.ones(1, 2)).sum().backward()
    clock.backward_done()
    assert clock.due(now=True)[KEYS[COMMUNICATION]] == 0.0


def test_an_older_journal_and_damaged_numbers_say_nothing() -> None:
    assert step_times([{"kind": "step", "step": 1}]) is None
    assert step_times([{KEYS[DATA]: "much"}]) is None
    short = step_times([{KEYS[DATA]: 0.2}])
    assert short is not None and short.words() == ""


def test_the_shares_are_of_all_attempts(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "two")
    for number, times in enumerate(({KEYS[DATA]: 6.0, KEYS[COMPUTE]: 2.0}, {KEYS[COMPUTE]: 4.0}), 1):
        began = time.time() - 300 + 100 * number
        attempts.note(run, {**attempts.start_row(run, 1), "time": began})
        with run.journal.open("a") as file:
            for step in (2 * number - 1, 2 * number):
                row = {"kind": "step", "step": step, "epoch": 1, "time": began + step}
                file.write(json.dumps({**row, **(times if step % 2 else {})}) + "\n")
        attempts.close_silent(run)
    run.journal.write_text("")  # a resume cuts it back: what was done again took its time all the same
    spent = describe(run)["steps_spent"]
    assert (spent["data_percent"], spent["compute_percent"], spent["seconds"]) == (50.0, 50.0, 12.0)


def test_the_times_are_no_result(tmp_path: Path) -> None:
    """What is compared between two runs of the same numbers has none of them."""
    assert set(KEYS.values()) < set(journal.NOT_COMPUTED)
