"""The report of a run as one file: its numbers, what it must not tell, and that it needs nothing else."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_checks import Page, checked
from written_run import NAMES, SECRETS, written

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.reporting.html_report.groups_section import Row, private
from medtrain.reporting.html_report.markup import flat_numbers, number
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.runs.environment_record import DIFFERS
from medtrain.runs.run import Run

TASKS = tuple(NAMES)
DATA = re.compile(r'<data value="([^"]+)"(?: title="([^"]+)")?>([^<]+)</data>')


def part(text: str, name: str) -> str:
    """The HTML of a section."""
    return text.partition(f'<section id="{name}"')[2].partition("</section>")[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each task, with its page."""
    folder = tmp_path_factory.mktemp("runs")
    for task in TASKS:
        write_report_page(written(folder, task, task, groups=(60, 30)), small_cells=True)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_a_page_of_each_task(runs: Path, task: str) -> None:
    page = checked(runs / task / "report.html")
    assert task in page.text and "Reporting checklists" in page.text
    assert len((runs / task / "report.html").read_bytes()) < 5e6
    assert stat.S_IMODE((runs / task / "report.html").stat().st_mode) == 0o600


@pytest.mark.parametrize("task", TASKS)
def test_every_number_is_that_of_the_report(runs: Path, task: str) -> None:
    text, report = (runs / task / "report.html").read_text(), read_json(runs / task / "evaluation" / "test.json")
    numbers = dict(flat_numbers({key: value for key, value in report.items() if key != "subgroups"}))
    assert len(numbers) > 10
    exact = dict(re.findall(r'<th scope="row">([^<]+)</th><td class="word"><code>([^<]+)</code>', part(text, "labels")))
    assert {name: json.loads(value) for name, value in exact.items()} == {
        html.escape(name): value for name, value in numbers.items()
    }
    table = (runs / task / "evaluation" / "test.csv").read_text().splitlines()[1:]
    people = len({line.split(",")[2] for line in table})
    known = {repr(value) for value in (*numbers.values(), people) if value is not None}
    epochs = {repr(row["val_" + monitor]) for row in written_rows(runs / task) for monitor in [monitor_of(runs / task)]}
    shown = DATA.findall(part(text, "headline")) + DATA.findall(part(text, "labels").partition("</table>")[0])
    assert len(shown) > 8
    for value, title, words in shown:
        assert value in known | epochs, f"{value} is not in test.json"
        if title:
            assert title == value and words == (f"{float(value):.3f}" if abs(float(value)) >= 5e-4 else words)


def written_rows(run: Path) -> list[dict[str, Any]]:
    return [row for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if row["kind"] == "epoch"]


def monitor_of(run: Path) -> str:
    return str(re.findall(r"^monitor: (\w+)", (run / "config.yaml").read_text(), re.MULTILINE)[0])


@pytest.mark.parametrize("task", TASKS)
def test_nothing_of_single_images_patients_or_places(runs: Path, task: str) -> None:
    for file in ("report.html", "model_card.md"):
        write_report_page(Run(runs / task), small_cells=True, markdown=file.endswith("md"))
        text = (runs / task / file).read_text()
        table = (runs / task / "evaluation" / "test.csv").read_text().splitlines()[1:]
        ids = {cell for line in table for cell in line.split(",")[:3]}
        assert not [one for one in ids if re.search(rf"\b{re.escape(one)}\b", text)]
        assert not [secret for secret in (*SECRETS, str(runs), "/root", "/home") if secret in text]


@pytest.mark.parametrize("task", TASKS)
def test_the_same_run_gives_the_same_bytes(runs: Path, task: str) -> None:
    before = (runs / task / "report.html").read_bytes()
    write_report_page(Run(runs / task), small_cells=True)
    assert (runs / task / "report.html").read_bytes() == before


def test_groups_of_few_are_not_shown_and_cannot_be_computed(tmp_path: Path) -> None:
    run = written(tmp_path, "multilabel", groups=(83, 7))
    path = write_report_page(run)
    groups = part(path.read_text(), "groups")
    assert "&lt;10" in groups and "≥10" in groups and "fewer than 10" in groups
    small = run_report(run)["subgroups"]["sex"]["M"]
    assert not re.search(r"\b(7|83)\b", Page(groups).text) and repr(small["macro_auroc"]) not in path.read_text()
    shown = part(write_report_page(run, small_cells=True).read_text(), "groups")
    assert {"7", "83"} <= {words for _, _, words in DATA.findall(shown)} and repr(small["macro_auroc"]) in shown
    assert "80 and more" in groups and "0 to 17" in groups


