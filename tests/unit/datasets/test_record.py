"""Records chosen by what their image shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import medtrain

from medtrain.core.errors import InputError
from medtrain.datasets.record import Record, with_validation, with_views, years
from medtrain.datasets.sources import chest_demo, nih

VIEWS = ("PA", "AP", "frontal", "lateral", "other", "")


def shown(views: Any) -> list[str]:
    records = [Record("chest", str(i), Path(str(i)), {}, meta={"view": view}) for i, view in enumerate(VIEWS)]
    return [record.meta["view"] for record in with_views(records, views)]


def test_views() -> None:
    assert shown(()) == list(VIEWS)
    assert shown(("frontal",)) == ["PA", "AP", "frontal"]
    assert shown(("PA", "unknown")) == ["PA", ""]
    assert shown(("lateral",)) == ["lateral"]
    with pytest.raises(InputError, match="no image shows a view of AP") as error:
        with_views([Record("chest", "1", Path("1"), {}, meta={"view": "PA"})], ("AP",))
    assert error.value.fix == "there is PA"
    with pytest.raises(InputError, match="no image shows a view of frontal"):  # a dataset without views
        with_views([Record("bones", "1", Path("1"), {})], ("frontal",))


def test_years() -> None:
    texts = ("58", "58.0", "058Y", "011M", "030M", "003D", "095Y", "0")
    assert [years(text) for text in texts] == [58, 58, 58, 0, 2, 0, 90, 0]
    assert {years(text) for text in ("", "411Y", "-1", "nan", "Unknown", "5x")} == {None}


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "train"), ("", "")),  # nobody has split it
        (("train", "test"), ("train+val", "test")),
        (("train", "val"), ("train", "val")),
        (("train", "train+val"), ("train", "train+val")),
        (("train", ""), ("train", "")),
    ],
)
def test_splits_without_a_validation(splits: tuple[str, ...], expected: tuple[str, ...]) -> None:
    records = [Record("a", str(i), Path("1"), {}, split=split) for i, split in enumerate(splits)]
    other = Record("b", "1", Path("1"), {}, split="val")
    assert [record.split for record in with_validation([*records, other])] == [*expected, "val"]


def test_the_commands_take_the_same_images(tmp_path: Path) -> None:
    chest_demo.download(tmp_path / "nih", samples=40)
    table = tmp_path / "nih" / nih.TABLES[0]
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *(row.replace(",PA,", ",AP,") if i % 3 else row for i, row in enumerate(rows))]))
    whole = nih.records(tmp_path / "nih")
    lying = [record for record in whole if record.meta["view"] == "AP"]
    assert 0 < len(lying) < len(whole)
    only = ("--views", "AP", "--json")
    checked = json.loads(medtrain("check", "nih", "--root", tmp_path / "nih", *only).stdout)
    written = medtrain("data", "metadata", "--root", tmp_path, "--out", tmp_path / "table.csv", *only)
    packed = medtrain("shard", "nih", "--root", tmp_path / "nih", "--out", tmp_path / "shards", *only)
    manifest = json.loads(packed.stdout)
    counted = sum(entry["samples"] for entry in manifest["splits"].values())
    assert (checked["records"], json.loads(written.stdout)["records"], counted) == (
        len(lying),
        {"nih": len(lying)},
        len(lying),
    )
    assert manifest["options"]["views"] == ["AP"]
