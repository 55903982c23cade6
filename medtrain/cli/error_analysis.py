"""What the command evaluate does for error analysis: a table of what is judged wrongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.evaluation import prediction_table
from medtrain.evaluation.score_table import read_scores

if TYPE_CHECKING:
    from medtrain.config.schema import DataConfig
    from medtrain.evaluation.inference import TrainedModel


def check(out: Path | None, names: Sequence[Path]) -> None:
    """InputError where the table cannot be written, or a table of names is not there."""
    if names and not out:
        raise InputError("--names is for the table of mistakes", "give --mistakes mistakes.csv too, or omit it")
    if missing := [str(path) for path in names if not path.is_file()]:
        raise InputError(f"{', '.join(missing)} is not there", "it is written by medtrain shard ... --keep_names")
    if out:
        prediction_table.ensure_can_write(out, names, "--mistakes")


def ensure_names_are_kept(out: Path, data: DataConfig, shards: Path | None, names: Sequence[Path]) -> None:
    """InputError where the table would take the place of one of names, given or beside the shards."""
    from medtrain.evaluation.mistakes import tables_of

    prediction_table.ensure_can_write(out, [*names, *tables_of(data, shards, ())], "--mistakes")


def list_mistakes(
    opened: TrainedModel,
    report: str,
    out: Path,
    shards: Path | None,
    names: Sequence[Path],
    say: Callable[[str], None],
) -> None:
    """Write the table for a split that was scored, and say how many rows it has."""
    from medtrain.evaluation.mistakes import tables_of, write_mistakes  # torch

    task = opened.task.with_tuning_of(read_json(opened.run.evaluation / f"{report}.json"))
    tables = tables_of(opened.config.data, shards, names)
    rows, named = write_mistakes(read_scores(opened.run.evaluation / f"{report}.csv"), task, out, tables)
    without = "" if tables else "; no file is named: packing kept no names (medtrain shard ... --keep_names)"
    say(f"mistakes: {out} ({rows:,} rows, {named:,} with their file{without})")
