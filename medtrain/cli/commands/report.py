"""The command report: of a run a page to read and to send, of a group of runs their results as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Figures, Flag
from medtrain.config import configfile
from medtrain.core import permissions
from medtrain.core.console import busy, say, say_json, warn
from medtrain.core.errors import InputError, nearest
from medtrain.reporting.style import formats_now, written_as
from medtrain.runs.ownership import alive
from medtrain.runs.run import Run, group_names, is_path, run_folder, run_names, runs_flag
from medtrain.runs.run_group import RunGroup
from medtrain.shards.packed_dataset import is_packed

Name = Positional[Annotated[str, arg(metavar="NAME")]]


def report(
    name: Name,
    out: Path | None = None,
    markdown: Flag = False,
    small_cells: Flag = False,
    with_images: Flag = False,
    figures: Figures = (),
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
        small_cells: Show counts below 10 and subgroups of fewer too: few people may be known by their numbers.
        with_images: Show images with their heat maps on the page: the surest mistakes, the hardest, and clear ones.
            They are of patients, so that the page is to be kept private.
        figures: Draw the figures of the run, or of the group, anew in these formats: png, svg, pdf.
        runs: Folder that holds the runs.
        json: Print one JSON document: of a run the path of its report, of a group its report.
    """
    alone = {"markdown": markdown, "with_images": with_images}  # what only the report of one run has
    if group := RunGroup.find(runs, name):
        told = f"name one run: {', '.join(run.name for run in group.runs)}"
        ensure_none(f"{name} is a group of runs", told, **alone)
        with written_as(figures):
            report_group(group, json, out, small_cells)
    elif is_packed(Path(name)) and not Run(run_folder(runs, name)).config_file.exists():
        ensure_none(f"{name} is a packed dataset", "name a run", **alone, figures=figures)
        report_dataset(Path(name), out, small_cells, json)
    else:
        report_run(find(runs, name), out, markdown, small_cells, with_images, figures, json)


def ensure_none(what: str, otherwise: str, **flags: object) -> None:
    """InputError where flags are given that are for one run."""
    if given := [f"--{flag}" for flag, value in flags.items() if value]:
        *others, last = given
        named = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        raise InputError(f"{what}, and {named} for one run", f"omit {'them' if others else 'it'}, or {otherwise}")


def report_run(
    run: Run, out: Path | None, markdown: bool, small_cells: bool, with_images: bool, figures: Figures, json: bool
) -> None:
    """The page of a run, or its model card, and its figures where formats are given."""
    if markdown and with_images:
        raise InputError("--with_images is for the HTML page, and a model card holds no images", "give one of them")
    permissions.apply(configfile.load(run.config_file).share)
    busy(f"drawing the report of {run.name}")
    from medtrain.reporting.html_report.run_page import write_report_page

    path = write_report_page(run, out, small_cells, markdown, alive(run), with_images)
    if with_images:
        warn(f"{path} holds images of patients: only you may read it. Keep it private")
    files = figures_of(run, figures) if figures else []
    if json:
        drawn = {"figures": [str(file.absolute()) for file in files]} if files else {}
        say_json(
            {"run": run.name, "report": str(path.absolute()), "split": run.report.stem, "bytes": path.stat().st_size}
            | drawn
        )
    else:
        say(f"report: {path}")
        for file in files:
            say(f"figure: {file}")


def figures_of(run: Run, formats: Figures) -> list[Path]:
    """The files of the run's figures, drawn anew."""
    from medtrain.reporting.run_figures import drawn_again  # torch

    with written_as(formats):
        return [path for figure in drawn_again(run) for path in formats_now(figure) if path.exists()]


def report_group(group: RunGroup, json: bool, out: Path | None, small_cells: bool) -> None:
    """The results of a group's runs as one: its page, its report, its figures."""
    busy(f"putting the results of {group.name} together")
    from medtrain.reporting.group_report import build_report  # torch

    found = build_report(group, (lambda text: None) if json else say, out, small_cells)
    if json:
        say_json(found)
    else:
        say(f"\nreport: {out or group.page}   numbers: {group.report}   figures: {group.figures}")


def report_dataset(folder: Path, out: Path | None, small_cells: bool, json: bool) -> None:
    """The page of a packed dataset."""
    from medtrain.reporting.html_report.dataset_page import write_dataset_page

    path = write_dataset_page(folder, out, small_cells)
    if json:
        say_json({"shards": str(folder.absolute()), "report": str(path.absolute()), "bytes": path.stat().st_size})
    else:
        say(f"report: {path}")


def find(runs: Path, name: str) -> Run:
    """The run of that name; InputError where neither a run nor a group has it."""
    run = Run(run_folder(runs, name))
    if name and run.config_file.exists():
        return run
    if is_path(name):
        runs, name = run.folder.parent, run.name
    known = [*run_names(runs), *group_names(runs)]
    raise InputError(
        f"there is no run and no group of runs {name!r} in {runs.absolute()}{nearest(name, known)}",
        f"list them: medtrain status{runs_flag(runs)}   (another folder: --runs DIR)",
    )
