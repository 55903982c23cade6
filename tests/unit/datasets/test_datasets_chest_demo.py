"""The drawn chest X-rays: NIH's layout, the same each time, and findings that can be seen."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.sources import chest_demo
from medtrain.imaging.decode import decode


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "chest"
    chest_demo.download(folder, samples=60)
    return folder


def test_records(root: Path) -> None:
    records = chest_demo.records(root)
    assert len(records) == 60
    assert {record.source for record in records} == {"chest_demo"}
    assert all(decode(record.path.read_bytes()).shape == (256, 256) for record in records)
    positives = Counter(name for record in records for name, state in record.labels.items() if state)
    assert set(positives) == set(chest_demo.FINDINGS)
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record.patient, set()).add(record.split)
    assert all(len(own) == 1 for own in splits.values())
    assert {next(iter(own)) for own in splits.values()} == {"train+val", "test"}
    assert max(Counter(record.patient for record in records).values()) > 1


def test_the_same_bytes_each_time_and_a_small_set_is_part_of_a_large_one(root: Path, tmp_path: Path) -> None:
    chest_demo.download(tmp_path / "again", samples=20)
    for image in sorted((tmp_path / "again" / "images").iterdir())[:-3]:
        digests = {hashlib.sha256(path.read_bytes()).digest() for path in (image, root / "images" / image.name)}
        assert len(digests) == 1, image.name


def test_each_finding_changes_the_picture() -> None:
    for name in chest_demo.FINDINGS:
        with_it, without = (
            chest_demo.draw(findings, 1.0, np.random.default_rng(3)).astype(int) for findings in ([name], [])
        )
        assert np.abs(with_it - without).max() > 40, name


def test_refusals(root: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        chest_demo.download(root)
    with pytest.raises(InputError, match="3 samples are too few"):
        chest_demo.download(root.parent / "other", samples=3)
