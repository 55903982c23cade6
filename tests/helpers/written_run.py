"""The folder of a finished run, written by medtrain's own functions without a training: scores are drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medtrain import tasks
from medtrain.config import configfile
from medtrain.config.fingerprint import fingerprint
from medtrain.core.jsonfiles import append_json, write_json
from medtrain.evaluation.evaluate import compute_task_metrics, subgroup_reports
from medtrain.evaluation.score_table import TIES, ScoreTable, write_scores
from medtrain.runs.checkpoint_manifest import manifest_bytes
from medtrain.runs.run import Run, set_status
from medtrain.shards.packed_dataset import CHECKSUM, MANIFEST, manifest_checksum

NAMES = {
    "multiclass": ("blob", "cross", "disc"),
    "multilabel": ("Effusion", "Mass", "Hernia", "Edema"),
    "abnormality": ("XR_ELBOW", "XR_HAND", "XR_WRIST"),
    "score": ("score",),
}
START = 1_700_000_000.0
SECRETS = ("key-of-an-image", "patient-0")
ABOUT = {"sex": ("F", "M"), "age": (9, 88)}


def packed(folder: Path, names: tuple[str, ...], samples: int = 40) -> Path:
    """A packed dataset of which only the manifest is there."""
    folder.mkdir(parents=True)
    counts = {name: {"positive": 7 + i, "negative": 20, "unknown": 13 - i} for i, name in enumerate(names)}
    splits = {
        split: {"samples": samples, "digest": f"{i:032x}", "counts": counts, "shards": []}
        for i, split in enumerate(("train", "val", "test"))
    }
    manifest: dict[str, Any] = {
        "schema": 1, "dataset": "chest_demo", "classes": list(names), "splits": splits, "plan": "p" * 64, "rejects": 3,
        "labels_sha256": "l" * 64, "split_rule": "80/10/10 grouped by patient", "medtrain": "0.1.0", "pixels": "as is",
    }  # fmt: skip
    write_json(folder / MANIFEST, {**manifest, CHECKSUM: manifest_checksum(manifest)})
    return folder


def drawn(task: str, names: tuple[str, ...], count: int, seed: int = 0) -> ScoreTable:
    """Scores that know something of their labels; two images a study, and three a patient."""
    generator = np.random.default_rng(seed)
    ties = np.empty(count, TIES)
    ties["study"], ties["group"] = np.arange(count) // 2, np.arange(count) // 3
    images = np.array([f"{SECRETS[0]}-{i}" for i in range(count)])
    if task == "score":
        given = generator.random((count, 1)).astype(np.float32)
        return ScoreTable(images, ties, given, given + generator.normal(0, 0.2, (count, 1)), ("score",), ("score",))
    labels = generator.integers(-1, 2, (count, len(names))).astype(np.int8)
    logits = generator.normal(size=(count, len(names))) + 1.5 * (labels == 1)
    if task == "multiclass":
        labels = np.eye(len(names), dtype=np.int8)[generator.integers(len(names), size=count)]
        scores = np.exp(generator.normal(size=labels.shape) + 2 * labels)
        return ScoreTable(images, ties, labels, scores / scores.sum(1, keepdims=True), names, names)
    if task == "multilabel":
        return ScoreTable(images, ties, labels, 1 / (1 + np.exp(-logits)), names, names)
    kind, state = (np.arange(count) // 2) % len(names), generator.integers(0, 2, count // 2 + 1)[np.arange(count) // 2]
    labels = np.where(np.arange(len(names)) == kind[:, None], state[:, None], -1).astype(np.int8)
    scores = 1 / (1 + np.exp(-(generator.normal(size=(count, 1)) + 2 * state[:, None] - 1)))
    return ScoreTable(images, ties, labels, scores, names, ("abnormal",))


def written(
    runs: Path, task: str, name: str = "one", count: int = 90, split: str = "test", names: tuple[str, ...] = (),
    groups: tuple[int, int] = (0, 0), change: Callable[[dict[str, Any]], Any] = lambda report: None, **settings: Any,
) -> Run:  # fmt: skip
    """A finished run of a task; `groups` are how many images its two groups of patients have, none for 0."""
    names = names or NAMES[task]
    shards = packed(runs / f"shards-{name}", names)
    run = Run.create(runs, name)
    recipe = {"multiclass": "mednist", "multilabel": "chest", "abnormality": "mura", "score": "echo"}[task]
    own = {"task": task, "run": name, "runs": str(runs), "epochs": 3, "data": {"shards": str(shards)}, **settings}
    monitor = {"multiclass": "accuracy", "multilabel": "macro_auroc", "abnormality": "kappa", "score": "spearman"}[task]
    config = configfile.merge(configfile.merge(configfile.resolve(recipe), {"monitor": monitor}, "test"), own, "test")
    configfile.save(config, run.config_file)
    table = drawn(task, names, count)
    kind = tasks.make(config, names, {})
    if kind.needs_tuning:
        kind = kind.tune_on(table.scores, table.labels)
    report = {**compute_task_metrics(kind, table.scores, table.labels, table.rows), "copies_left_out": 2}
    if groups[0]:
        kinds = [{name: both[i] for name, both in ABOUT.items()} for i in range(2)]
        about = [kinds[0]] * groups[0] + [kinds[1]] * groups[1] + [{}] * (count - sum(groups))
        nothing = np.isin(table.classes, [])
        report["subgroups"] = subgroup_reports(kind, table.scores, table.labels, table.rows["group"], about, nothing)
    change(report)
    run.evaluation.mkdir()
    write_json(run.evaluation / f"{split}.json", report)
    write_scores(table, run.evaluation / f"{split}.csv")
    journal_of(run, monitor)
    lived(run)
    checkpoint(run, fingerprint(config))
    return run


def journal_of(run: Run, monitor: str) -> None:
    """Three epochs of four steps."""
    rows: list[dict[str, Any]] = []
    for epoch in (1, 2, 3):
        for step in range(4 * epoch - 3, 4 * epoch + 1):
            rows.append(
                {"kind": "step", "step": step, "epoch": epoch, "loss": 1 / step, "lr": 1e-3, "time": START + step}
            )
        rows.append({
            "kind": "epoch", "step": 4 * epoch, "epoch": epoch, "lr": 1e-3, "train_loss": 1 / epoch,
            "val_loss": 1.1 / epoch, f"val_{monitor}": 0.9 - abs(epoch - 2) / 10, "time": START + 4 * epoch + 0.5,
        })  # fmt: skip
    run.journal.write_text("".join(json.dumps(row) + "\n" for row in rows))


def lived(run: Run) -> None:
    """One attempt that was preempted and one that finished."""
    for number, (first, last, cause) in enumerate(((0, 8, "preempted"), (8, 12, "finished")), 1):
        append_json(run.attempts, {"attempt": number, "event": "start", "time": START + first, "step": first, "job": "",
                                   "nodes": "node1", "ranks": 1, "pid": 1, "restarts": 0})  # fmt: skip
        append_json(run.attempts, {"attempt": number, "event": "end", "time": START + last + 1, "first": first,
                                   "reached": last, "step_seconds": 3.0, "state": "finished", "step": last,
                                   "exit_code": 0, "cause": cause,
                                   "kind": cause, "rank": "", "node": ""})  # fmt: skip
    set_status(run, state="finished", step=12, epoch=3, best_epoch=2, best=0.9)
    run.environment.write_text("medtrain 0.1.0\npython 3.11.7\ntorch 2.14.1\nprocessor Some CPU (AVX512)\n")


def checkpoint(run: Run, config: str) -> None:
    """The manifest of the best one, without the weights."""
    folder = run.checkpoints / "step-00000008-epoch-002"
    folder.mkdir()
    files = {"model.safetensors": {"bytes": 8, "xxh3": "0123456789abcdef" * 2}}
    told = {"format": 2, "step": 8, "epoch": 2, "ranks": 1, "fingerprints": {"config": config, "data": "d/e"}}
    (folder / MANIFEST).write_bytes(manifest_bytes({**told, "files": files}))
    (run.checkpoints / "best").symlink_to(folder.name)
