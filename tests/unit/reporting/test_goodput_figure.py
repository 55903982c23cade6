"""What the allocated time of a run became: goodput over attempts, as a figure, on the page and in status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from svg_words import words_of
from written_run import START, written

from medtrain.reporting.goodput_figure import draw_goodput
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.reporting.run_figures import draw_attempts
from medtrain.reporting.style import written_as
from medtrain.runs.goodput import Spent, over_attempts, spent
from medtrain.runs.status import attempts_table, describe

ROWS = [Spent(1, 5 * 3600.0, 900.0, 700.0), Spent(2, 1200.0, 3000.0, 400.0), Spent(4, 0.0, 0.0, 120.0)]


def attempt(number: int, wall: float, percent: float | None, **others: float) -> dict[str, float | None]:
    return {"attempt": number, "allocated_seconds": wall, "goodput_percent": percent, "steps": 10, "lost": 0,
            "step_seconds": 0.0, **others}  # fmt: skip


def test_goodput_of_all_attempts_is_of_all_of_their_time() -> None:
    history = [
        attempt(1, 100.0, 60.0, step_seconds=80.0, lost=2, steps=8),
        attempt(2, 300.0, 90.0, step_seconds=270.0),
        attempt(3, 50.0, None),
        attempt(4, 0.0, 0.0),
        attempt(5, 100.0, 0.0, steps=0),
    ]
    rows = spent(history)
    assert rows == [Spent(1, 60.0, 20.0, 20.0), Spent(2, 270.0, 0.0, 30.0), Spent(5, 0.0, 0.0, 100.0)]
    assert over_attempts(rows) == pytest.approx(330 / 500)
    assert over_attempts([]) is None


def test_the_figure_names_attempts_shares_and_the_unit(tmp_path: Path) -> None:
    with written_as(["svg"]):
        draw_goodput(ROWS, tmp_path / "goodput.png", "run first")
        many = [Spent(number, 3600.0, 60.0, 60.0) for number in range(1, 101)]
        draw_goodput(many, tmp_path / "many.png", "run first")
    words = words_of(tmp_path / "goodput.svg")
    share = 100 * 19_200 / (19_600 + 4_600 + 120)
    assert f"run first: goodput {share:.0f} % over 3 attempts" in words
    assert {"92 %", "26 %", "0 %", "hours", "attempt", "steps done again", "1", "2", "4"} <= set(words)
    assert {"minutes", "20", "100"} <= set(words_of(tmp_path / "many.svg")), "of many, some are numbered"
    with pytest.raises(ValueError, match="goodput needs at least an attempt"):
        draw_goodput([], tmp_path / "none.png")


def test_a_run_of_two_attempts_has_it_in_all_places(tmp_path: Path) -> None:
    run = written(tmp_path, "multiclass")
    assert draw_attempts(run) == run.figures / "goodput.png" and (run.figures / "goodput.png").exists()
    told = describe(run)
    (line,) = (line for line in attempts_table(told).splitlines() if line.startswith("goodput "))
    assert line == f"goodput {told['goodput_percent']:.0f} % of the time of all attempts went into steps that count"
    page = write_report_page(run).read_text()
    assert "over 2 attempts" in page and "goodput of all attempts" in page
    kept = [row for row in map(json.loads, run.attempts.read_text().splitlines()) if row["attempt"] == 1]
    run.attempts.write_text("".join(json.dumps(row) + "\n" for row in kept))
    assert draw_attempts(run) is None, "of one attempt the table has all"
    assert kept[0]["time"] == START
