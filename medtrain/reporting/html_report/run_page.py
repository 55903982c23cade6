"""Write the report of a run: everything is in its folder, and the page needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.core.files import write_whole
from medtrain.reporting.html_report.calibration_section import calibration
from medtrain.reporting.html_report.checklists import checklists
from medtrain.reporting.html_report.confusion_section import confusion
from medtrain.reporting.html_report.groups_section import groups
from medtrain.reporting.html_report.images_section import WARNING, Gallery, images
from medtrain.reporting.html_report.label_results import label_results, operating_points
from medtrain.reporting.html_report.model_card import model_card
from medtrain.reporting.html_report.overview import data, headline, training_curves
from medtrain.reporting.html_report.page_frame import CARD, RUN, ensure_ours, page
from medtrain.reporting.html_report.run_facts import RunFacts, gather, without_paths
from medtrain.reporting.html_report.run_record import life, provenance, settings
from medtrain.runs.run import Run, command_for
from medtrain.slurm.queries import JobStatus

# In the order of the page. Example images, where a reader asks for them, belong behind `confusion`.
SECTIONS = (
    headline, data, training_curves, label_results, calibration, confusion, operating_points, groups, life, settings,
    provenance, checklists,
)  # fmt: skip


def write_report_page(
    run: Run,
    out: Path | None = None,
    small_cells: bool = False,
    markdown: bool = False,
    place: JobStatus | None = None,
    with_images: bool = False,
    finishes_at: float | None = None,
) -> Path:
    """Write `report.html` of a run, or its `model_card.md`, and return the path; `place` is where it is under way, and
    `finishes_at` is given by a run that writes it as the last it does.

    InputError where the run has no report of a split yet, or `out` is a file that is none of medtrain's.
    """
    path = out or (run.model_card if markdown else run.page)
    ensure_ours(path, CARD if markdown else RUN)
    facts_of = gather(run, place, small_cells, finishes_at)
    with _of_this_version(run):
        gallery = _gallery(facts_of) if with_images else None
        text = model_card(facts_of) if markdown else render(facts_of, gallery)
    try:
        write_whole(path, text.encode(), 0o600 if with_images else 0o666)
    except FileNotFoundError:
        raise InputError(f"{path.parent}: there is no such folder", "make it, or give another --out") from None
    return path


def card_text(run: Run) -> str:
    """The model card of a run; its first line is a checksum of the rest. InputError where it has no report yet."""
    facts_of = gather(run, None, False)
    with _of_this_version(run):
        return model_card(facts_of)


@contextmanager
def _of_this_version(run: Run) -> Iterator[None]:
    """Say in words that a report lacks what this version reads in it."""
    try:
        yield
    except (KeyError, TypeError, IndexError) as error:
        problem = f"{run.report}: is no report of a split as this version writes it ({type(error).__name__}: {error})"
        raise InputError(problem, f"write it anew: {command_for(run, 'evaluate')}") from None


def _gallery(facts_of: RunFacts) -> Gallery:
    from medtrain.reporting.report_images import gallery_of  # torch

    return gallery_of(facts_of)


def render(facts_of: RunFacts, gallery: Gallery | None = None) -> str:
    """The page as text."""
    config = facts_of.config
    how = f"recipe {without_paths(config.recipe)}, {config.task}, {config.model.backbone}"
    under = f"medtrain report: {how}, {facts_of.split} split"
    under = under if gallery is None else f"{under}. {WARNING}"
    return page(facts_of.run.name, under, [*(write(facts_of) for write in SECTIONS), images(gallery)], RUN)
