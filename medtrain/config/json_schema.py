"""The settings as a JSON Schema (draft 2020-12), by which an editor completes and checks a settings file."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from medtrain.config.node_range import RANGE
from medtrain.config.renamed import OLD_NAMES, OLD_VALUES
from medtrain.config.rules import AT_LEAST, PROBABILITIES
from medtrain.config.sbatch_options import TYPED
from medtrain.config.schema import Config
from medtrain.config.sentences import sentences

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def json_schema() -> dict[str, Any]:
    """The schema of a settings file: each setting with its text, type, default and limits; no other key is allowed.

    Names that a setting had before are marked as deprecated. What the values must be together only medtrain says.
    """
    return {"$schema": DRAFT, "title": "medtrain settings", **_section(Config(), "")}


def _section(values: Any, name: str) -> dict[str, Any]:
    kind: Any = type(values)
    hints, texts = typing.get_type_hints(kind), sentences(kind)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(values):
        full = f"{name}.{field.name}" if name else field.name
        value = getattr(values, field.name)
        if dataclasses.is_dataclass(value):
            about = " ".join((value.__doc__ or "").split())
            properties[field.name] = {"description": about, **_section(value, field.name)}
            continue
        own = {"description": texts[field.name], "default": value, **_type(hints[field.name], full)}
        properties[field.name] = own
        if full in OLD_NAMES:
            properties[OLD_NAMES[full].rpartition(".")[2]] = {**own, "deprecated": True}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _type(hint: Any, full: str) -> dict[str, Any]:
    if typing.get_origin(hint) is typing.Literal:
        return {"enum": [*typing.get_args(hint), *OLD_VALUES.get(full, {}).values()]}
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _type(typing.get_args(hint)[0], full)}
    found: dict[str, Any] = {"type": TYPES[hint]}
    if full == "slurm.gpus_per_node":  # or a100:4
        found = {"type": ["integer", "string"], "pattern": f"^{TYPED.pattern}$"}
    if full == "slurm.nodes":  # or 2-8
        found = {"type": ["integer", "string"], "pattern": f"^{RANGE.pattern}$"}
    if full in AT_LEAST:
        found["minimum"] = AT_LEAST[full][0]
    if full in PROBABILITIES:
        found |= {"minimum": 0, "maximum": 1}
    return found
