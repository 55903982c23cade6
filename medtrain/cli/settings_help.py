"""The help of commands that take settings: what most runs need, on one screen; all of it by --help-all."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Literal, get_args, get_origin, get_type_hints

from medtrain.cli.command_table import COMMANDS
from medtrain.cli.help_lines import INDENT, filled, heading, line, usage, width
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
    "sbatch",
)
# What a run that is resumed may have otherwise, without other numbers.
OF_RESUME = ("epochs", "patience", "workers", "every_minutes", "keep_last", "tasks_per_node", "notify", *OF_SLURM)
NAMED = {
    "train": (*RUN, *TRAINING, "tasks_per_node"),
    "submit": (*RUN, *TRAINING, *OF_SLURM, "notify"),
    "pipeline": (*RUN, *TRAINING, *OF_SLURM),
    "resume": OF_RESUME,
}
# Flags that are no settings.
OTHERS = {
    "config": ("-c FILE.yaml", "Settings file over the recipe's (repeatable)."),
    "json": ("--json", "Print one JSON document."),
    "dry-run": ("--dry-run", "Print what would be sent to Slurm, and send nothing."),
    "when": ("--when", "Print when such a job would start, and send nothing."),
    "here": ("--here", "Resume on this machine, not as a Slurm job."),
    "update-code": ("--update-code", "Resume with the installed medtrain, not the run's copy."),
    "runs": ("--runs DIR", "Folder that holds the runs."),
    "root": ("--root DIR", "Folder with the raw images."),
    "encoding": ("--encoding jpeg", "How the images are packed: copy, jpeg, tiff."),
    "size": ("--size N", "Shrink the images to N pixels on the shorter side."),
    "tasks": ("--tasks N", "Jobs of the array that packs."),
    "pack_partition": ("--pack_partition P", "Partition of the packing jobs."),
    "max_rejects": ("--max_rejects N", "More images that cannot be used than this are an error."),
    "keep-names": ("--keep_names", "Write a private table of the file of each sample."),
    "check-data": ("--check-data ...", "Only check the dataset, as medtrain check does."),
    "device": ("--device cpu|N", "Train on the CPU, or on the GPU of that number."),
}  # fmt: skip
BESIDE = {"train": ("check-data", "device"), "resume": ("runs", "update-code")}
# What stands for a value where there is none.
METAVARS = {"run": "NAME", "shards": "DIR", "weights": "FILE", "cluster": "NAME", "time": "HH:MM:SS",
            "partition": "NAME", "account": "NAME", "dependency": "ID", "study_type": "NAME", "weights_dir": "DIR",
            "datasets": "NAME ...", "holdout": "NAME", "sampling": "NAME=TIMES ...", "qos": "NAME", "entity": "NAME",
            "constraint": "FEATURE", "container": "IMAGE",
            "container_binds": "SOURCE[:TARGET[:ro]] ...",
            "container_runtime": "apptainer|singularity|pyxis|edf|PROGRAM", "container_python": "FILE",
            "packed_environment": "FILE", "gpu_type": "NAME", "sbatch": "--NAME=VALUE", "setup": "LINES",
            "notify": "webhook|command:PROGRAM|mail ..."}  # fmt: skip


def one_screen(command: str, recipe: str = "") -> str:
    """What `medtrain COMMAND [RECIPE] --help` prints; with a recipe its values, and only what fits it."""
    about = COMMANDS[command]
    known = bool(recipe) and command != "resume"
    config = configfile.resolve(recipe) if known else Config()
    own_file = recipe.endswith((".yaml", ".yml"))
    title = configfile.recipe_title(config.recipe) if known and not own_file else about.what
    named = f"medtrain {command} {recipe}" if known else f"medtrain {command}"
    lines = [filled(f"{named}: {title}"), "", usage(f"medtrain {command} {about.usage}"), ""]
    lines += [_line(*OTHERS[name]) for name in ("config", *BESIDE.get(command, ()), *about.values, *about.switches)]
    values = {name.split(".")[-1]: value for name, value in flat(config).items()}
    whose = "with the recipe's values" if known else "with their defaults"
    which = "settings that a resumed run may change" if command == "resume" else "what is set most often"
    lines += ["", heading(f"{which}, {whose}")]
    for name in _named(command, config, known):
        lines.append(_line(f"--{name} {_shown(name, values[name])}", all_sentences()[name]))
    subject = recipe or ("RUN" if command == "resume" else "RECIPE")
    lines += ["", f"all {len(values)} settings: medtrain {command} {subject} --help-all"]
    if not known and command != "resume":
        lines.append(filled(f"recipes: {', '.join(configfile.recipe_names())}"))
    return "\n".join(lines)


def all_settings(command: str, subject: str, config: Config) -> str:
    """What `--help-all` prints: every setting by its section, with its value in `config`."""
    about, switches = COMMANDS[command], ("config", *BESIDE.get(command, ()))
    named = f"medtrain {command} {subject}"
    parts = [filled(f"{named}: {Config.__doc__}"), usage(f"medtrain {command} {about.usage}")]
    parts.append("\n".join(line(*OTHERS[name]) for name in (*switches, *about.values, *about.switches)))
    sections: dict[str, list[str]] = {}
    for name, value in flat(config).items():
        if command == "resume" and name in ("recipe", "run", "runs"):  # a run has them once and for all
            continue
        section, _, own = name.rpartition(".")
        sections.setdefault(section, []).append(line(f"--{own} {_shown(own, value)}", _with_choices(own)))
    for section, lines in sections.items():
        told = str(type(getattr(config, section)).__doc__).partition("\n")[0] if section else "the run"
        parts.append("\n".join([heading(f"{section}: {told}" if section else told), *lines]))
    return "\n\n".join(parts)


def _with_choices(name: str) -> str:
    """What a setting does, and what it may be where that is one of some words."""
    text, words = all_sentences()[name], _choices().get(name, ())
    unnamed = [word for word in words if word and word not in text]
    return f"{text} One of {', '.join(filter(None, words))}." if unnamed else text


@cache
def _choices() -> dict[str, tuple[str, ...]]:
    """Setting -> the words that it may be, of those that are one of some words."""
    kinds = [Config, *(type(getattr(Config(), field.name)) for field in fields(Config))]
    hints = {name: hint for kind in kinds if is_dataclass(kind) for name, hint in get_type_hints(kind).items()}
    return {name: tuple(map(str, get_args(hint))) for name, hint in hints.items() if get_origin(hint) is Literal}


def _named(command: str, config: Config, known: bool) -> list[str]:
    names = list(NAMED[command])
    if known:
        names += OF_TASK.get(config.task, ())
        names += OF_CLIPS if config.data.frames else ()
    return list(dict.fromkeys(names))


def _line(flag: str, text: str) -> str:
    """A flag and its first sentence, without what stands in brackets where it fits beside the flag then."""
    first = text.partition(". ")[0].rstrip(".")
    short = first.partition(" (")[0]
    return line(flag, short if len(first) > width() - INDENT >= len(short) else first)


def _shown(name: str, value: object) -> str:
    if isinstance(value, tuple):
        value = " ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text or METAVARS.get(name, "TEXT")
