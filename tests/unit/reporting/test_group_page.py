"""The report of a group of runs as a page: its numbers, its links, what is missing, and what it must not tell."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest
from page_checks import Page, checked
from written_run import SECRETS, written

from medtrain.cli.commands import report as commands
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.reporting.html_report.markup import flat_numbers
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.runs.run import set_status
from medtrain.runs.run_group import RunGroup

EXACT = re.compile(r'<th scope="row">([^<]+)</th><td class="word"><code>([^<]+)</code>')


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> RunGroup:
    """Two seeds that are finished, of which one has a page, and one that failed."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2, 3):
        run = written(folder, "abnormality", f"bones-{seed}", seed=seed)
        table = run.report.with_suffix(".csv")
        if seed == 2:  # another model: its scores are lower
            head, *lines = table.read_text().splitlines()
            cells = [line.rsplit(",", 1) for line in lines]
            table.write_text("\n".join([head, *(f"{kept},{float(score) * 0.9!r}" for kept, score in cells), ""]))
            told = read_json(run.report)
            run.report.write_text(json.dumps({**told, "kappa": told["kappa"] - 0.1}))
    set_status(run, state="failed", error="RuntimeError: /home/somebody/x.png is gone")
    write_report_page(RunGroup.create(folder, "bones", [f"bones-{seed}" for seed in (1, 2, 3)], {}, False).runs[0])
    return RunGroup(folder / "bones")


def test_the_page_of_a_group(group: RunGroup, capsys: pytest.CaptureFixture[str]) -> None:
    commands.report("bones", runs=group.folder.parent, small_cells=True)
    assert f"report: {group.page}   numbers: {group.report}" in capsys.readouterr().out
    page, report = checked(group.page, links=frozenset({"../bones-1/report.html"})), read_json(group.report)
    assert [own["href"] for own in page.all("a") if str(own["href"]).startswith("..")] == ["../bones-1/report.html"]
    text = group.page.read_text()
    told = {name: json.loads(value) for name, value in EXACT.findall(text.partition('id="all-numbers"')[2])}
    numbers = {name: value for name, value in flat_numbers(report) if not isinstance(value, (str, bool))}
    assert told == numbers and len(told) > 60
    for key in ("kappa", "auroc"):
        low, high = report[f"{key}_interval"]
        assert f'title="{report[key]!r}"' in text and f'title="{low!r}"' in text and f'title="{high!r}"' in text
    assert len([own for own in page.all("svg") if "all studies" in str(own["aria-label"])]) == 2
    seeds = [report["runs"][f"bones-{seed}"]["kappa"] for seed in (1, 2)]
    spread = Page(text.partition("Spread over seeds")[2].partition("</table>")[0]).text
    assert f"{statistics.mean(seeds):.3f} {statistics.stdev(seeds):.3f} {min(seeds):.3f} {max(seeds):.3f}" in spread
    assert "bones-3: RuntimeError: …/x.png is gone" in page.text and "somebody" not in text
    assert not [secret for secret in (*SECRETS, str(group.folder.parent)) if secret in text]


def test_counts_of_few_studies_are_hidden_unless_they_are_requested(group: RunGroup) -> None:
    commands.report("bones", runs=group.folder.parent)
    text, report = group.page.read_text(), read_json(group.report)
    few = [row["abnormal"] for row in report["per_class"].values() if row["abnormal"] < 10]
    told = dict(EXACT.findall(text.partition('id="all-numbers"')[2]))
    assert few and "&lt;10" in {told[f"per_class.{name}.abnormal"] for name in report["per_class"]}
    assert told["abnormal"] == "not shown" and told["samples"] == str(report["samples"])
    assert "--small_cells" in text


def test_elsewhere_and_what_is_refused(group: RunGroup, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious.html").write_text("<html>a thesis</html>")
    with pytest.raises(InputError, match="is no report of medtrain"):
        commands.report("bones", out=tmp_path / "precious.html", runs=group.folder.parent)
    commands.report("bones", out=tmp_path / "mine.html", runs=group.folder.parent, json=True)
    assert "kappa" in json.loads(capsys.readouterr().out)
    elsewhere = (tmp_path / "mine.html").read_text()
    assert "bones-1" in elsewhere and "../" not in elsewhere, "a link would lead nowhere"
    assert (tmp_path / "precious.html").read_text() == "<html>a thesis</html>"


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    written(tmp_path, "abnormality", "bones-1")
    group = RunGroup.create(tmp_path, "bones", ["bones-1"], {}, False)
    thesis = tmp_path / "thesis.html"
    thesis.write_text("mine")
    for out, words in (
        (thesis, "is no report of medtrain"),
        (tmp_path / "no" / "page.html", "there is no such folder"),
    ):
        with pytest.raises(InputError, match=words):
            commands.report("bones", out=out, runs=tmp_path)
    assert thesis.read_text() == "mine" and not group.evaluation.exists() and not group.figures.exists()
