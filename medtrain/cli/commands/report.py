"""The command report: of a run a page to read and to send, of a group of runs their results as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag
from medtrain.config import configfile
from medtrain.core import permissions
from medtrain.core.console import say, say_json
from medtrain.core.errors import InputError, nearest
from medtrain.runs.ownership import alive
from medtrain.runs.run import Run, group_names, run_names, runs_flag
from medtrain.runs.run_group import RunGroup
from medtrain.shards.packed_dataset import is_packed

Name = Positional[Annotated[str, arg(metavar="NAME")]]


def report(
    name: Name,
    out: Path | None = None,
    markdown: Flag = False,
    small_cells: Flag = False,
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """Write the report of a run as one HTML file that needs no network: results, curves, calibration,
    subgroups, provenance. Of a group of runs, combine their results: one page, one table, and what is missing.
    Of a folder of shards, what is packed in it.

    Args:
        name: Name of a run or of a group of runs, or a folder of shards.
        out: File to write (default: report.html in its folder, with --markdown model_card.md).
        markdown: Write a model card in Markdown, to be completed.
        small_cells: Show subgroups of fewer than 10 too: few people may be known by their numbers.
        runs: Folder that holds the runs.
        json: Print one JSON document: of a run the path of its report, of a group its report.
    """
    if group := RunGroup.find(runs, name):
        if markdown or small_cells:
            raise InputError(
                f"{name} is a group of runs, and --markdown and --small_cells are for one run",
                f"omit them, or name one run: {', '.join(run.name for run in group.runs)}",
            )
        report_group(group, json, out)
        return
    if is_packed(Path(name)) and not Run(runs / name).config_file.exists():
        report_dataset(Path(name), out, small_cells, markdown, json)
        return
    run = find(runs, name)
    permissions.apply(configfile.load(run.config_file).share)
    from medtrain.reporting.html_report.run_page import write_report_page

    path = write_report_page(run, out, small_cells, markdown, alive(run))
    if json:
        say_json(
            {"run": run.name, "report": str(path.absolute()), "split": run.report.stem, "bytes": path.stat().st_size}
        )
    else:
        say(f"report: {path}")


def report_group(group: RunGroup, json: bool, out: Path | None) -> None:
    """The results of a group's runs as one: its page, its report, its figures."""
    from medtrain.reporting.group_report import build_report  # torch

    found = build_report(group, (lambda text: None) if json else say, out)
    if json:
        say_json(found)
    else:
        say(f"\nreport: {out or group.page}   numbers: {group.report}   figures: {group.figures}")


def report_dataset(folder: Path, out: Path | None, small_cells: bool, markdown: bool, json: bool) -> None:
    """The page of a packed dataset."""
    from medtrain.reporting.html_report.dataset_page import write_dataset_page

    if markdown:
        raise InputError(f"{folder} is a packed dataset, and --markdown is for one run", "omit it")
    path = write_dataset_page(folder, out, small_cells)
    if json:
        say_json({"shards": str(folder.absolute()), "report": str(path.absolute()), "bytes": path.stat().st_size})
    else:
        say(f"report: {path}")


def find(runs: Path, name: str) -> Run:
    """The run of that name; InputError where neither a run nor a group has it."""
    if name and Run(runs / name).config_file.exists():
        return Run(runs / name)
    known = [*run_names(runs), *group_names(runs)]
    raise InputError(
        f"there is no run and no group of runs {name!r} in {runs.absolute()}{nearest(name, known)}",
        f"list them: medtrain status{runs_flag(runs)}   (another folder: --runs DIR)",
    )
