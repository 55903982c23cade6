"""Subgroups: who is in which, and that a report of one is that of its images alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from command import medtrain

from medtrain.datasets.sources import chest_demo
from medtrain.metrics.subgroups import subgroups
from medtrain.shards.index import open_index
from medtrain.shards.pack import PackOptions, pack
from medtrain.shards.tar_writer import sidecar

ABOUT = [
    {"sex": "F", "age": 17, "view": "PA"},
    {"sex": "M", "age": 18, "view": "PA"},
    {"sex": "", "age": None},
    {"sex": "F", "age": 0.5, "view": "PA"},
    {"sex": "M", "age": 80},
]


def test_groups() -> None:
    found = {
        attribute: {name: np.flatnonzero(own).tolist() for name, own in groups.items()}
        for attribute, groups in subgroups(ABOUT).items()
    }
    assert found == {
        "sex": {"F": [0, 3], "M": [1, 4]},
        "age": {"00 to 17": [0, 3], "18 to 39": [1], "80 and more": [4]},
    }
    assert subgroups([{}, {}]) == {}


def test_a_run_reports_them(tmp_path: Path) -> None:
    chest_demo.download(tmp_path / "raw", samples=80)
    records = [
        replace(record, meta={**record.meta, "view": "AP" if int(record.patient) % 2 else "PA"})
        for record in chest_demo.records(tmp_path / "raw")
    ]
    pack(records, chest_demo.CLASSES, tmp_path / "shards", PackOptions(shard_mb=0.5), 1)
    index = open_index(tmp_path / "shards", "test")
    told = []
    for row in index.samples:
        with index.shard_path(int(row["shard"])).open("rb") as file:
            told.append(sidecar(file, row))
    assert [one["key"] for one in told] == [key.decode() for key in index.samples["key"].tolist()]
    medtrain("train", "chest_demo", "--shards", tmp_path / "shards", "--runs", tmp_path, "--run", "one", "--epochs",
             "1", "--image_size", "32", "--tracker", "none", "--workers", "1")  # fmt: skip
    report = json.loads((tmp_path / "one" / "evaluation" / "test.json").read_text())
    assert set(report["subgroups"]) == {"sex", "age", "view"}
    for attribute, groups in report["subgroups"].items():
        assert sum(group["samples"] for group in groups.values()) == len(index), attribute
        for row in next(iter(groups.values()))["per_class"].values():
            assert "auroc_interval" in row, attribute
    positives = [group["per_class"]["Effusion"]["positives"] for group in report["subgroups"]["view"].values()]
    assert sum(positives) == report["per_class"]["Effusion"]["positives"]
    views = [one["meta"]["view"] for one in told]
    assert [report["subgroups"]["view"][name]["samples"] for name in ("AP", "PA")] == [
        views.count("AP"), views.count("PA"),
    ]  # fmt: skip
    assert report["temperature"] > 0
    assert report["per_class"]["Effusion"]["ece_at_temperature"] is not None
    assert "view AP: mean AUROC" in (tmp_path / "one" / "train.log").read_text()
