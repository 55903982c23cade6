"""The commands around a run: train, submit, status, logs, stop, resume, evaluate, predict, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from medtrain.config import configfile
from medtrain.config.schema import Config
from medtrain.core.console import say, say_json, show_error, table, talk_to_stderr
from medtrain.core.errors import EXIT_DONE, EXIT_INPUT, InputError
from medtrain.launch import group_submit
from medtrain.launch import members as launch_members
from medtrain.launch import submit as launch
from medtrain.launch.group_status import group_text, statuses
from medtrain.launch.job_chain import tree
from medtrain.runs import removal
from medtrain.runs.run import GROUP_FILE, Run, command_for, runs_flag
from medtrain.runs.run_group import RunGroup
from medtrain.runs.status import attempts_table, describe, follow, status_table
from medtrain.runs.takeover import alive
from medtrain.slurm import job_environment

Flag = FlagCreatePairsOff[bool]
Follow = Annotated[Flag, arg(name="follow", aliases=("-f",))]
SIDE_BY_SIDE = 6  # images whose probabilities fit beside each other
RunName = Positional[Annotated[str, arg(metavar="RUN")]]


def train(config: Config, json: bool) -> int:
    """Train here, supervised: a crashed rank starts again, a signal saves at the next step's border."""
    job_environment.settle()
    config = launch.with_name(config, here=True)
    with talk_to_stderr(json):
        code = group_submit.train(config) if launch_members.wanted(config) else launch.train(config)
    if json:
        say_json(statuses([config.run], Path(config.runs))[0])
    return code


def submit(config: Config, dry_run: bool, json: bool) -> None:
    """Send a run to Slurm; it survives time limits, preemption and requeues by itself."""
    if launch_members.wanted(config):
        submit_group(launch.with_name(config), dry_run, json)
        return
    run, job = launch.submit(config, dry_run)
    if dry_run:
        return
    if json:
        say_json({"run": run.name, "job": job, "folder": str(run.folder)})
    else:
        say(f"run {run.name}: job {job}\nwatch it: {command_for(run, 'status')}   {command_for(run, 'logs')} -f")


def submit_group(config: Config, dry_run: bool, json: bool) -> None:
    """Send the runs of a group as one array."""
    with talk_to_stderr(json):
        group, sent = group_submit.submit(config, dry_run)
    if dry_run:
        return
    if json:
        say_json({"group": group.name, "jobs": [list(one) for one in sent], "folder": str(group.folder)})
    else:
        say(f"{tree(sent)}\nwatch it: {command_for(Run(group.folder), 'status')}")


def resume(config: Config, here: bool, json: bool) -> int:
    """Go on with a run from its newest checkpoint, the way it was started (--here: on this machine)."""
    run = Run.find(config.runs, config.run)
    with talk_to_stderr(json):
        code = launch.resume(run, config, here)
    if json:
        say_json(describe(run))
    return code


