"""shards.plan: splits in proportion that never cut a patient in two, and a fixed place for each sample."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medtrain.core.isolated_processes import Pool
from medtrain.datasets.record import TRAIN_VAL, Record
from medtrain.shards.file_hashes import hash_files
from medtrain.shards.packed_dataset import SPLITS
from medtrain.shards.plan import (
    PackOptions,
    Plan,
    PlannedSample,
    assign_splits,
    chosen,
    group_linked,
    make_plan,
    split_rule,
    without_copies,
)
from medtrain.shards.sample_keys import sample_key


def known(records: list[Record], folder: Path, workers: int) -> list[tuple[int, int]]:
    """`contents` by so many threads."""
    with Pool(workers) as pool:
        return hash_files(records, folder, pool)


def record(number: int, label: str = "a", patient: str = "", split: str = "") -> Record:
    labels: dict[str, int | None] = {name: int(name == label) for name in "abc"}
    return Record("demo", f"{label}/{number}.jpg", Path(f"{number}.jpg"), labels, patient=patient, split=split)


def shares(splits: list[str]) -> list[float]:
    counted = Counter(splits)
    return [counted[split] / len(splits) for split in SPLITS]


def splits_by(keys: list[str], splits: list[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key, split in zip(keys, splits, strict=True):
        found[key].add(split)
    return found


# ---- splits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [10, 33, 500])
def test_the_split_is_80_10_10_within_each_label(each: int) -> None:
    records = [record(number, label) for label in "abc" for number in range(each)]
    splits = assign_splits(records, list(range(len(records))), seed=1)
    for label in range(3):
        assert np.allclose(shares(splits[label * each : (label + 1) * each]), [0.8, 0.1, 0.1], atol=1 / each)


def test_rare_labels_are_split_in_proportion_too() -> None:
    """1,000 images, each with a set of labels of its own: each alone would go to train."""
    records = [replace(record(number), labels={"a": number, "b": None}) for number in range(1000)]
    assert np.allclose(shares(assign_splits(records, list(range(1000)), seed=0)), [0.8, 0.1, 0.1], atol=0.005)


def test_the_seed_and_nothing_else_decides_the_split() -> None:
    records = [record(number) for number in range(200)]
    groups = list(range(200))
    splits = assign_splits(records, groups, seed=5)
    backwards = assign_splits(records[::-1], groups[::-1], seed=5)
    assert backwards[::-1] == splits
    assert assign_splits(records, groups, seed=6) != splits


def test_patients_are_never_in_two_splits() -> None:
    rng = np.random.default_rng(0)
    patients = [f"patient{number}" for number in rng.geometric(0.01, 3000)]
    records = [record(number, "abc"[number % 3], patient) for number, patient in enumerate(patients)]
    splits = assign_splits(records, group_linked(records, list(range(3000))), seed=2)
    assert all(len(found) == 1 for found in splits_by(patients, splits).values())
    assert np.allclose(shares(splits), [0.8, 0.1, 0.1], atol=0.03)


def test_identical_images_are_never_in_two_splits_whoevers_they_are() -> None:
    """Each patient has 3 images, one of them the same as one of the next patient's: chains of 4 patients."""
    records: list[Record] = []
    contents: list[int] = []
    for patient in range(400):
        shared = [10_000 + patient] if patient % 4 == 0 else [10_000 + patient - 1, 10_000 + patient]
        for content in [*shared, patient][:3]:
            contents.append(content)
            records.append(record(len(records), "a", f"p{patient}"))
    splits = assign_splits(records, group_linked(records, contents), seed=0)
    assert len({*contents}) < len(contents)
    assert all(len(found) == 1 for found in splits_by(list(map(str, contents)), splits).values())
    assert all(len(found) == 1 for found in splits_by([r.patient for r in records], splits).values())
    chains = [str(int(r.patient[1:]) // 4) for r in records]
    assert all(len(found) == 1 for found in splits_by(chains, splits).values())
    assert len(set(splits)) == 3


def test_ties_are_transitive_and_numbered_by_content() -> None:
    records = [record(number, patient=patient) for number, patient in enumerate(["p", "p", "q", "q", "", "", "r"])]
    assert group_linked(records, [50, 40, 40, 30, 20, 20, 10]) == [30, 30, 30, 30, 20, 20, 10]


def test_the_same_patient_id_in_two_sources_is_two_patients() -> None:
    one, other = record(0, patient="1"), replace(record(1, patient="1"), source="other")
    assert group_linked([one, other], [1, 2]) == [1, 2]


def test_official_splits_are_kept() -> None:
    records = [record(number, split=SPLITS[number % 3]) for number in range(90)]
    assert assign_splits(records, list(range(90)), seed=0) == [r.split for r in records]
    assert split_rule(records) == "official"


def test_what_is_tested_on_is_not_trained_on_and_takes_nobody_along() -> None:
    """Of the same bytes in two official splits the later one keeps them; the patient's others stay where they are."""
    records = [
        record(0, patient="p", split=TRAIN_VAL), record(1, patient="p", split=TRAIN_VAL), record(2, split="test"),
        record(3, patient="q", split="train"), record(4, split="val"), record(5, patient="q", split="train"),
        record(6, patient="r"), record(7, patient="r"),
    ]  # fmt: skip
    hashes = [1, 7, 7, 8, 8, 9, 7, 10]
    kept, found, copies = without_copies(records, [(content, 100) for content in hashes])
    assert [(row["image"], row["reason"]) for row in copies] == [
        ("a/1.jpg", "the same bytes are in the official test split"),
        ("a/3.jpg", "the same bytes are in the official val split"),
    ]
    assert [content for content, _ in found] == [1, 7, 8, 9, 7, 10]
    splits = assign_splits(kept, group_linked(kept, [content for content, _ in found]), seed=0)
    assert splits[0] in ("train", "val")
    assert splits[1:] == ["test", "val", "train", "test", "test"], "what has no official split follows its copy"


def test_images_without_an_official_split_follow_their_patient() -> None:
    told = [record(number, patient=f"p{number}", split="test") for number in range(10)]
    follow = [record(number + 100, patient=f"p{number}") for number in range(10)]
    free = [record(number + 200, patient=f"q{number}") for number in range(100)]
    records = told + follow + free
    splits = assign_splits(records, group_linked(records, list(range(len(records)))), seed=0)
    assert set(splits[:20]) == {"test"}
    assert np.allclose(shares(splits[20:]), [0.8, 0.1, 0.1], atol=0.01)
    assert split_rule(records).startswith("official where there is one, else 80/10/10")
    assert split_rule(free).startswith("80/10/10")


def test_a_split_by_another_name_is_refused_not_dropped() -> None:
    with pytest.raises(ValueError, match="valid"):
        assign_splits([record(0, split="valid")], [0], seed=0)


# ---- keys and places ------------------------------------------------------------------------------------------------


def test_keys_fit_a_tar_and_say_nothing() -> None:
    strange = replace(record(0), image="1.2.840.113619/" * 30 + "x.y.dcm.png", patient="DOE^JANE", study="1.2.3")
    keys = [sample_key(r) for r in (strange, *(record(number) for number in range(1000)))]
    assert len(set(keys)) == 1001
    assert all(key.startswith("demo-") and "." not in key and len(key) <= 100 for key in keys)
    assert "DOE" not in keys[0] and "840" not in keys[0]


def test_golden_key() -> None:
    """The name of a sample in every packed dataset; never change it."""
    assert sample_key(replace(record(7), patient="p", study="s")) == "demo-cdd0e0516b0ff29b"


@pytest.fixture
def drawn(tmp_path: Path) -> list[Record]:
    records = []
    for number in range(100):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(b"\xff\xd8\xff" + bytes([number]) * (4997 + number))
        records.append(replace(record(number, "ab"[number % 2]), path=path))
    return records


def planned(records: list[Record], options: PackOptions, folder: Path) -> Plan:
    shuffled = chosen(records, options)
    return make_plan(shuffled, known(shuffled, folder / "contents", 2), ("a", "b", "c"), options)


def test_a_plan_holds_each_record_once_in_shards_of_the_size_asked(drawn: list[Record], tmp_path: Path) -> None:
    plan = planned(drawn, PackOptions(shard_mb=0.1), tmp_path)
    assert sorted(sample.image for samples in plan.values() for sample in samples) == sorted(r.image for r in drawn)
    assert list(plan) == [f"train-{i:06d}.tar" for i in range(6)] + ["val-000000.tar", "test-000000.tar"]
    assert all(sum(sample.size for sample in samples) <= 100_000 for samples in plan.values())
    one = plan["train-000000.tar"][0]
    original = next(r for r in drawn if r.image == one.image)
    assert one.size == original.path.stat().st_size and one.labels == tuple(original.labels.values())


def test_a_plan_does_not_depend_on_the_order_of_records_or_the_place_of_files(
    drawn: list[Record], tmp_path: Path
) -> None:
    def plan(records: list[Record]) -> dict[str, list[PlannedSample]]:
        made = planned(records, PackOptions(), tmp_path)
        return {name: [replace(sample, path="") for sample in samples] for name, samples in made.items()}

    drawn[3].path.unlink()  # unreadable: counts by its name in the dataset
    before = plan(drawn)
    (tmp_path / "moved").mkdir()
    moved = [replace(r, path=tmp_path / "moved" / r.path.name) for r in drawn]
    for old, new in zip(drawn, moved, strict=True):
        if old.path.exists():
            old.path.rename(new.path)
    assert plan(moved[::-1]) == before


def test_max_samples_is_a_random_part_the_same_each_time(drawn: list[Record], tmp_path: Path) -> None:
    def images(count: int, seed: int = 42) -> list[str]:
        plan = planned(drawn, PackOptions(max_samples=count, seed=seed), tmp_path)
        return [sample.image for samples in plan.values() for sample in samples]

    assert len(images(30)) == 30 and set(images(30)) < set(images(60))
    assert set(images(30)) != set(images(30, seed=1))
    assert len(images(1000)) == 100


def test_shares_of_a_source_of_its_own() -> None:
    shares_wanted = (0.7, 0.15, 0.15)
    records = [record(i) for i in range(1000)]
    splits = assign_splits(records, list(range(1000)), 0, shares_wanted)
    assert np.allclose(shares(splits), shares_wanted, atol=0.005)
    ending = "stratified by label"
    unknown = f"70/15/15 grouped by duplicate files, as patients are unknown, {ending}"
    assert split_rule(records, shares_wanted) == unknown
    known = [*records, record(1000, patient="P1")]
    assert split_rule(known, shares_wanted) == f"70/15/15 grouped by patient and by duplicate files, {ending}"
    half = [record(i, split="train+val") for i in range(1000)]
    assert assign_splits(half, list(range(1000)), 0, shares_wanted).count("val") == round(1000 * 0.15 / 0.85)
    assert split_rule(half, shares_wanted).startswith("official, its train+val cut 14 to 3; without one 70/15/15")
    assert PackOptions(fractions=shares_wanted).described()["fractions"] == shares_wanted
    assert "fractions" not in PackOptions().described(), "what was packed before has none"
