"""The page of `medtrain compare --out`: whole by itself, and its numbers are those of the JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from compared_runs import compared
from page_checks import Page, checked
from written_run import NAMES, SECRETS

from medtrain.config import configfile
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.metrics import paired_bootstrap
from medtrain.reporting.html_comparison.comparison_page import render, write_comparison_page
from medtrain.reporting.html_comparison.overlay_charts import look
from medtrain.reporting.html_report.page_frame import COMPARISON, ensure_writable
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.reporting.run_comparison import compare_runs


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn does not depend on the rounds."""
    monkeypatch.setattr(paired_bootstrap, "ROUNDS", 60)


def written(tmp_path: Path, task: str, margin: float = 0.1, **others: Any) -> tuple[Page, dict[str, Any]]:
    """The page of two runs of a task, and what it is of."""
    own = compare_runs(compared(tmp_path, task, **others), margin=margin)
    write_comparison_page(own, tmp_path / "page.html")
    return checked(tmp_path / "page.html"), own.found


def numbers(value: Any) -> set[str]:
    """Every number in it that is no whole one, to the last digit."""
    if isinstance(value, dict):
        return {one for own in value.values() for one in numbers(own)}
    if isinstance(value, list):
        return {one for own in value for one in numbers(own)}
    return {repr(value)} if isinstance(value, float) else set()


@pytest.mark.parametrize("task", NAMES)
def test_every_number_of_the_json_is_on_the_page_to_the_last_digit(tmp_path: Path, task: str) -> None:
    page, found = written(tmp_path, task)
    shown = {own.get("value") for own in page.all("data")}
    assert numbers(found["comparisons"]) <= shown
    titles = [own.get("aria-label") or "" for own in page.all("svg")]
    for words in ("Numbers of the task, two less one", "Loss by epoch: one"):
        assert any(title.startswith(words) for title in titles), words
    curves = sum(title.startswith("ROC curves of") for title in titles)
    assert curves == {"score": 0, "abnormality": 3}.get(task, len(NAMES[task]))
    assert ("Reliability diagram of one and two" in " ".join(titles)) == (task != "score")


def test_what_it_says(tmp_path: Path) -> None:
    page, found = written(tmp_path, "multilabel")
    for words in (
        "two against one", "optim.lr", "0.001", "0.002", "All runs were trained on the same data.",
        f"{found['samples']} images of {found['patients']} patients", "within 0.1", "p by Holm", "finished",
        "Obuchowski, 1997", "Obuchowski, 1998", "fewer than 50",
    ):  # fmt: skip
        assert words in page.text, words
    text = (tmp_path / "page.html").read_text()
    assert not [secret for secret in SECRETS if secret in text], "no key of an image, no patient"
    assert str(tmp_path) not in text, "no path"
    assert render(compare_runs(compared(tmp_path / "again", "multilabel"), margin=0.1)) == text, "the same bytes"


def test_images_that_only_one_has_and_unlearned_labels_are_told(tmp_path: Path) -> None:
    runs = compared(tmp_path, "multilabel")
    table = runs[1].evaluation / "test.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-12]))
    report = runs[0].evaluation / "test.json"
    own = compare_runs(runs).found
    told = read_json(report)
    told["per_class"]["Hernia"]["learned"] = False
    write_json(report, told)
    found = compare_runs(runs)
    assert (own["common_images"], own["images"]) == (78, {"one": 90, "two": 78})
    write_comparison_page(found, tmp_path / "page.html")
    page = checked(tmp_path / "page.html")
    assert "Left out, as a run has not learned it: Hernia." in page.text
    assert " 12 " in page.text and "ROC curves of Hernia" not in (tmp_path / "page.html").read_text()


def test_several_runs_with_names_that_could_be_markup(tmp_path: Path) -> None:
    names = ("a<b>", "a&amp;c", "long" * 20, "d", "e")
    page, found = written(tmp_path, "multiclass", margin=0, names=names)
    assert len(found["comparisons"]) == 4 and "p by Holm" in page.text and "a<b>" in page.text
    assert len({look(place) for place in range(12)}) == 12, "of twelve runs no two look the same"


def test_other_settings_without_an_epoch_and_without_known_labels(tmp_path: Path) -> None:
    runs = compared(tmp_path, "multilabel")
    for run in runs:
        run.journal.unlink()
        run.checkpoints.joinpath("best").unlink()
        lines = (run.evaluation / "test.csv").read_text().splitlines()
        rows = [line.split(",") for line in lines[1:]]
        for row in rows:
            row[3:7] = [""] * 4
        (run.evaluation / "test.csv").write_text("\n".join([lines[0], *map(",".join, rows)]) + "\n")
    config = configfile.load(runs[1].config_file)
    configfile.save(dataclasses.replace(config, hang_timeout_seconds=99), runs[1].config_file)
    write_comparison_page(compare_runs(runs, margin=0.1), tmp_path / "page.html")
    page = checked(tmp_path / "page.html")
    assert "No run has an epoch in its journal" in page.text and "undefined on these images" in page.text
    assert "decide no weights" in page.text and "hang_timeout_seconds" in page.text


def test_a_file_that_is_none_of_ours_is_kept(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "page.html", "there is no such folder"),
        (tmp_path / "thesis.html", "is no report of medtrain"),
    ):
        (tmp_path / "thesis.html").write_text("mine")
        with pytest.raises(InputError, match=words):
            ensure_writable(path, COMPARISON)
    assert (tmp_path / "thesis.html").read_text() == "mine"


def test_a_page_replaces_only_one_of_its_own_kind(tmp_path: Path) -> None:
    runs = compared(tmp_path, "multiclass", count=30)
    report, card = write_report_page(runs[0]), write_report_page(runs[0], markdown=True)
    before = report.read_bytes(), card.read_bytes()
    own = compare_runs(runs)
    for path, words in ((report, "is the report of a run"), (card, "is a model card")):
        with pytest.raises(InputError, match=f"{words}, which a comparison of runs would replace") as raised:
            write_comparison_page(own, path)
        assert raised.value.fix == f"give another file: --out {path.with_name(f'{path.stem}_comparison.html')}"
    assert (report.read_bytes(), card.read_bytes()) == before
    page = tmp_path / "comparison.html"
    write_comparison_page(own, page)
    write_comparison_page(own, page)
    for markdown, words in ((False, "the report of a run"), (True, "a model card")):
        with pytest.raises(InputError, match=f"is a comparison of runs, which {words} would replace"):
            write_report_page(runs[0], page, markdown=markdown)
    with pytest.raises(InputError, match="is a model card, which the report of a run would replace"):
        write_report_page(runs[0], card)
    for path in (page, report):  # as they were written before they said which they are
        path.write_text(path.read_text().replace('<meta name="medtrain-page"', '<meta name="other"'))
    write_comparison_page(own, page)
    with pytest.raises(InputError, match="is the report of a run"):
        write_comparison_page(own, report)
