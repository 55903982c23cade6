"""The report of a packed dataset as a page: its counts are those of the records, and what it must not tell."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from own_images import draw
from page_checks import Page, checked

from medtrain.cli.commands import report as commands
from medtrain.cli.commands.shards import shard
from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.datasets.sources import chest_demo
from medtrain.reporting.html_report.dataset_facts import _age, gather_dataset
from medtrain.reporting.html_report.dataset_page import masked, masked_classes, write_dataset_page
from medtrain.shards.index import open_index
from medtrain.shards.pack import PackOptions, pack
from medtrain.shards.packed_dataset import PackedDataset

ROW = re.compile(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>')


def told(record: Record, number: int) -> Record:
    """With a view, and of an age at which people are known."""
    view = "AP" if int(record.patient) % 3 else "PA"
    return replace(record, meta={**record.meta, "view": view, **({"age": 97} if number % 9 == 0 else {})})


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 drawn chest X-rays, of which one is damaged."""
    folder = tmp_path_factory.mktemp("packed")
    chest_demo.download(folder / "raw", samples=150)
    records = [told(record, number) for number, record in enumerate(chest_demo.records(folder / "raw"))]
    records[4].path.write_bytes(records[4].path.read_bytes()[:300])
    pack(records, chest_demo.CLASSES, folder / "shards", PackOptions(), 1, max_rejects=1)
    return folder / "shards"


def rows(text: str, caption: str) -> dict[str, list[str]]:
    """A table of a page: first cell -> the words of the others."""
    table = text.partition(f"<caption>{caption}")[2].partition("</table>")[0]
    return {name: [Page(f"<p>{one}</p>").text for one in re.findall(r"<td[^>]*>(.*?)</td>", cells)]
            for name, cells in ROW.findall(table)}  # fmt: skip


def test_every_count_is_that_of_the_shards(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.report(str(shards), small_cells=True)
    assert capsys.readouterr().out == f"report: {shards / 'report.html'}\n"
    page, text, packed = (
        checked(shards / "report.html"),
        (shards / "report.html").read_text(),
        PackedDataset.open(shards),
    )
    labels, splits = rows(text, "Images by label and split"), list(packed.splits)
    for name in packed.classes:
        counts = [packed.splits[split]["counts"][name] for split in splits]
        assert labels[name] == [str(own[state]) for own in counts for state in ("positive", "negative", "unknown")]
    overview = rows(text, "Splits")
    for split in splits:
        index = open_index(shards, split)
        people, studies = (len(set(index.samples[name].tolist())) for name in ("group", "study"))
        assert overview[split][:4] == [str(len(index)), str(people), str(studies), "1"]
    facts, views = gather_dataset(shards), rows(text, "Images by view and split")
    for i, split in enumerate(splits):
        assert sum(int(cells[i]) for cells in views.values()) == packed.splits[split]["samples"]
        assert {name: int(cells[i]) for name, cells in views.items() if int(cells[i])} == facts.by["view"][split]
    ages = Counter(group for counts in facts.by["age"].values() for group in Counter(counts).elements())
    assert ages["90+"] >= 150 // 9 and sum(ages.values()) == packed.samples == 149
    assert "97" not in rows(text, "Images by age") and "90+" in rows(text, "Images by age")
    left = rows(text, "Rejected and left out")
    assert list(left.values()) == [["1"]] and "chest_demo" in page.text
    shown = re.findall(r"<code>([0-9a-f]{64})</code>", text)
    assert {shard.sha256 for split in splits for shard in packed.shards(split)} <= set(shown)


def test_small_cells_are_hidden_and_nothing_names_a_sample(shards: Path) -> None:
    text = write_dataset_page(shards).read_text()
    for caption in ("Images by label and split", "Images by sex", "Images by age", "Images by view"):
        for cells in rows(text, caption).values():
            assert not [cell for cell in cells if cell.isdigit() and 0 < int(cell) < 10], caption
    assert "&lt;10" in text and "≥10" in text
    keys = {
        key.decode() for split in PackedDataset.open(shards).splits for key in open_index(shards, split).samples["key"]
    }
    rejected = [json.loads(line)["image"] for line in (shards / "rejects.jsonl").read_text().splitlines()]
    assert not [one for one in (*keys, *rejected, str(shards.parent)) if one in text]
    for said in re.findall(r'aria-label="([^"]+, images: [^"]+)"', text):
        assert not [many for many in re.findall(r" (\d+)(?:;|$)", said) if 0 < int(many) < 10], said


def test_what_is_told_of_small_counts() -> None:
    assert masked([40, 3, 200, 0], False) == ["≥10", "<10", 200, 0]
    assert masked([40, 3, 2], False) == [40, "<10", "<10"]
    assert masked([40, 3, 2], True) == [40, 3, 2] and masked([40, 10, 0], False) == [40, 10, 0]
    assert [_age(one) for one in (0.5, 89.9, 90, 104, None)] == ["00 to 09", "80 to 89", "90+", "90+", "unknown"]


def test_no_class_follows_from_the_others() -> None:
    def shown(*present: int, unknown: int = 0, small_cells: bool = False) -> list[list[object]]:
        known = sum(present)
        counts = {str(i): [own, known - own, unknown] for i, own in enumerate(present)}
        return list(masked_classes(counts, known + unknown, small_cells).values())

    assert shown(12, 14, 4) == [["not shown", "≥10", 0], [14, 16, 0], ["<10", "≥10", 0]]
    assert shown(12, 14, 4, small_cells=True) == [[12, 18, 0], [14, 16, 0], [4, 26, 0]]
    assert shown(12, 14, 20) == [[12, 34, 0], [14, 32, 0], [20, 26, 0]]
    assert shown(40, 4) == [["≥10", "<10", 0], ["<10", "≥10", 0]]
    assert shown(40, 3, 4) == [["≥10", "<10", 0], ["<10", "≥10", 0], ["<10", "≥10", 0]], "absent of the first is few"
    assert shown(30, 20, unknown=5) == [[30, "≥10", "<10"], ["≥10", "≥10", "<10"]]
    assert shown(30, 25, 4, unknown=20) == [[30, "≥10", "≥10"], [25, "≥10", "≥10"], ["<10", "≥10", "≥10"]]


def test_a_packed_dataset_of_classes(tmp_path: Path) -> None:
    for kind, each in (("a", 12), ("b", 14), ("c", 4)):
        for place, split in enumerate(("train", "val", "test")):
            for number in range(each):
                draw(tmp_path / "raw" / split / kind / f"{number}.jpg", 10_000 * place + 100 * ord(kind) + number)
    shard("folder", tmp_path / "raw", tmp_path / "shards", workers=1)
    cells = rows(write_dataset_page(tmp_path / "shards").read_text(), "Images by label and split")
    assert cells["a"][:3] == ["not shown", "≥10", "0"] and cells["b"][:3] == ["14", "16", "0"]
    assert cells["c"][:3] == ["<10", "≥10", "0"]


def test_what_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--markdown is for one run"):
        commands.report(str(shards), markdown=True)
    (tmp_path / "precious.html").write_text("<html>a thesis</html>")
    with pytest.raises(InputError, match="is no report of medtrain"):
        commands.report(str(shards), out=tmp_path / "precious.html")
    shutil.copytree(shards, tmp_path / "torn")
    tar = next((tmp_path / "torn").glob("train-*.tar"))
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(InputError, match="truncated or overwritten"):
        commands.report(str(tmp_path / "torn"))
    assert not (tmp_path / "torn" / "report.html").exists() or "torn" not in (tmp_path / "torn/report.html").read_text()
