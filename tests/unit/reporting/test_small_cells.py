"""reporting.small_cells: from what pages tell of counts, no count of few people follows."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path
from typing import Any

import pytest
from written_run import written

from medtrain.core.jsonfiles import read_json, write_json
from medtrain.reporting.html_report.markup import escaped
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.reporting.small_cells import ABOVE, BELOW, FEW, HIDDEN, counted, label_counts, masked, masked_classes
from medtrain.shards.packed_dataset import CHECKSUM, MANIFEST, manifest_checksum

COUNTS = (0, 1, 2, 3, 5, 9, 10, 11, 12, 15, 20, 40)
CELL = re.compile(r"<t[dh][^>]*>(?:<data[^>]*>)?([^<]*)")


def could_be(word: object, total: int) -> range:
    """The values that a reader can think of for what is shown."""
    if isinstance(word, int):
        return range(word, word + 1)
    return {BELOW: range(FEW), ABOVE: range(FEW, total + 1), HIDDEN: range(total + 1)}[str(word)]


def solutions(told: list[object], total: int) -> list[tuple[int, ...]]:
    """Every row of counts that looks like that and adds up to the sum, without a small one of 0 where it is told."""
    *first, last = told
    found = []
    for own in itertools.product(*(could_be(word, total) for word in first)):
        if (rest := total - sum(own)) in could_be(last, total):
            found.append((*own, rest))
    return found


def test_no_small_count_follows_from_the_others_and_their_sum() -> None:
    rng, hidden = random.Random(0), 0
    for _ in range(300):
        counts = [rng.choice(COUNTS) for _ in range(rng.choice((2, 3)))]
        told = masked(counts, False)
        assert all(not isinstance(one, int) or one == 0 or one >= FEW for one in told)
        for i, one in enumerate(told):
            if one == BELOW and counts[i] and max(counts) >= FEW:
                hidden += 1
                assert len({own[i] for own in solutions(told, sum(counts))}) >= 3, (counts, told)
    assert hidden > 100
    assert masked([1, 10], False) == [BELOW, HIDDEN], "of 11, ten or more would leave 1"
    assert masked([9, 9, 30], False) == [BELOW, BELOW, ABOVE], "of 18 both would be 9"
    assert masked([0, 9, 0], False) == [0, BELOW, 0], "all of nine, which is told"
    assert masked([1, 1, 0], False) == [BELOW] * 3 and masked([1, 10], True) == [1, 10]


def test_no_small_class_follows_from_the_table_of_all() -> None:
    rng = random.Random(1)
    for _ in range(60):
        present, unknown = [rng.choice(COUNTS[:9]) for _ in range(2)], rng.choice((0, 0, 3, 12))
        known = sum(present)
        counts = {str(i): [own, known - own, unknown] for i, own in enumerate(present)}
        told = list(masked_classes(counts, known + unknown, False).values())
        of = known + unknown
        for i, own in enumerate(told):
            if own[0] != BELOW or not present[i] or of < FEW:
                continue
            values = {
                both[i] for both in itertools.product(range(of + 1), repeat=2)
                if (rest := of - sum(both)) >= 0 and all(
                    one in could_be(word, of)
                    for j, row in enumerate(told)
                    for one, word in zip((both[j], sum(both) - both[j], rest), row, strict=True)
                )
            }  # fmt: skip
            assert len(values) >= 2, (present, unknown, told)


def cells(text: str, caption: str) -> set[str]:
    """What stands in the cells of the table of a page with that caption."""
    table = text.partition(f"<caption>{escaped(caption)}")[2].partition("<tbody>")[2].partition("</table>")[0]
    assert table, caption
    return set(CELL.findall(table))


CAPTIONS = {
    "multiclass": ("shards-one: images of each class by split", "Positives and negatives"),
    "multilabel": ("shards-one: images by split and label", "Positives and negatives"),
    "abnormality": ("shards-one: images by split and study type", "Positives and negatives"),
}


def few(run: Any) -> None:
    """Of the first label only three samples are positive, of those that are packed and of those that are scored."""
    path = run.folder.parent / "shards-one" / MANIFEST
    manifest = read_json(path)
    first = next(iter(manifest["splits"]["test"]["counts"].values()))
    first |= {"positive": 3, "negative": 24, "unknown": 13}
    manifest.pop(CHECKSUM)
    write_json(path, {**manifest, CHECKSUM: manifest_checksum(manifest)})


@pytest.mark.parametrize("task", CAPTIONS)
def test_the_page_of_a_run_hides_counts_of_few_unless_they_are_requested(tmp_path: Path, task: str) -> None:
    run = written(tmp_path, task, count=24)
    few(run)
    whole = label_counts(read_json(run.report), True)
    small = {str(many) for own in whole.values() for many in own.values() if isinstance(many, int) and 0 < many < FEW}
    text = write_report_page(run).read_text()
    for caption in CAPTIONS[task]:
        shown = cells(text, caption)
        assert not [one for one in shown if one.isdigit() and 0 < int(one) < FEW], caption
        assert escaped(BELOW) in shown, caption
    assert "Results and curves of so few can still tell how many they are." in text
    assert "--small_cells" in text and not re.findall(r"band; \d positives", text)
    listed = dict(re.findall(r'<th scope="row">(per_class[^<]+)</th><td class="word"><code>([^<]+)</code>', text))
    assert not [
        name for name, one in listed.items() if name.endswith(("support", "positives", "abnormal")) and one in small
    ]
    if task == "multiclass":
        assert {own["support"] for own in label_counts(read_json(run.report), False).values()} & {BELOW, HIDDEN}
        matrix = text.partition("<caption>Confusion matrix")[2].partition("</table>")[0]
        for line in re.findall(r"<tr><th.*?</tr>", matrix.partition("<tbody>")[2]):
            assert "<data" not in line or int(re.findall(r"<data[^>]*>(\d+)</data></td></tr>", line)[0]) >= FEW
    card = write_report_page(run, markdown=True).read_text()
    assert "\\<10" in card
    page = write_report_page(run, small_cells=True).read_text()
    assert "not shown" not in page and "&lt;10" not in page and small
    assert "3" in cells(page, CAPTIONS[task][0])


def test_a_report_of_many_is_as_it_was() -> None:
    report = {"samples": 90, "per_class": {"a": {"support": 40}, "b": {"support": 50}}, "confusion": [[40, 0], [1, 49]]}
    assert counted(report, False) == report == counted(report, True)
    other = {**report, "samples": 53, "per_class": {"a": {"support": 3, "auroc": 1.0}, "b": {"support": 50}}}
    told = counted({**other, "per_dataset": {"x": other}}, False)
    for own in (told, told["per_dataset"]["x"]):
        assert own["per_class"] == {"a": {"support": BELOW, "auroc": 1.0}, "b": {"support": ABOVE}}
        assert own["confusion"] == [HIDDEN, HIDDEN]
