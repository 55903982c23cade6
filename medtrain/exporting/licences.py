"""What a run's weights are made of, and under which licence they may be passed on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from medtrain import datasets, models
from medtrain.config.backbones import OWN_WEIGHTS
from medtrain.config.schema import PUBLISHED, Config
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.runs.run import Run
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import PackedDataset

# By the names of the Hugging Face Hub. Of a licence that is on no list the terms are unknown to medtrain.
FREE = ("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "mit")  # a changed work may have another
KEPT = ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0")  # passed on under the same
NO_CHANGES = ("cc-by-nc-nd-4.0", "cc-by-nd-4.0")  # what was trained further is a changed work
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
ALLOWED, FORBIDDEN, UNKNOWN = "allowed", "forbidden", "unknown"


@dataclass(frozen=True)
class Origin:
    """Weights that training began from, or a dataset: its licence in words, and whether it lets weights be shared."""

    name: str
    licence: str
    sharing: str
    source: str = ""


def weights_origin(run: Run, config: Config) -> Origin | None:
    """The weights that training began from, as the run wrote them down; None where they were random."""
    began, backbone = config.model.weights, config.model.backbone
    if not began:
        return None
    if began not in PUBLISHED:
        return Origin(OWN_WEIGHTS, "", UNKNOWN)
    if told := read_json(run.first_weights):
        licence, source = str(told.get("licence", "")), str(told.get("source", ""))
    else:  # of an older version
        licence, source = models.licence(backbone)
    known = ALLOWED if licence in (*FREE, *KEPT) else FORBIDDEN if licence in NO_CHANGES else UNKNOWN
    return Origin(f"{backbone} ({began})", licence, known, source)


def data_origins(config: Config) -> list[Origin]:
    """The datasets that training and validation saw."""
    found: list[Origin] = []
    for folder in mixture.folders(config.data):
        try:
            names = PackedDataset.open(folder).name.split("+")
        except InputError:
            found.append(Origin(folder.name, "", UNKNOWN, "its packed dataset is not there any more"))
            continue
        found += [_dataset(name) for name in names]
    return list(dict.fromkeys(found))


def _dataset(name: str) -> Origin:
    try:
        source = datasets.source(name)
    except InputError:
        return Origin(name, "", UNKNOWN, "a dataset of your own")
    sharing = {"free": ALLOWED, "forbidden": FORBIDDEN}.get(source.sharing, UNKNOWN)
    return Origin(name, source.licence, sharing, f"medtrain data info {name}")


def described(run: Run, config: Config, stated: str) -> dict[str, Any]:
    """For medtrain.json: `id`, the licence of the exported weights (empty: none is known), and what it follows from."""
    weights, data = weights_origin(run, config), data_origins(config)
    return {
        "id": stated or (weights.licence if weights else ""),
        "stated": bool(stated),
        "weights": {"began_as": weights.name, "licence": weights.licence or "unknown", "source": weights.source}
        if weights
        else {"began_as": "random", "licence": "none", "source": ""},
        "data": [{"name": one.name, "licence": one.licence or "unknown"} for one in data],
    }


def ensure_name(stated: str) -> None:
    """InputError where a stated licence cannot be the name of one."""
    if stated and not NAME.fullmatch(stated):
        raise InputError(
            f"--license {stated!r} is no name of a licence: letters, digits, '.', '+' and '-' make one",
            "give its name as https://hf.co/docs/hub/repositories-licenses has it, as in --license mit",
        )


def ensure_kept(run: Run, config: Config, stated: str) -> None:
    """InputError where the licence of the first weights must be kept, and another is stated."""
    weights = weights_origin(run, config)
    if weights is not None and weights.licence in KEPT and stated not in ("", weights.licence):
        raise InputError(
            f"training began from {weights.name} under {weights.licence}, which passes on to what is made of them,"
            f" and --license is {stated}",
            f"give --license {weights.licence}, or omit it",
        )


def ensure_may_push(run: Run, config: Config, stated: str) -> None:
    """InputError where weights may not be published, or medtrain cannot know and no licence is stated."""
    weights = weights_origin(run, config)
    origins = [*([weights] if weights else []), *data_origins(config)]
    if forbidding := [one for one in origins if one.sharing == FORBIDDEN]:
        words = "; ".join(f"{one.name}: {one.licence}" for one in forbidding)
        raise InputError(
            f"these weights may not be pushed to a public hub: {words}",
            "omit --push; share them where these terms allow it (models of PhysioNet's data: on PhysioNet)",
        )
    unknown = [one for one in origins if one.sharing == UNKNOWN]
    if unknown and not stated:
        whose = [(one, f" ({one.source})" if one.source else "") for one in unknown]
        words = "; ".join(f"{one.name}: {one.licence or 'unknown licence'}{source}" for one, source in whose)
        raise InputError(
            f"whether these weights may be published is not known to medtrain: {words}",
            "read these terms, and state the licence under which you may publish: --license ID"
            " (as https://hf.co/docs/hub/repositories-licenses has it)",
        )
