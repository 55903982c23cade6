"""The help of commands that take settings: what most runs need, on one screen; all of it by --help-all."""

from __future__ import annotations

import shutil
import textwrap

from medtrain.cli.command_table import COMMANDS
from medtrain.config import configfile
from medtrain.config.fingerprint import flat
from medtrain.config.schema import Config
from medtrain.config.sentences import all_sentences

HELP, HELP_ALL = ("-h", "--help"), ("--help-all", "--help_all")
RUN = ("run", "shards")
TRAINING = ("epochs", "batch_size", "image_size", "backbone", "weights", "lr", "optimizer", "schedule", "monitor",
            "patience", "seed", "precision", "determinism", "workers", "tracker")  # fmt: skip
OF_TASK = {
    "abnormality": ("study_type", "ensemble"),
    "multilabel": ("uncertain", "focal_gamma"),
    "multiclass": ("label_smoothing",),
}
OF_CLIPS = ("frames", "stride", "clips", "color_mode")
OF_SLURM = (
    "cluster",
    "nodes",
    "gpus_per_node",
    "cpus_per_task",
    "mem_gb",
    "time",
    "partition",
    "account",
    "dependency",
)
# What a run that is resumed may have otherwise, without other numbers.
OF_RESUME = ("epochs", "patience", "workers", "every_minutes", "keep_last", "tasks_per_node", *OF_SLURM)
NAMED = {
    "train": (*RUN, *TRAINING, "tasks_per_node"),
    "submit": (*RUN, *TRAINING, *OF_SLURM),
    "pipeline": (*RUN, *TRAINING, *OF_SLURM),
    "resume": OF_RESUME,
}
# Flags that are no settings.
OTHERS = {
    "config": ("-c FILE.yaml", "Settings file, laid over the recipe; repeatable, later files win."),
    "json": ("--json", "Print one JSON document."),
    "dry-run": ("--dry-run", "Print what would be sent to Slurm, and send nothing."),
    "here": ("--here", "Resume on this machine, whatever the run was submitted to."),
    "update-code": ("--update-code", "Resume with the installed medtrain, not with the run's own copy."),
    "runs": ("--runs DIR", "Folder that holds the runs."),
    "root": ("--root DIR", "Folder with the raw images."),
    "encoding": ("--encoding jpeg", "How the images are packed: copy, jpeg, tiff."),
    "size": ("--size N", "Shrink the images to N pixels on the shorter side."),
    "tasks": ("--tasks N", "Jobs of the array that packs."),
    "pack_partition": ("--pack_partition P", "Partition of the packing jobs."),
    "max_rejects": ("--max_rejects N", "More images that cannot be used than this are an error."),
    "check-data": ("--check-data ...", "Only check the dataset: the flags of medtrain check follow."),
    "device": ("--device cpu|N", "Train on the CPU, or on the GPU of that number."),
}  # fmt: skip
BESIDE = {"train": ("check-data", "device"), "resume": ("runs", "update-code")}
# What stands for a value where there is none.
METAVARS = {"run": "NAME", "shards": "DIR", "weights": "FILE", "cluster": "NAME", "time": "HH:MM:SS",
            "partition": "NAME", "account": "NAME", "dependency": "ID", "study_type": "NAME"}  # fmt: skip
INDENT = 26


def one_screen(command: str, recipe: str = "") -> str:
    """What `medtrain COMMAND [RECIPE] --help` prints; with a recipe its values, and only what fits it."""
    about = COMMANDS[command]
    known = bool(recipe) and command != "resume"
    config = configfile.resolve(recipe) if known else Config()
    own_file = recipe.endswith((".yaml", ".yml"))
    title = configfile.recipe_title(config.recipe) if known and not own_file else about.what
    named = f"medtrain {command} {recipe}" if known else f"medtrain {command}"
    head = textwrap.fill(f"{named}: {title}", _width(), break_long_words=False)
    lines = [head, "", f"usage: medtrain {command} {about.usage}", ""]
    lines += [_line(*OTHERS[name]) for name in ("config", *BESIDE.get(command, ()), *about.values, *about.switches)]
    values = {name.split(".")[-1]: value for name, value in flat(config).items()}
    whose = "with the recipe's values" if known else "with their defaults"
    which = "settings that a resumed run may change" if command == "resume" else "what is set most often"
    lines += ["", f"{which}, {whose}"]
    for name in _named(command, config, known):
        lines.append(_line(f"--{name} {_shown(name, values[name])}", all_sentences()[name]))
    subject = recipe or ("RUN" if command == "resume" else "RECIPE")
    lines += ["", f"all {len(values)} settings: medtrain {command} {subject} --help-all"]
    if not known and command != "resume":
        lines.append(f"recipes: {', '.join(configfile.recipe_names())}")
    return "\n".join(lines)


def _named(command: str, config: Config, known: bool) -> list[str]:
    names = list(NAMED[command])
    if known:
        names += OF_TASK.get(config.task, ())
        names += OF_CLIPS if config.data.frames else ()
    return list(dict.fromkeys(names))


def _width() -> int:
    return max(60, shutil.get_terminal_size((80, 24)).columns)


def _line(flag: str, text: str) -> str:
    """A flag and its first sentence, without what stands in brackets where it is too long, cut where the line ends."""
    head = f"  {flag} ".ljust(INDENT)
    room = _width() - len(head)
    first = text.partition(". ")[0].rstrip(".")
    if len(first) > room:
        first = first.partition(" (")[0]
    return head + textwrap.shorten(first, room, placeholder=" ...")


def _shown(name: str, value: object) -> str:
    if isinstance(value, tuple):
        value = " ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text or METAVARS.get(name, "''")
