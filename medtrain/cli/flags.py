"""The second step of parsing: tyro turns a function's or a Config's fields into flags."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro

from medtrain import datasets
from medtrain.cli import sbatch_flags, stray_words
from medtrain.cli.arguments import take, take_values
from medtrain.cli.command_help import command_help
from medtrain.cli.command_table import COMMANDS
from medtrain.cli.renamed_flags import with_new_names
from medtrain.cli.settings_help import HELP, HELP_ALL, all_settings, one_screen
from medtrain.cli.usual_flags import suggestion, with_our_names
from medtrain.config import configfile, fingerprint
from medtrain.config.schema import Config
from medtrain.core.console import colourful
from medtrain.core.errors import InputError, nearest
from medtrain.runs.run import Run, is_path

CHECK_DATA = "--check-data"  # of train, with the flags of check behind it
NUMBERS = {
    r"invalid literal for int\(\) with base 10": "a whole one",
    "could not convert string to float": "one like 0.5",
}
SHORT: Any = tyro.conf.FlagCreatePairsOff  # --json without a --no-json beside it
SETTINGS = tyro.conf.OmitArgPrefixes[SHORT[Config]]


def load(place: str) -> Callable[..., Any]:
    """The function `module:function` of medtrain.cli.commands."""
    module, name = place.split(":")
    return getattr(import_module(f"medtrain.cli.commands.{module}"), name)  # type: ignore[no-any-return]


def call(place: str, command: str, rest: list[str]) -> int:
    """Call a command function with flags made from its signature and docstring."""
    function = load(place)
    if set(HELP) & set(rest):
        print(command_help(command, function))
        return 0
    known = list(flag_names(function))
    rest = with_new_names(command, rest, known)
    if sbatch_flags.FLAG in known:
        options = sbatch_flags.take_options(rest)
        rest, known = [*rest, *sbatch_flags.as_flags(options)], [*known, *sbatch_flags.KNOWN]

    # tyro calls what it parses for. What a command prints must not pass through the ear that is open while tyro parses.
    @functools.wraps(function)
    def later(*args: Any, **options: Any) -> Callable[[], Any]:
        return functools.partial(function, *args, **options)

    ready = parse(later, rest, f"medtrain {command}", known, config=[SHORT])
    return int(ready() or 0)


def flag_names(function: Callable[..., Any]) -> Iterator[str]:
    """The names of a command's flags; a dataclass among its parameters stands for those of its fields."""
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(parameter.default):
            yield from (field.name for field in dataclasses.fields(parameter.default))
        else:
            yield name


def call_with_settings(command: str, rest: list[str]) -> int:
    """Call train, submit, pipeline or resume with its settings."""
    about = COMMANDS[command]
    if not rest or (set(HELP) | set(HELP_ALL)) & set(rest):
        subject = rest[0] if rest and not rest[0].startswith("-") else ""
        print(all_help(command, subject, rest) if set(HELP_ALL) & set(rest) else one_screen(command, subject))
        return 0
    values = {name: found[-1] for name in about.values if (found := take_values(rest, _written(name)))}
    config, switches = parse_settings(command, rest)
    return int(load(about.place)(config, *switches.values(), *([values] if about.values else [])) or 0)


def all_help(command: str, subject: str, rest: list[str]) -> str:
    """What `medtrain COMMAND [RECIPE|RUN] --help-all` prints: with a recipe or run its values."""
    if command == "resume" and subject:
        runs = (take_values([*rest], ("--runs",)) or ["runs"])[-1]
        return all_settings(command, subject, configfile.load(Run.find(runs, subject).config_file))
    config = configfile.resolve(subject) if subject else Config()
    return all_settings(command, subject or COMMANDS[command].usage.partition(" ")[0], config)


def usage(command: str) -> str:
    """How a command that takes settings is written."""
    return f"medtrain {command} {COMMANDS[command].usage}"


def _written(name: str) -> tuple[str, ...]:
    """A flag with _ and with -."""
    return f"--{name}", f"--{name.replace('_', '-')}"


def data_check(rest: list[str]) -> list[str]:
    """The words of `medtrain check` that `train RECIPE --check_data ...` stands for; none where it does not say so.

    InputError where the recipe is of no one dataset.
    """
    words = rest[1:]
    if not take(words, CHECK_DATA):
        return []
    return [datasets.of_recipe(configfile.resolve(rest[0]).recipe), *words]


