"""What differs between runs: their settings, their data, and their results on the images that all were tested on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from medtrain.config import configfile
from medtrain.config.fingerprint import FREE_FIELDS, FREE_SECTIONS, flat
from medtrain.config.renamed import canonical
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.evaluation.common_images import CommonImages, load_common
from medtrain.evaluation.paired_tests import Tested, run_paired_tests
from medtrain.metrics.mcnemar import McNemar
from medtrain.metrics.multiple_testing import holm
from medtrain.metrics.numbers import plain
from medtrain.metrics.paired_difference import PairedDifference
from medtrain.runs import journal
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.run import Run
from medtrain.shards.mixture import NAMES

NAMES_OF_A_RUN = ("run", "runs", "share", "data.shards")  # where the data are decides nothing: see `data`
UNTIL = ("epochs", "patience")  # free for a resume, and yet they decide which weights are the best
LOWER_IS_BETTER = ("mae", "rmse", "ece", "brier", "macro_ece", "micro_ece")


@dataclass(frozen=True)
class Compared:
    """`found` is everything about the `runs` as plain values, of the `common` images and of what was `tested` there."""

    runs: Sequence[Run]
    found: dict[str, Any]
    common: CommonImages
    tested: Tested


def compare_runs(runs: Sequence[Run], split: str = "", margin: float = 0.0) -> Compared:
    """What differs between runs; InputError where they cannot be compared (see `load_common`).

    Each run is compared with the first. Without a `split` it is the test, or val where no run has a test.
    """
    names = [run.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise InputError(f"{', '.join(names) or 'nothing'}: is not two runs or more", "name two different runs")
    if not 0 <= margin < math.inf:
        raise InputError(f"--margin is {margin}", "give a number above 0, as 0.02")
    split = split or ("test" if any((run.evaluation / "test.csv").exists() for run in runs) else "val")
    common = load_common(runs, split)
    tested = run_paired_tests(common, margin)
    configs = {run.name: configfile.load(run.config_file) for run in runs}
    found = {
        "runs": names,
        "split": split,
        "task": common.kind,
        "unit": tested.unit or configs[names[0]].data.unit,
        "samples": tested.samples,
        "patients": tested.patients,
        "several_per_patient": tested.several,
        "common_images": len(common.labels),
        "images": dict(zip(names, common.images, strict=True)),
        "left_out_labels": list(common.unlearned),
        **_settings(configs),
        "data": {**_data(runs), "shards": {name: config.data.shards for name, config in configs.items()}},
        "training": {run.name: _training(run) for run in runs},
        "bootstrap_rounds": tested.rounds,
        "margin": margin or None,
        "comparisons": _comparisons(names, common, tested),
    }
    return Compared(runs, found, common, tested)


def _settings(configs: dict[str, Config]) -> dict[str, Any]:
    """`settings`: those that differ and decide the weights; `other_settings`: those that differ and do not."""
    values = {run: flat(config) for run, config in configs.items()}
    first, *others = values.values()
    found: dict[str, dict[str, Any]] = {"settings": {}, "other_settings": {}}
    for name in first:
        if name not in NAMES_OF_A_RUN and any(other[name] != first[name] for other in others):
            old = canonical(name, None)[0]
            free = (old in FREE_FIELDS and old not in UNTIL) or old.split(".")[0] in FREE_SECTIONS
            found["other_settings" if free else "settings"][name] = {run: own[name] for run, own in values.items()}
    return found


def _data(runs: Sequence[Run]) -> dict[str, Any]:
    """The digest of what each run was trained on, as its newest checkpoint has it, and whether all are the same; None
    where that is unknown."""
    digests = {run.name: newest_manifest(run.checkpoints).get("fingerprints", {}).get("data") for run in runs}
    told = [digest for digest in digests.values() if digest is not None]
    if any(NAMES not in digest for digest in told):  # of older runs: without the names of the labels
        told = [digest.partition(NAMES)[0] for digest in told]
    return {"same": None if len(told) < len(runs) else len(set(told)) == 1, "digests": digests}


def _training(run: Run) -> dict[str, Any]:
    rows, status = list(journal.rows(run.journal, "epoch")), run.status()
    return {
        "state": status.get("state"),
        "epochs": rows[-1]["epoch"] if rows else 0,
        "best_epoch": status.get("best_epoch"),
    }


def _comparisons(names: list[str], common: CommonImages, tested: Tested) -> list[dict[str, Any]]:
    """Each other run with the first; p-values of one question about several labels or runs are adjusted together."""
    found: list[dict[str, Any]] = []
    for name, pair in zip(names[1:], tested.pairs, strict=True):
        found.append({
            "first": names[0],
            "second": name,
            "metrics": {number: _difference(own, number) for number, own in pair.metrics.items()},
            "auroc": {label: _difference(own) for label, own in pair.auroc.items()},
            **{
                number: {label: _difference(own, number) for label, own in rows.items()}
                for number, rows in pair.by_label.items()
            },
            "decisions": {label: _decisions(own) for label, own in pair.decisions.items()},
        })  # fmt: skip
    for number in tested.pairs[0].metrics:
        _adjust(one["metrics"][number] for one in found)
    for part in ("auroc", *tested.pairs[0].by_label, "decisions"):
        _adjust(row for one in found for row in one[part].values())
    return found


def _difference(own: PairedDifference, number: str = "auroc") -> dict[str, Any]:
    return {
        "first": plain(own.first),
        "second": plain(own.second),
        "difference": plain(own.difference),
        "interval": [plain(end) for end in own.interval],
        "p": plain(own.p),
        "higher_is_better": number not in LOWER_IS_BETTER,
        "equivalence_interval": [plain(end) for end in own.equivalence_interval],
        "equivalence_p": plain(own.equivalence_p),
    }


def _decisions(own: McNemar) -> dict[str, Any]:
    return {"first_only": own.first_only, "second_only": own.second_only, "p": plain(own.p), "exact": own.exact}


def _adjust(rows: Iterable[dict[str, Any]]) -> None:
    """Give each row the p-values that Holm's method makes of those of all."""
    family = list(rows)
    for name in ("p", "equivalence_p"):
        if any(name in row for row in family):
            values = holm([math.nan if row[name] is None else row[name] for row in family])
            for row, value in zip(family, values, strict=True):
                row[f"adjusted_{name}"] = plain(value)
