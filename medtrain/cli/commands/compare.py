"""The command compare: what differs between runs, and whether their results do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag
from medtrain.core.console import busy, say, say_json
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup


def compare(
    names: Positional[Annotated[tuple[str, ...], arg(metavar="RUN RUN [RUN ...]")]],
    split: str = "",
    margin: float = 0.0,
    out: Path | None = None,
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """Whether runs differ by more than chance: settings, data, and paired tests on their common images, by patient.

    Reads the scores that a finished run has in its folder, and trains or evaluates nothing. Each run is compared with
    the first. Intervals of the differences are by a bootstrap of patients; the AUROC of each label has DeLong's test,
    decisions have McNemar's, both by patient; p-values of several labels or runs are adjusted by Holm's method.

    Args:
        names: Names of two runs or more, or of groups of runs.
        split: Split whose scores are compared: test, val, external, or test-NAME of an evaluation with --shards
            (default: test, or val where no run has a test).
        margin: Also test whether they are equivalent: the difference is less than this (0: do not).
        out: Also write it as one HTML file, with curves over each other, that needs no network and no script.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    chosen = [RunGroup.find(runs, name) or Run.find(runs, name) for name in names]
    busy("comparing: 1,000 rounds of a bootstrap take seconds")
    from medtrain.reporting.comparison_text import comparison_text
    from medtrain.reporting.html_comparison.comparison_page import write_comparison_page
    from medtrain.reporting.html_report.page_frame import COMPARISON, ensure_writable
    from medtrain.reporting.run_comparison import compare_runs

    if out:
        ensure_writable(out, COMPARISON)
    compared = compare_runs(chosen, split, margin)
    if out:
        write_comparison_page(compared, out)
    if json:
        say_json(compared.found)
        return
    say(comparison_text(compared.found))
    if out:
        say(f"\nreport: {out}")