def parse_settings(command: str, rest: list[str]) -> tuple[Config, dict[str, bool]]:
    """The settings and switches of train, submit or resume: recipe, or the run's own settings < -c files < flags."""
    first, rest = rest[0], with_new_names(command, with_our_names(command, rest[1:]))
    if first.startswith("-"):
        line = stray_words.with_recipe(command, [first, *rest]) if command != "resume" else ""
        raise InputError(f"medtrain {command}: {first} comes before the name", f"write: {line or usage(command)}")
    if command != "resume" and Path(first).is_dir():
        raise InputError(*stray_words.folder_for_recipe(command, first, rest))
    files = take_values(rest, ("-c", "--config"))
    if tables := take_values(rest, ("--metadata",)):
        packing = f"medtrain shard metadata --root {shlex.quote(tables[-1])} --out shards/metadata"
        raise InputError(
            f"medtrain {command} {first} trains from shards, and --metadata names a table",
            f"pack it first: {packing}   then give --shards shards/metadata   (all of it at once:"
            f" ./run_hpc_training.sh {first} --metadata FILE)",
        )
    switches = {name: take(rest, f"--{name}") for name in COMMANDS[command].switches}
    options = sbatch_flags.take_options(rest, ranges=True)
    if command == "resume":
        runs = (take_values(rest, ("--runs",)) or ["runs"])[-1]
        run = Run.find(runs, first)
        first, runs = (run.name, str(run.folder.parent)) if is_path(first) else (first, runs)
        base = dataclasses.replace(configfile.overlay(configfile.load(run.config_file), files), run=first, runs=runs)
    else:
        stray_words.ensure_recipe(command, first, rest)
        base = configfile.resolve(first, files)
    known = [*switches, *COMMANDS[command].values, *(name.split(".")[-1] for name in fingerprint.flat(base))]
    known += sbatch_flags.KNOWN
    prog = f"medtrain {command} {first}"
    config = parse(SETTINGS, rest, prog, known, default=base)
    # A resumed run has the values of its cluster's file, which may have moved: it is read again only where it is named.
    named = any(word.partition("=")[0] == "--cluster" for word in rest)
    if config.slurm.cluster and (named or command != "resume"):
        base = configfile.with_cluster(base, config.slurm.cluster)  # below the flags, which therefore come once more
        config = parse(SETTINGS, rest, prog, known, default=base)
    config = sbatch_flags.with_options(config, base, options, rest)
    if config.recipe != base.recipe or (command == "resume" and config.run != first):
        raise InputError("--recipe and the name of a resumed run are not settings", f"write: {usage(command)}")
    return config, switches


def parse(target: Any, arguments: list[str], prog: str, known: list[str], **options: Any) -> Any:
    """What tyro makes of `arguments`; a mistake in them is an InputError. `known` are the names of the flags."""
    tyro._experimental_options["utf8_boxes"] = False  # its own setting: help without boxes, on a terminal and in a pipe
    tyro._experimental_options["ansi_codes"] = colourful(sys.stdout)
    fix = f"see its flags: {prog} --help"
    ear = io.StringIO()
    try:
        with contextlib.redirect_stderr(ear):
            parsed, unknown = tyro.cli(target, args=arguments, prog=prog, return_unknown_args=True, **options)
    except SystemExit as end:
        if not end.code:  # --help
            raise
        strange = _strange(arguments, known)
        said = f"{prog} does not know {strange}" if strange else _sentence(ear.getvalue())
        if " needs DATASET" in said and (line := stray_words.without_dataset(prog, arguments)):
            fix = line
        raise InputError(said, fix) from None
    sys.stderr.write(ear.getvalue())
    if unknown:
        if line := stray_words.meant(prog, arguments, unknown, known):
            raise InputError(f"{prog}: {shlex.join(unknown)} stands there without a flag", f"write: {line}")
        raise InputError(f"{prog} does not know {_strange(unknown, known) or shlex.join(unknown)}", fix)
    return parsed


def _strange(words: list[str], known: list[str]) -> str:
    """The flags among `words` that are not known, each with what it means elsewhere or the nearest that is known."""
    flags = [f"--{name.strip('_')}" for name in known] + ["--help"]
    plain = [flag.replace("_", "-") for flag in flags]
    given = [(word, word.partition("=")[0].replace("_", "-")) for word in words if word.startswith("--")]
    return ", ".join(word + suggestion(name, flags) for word, name in given if name not in plain)


def _sentence(text: str) -> str:
    """What tyro says is wrong, as one line: the part of its message between the first two rules."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    parts = [" ".join(part.split()) for part in re.split(r"(?m)^ *-{4,} *$", plain)]
    said = parts[1 if len(parts) > 1 else 0].removeprefix("Error parsing ")
    said = re.sub(r"Missing from (medtrain .+?): (\S+) (.*?)\.? \(required\)$", r"\1 needs \2: \3", said)
    said = re.sub(r"(needs --\S+): [A-Z|{}]+ ", r"\1: ", said)
    said = re.sub(r"Missing value for argument '(\S+)'\..*", r"\1 needs a value", said)
    if found := re.fullmatch(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)\.?", said):
        words = [word for word in re.findall(r"'([^']*)'", found[3]) if word]
        said = f"{found[2]} is {found[1]!r}{nearest(found[1], words)}; it may be {', '.join(words)}"
    for python, kind in NUMBERS.items():  # what Python says of text that is no number
        said = re.sub(rf"{python}: (.+)", rf"\1 is no number; write {kind}", said)
    return said
