"""What a user may not expect of a packed dataset, told when it is packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.core.console import warn
from medtrain.core.counts import by_reason, counted
from medtrain.core.jsonfiles import read_json_lines
from medtrain.core.shell_quoting import SHOWN
from medtrain.shards.plan import PackOptions

WHAT = {"multilabel": "{} with", "abnormality": "abnormal {} of"}  # a split lacks of a label; of a class "{} of"
JUDGED = {"val": "validate", "test": "test"}


def warn_of(manifest: dict[str, Any], options: PackOptions, out: Path) -> None:
    """Warn of what was left out, of patients in several splits, and of what cannot be validated or tested."""
    if rejects := manifest["rejects"]:
        rows = list(read_json_lines(out / "rejects.jsonl"))
        warn(
            f"{counted(rejects, options.unit)} cannot be used and {'was' if rejects == 1 else 'were'} left out;"
            f" {by_reason(row['reason'] for row in rows)}; the list is {out / 'rejects.jsonl'}"
        )
    if torn := manifest.get("patients_in_several_splits"):
        warn(
            f"{counted(torn, 'patients')} {'has' if torn == 1 else 'have'} {options.unit} in several of the official"
            f" splits: tests on them flatter. Training with --shards {out.parent} --datasets {out.name} leaves those"
            " out that are tested on"
        )
    splits = manifest["splits"]
    if "val" not in splits:
        warn(
            f"no split to validate on, which training needs: the {options.unit} of a patient stay together, and there"
            " are too few patients, or one id for all of them (medtrain check shows how many there are)"
        )
    elif "test" not in splits:
        warn("no split to test on: results will be those of the validation that chose the weights, and flatter")
    if manifest.get("task") != "score":
        _warn_of_lacking(splits, WHAT.get(manifest.get("task", ""), "{} of").format(options.unit.removesuffix("s")))


def _warn_of_lacking(splits: dict[str, Any], what: str) -> None:
    """Of labels that training shows and a split to judge by does not."""
    trained = [name for name, row in splits.get("train", {"counts": {}})["counts"].items() if row["positive"]]
    for split, verb in JUDGED.items():
        if split not in splits:
            continue
        lacking = [name for name in trained if not splits[split]["counts"][name]["positive"]]
        if lacking and len(lacking) < len(trained):
            more = f" and {len(lacking) - SHOWN:,} more" if len(lacking) > SHOWN else ""
            warn(
                f"{split} has no {what} {', '.join(lacking[:SHOWN])}{more}: what is learned about"
                f" {'them' if len(lacking) > 1 else 'it'} cannot be {verb.removesuffix('e')}ed; add some, or choose the"
                " splits yourself"
            )