def status(
    names: Positional[Annotated[tuple[str, ...], arg(metavar="[RUN ...]")]] = (),
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """What every run is doing; of a named one, also each attempt: why it ended, its steps, and what was lost.

    Args:
        names: Names of runs (none: all).
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    rows = statuses(list(names), runs)
    if json:
        say_json(rows)
    elif rows:
        alone = [row for row in rows if not (names and "stages" in row)]
        if alone:
            say(status_table(alone))
        for row in rows if names else []:
            if "stages" in row:
                say(group_text(row))
            elif told := attempts_table(row):
                say(f"\n{row['run']}\n{told}" if len(rows) > 1 else f"\n{told}")
    else:
        say(f"no runs in {runs.absolute()}; start one: medtrain train RECIPE --shards DIR --run NAME{runs_flag(runs)}")


def logs(name: RunName, runs: Path = Path("runs"), follow_: Follow = False, json: Flag = False) -> None:
    """Print a run's log.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        follow_: Go on printing what comes, until the run ends.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    if json:
        lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
        say_json({"run": name, "lines": lines})
        return
    for line in follow(run.log, ended=lambda: not follow_ or alive(run) is None):
        say(line)


def stop(name: RunName, runs: Path = Path("runs"), json: Flag = False) -> None:
    """Ask a run to save at the next step's border and end.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    group = RunGroup.find(runs, name)
    text = group_submit.stop(group) if group else launch.stop(Run.find(runs, name))
    if json:
        say_json({"run": name, "answer": text})
    else:
        say(text)


def rm(name: RunName, runs: Path = Path("runs"), yes: Flag = False, json: Flag = False) -> int:
    """Remove a run, or a group with all of its runs. Asks first where steps would be lost.

    What a user laid into the folder stays, and so do copies of weights in a --save_dir.

    Args:
        name: Name of the run or group.
        runs: Folder that holds the runs.
        yes: Do not ask.
        json: Print one JSON document.
    """
    group = RunGroup.find(runs, name)
    members = group.runs if group else [Run.find(runs, name)]
    there = [run for run in members if run.folder.is_dir()]
    for run in there:
        removal.refuse_alive(run)
    if group:
        group_submit.refuse_jobs(group)
    lost = [words for run in there if (words := removal.loses(run))]
    if lost and not yes and not removal.asked(lost, command_for(Run(runs / name), "rm")):
        say("nothing was removed")
        return EXIT_INPUT
    left = {str(run.folder): removal.remove(run) for run in there}
    if group:
        left[str(group.folder)] = removal.remove(group, GROUP_FILE)
    if json:
        say_json({"removed": list(left), "left": {folder: names for folder, names in left.items() if names}})
    else:
        for folder, names in left.items():
            say(f"removed {folder}" + (f", but for what is not of the run: {', '.join(names)}" if names else ""))
    return EXIT_DONE


def evaluate(
    name: RunName,
    split: str = "",
    runs: Path = Path("runs"),
    shards: Path | None = None,
    study_type: str = "",
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
        json: Print the report as one JSON document.
    """
    from medtrain.evaluation import preconditions

    quiet = (lambda text: None) if json else say
    if group := RunGroup.find(runs, name):
        evaluate_group(group, split, shards, study_type, json)
        return
    if study_type:
        raise InputError(f"{name} is one run, and --study_type is for a group of them", "leave it out")
    run = Run.find(runs, name)
    preconditions.need_checkpoint(run)
    preconditions.need_split(run, split, shards)
    from medtrain.evaluation.inference import open_run
    from medtrain.reporting.split_report import evaluate_opened, report_name
    from medtrain.shards import mixture  # torch, from here on

    opened = open_run(run, shards)
    split = split or mixture.tested(opened.config.data)
    report = evaluate_opened(opened, split, quiet)
    if json:
        say_json(report)
    else:
        report_of = report_name(split, opened.elsewhere)
        figure = run.figures / f"{opened.task.figure}_{report_of}.png"
        say(f"report: {run.evaluation / f'{report_of}.json'}   figure: {figure}")


def evaluate_group(group: RunGroup, split: str, shards: Path | None, study_type: str, json: bool) -> None:
    """Score a split with the models of a group, those of a study type averaged."""
    from medtrain.evaluation import preconditions

    members = (
        preconditions.judges(group.folder.parent, group.name, study_type)
        if study_type
        else preconditions.members(group)
    )
    for run in members:
        preconditions.need_checkpoint(run)
        preconditions.need_split(run, split, shards)
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

    judges, images = preconditions.judges(runs, name, study_type), preconditions.files(images)
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


def recipes(json: Flag = False) -> None:
    """The recipes that `train` and `submit` know.

    Args:
        json: Print one JSON document.
    """
    titles = {name: configfile.recipe_title(name) for name in configfile.recipe_names()}
    if json:
        say_json(titles)
    else:
        say(table(("recipe", "what it trains"), titles.items()))
        say("\nall settings of one: medtrain train RECIPE --help")