def test_gaps_to_the_rest_and_reports_without_them(tmp_path: Path) -> None:
    run = written(tmp_path, "multilabel", groups=(60, 30))
    text = part(write_report_page(run).read_text(), "groups")
    females = run_report(run)["subgroups"]["sex"]["F"]
    gap = females["gap"]
    for value in (gap["difference"], *gap["difference_interval"]):
        assert f'title="{value!r}"' in text
    assert f"{females['patients']}" in {words for _, _, words in DATA.findall(text)}
    assert "gap to the rest" in text and text.count('aria-label="Sex, gap to the rest in mean AUROC: F ') == 1
    older = run_report(run)
    for groups in older["subgroups"].values():
        for group in groups.values():
            del group["gap"], group["patients"]
    write_json(run.report, older)
    text = part(checked_text(write_report_page(run)), "groups")
    assert "difference to all" in text and "gap to the rest" not in text


def checked_text(path: Path) -> str:
    checked(path)
    return path.read_text()


def run_report(run: Run) -> dict[str, Any]:
    return read_json(run.report)


def test_what_is_told_of_small_groups() -> None:
    rows = [Row("a", 200, 0.9, None), Row("b", 40, 0.8, None), Row("c", 9, 0.7, None)]
    assert [(row.count, row.value) for row in private(rows, False)] == [(200, 0.9), ("≥10", 0.8), ("<10", None)]
    tight = [Row("a", 10, 0.9, None), Row("b", 1, 0.8, None)]
    assert [row.count for row in private(tight, False)] == ["not shown", "<10"], "of 11, ten or more would leave 1"
    two = [*rows, Row("d", 3, 0.1, None)]
    assert [row.count for row in private(two, False)] == [200, 40, "<10", "<10"]
    few_people = Row("e", 300, 0.9, None, patients=9, gap=0.1), Row("f", 500, 0.8, None, patients=80, gap=-0.1)
    told = [(row.count, row.patients, row.value, row.gap) for row in private([*few_people], False)]
    assert told == [("≥10", "<10", None, None), ("≥10", "≥10", 0.8, None)]
    assert private(rows, True) == rows and private(rows[:2], False) == rows[:2]


