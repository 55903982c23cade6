"""The commands evaluate and predict: what a run's best weights are worth, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from medtrain.cli import error_analysis, predictions
from medtrain.cli.flag_types import Figures, Flag, RunName
from medtrain.config import configfile
from medtrain.core.console import busy, say, say_json, show_error
from medtrain.core.console import table as table_of
from medtrain.core.errors import EXIT_DONE, EXIT_INPUT, InputError
from medtrain.evaluation import given_files, prediction_table
from medtrain.evaluation.given_files import PLAIN, TableFlags
from medtrain.reporting.style import written_as
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup

SIDE_BY_SIDE = 6  # images whose probabilities fit beside each other


def evaluate(
    name: RunName,
    split: str = "",
    runs: Path = Path("runs"),
    shards: Path | None = None,
    study_type: str = "",
    mistakes: Path | None = None,
    names: tuple[Path, ...] = (),
    figures: Figures = ("png",),
    json: Flag = False,
) -> None:
    """Score a split with the run's best weights, with intervals by patient: a table by class or label, and its figure.

    One of several classes: accuracy, precision, recall, F1, AUROC, confusion matrix. Several labels at once: AUROC,
    average precision, F1 at thresholds that validation chose, calibration; by dataset, study, sex, age and view too.

    Args:
        name: Name of the run, or of a group of runs, of which those of a study type are averaged.
        split: Split of the packed dataset (train, val, test; external: the dataset that --holdout kept out; default:
            test, or val where there is no test).
        runs: Folder that holds the runs.
        shards: Another packed dataset with the same classes (default: the run's own). It has a report of its own, and
            what the run's validation decided stays.
        study_type: Of a group of runs only those of this study type.
        mistakes: Write a table (.csv), for you alone: what is judged wrongly, the surest first, with the files where
            packing kept their names (--keep_names).
        names: Tables of these names (default: NAME.names.csv beside the shards, where it is there).
        figures: Formats of the figures: png, svg, pdf.
        json: Print the report as one JSON document.
    """
    from medtrain.evaluation import preconditions

    quiet = (lambda text: None) if json else say
    error_analysis.check(mistakes, names)
    if group := RunGroup.find(runs, name):
        if mistakes:
            raise InputError(f"{name} is a group, and --mistakes is for one run", "name one of its runs")
        with written_as(figures):
            evaluate_group(group, split, shards, study_type, json)
        return
    if study_type:
        raise InputError(f"{name} is one run, and --study_type is for a group of them", "omit it")
    run = Run.find(runs, name)
    preconditions.require_checkpoint(run)
    preconditions.require_split(run, split, shards)
    busy(f"loading the network of {name}")
    from medtrain.evaluation.inference import rebuild_model
    from medtrain.reporting.run_figures import files_of_split
    from medtrain.reporting.split_report import evaluate_opened, report_name
    from medtrain.shards import mixture  # torch, from here on

    opened = rebuild_model(run, shards)
    if mistakes:
        error_analysis.ensure_names_are_kept(mistakes, opened.config.data, shards, names)
    split = split or mixture.tested(opened.config.data)
    report_of = report_name(split, opened.elsewhere)
    with written_as(figures):
        report = evaluate_opened(opened, split, quiet)
        if mistakes:
            error_analysis.list_mistakes(opened, report_of, mistakes, shards, names, quiet)
        files = files_of_split(opened, report_of, report)
    if json:
        say_json(report)
    else:
        say(f"report: {run.evaluation / f'{report_of}.json'}   figures: {'  '.join(map(str, files))}")


def evaluate_group(group: RunGroup, split: str, shards: Path | None, study_type: str, json: bool) -> None:
    """Score a split with the models of a group, those of a study type averaged."""
    from medtrain.evaluation import preconditions

    members = (
        preconditions.models_for(group.folder.parent, group.name, study_type)
        if study_type
        else preconditions.members(group)
    )
    for run in members:
        preconditions.require_checkpoint(run)
        preconditions.require_split(run, split, shards)
    busy(f"loading the networks of {group.name}")
    from medtrain.reporting.group_report import evaluate_together  # torch

    found, path = evaluate_together(group, members, split, shards, study_type, (lambda text: None) if json else say)
    if json:
        say_json(found)
    else:
        say(f"report: {path}")


def predict(
    name: RunName,
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")]],
    table: OmitArgPrefixes[TableFlags] = PLAIN,
    out: Path | None = None,
    csv: Flag = False,
    study: Flag = False,
    study_type: str = "",
    runs: Path = Path("runs"),
    json: Flag = False,
) -> int:
    """What a run's best weights say of image files (JPEG, PNG, TIFF, DICOM). Exit code 2 where one cannot be read.

    Args:
        name: Name of the run, or of a group of runs, whose probabilities are averaged.
        images: Image files, folders of them, patterns in quotes ("scans/**/*.dcm"), or tables (CSV, TSV, Parquet) with
            a column of paths.
        out: Write a table (.csv, .tsv), for you alone: a row for each file in the order in which they are given, with
            all probabilities, what is predicted, and the error of what cannot be read.
        csv: Print that table.
        study_type: Of a group of runs those of this study type judge.
        study: The images are one study, and judged together.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    from medtrain.evaluation import preconditions

    predictions.check(images, table, out, csv, study, json)
    judges, given = preconditions.models_for(runs, name, study_type), given_files.collect(images, table)
    data = configfile.load(judges[0].config_file).data
    if len(given) == 1 and not data.frames and not given[0].problem:
        # A wrong file is told before torch is imported.
        preconditions.read_image(given[0].path, data.image_size, judges[0].rgb)
    busy(f"loading the network of {name}")
    if out or csv:
        return predictions.as_csv(judges, given, table.keep, out, study)
    found = [one for one, _ in predictions.each(judges, given, study)]
    bad, good = [one for one in found if "error" in one], [one for one in found if "error" not in one]
    if json:
        say_json(found)
    elif good:
        heads = [name for name, value in good[0].items() if not isinstance(value, dict)]
        say(table_of(heads, [[_words(one[name]) for name in heads] for one in good]))
        if len(good) <= SIDE_BY_SIDE and "probabilities" in good[0]:
            say("\n" + _probabilities(good))
    if bad:
        show_error(
            f"{len(bad)} of {len(found)} files: {prediction_table.unread(bad)}",
            f"replace them: give {'DICOM, MP4 or AVI' if data.frames else 'JPEG, PNG, TIFF or DICOM'} files",
        )
    return EXIT_INPUT if bad else EXIT_DONE


def _probabilities(found: list[dict[str, Any]]) -> str:
    """A row for each label of which the network has learned something, a column for each image; a star where a label
    counts as present."""

    def cell(one: dict[str, Any], label: str) -> str:
        return f"{one['probabilities'][label]:.3f}{'*' if label in one.get('present', ()) else ' '}"

    what = "raw probability of" if "calibrated" in found[0] else "probability of"
    heads = (what, *(_head(one) for one in found))
    nothing = [label for label, score in found[0]["probabilities"].items() if score is None]
    rows = [
        (label, *(cell(one, label) for one in found)) for label in found[0]["probabilities"] if label not in nothing
    ]
    return table_of(heads, rows) + (f"\nno training image shows {', '.join(nothing)}" if nothing else "")


def _head(one: dict[str, Any]) -> str:
    """What stands above the probabilities of an image, or of a study."""
    return Path(one["image"]).name if "image" in one else f"the study ({len(one['images'])} images)"


def _words(value: Any) -> Any:
    """A list in words; anything else as it is."""
    return (", ".join(value) or "none") if isinstance(value, list) else value
