"""Words of a command line that stand in the wrong place: the whole line as it was probably meant."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Collection
from pathlib import Path

from medtrain.config import configfile
from medtrain.core.errors import InputError, nearest
from medtrain.datasets.own_table import SUFFIXES as TABLES

Words = list[str]


def meant(prog: str, words: Words, unknown: Words, known: Collection[str]) -> str:
    """The line to type where a word of `words` is `unknown` as it lacks its flag, or the quotes around a blank;
    empty where that is not clear. `known` are the names of the flags."""
    stray = [word for word in unknown if not word.startswith("-")]
    if not stray or len(stray) < len(unknown):
        return ""
    at = words.index(stray[0])
    whole = " ".join(stray)
    if at and words[at : at + len(stray)] == stray and _is_there(f"{words[at - 1]} {whole}"):
        return shlex.join([*prog.split(), *words[: at - 1], f"{words[at - 1]} {whole}", *words[at + len(stray) :]])
    if len(stray) > 1 and not _is_there(whole):
        return ""
    flag = _flag_of(whole, words, known)
    if not flag:
        return ""
    return shlex.join([*prog.split(), *words[:at], f"--{flag}", whole, *words[at + len(stray) :]])


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _flag_of(word: str, words: Words, known: Collection[str]) -> str:
    """The flag whose value a word that stands alone may be."""
    given = {other.partition("=")[0].lstrip("-").replace("-", "_") for other in words if other.startswith("--")}
    free = [name for name in ("table", "root", "shards") if name in known and name not in given]
    if "table" in free and Path(word).name.lower().endswith(TABLES):
        return "table" if "csv" in words else ""
    if "root" in free:
        return "root"
    return "shards" if "shards" in free and ("/" in word or _is_there(word)) else ""


def without_dataset(prog: str, words: Words) -> str:
    """The line with the dataset that `--root` or `--table` speaks of, where no dataset is named."""
    given = {word.partition("=")[0] for word in words}
    own = "csv" if "--table" in given else "folder" if "--root" in given else ""
    return shlex.join([*prog.split(), own, *words]) if own else ""


def with_recipe(command: str, words: Words) -> str:
    """The line with the recipe that fits the packed dataset of `--shards`, where no recipe is named."""
    from medtrain.shards.compatibility import recipe_for  # what reads indexes: every command would wait for it
    from medtrain.shards.packed_dataset import PackedDataset, is_packed

    values = [value for flag, value in itertools.pairwise(words) if flag == "--shards"]
    values += [word.partition("=")[2] for word in words if word.startswith("--shards=")]
    if not values or not is_packed(Path(values[-1])):
        return ""
    return f"medtrain {command} {recipe_for(PackedDataset.open(values[-1]))} {shlex.join(words)}"


def folder_for_recipe(command: str, folder: str, words: Words) -> tuple[str, str]:
    """What is wrong, and what to type, where a folder stands in the place of the recipe."""
    if line := with_recipe(command, ["--shards", folder, *words]):
        return f"medtrain {command}: {folder} is a packed dataset, and a recipe comes first", f"write: {line}"
    from medtrain.shards import unpacked_folder

    problem, fix = unpacked_folder.told(Path(folder).absolute())
    return f"medtrain {command}: a recipe comes first, and a packed dataset; {problem}", fix


def ensure_recipe(command: str, name: str, words: Words) -> None:
    """InputError, with one that fits the packed dataset of `--shards`, where a name is that of no recipe."""
    known = configfile.recipe_names()
    if name not in known and not name.endswith((".yaml", ".yml")) and (line := with_recipe(command, words)):
        raise InputError(f"there is no recipe {name!r}{nearest(name, known)}", f"one that fits: {line}")