def test_names_are_words_and_no_markup(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", "A & B", "$x$", 'quo"ted | name')
    run = written(tmp_path, "multilabel", names=names)
    path = write_report_page(run)
    page, card = checked(path), write_report_page(run, markdown=True).read_text()
    assert len(page.all("script")) == 1 and "&amp;amp;" not in path.read_text()
    for name in names:
        assert name in page.text
    assert "<script>" not in card and "\\|" in card


def test_counts_at_thresholds_are_those_of_the_report(runs: Path) -> None:
    report, text = (
        run_report(Run(runs / "multilabel")),
        part((runs / "multilabel" / "report.html").read_text(), "confusion"),
    )
    lines = re.findall(r'<th scope="row">(\w+)</th>(.*?)</tr>', text)
    assert [name for name, _ in lines] == list(NAMES["multilabel"])
    for name, line in lines:
        row = report["per_class"][name]
        hits, false, missed, rest = (int(value) for value, title, _ in DATA.findall(line) if not title)
        assert hits + missed == row["positives"] and hits + false + missed + rest == row["known"]
        assert hits / (hits + false) == pytest.approx(row["precision"])
        assert hits / (hits + missed) == pytest.approx(row["recall"])


def test_the_reliability_of_bins_adds_up_to_the_calibration_error(runs: Path) -> None:
    for task, key in (("multiclass", "ece"), ("multilabel", "micro_ece")):
        text = part((runs / task / "report.html").read_text(), "calibration")
        first = text.partition("<caption>Reliability: ")[2].partition("</table>")[0]
        rows = [[float(value) for value, *_ in DATA.findall(line)] for line in first.split("<tr>")[2:]]
        predicted, share, count = np.array(rows).T
        error = np.abs((predicted - share) * count).sum() / count.sum()
        assert error == pytest.approx(run_report(Run(runs / task))[key])
    assert "at the temperature" in part((runs / "multilabel" / "report.html").read_text(), "calibration")


def test_what_does_not_apply_is_left_out_in_words(runs: Path) -> None:
    text = Page((runs / "score" / "report.html").read_text()).text
    assert "Calibration is of probabilities" in text and "No operating points" in text
    assert "Predicted against given scores" in text and "ROC curves" not in text
    assert "No temperature is fitted" in Page((runs / "abnormality" / "report.html").read_text()).text


def test_undefined_numbers_are_named_and_not_drawn(tmp_path: Path) -> None:
    def forget(report: dict[str, Any]) -> None:
        report["per_class"]["Hernia"] |= {"auroc": None, "auroc_interval": [None, None], "learned": False}

    page = checked(write_report_page(written(tmp_path, "multilabel", change=forget)))
    assert "Not in the figure, because AUROC is undefined (all samples alike, or none): Hernia." in page.text
    assert "No training image shows Hernia" in page.text
    assert not [own for own in page.all("svg") if "of Hernia" in str(own["aria-label"])]
    assert math.isnan(float("nan")) and "undefined" in number(math.nan)


def test_many_classes_stay_readable(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(70))
    path = write_report_page(written(tmp_path, "multiclass", count=700, names=names))
    page = checked(path)
    assert path.stat().st_size < 5e6 and "The matrix of 70 classes is in test.json" in page.text
    assert "The first 48 of 70 are drawn." in page.text
    first = part(path.read_text(), "confusion").partition("<tbody>")[2].partition("</tr>")[0]
    name, predicted = re.findall(r"class (\d+)", first)
    count, support = (int(value) for value, *_ in DATA.findall(first))
    matrix = np.array(run_report(Run(tmp_path / "one"))["confusion"])
    assert (matrix[int(name), int(predicted)], matrix[int(name)].sum()) == (count, support)
    np.fill_diagonal(matrix, 0)
    assert count == matrix.max()


def test_a_report_of_another_version_is_named(tmp_path: Path) -> None:
    run = written(tmp_path, "multiclass", change=lambda report: report.pop("samples"))
    with pytest.raises(InputError, match=r"test.json: is no report of a split .*samples") as raised:
        write_report_page(run)
    assert "medtrain evaluate one" in raised.value.fix and not run.page.exists()


def test_a_run_without_a_test_split_says_so(tmp_path: Path) -> None:
    page = checked(write_report_page(written(tmp_path, "multiclass", split="val")))
    assert "there is no test split: it chose the weights too" in page.text


def test_the_life_of_the_run(runs: Path) -> None:
    text = Page(part((runs / "multiclass" / "report.html").read_text(), "life")).text
    assert "preempted" in text and "finished" in text and "2023-11-14 22:13" in text and "0 min 14 s" in text
    training = part((runs / "multiclass" / "report.html").read_text(), "curves")
    assert training.count(">best epoch 2<") == 3


def test_several_datasets_and_one_that_was_held_out(tmp_path: Path) -> None:
    def several(report: dict[str, Any]) -> None:
        report["per_dataset"] = {"nih": {**report}, "openi": {**report, "macro_auroc": 0.5}}

    run = written(tmp_path, "multilabel", change=several)
    write_json(run.evaluation / "external.json", {**run_report(run), "macro_auroc": 0.61, "samples": 77})
    text = Page(part(write_report_page(run).read_text(), "groups")).text
    assert "nih" in text and "openi" in text and "0.500" in text and "0.610" in text and "77" in text


def test_shards_and_scores_that_are_gone(tmp_path: Path) -> None:
    run = written(tmp_path, "multilabel")
    shutil.rmtree(tmp_path / "shards-one")
    run.report.with_suffix(".csv").unlink()
    run.journal.unlink()
    page = checked(write_report_page(run))
    assert "Its manifest is not there any more: shards-one" in page.text
    assert "The scores of single images (test.csv) are not there." in page.text
    assert "The journal (metrics.jsonl) has no epoch." in page.text


def test_the_model_card_has_the_same_numbers(runs: Path) -> None:
    card = write_report_page(Run(runs / "multilabel"), markdown=True).read_text()
    report = run_report(Run(runs / "multilabel"))
    low, high = report["macro_auroc_interval"]
    assert f"| mean AUROC | {report['macro_auroc']:.4f} | {low:.4f} to {high:.4f} |" in card
    assert card.count("To be written by the authors") == 2 and "0123456789abcdef" in card
    for name, row in report["per_class"].items():
        assert f"| {name} | {row['known']} | {row['positives']} | {row['auroc']:.4f} |" in card


def test_a_cause_tells_no_path(tmp_path: Path) -> None:
    run = written(tmp_path, "score")
    lines = run.attempts.read_text().replace(
        '"cause": "preempted"', '"cause": "crashed: /home/somebody/raw/x.png is gone"'
    )
    run.attempts.write_text(lines)
    text = write_report_page(run).read_text()
    assert "crashed: …/x.png is gone" in text and "somebody" not in text


def test_a_run_whose_device_may_change_names_those_that_it_had(tmp_path: Path) -> None:
    moldable = {"nodes": "1-2", "cpus_per_task": 1, "allow_device_change": True}
    run = written(tmp_path, "multiclass", slurm=moldable, determinism="exact")
    told = "other devices (allow_device_change)</dt><dd>"
    assert f"{told}none<" in part(checked_text(write_report_page(run)), "provenance")
    run.log.write_text(f"warning: {DIFFERS} (device NVIDIA H100 80GB HBM3): last bits may differ too\n")
    assert f"{told}NVIDIA H100 80GB HBM3<" in part(checked_text(write_report_page(run)), "provenance")
    run = written(tmp_path, "multiclass", name="other")
    assert "allow_device_change" not in write_report_page(run).read_text()
