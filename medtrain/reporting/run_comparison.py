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
from medtrain.evaluation.common_images import CommonImages, common_of, load_common
from medtrain.evaluation.compared_entries import Entry, Scored, has_scores, members, replicates
from medtrain.evaluation.paired_tests import Tested, run_paired_tests, run_seed_tests
from medtrain.metrics.few_patients import few_of
from medtrain.metrics.mcnemar import McNemar
from medtrain.metrics.multiple_testing import holm
from medtrain.metrics.numbers import plain
from medtrain.metrics.paired_difference import PairedDifference
from medtrain.runs import journal
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup
from medtrain.shards.mixture import NAMES

NAMES_OF_A_RUN = ("run", "runs", "share", "data.shards")  # where the data are decides nothing: see `data`
OF_A_MEMBER = ("seed", "data.study_type", "weights_dir")  # differ within a group
UNTIL = ("epochs", "patience")  # free for a resume, and yet they decide which weights are the best
LOWER_IS_BETTER = ("mae", "rmse", "ece", "brier", "macro_ece", "micro_ece")


@dataclass(frozen=True)
class Compared:
    """`found` is everything about the `runs` as plain values, of the `common` images and of what was `tested` there."""

    runs: Sequence[Entry]
    found: dict[str, Any]
    common: CommonImages
    tested: Tested


def compare_runs(runs: Sequence[Entry], split: str = "", margin: float = 0.0) -> Compared:
    """What differs between runs, or groups of runs; InputError where they cannot be compared (see `load_common`).

    Each run is compared with the first. Without a `split` it is the test, or val where no run has a test.
    """
    names = [run.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise InputError(f"{', '.join(names) or 'nothing'}: is not two runs or more", "name two different runs")
    if not 0 <= margin < math.inf:
        raise InputError(f"--margin is {margin}", "give a number above 0, as 0.02")
    split = split or ("test" if any(has_scores(run, "test") for run in runs) else "val")
    common = load_common(runs, split)
    tested = run_paired_tests(common, margin)
    configs = {run.name: configfile.load(members(run)[0].config_file) for run in runs}
    seeds = [replicates(run, split) for run in runs]
    found = {
        "runs": names,
        "split": split,
        "task": common.kind,
        "unit": tested.unit or configs[names[0]].data.unit,
        "samples": tested.samples,
        "patients": tested.patients,
        "several_per_patient": tested.several,
        "few": few_of(tested.patients, tested.patients_of, tested.rankings),
        "common_images": len(common.labels),
        "images": dict(zip(names, common.images, strict=True)),
        "left_out_labels": list(common.unlearned),
        **_settings(configs, any(isinstance(run, RunGroup) for run in runs)),
        "data": {**_data(runs), "shards": {name: config.data.shards for name, config in configs.items()}},
        "training": {run.name: _training(run) for run in runs},
        "bootstrap_rounds": tested.rounds,
        "margin": margin or None,
        "members": {run.name: [own.name for own in members(run)] for run in runs if isinstance(run, RunGroup)},
        "seeds": {name: len(own) for name, own in zip(names, seeds, strict=True) if own},
        "comparisons": _comparisons(names, common, tested),
    }
    _add_seeds(found["comparisons"], runs, seeds, margin)
    return Compared(runs, found, common, tested)


def _add_seeds(
    comparisons: list[dict[str, Any]], runs: Sequence[Entry], seeds: list[list[Scored]], margin: float
) -> None:
    """`over_seeds` of each pair in which both were trained with several seeds."""
    for own, run, scored in zip(comparisons, runs[1:], seeds[1:], strict=True):
        if seeds[0] and scored:
            of = [runs[0]] * len(seeds[0]) + [run] * len(scored)
            tested = run_seed_tests(common_of(of, [*seeds[0], *scored]), len(seeds[0]), margin)
            own["over_seeds"] = {number: _difference(row, number) for number, row in tested.items()}
    for number in next((own["over_seeds"] for own in comparisons if "over_seeds" in own), ()):
        _adjust(own["over_seeds"][number] for own in comparisons if "over_seeds" in own)


def _settings(configs: dict[str, Config], grouped: bool) -> dict[str, Any]:
    """`settings`: those that differ and decide the weights; `other_settings`: those that differ and do not."""
    values = {run: flat(config) for run, config in configs.items()}
    first, *others = values.values()
    found: dict[str, dict[str, Any]] = {"settings": {}, "other_settings": {}}
    skipped = (*NAMES_OF_A_RUN, *OF_A_MEMBER * grouped)
    for name in first:
        if name not in skipped and any(other[name] != first[name] for other in others):
            old = canonical(name, None)[0]
            free = (old in FREE_FIELDS and old not in UNTIL) or old.split(".")[0] in FREE_SECTIONS
            found["other_settings" if free else "settings"][name] = {run: own[name] for run, own in values.items()}
    return found


def _data(runs: Sequence[Entry]) -> dict[str, Any]:
    """The digest of what each run was trained on, as its newest checkpoint has it, and whether all are the same; None
    where that is unknown. Of a group those of its runs, each once."""
    digests = {run.name: _digest(run) for run in runs}
    told = [digest for digest in digests.values() if digest is not None]
    if any(NAMES not in digest for digest in told):  # of older runs: without the names of the labels
        told = [digest.partition(NAMES)[0] for digest in told]
    return {"same": None if len(told) < len(runs) else len(set(told)) == 1, "digests": digests}


def _digest(entry: Entry) -> str | None:
    each = [newest_manifest(run.checkpoints).get("fingerprints", {}).get("data") for run in members(entry)]
    return None if None in each else ", ".join(sorted(set(each)))


def _training(entry: Entry) -> dict[str, Any]:
    told = [_training_of(run) for run in members(entry)]
    if isinstance(entry, Run):
        return told[0]
    states = {own["state"] for own in told} - {"finished"}
    return {
        "state": next(iter(states), "finished"),
        "epochs": sum(own["epochs"] for own in told),
        "best_epoch": None,
    }


def _training_of(run: Run) -> dict[str, Any]:
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
