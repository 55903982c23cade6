"""The command completion: what a shell needs to complete commands, recipes, datasets, runs and flags."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from medtrain import datasets
from medtrain.cli import flags
from medtrain.cli.command_table import COMMANDS
from medtrain.cli.sbatch_flags import FLAG, KNOWN
from medtrain.config import configfile
from medtrain.config.cluster_files import PACKAGED
from medtrain.config.sentences import all_sentences
from medtrain.core.console import say

# What stands first behind a command.
OF_RUN = ("status", "logs", "stop", "resume", "rename", "rm", "diff", "sync", "evaluate", "predict", "explain",
          "report", "verify", "retry", "compare")  # fmt: skip
OF_CLUSTER = ("cluster show",)
OF_DATASET = ("check", "shard", "data info", "data check", "data download", "data explore", "data degrade")

BASH = r"""# medtrain: completion for bash (and zsh, by bashcompinit).
_medtrain_clusters() {
    local folder file
    {
        printf '%s\n' "$MEDTRAIN_CLUSTERS" | tr : '\n'
        printf '%s\n' "${XDG_CONFIG_HOME:-$HOME/.config}/medtrain/clusters" PACKAGED
    } | while IFS= read -r folder; do
        [[ -n $folder ]] && for file in "${folder/#\~/$HOME}"/*.yaml; do
            [[ -e $file ]] && basename "$file" .yaml
        done
    done
}
_medtrain() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} place=1
    case $command in GROUPS) command="$command ${COMP_WORDS[2]}" place=2 ;; esac
    COMPREPLY=()
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --cluster ]]; then
        COMPREPLY=($(compgen -W "$(_medtrain_clusters)" -- "$word") $(compgen -f -X '!*.yaml' -- "$word"))
    elif ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "FIRST" -- "$word"))
    elif ((COMP_CWORD == place)); then
        case ${COMP_WORDS[1]} in
SECOND
        esac
    elif [[ $word == -* ]]; then
        case $command in
FLAGS
        esac
    elif ((COMP_CWORD == place + 1)); then
        case $command in
            RECIPE_COMMANDS) COMPREPLY=($(compgen -W "RECIPES" -- "$word") $(compgen -f -X '!*.yaml' -- "$word")) ;;
            DATASET_COMMANDS) COMPREPLY=($(compgen -W "DATASETS" -- "$word")) ;;
            CLUSTER_COMMANDS) COMPREPLY=($(compgen -W "$(_medtrain_clusters)" -- "$word")) ;;
            RUN_COMMANDS) COMPREPLY=($(compgen -W "$(cd runs 2>/dev/null && ls)" -- "$word")) ;;
        esac
    fi
}
complete -o default -F _medtrain medtrain"""
FISH = r"""# medtrain: completion for fish.
function __medtrain_clusters
    set -l config ~/.config
    set -q XDG_CONFIG_HOME; and set config $XDG_CONFIG_HOME
    for folder in (string split -n : -- "$MEDTRAIN_CLUSTERS") $config/medtrain/clusters PACKAGED
        for file in $folder/*.yaml
            basename $file .yaml
        end
    end
end
complete -c medtrain -n __fish_use_subcommand -f"""
ZSH = "autoload -Uz bashcompinit && bashcompinit\n"


def completion(shell: Positional[Annotated[Literal["bash", "zsh", "fish"], arg(metavar="SHELL")]]) -> None:
    """Print the completion of a shell.

    bash: `eval "$(medtrain completion bash)"` in ~/.bashrc; zsh: the same with zsh in ~/.zshrc; fish:
    `medtrain completion fish > ~/.config/fish/completions/medtrain.fish`.

    Args:
        shell: bash, zsh or fish.
    """
    say(fish() if shell == "fish" else (ZSH if shell == "zsh" else "") + bash())


def bash() -> str:
    """The script for bash, which asks medtrain nothing while a person types."""
    groups = sorted({name.split()[0] for name in COMMANDS if " " in name})
    second = [
        f'            {group}) COMPREPLY=($(compgen -W "{" ".join(_behind(group))}" -- "$word")) ;;' for group in groups
    ]
    known = [
        f'            {_pattern([name])}) COMPREPLY=($(compgen -W "{" ".join(_flags(name))}" -- "$word")) ;;'
        for name in COMMANDS
    ]
    text = BASH
    for mark, found in {
        "GROUPS": "|".join(groups),
        "FIRST": " ".join(_first()),
        "SECOND": "\n".join(second),
        "FLAGS": "\n".join(known),
        "RECIPE_COMMANDS": _pattern([name for name, about in COMMANDS.items() if about.usage and name != "resume"]),
        "RECIPES": " ".join(configfile.recipe_names()),
        "PACKAGED": shlex.quote(str(PACKAGED)),
        "CLUSTER_COMMANDS": _pattern(OF_CLUSTER),
        "DATASET_COMMANDS": _pattern(OF_DATASET),
        "DATASETS": " ".join(datasets.names()),
        "RUN_COMMANDS": _pattern(OF_RUN),
    }.items():
        text = text.replace(mark, found, 1)
    return text


def fish() -> str:
    """The lines for fish."""
    lines = FISH.replace("PACKAGED", _quoted(str(PACKAGED))).splitlines()
    for name in _first():
        what = COMMANDS[name].what if name in COMMANDS else f"commands of {name}"
        lines.append(f"complete -c medtrain -n __fish_use_subcommand -a {name} -d {_quoted(what)}")
    for group in sorted({name.split()[0] for name in COMMANDS if " " in name}):
        lines.append(
            f"complete -c medtrain -n '__fish_seen_subcommand_from {group}' -f -a '{' '.join(_behind(group))}'"
        )
    for name, about in COMMANDS.items():
        seen = " ".join(f"; and __fish_seen_subcommand_from {word}" for word in name.split()).removeprefix("; and ")
        if about.usage and name != "resume":
            lines.append(f"complete -c medtrain -n '{seen}' -a '{' '.join(configfile.recipe_names())}'")
        elif name in OF_DATASET:
            lines.append(f"complete -c medtrain -n '{seen}' -a '{' '.join(datasets.names())}'")
        elif name in OF_CLUSTER:
            lines.append(f"complete -c medtrain -n '{seen}' -f -a '(__medtrain_clusters)'")
        elif name in OF_RUN:
            lines.append(f"complete -c medtrain -n '{seen}' -a '(ls runs 2>/dev/null)'")
        values = {"--cluster": " -r -a '(__medtrain_clusters)'"}
        lines += [f"complete -c medtrain -n '{seen}' -l {flag[2:]}{values.get(flag, '')}" for flag in _flags(name)]
    return "\n".join(lines)


def _first() -> list[str]:
    return list(dict.fromkeys(name.split()[0] for name in COMMANDS))


def _behind(group: str) -> list[str]:
    return [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]


def _flags(command: str) -> list[str]:
    about = COMMANDS[command]
    if about.usage:
        return [f"--{name}" for name in (*about.values, *about.switches, *all_sentences(), *KNOWN, "help", "help-all")]
    names = list(flags.flag_names(flags.load(about.place)))
    return [f"--{name.rstrip('_')}" for name in (*names, *(KNOWN if FLAG in names else ()), "help")]


def _pattern(names: list[str] | tuple[str, ...]) -> str:
    return "|".join(f'"{name}"' for name in names if name in COMMANDS)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
