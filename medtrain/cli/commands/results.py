"""The commands evaluate and predict: what a run's best weights are worth, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Figures, Flag, RunName
from medtrain.config import configfile
from medtrain.core.console import say, say_json, show_error, table
from medtrain.core.errors import EXIT_DONE, EXIT_INPUT, InputError
from medtrain.evaluation.score_table import read_scores
from medtrain.reporting.style import formats_now, written_as
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup

SIDE_BY_SIDE = 6  # images whose probabilities fit beside each other


def evaluate(
    name: RunName,
    split: str = "",
    runs: Path = Path("runs"),
    shards: Path | None = None,
    study_type: str = "",
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
        figures: Formats of the figures: png, svg, pdf.
        json: Print the report as one JSON document.
    """
    from medtrain.evaluation import preconditions

    quiet = (lambda text: None) if json else say
    if group := RunGroup.find(runs, name):
        with written_as(figures):
            evaluate_group(group, split, shards, study_type, json)
        return
    if study_type:
        raise InputError(f"{name} is one run, and --study_type is for a group of them", "omit it")
    run = Run.find(runs, name)
    preconditions.require_checkpoint(run)
    preconditions.require_split(run, split, shards)
    from medtrain.evaluation.inference import rebuild_model
    from medtrain.reporting.run_figures import draw_curves, split_words
    from medtrain.reporting.split_report import evaluate_opened, report_name
    from medtrain.shards import mixture  # torch, from here on

    opened = rebuild_model(run, shards)
    split = split or mixture.tested(opened.config.data)
    report_of = report_name(split, opened.elsewhere)
    with written_as(figures):
        report = evaluate_opened(opened, split, quiet)
        about = split_words(run, report_of, report, opened.task.unit, read_scores(run.evaluation / f"{report_of}.csv"))
        curves = draw_curves(run, opened.config, report_of, about)
        drawn = [run.figures / f"{opened.task.figure}_{report_of}.png", *([curves] if curves else [])]
        files = [str(path) for figure in drawn for path in formats_now(figure) if path.exists()]
    if json:
        say_json(report)
    else:
        say(f"report: {run.evaluation / f'{report_of}.json'}   figures: {'  '.join(files)}")


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
    from medtrain.reporting.group_report import evaluate_together  # torch

    found, path = evaluate_together(group, members, split, shards, study_type, (lambda text: None) if json else say)
    if json:
        say_json(found)
    else:
        say(f"report: {path}")


def predict(
    name: RunName,
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")]],
    study: Flag = False,
    study_type: str = "",
    runs: Path = Path("runs"),
    json: Flag = False,
) -> int:
    """What a run's best weights say of image files (JPEG, PNG, TIFF, DICOM). Exit code 2 where one cannot be read.

    Args:
        name: Name of the run, or of a group of runs, whose probabilities are averaged.
        images: Image files, or folders of them.
        study_type: Of a group of runs those of this study type judge.
        study: The images are one study, and judged together.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    from medtrain.evaluation import preconditions

    judges, images = preconditions.models_for(runs, name, study_type), preconditions.files(images)
    data = configfile.load(judges[0].config_file).data
    if len(images) == 1 and not data.frames:
        preconditions.read_image(images[0], data.image_size)  # a wrong file is told before torch is imported
    from medtrain.evaluation.predict import predict_files, unread

    found = predict_files(judges, images, study)
    bad, good = [one for one in found if "error" in one], [one for one in found if "error" not in one]
    if json:
        say_json(found)
    elif good:
        heads = [name for name, value in good[0].items() if not isinstance(value, dict)]
        say(table(heads, [[_words(one[name]) for name in heads] for one in good]))
        if len(good) <= SIDE_BY_SIDE and "probabilities" in good[0]:
            say("\n" + _probabilities(good))
    if bad:
        show_error(
            f"{len(bad)} of {len(found)} files: {unread(bad)}", "replace them: give JPEG, PNG, TIFF or DICOM files"
        )
    return EXIT_INPUT if bad else EXIT_DONE


def _probabilities(found: list[dict[str, Any]]) -> str:
    """A row for each label, a column for each image; a star where a label counts as present."""

    def cell(one: dict[str, Any], label: str) -> str:
        score = one["probabilities"][label]
        return "-" if score is None else f"{score:.3f}{'*' if label in one.get('present', ()) else ' '}"

    what = "raw probability of" if "calibrated" in found[0] else "probability of"
    heads = (what, *(_head(one) for one in found))
    return table(heads, [(label, *(cell(one, label) for one in found)) for label in found[0]["probabilities"]])


def _head(one: dict[str, Any]) -> str:
    """What stands above the probabilities of an image, or of a study."""
    return Path(one["image"]).name if "image" in one else f"the study ({len(one['images'])} images)"


def _words(value: Any) -> Any:
    """A list in words; anything else as it is."""
    return (", ".join(value) or "none") if isinstance(value, list) else value
