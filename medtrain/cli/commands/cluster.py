"""The commands around cluster files: init, list, show."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag
from medtrain.config import cluster_files, configfile, moldable
from medtrain.config.cluster_files import ClusterFile
from medtrain.config.fingerprint import to_dict
from medtrain.config.renamed import NEW_NAMES
from medtrain.config.sbatch_options import typed_gpus
from medtrain.config.schema import Config
from medtrain.config.yaml12 import read_yaml
from medtrain.core import permissions
from medtrain.core.console import busy, note, say, say_json, table, warn
from medtrain.core.errors import MedtrainError

ClusterName = Positional[Annotated[str, arg(metavar="NAME")]]
SHOWN = ("partition", "gpus_per_node", "account")  # in the list


def cluster_init(
    name: Positional[Annotated[str, arg(metavar="[NAME]")]] = "",
    partition: str = "",
    share: permissions.Share = "private",
    json: Flag = False,
) -> None:
    """Write the file of the cluster that you are on, from what Slurm says of itself, with comments.

    It goes to the first folder of $MEDTRAIN_CLUSTERS, or else to ~/.config/medtrain/clusters, and never overwrites one.

    Args:
        name: What --cluster is to call it (default: as Slurm calls the cluster).
        partition: The partition that it names (default: of those that you may use one with GPUs and the longest limit).
        share: Whether the file is yours alone (private), or for the group of its folder too (group).
        json: Print one JSON document.
    """
    from medtrain.doctor.profiles import new_profile

    permissions.apply(share)
    busy("medtrain cluster init: asking Slurm")
    made = new_profile.write(name, partition)
    values = _settings(ClusterFile(made.name, made.path))
    bad = [{"name": check, **vars(finding)} for check, finding in made.findings if finding.state != "ok"]
    if json:
        say_json({"name": made.name, "file": str(made.path), "settings": values, "missing": bad})
        return
    chosen = made.profile.config
    gpus = f"gpus_per_node {typed_gpus(chosen)}" if chosen.gpus_per_node else "no GPUs"
    say(f"{made.path}: partition {chosen.partition}, {gpus}, time {chosen.time}")
    for each in bad:
        warn(each["text"], each["fix"])
    hidden = [file for file in cluster_files.every() if file.name == made.name and file.hidden_by == made.path]
    for file in hidden:
        note(f"it hides {file.path}")
    option = shlex.quote(made.name)
    say(f"read it, then check it by a short job: medtrain doctor --cluster {option} --folder DIR_OF_RUNS")
    say(f"then train: medtrain submit RECIPE --cluster {option} --shards DIR --run NAME")


def cluster_list(json: Flag = False) -> None:
    """List the cluster files that --cluster NAME can name.

    They are looked for in the folders of $MEDTRAIN_CLUSTERS (separated by colons), in ~/.config/medtrain/clusters, and
    where medtrain lies; of several with one name the first counts.

    Args:
        json: Print one JSON document.
    """
    found = [_described(file) for file in cluster_files.every()]
    if json:
        say_json(found)
        return
    if found:
        rows = [(each["name"], *(each[name] or None for name in SHOWN), each["file"] + _remark(each)) for each in found]
        say(table(("cluster", "partition", "GPUs a node", "account", "file"), rows))
    else:
        say(f"no cluster files in {', '.join(map(str, cluster_files.folders()))}")
    say("\nall settings of one: medtrain cluster show NAME\none of the cluster that you are on: medtrain cluster init")


def cluster_show(name: ClusterName, json: Flag = False) -> None:
    """Show the settings of a cluster file, and where it lies.

    Args:
        name: What --cluster is given: the name of a cluster file, or its path.
        json: Print one JSON document.
    """
    path = cluster_files.find(name)
    settings = _settings(ClusterFile(name, path))
    if json:
        say_json({"name": name, "file": str(path), "settings": settings})
        return
    say(f"{name}: {path}\n")
    width = max(map(len, settings), default=0)
    for key, value in settings.items():
        lines = value if isinstance(value, list) else [value]
        for line in lines:
            say(f"{key:<{width}}  {f'{line:g}' if isinstance(line, float) else line}")
            key = ""
    if not settings:
        say("it has no settings")


def _settings(file: ClusterFile) -> dict[str, Any]:
    """The settings that a file has, as medtrain reads them; InputError where one of them cannot be used."""
    config = moldable.of_cluster(configfile.with_cluster(Config(), str(file.path)))
    configfile.check(config, str(file.path))
    values = to_dict(config)["slurm"]
    if config.slurm.min_nodes:  # as one writes it
        values["nodes"] = moldable.nodes_text(config.slurm)
    if config.slurm.gpu_type:
        values["gpus_per_node"] = typed_gpus(config.slurm)
    named = configfile.names_in({"slurm": read_yaml(file.path)})
    named = [NEW_NAMES.get(name, name).split(".")[-1] for name in named]
    return {name: values[name] for name in named if name in values}


def _described(file: ClusterFile) -> dict[str, Any]:
    found = {"name": file.name, **dict.fromkeys(SHOWN), "file": str(file.path),
             "hidden_by": file.hidden_by and str(file.hidden_by), "error": None}  # fmt: skip
    try:
        settings = _settings(file)
    except MedtrainError as error:
        return {**found, "error": error.problem}
    return {**found, **{name: settings.get(name) for name in SHOWN}}


def _remark(each: dict[str, Any]) -> str:
    remarks = [f"hidden by {each['hidden_by']}"] if each["hidden_by"] else []
    remarks += ["it cannot be used: medtrain cluster show says why"] if each["error"] else []
    return f" ({'; '.join(remarks)})" if remarks else ""
