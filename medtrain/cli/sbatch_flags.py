"""sbatch's own options on the command line of medtrain: `--sbatch=--NAME=VALUE`, and by their names alone."""

from __future__ import annotations

import dataclasses

from medtrain.config import sbatch_options
from medtrain.config.node_range import nodes_range
from medtrain.config.sbatch_options import BARE, VALUED
from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.errors import InputError

FLAG = "sbatch"
NONE = "\0"  # no word of a command line
KNOWN = (*VALUED, *BARE)


def take_options(rest: list[str], ranges: bool = False) -> list[str]:
    """Remove sbatch's options from the words of a command line, and return them as the setting `sbatch` has them, in
    their order. A typed number of GPUs is left as two flags, and with `ranges` so is a range of nodes. InputError where
    one lacks its value."""
    found: list[str] = []
    ours = (FLAG, "gpus-per-node", *(("nodes",) if ranges else ()))
    kept: list[str] = []
    words = iter(rest)
    for word in words:
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("_", "-") if flag.startswith("--") else ""
        if name in BARE:
            found.append(f"--{name}{equals}{value}")
        elif name not in ours and name not in VALUED:
            kept.append(word)
        elif not equals and (value := next(words, NONE)) == NONE:
            example = "--sbatch=--reservation=NAME" if name == FLAG else f"{flag} VALUE"
            raise InputError(f"{flag} needs a value", f"write {example}")
        elif name == FLAG:
            found.append(_readable(value))
        elif name == "nodes":
            span = nodes_range(value)
            kept += [f"--nodes={span[1]}", f"--min_nodes={span[0]}"] if span else [f"--nodes={value}"]
        elif name == "gpus-per-node":
            two = sbatch_options.typed(value)
            kept += [f"--gpus_per_node={two[1]}", f"--gpu_type={two[0]}"] if two else [f"--gpus_per_node={value}"]
        else:
            found.append(f"--{name}={value}")
    rest[:] = kept
    return found


def as_flags(options: list[str]) -> list[str]:
    """Options for a command whose parser collects them one by one."""
    return [f"--{FLAG}={option}" for option in options]


def with_options(config: Config, base: Config, options: list[str], rest: list[str]) -> Config:
    """`config`, which flags among the words `rest` made of `base`, with the options laid over what `base` asks for."""
    flags = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in rest if word.startswith("--")}
    names = [field.name for field in dataclasses.fields(SlurmConfig)]
    given = {name: getattr(config.slurm, name) for name in names if name in flags}
    changes = sbatch_options.laid_over(base.slurm, {**given, "sbatch": tuple(options)} if options else given)
    return dataclasses.replace(config, slurm=dataclasses.replace(base.slurm, **changes))


def _readable(option: str) -> str:
    try:
        sbatch_options.split(option)
    except ValueError as error:
        raise InputError(str(error), "for example: --sbatch=--reservation=NAME") from None
    return option
