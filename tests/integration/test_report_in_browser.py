"""The reports of real runs in a real browser without a network: nothing is asked for, nothing is cut off or unnamed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import THERE, Browser, browser
from command import BRIEF, NETWORK, medtrain
from page_checks import checked
from selenium.webdriver import Keys
from written_run import written

from medtrain.reporting.html_report.run_page import write_report_page

pytestmark = pytest.mark.skipif(
    not THERE, reason="!!! NOT TESTED in a browser: apt-get install chromium chromium-driver poppler-utils"
)
WIDTHS, SCHEMES = (400, 800, 1600), ("light", "dark")
ONCE = [*BRIEF[2:], "--epochs", "1", "--image_size", "32", "--eval_batch_size", "8", "--weights", ""]
CLIPS = ["--frames", "4", "--stride", "4", "--clips", "1", "--lr", "1e-3", "--max_samples", "8"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def packed(dataset: str, folder: Path, samples: int, *words: object) -> Path:
    """A drawn dataset, packed."""
    medtrain("data", "download", dataset, "--root", folder / "raw")
    medtrain("shard", dataset, "--root", folder / "raw", "--out", folder / "shards", "--size", "64",
             "--max_samples", samples, *words)  # fmt: skip
    return folder / "shards"


def trained(recipe: str, shards: Path, runs: Path, name: str, *words: object) -> None:
    """A run of one epoch."""
    medtrain("train", recipe, "--shards", shards, "--runs", runs, "--run", name, *ONCE, *words)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on the chest demo (`chest`), on the echo demo (`clips`) and its scores (`heart`), and of two seeds on the
    MURA demo (`bones`)."""
    folder = tmp_path_factory.mktemp("reports")
    chest = packed("chest_demo", folder / "chest", 120, "--encoding", "jpeg")
    bones = packed("mura_demo", folder / "bones", 80, "--encoding", "jpeg")
    echo = packed("echo_demo", folder / "echo", 24)
    runs = folder / "runs"
    trained("chest_demo", chest, runs, "chest", *NETWORK)
    trained("mura_demo", bones, runs, "bones", *NETWORK, "--monitor", "loss", "--ensemble", "2")
    trained("echo_demo", echo, runs, "clips", *CLIPS)
    trained("echo", echo, runs, "heart", *CLIPS, "--task", "score", "--monitor", "spearman")
    return runs


WORDS = {
    "chest": ("Counts at the threshold of each label", "Results by label", "Sex", "Age in years"),
    "bones-1": ("Cohen's kappa", "By study type"),
    "bones": ("The runs of the group, each tested alone", "Spread over seeds", "kappa, 95 % interval"),
    "clips": ("Operating points", "good"),
    "heart": ("Predicted against given scores", "Spearman's ρ"),
}


def test_real_reports_in_a_browser(runs: Path, opened: Browser) -> None:
    pages = {path.parent.name: path for path in sorted(runs.glob("*/report.html"))}
    assert {*WORDS} <= {*pages}, pages
    for path in pages.values():
        in_browser(opened, path)
    for name, words in WORDS.items():
        page = checked(pages[name], links=frozenset(f"../{member}/report.html" for member in pages))
        for one in words:
            assert one in page.text, (name, one)
        ensure_private(runs / name)
    for dataset, word, figures in (("chest", "Images by label", 1), ("echo", "Frames of a clip", 0)):  # few clips
        shards = runs.parent / dataset / "shards"
        medtrain("report", shards)
        assert word in checked(shards / "report.html").text
        in_browser(opened, shards / "report.html", figures)
    opened.open(pages["bones"])
    opened.driver.find_element("link text", "bones-2").send_keys(Keys.ENTER)
    assert opened.driver.current_url == pages["bones-2"].as_uri()


def ensure_private(run: Path) -> None:
    """No key of an image, no path and no machine is on the page."""
    scored = run if (run / "evaluation" / "test.csv").exists() else run.with_name(f"{run.name}-1")  # of a group
    table = (scored / "evaluation" / "test.csv").read_text().splitlines()[1:]
    text, keys = (run / "report.html").read_text(), {line.split(",")[0] for line in table}
    assert keys and not [key for key in keys if key in text]
    assert str(run.parent) not in text and os.uname().nodename not in text


def in_browser(opened: Browser, path: Path, figures: int = 2) -> None:
    """All that must hold of a page in a browser."""
    kind, seen = str(path.relative_to(path.parents[2])), []
    opened.noted()
    for script in (True, False):
        opened.open(path, WIDTHS[0], SCHEMES[0], script)
        for width in WIDTHS:
            for scheme in SCHEMES if script else SCHEMES[:1]:  # colors need no script
                opened.look(width, scheme)
                faults, drawings, tables = opened.faults()
                assert not faults, f"{kind}, {width} px, {scheme}, JavaScript {script}: {faults}"
                seen.append((drawings, tables))
        assert not (missed := opened.unreached()), f"{kind}: the Tab key does not come to {missed}"
        assert opened.noted() == ([], [path.as_uri()]), kind
    assert len({*seen}) == 1 and seen[0][0] >= figures and seen[0][1] > 2, f"{kind}: {seen}"
    printed = opened.print(path.with_suffix(".pdf"))
    pdf = path.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and b"/StructTreeRoot" in pdf and printed.count("\f") > 1
    headings = opened.driver.execute_script("return [...document.querySelectorAll('h2')].map(one => one.textContent)")
    for heading in headings:
        assert heading in " ".join(printed.split()), f"{kind}: {heading} is not printed"


def column(opened: Browser, caption: str, place: int) -> list[str]:
    """The words of a column of a table, as far as its rows are shown."""
    script = """
      const tables = [...document.querySelectorAll('table')];
      const table = tables.find(one => one.caption.textContent.startsWith(arguments[0]));
      return [...table.tBodies[0].rows].filter(row => row.checkVisibility())
        .map(row => (row.cells[arguments[1]].querySelector('data') || row.cells[arguments[1]]).textContent);
    """
    return list(opened.driver.execute_script(script, caption, place))


def test_tables_are_sorted_and_filtered_by_the_keyboard(tmp_path: Path, opened: Browser) -> None:
    names = tuple(f"label {i}" for i in range(14))
    opened.open(write_report_page(written(tmp_path, "multilabel", names=names, count=300)), 1600)
    report = json.loads((tmp_path / "one" / "evaluation" / "test.json").read_text())
    caption, place = "All numbers by label", 3
    assert column(opened, caption, 0) == list(names)
    head = opened.driver.find_element("xpath", f"//table[starts-with(caption, '{caption}')]//th[.='AUROC']")
    button = head.find_element("tag name", "button")
    by_auroc = sorted(names, key=lambda name: report["per_class"][name]["auroc"])
    for wanted, said in ((by_auroc, "ascending"), (by_auroc[::-1], "descending")):
        button.send_keys(Keys.ENTER)
        assert column(opened, caption, 0) == wanted and head.get_attribute("aria-sort") == said
    assert column(opened, caption, place) == [f"{report['per_class'][name]['auroc']:.3f}" for name in by_auroc[::-1]]
    field = opened.driver.find_element("css selector", f"input[aria-label^='Filter rows of: {caption}']")
    field.send_keys("label 1")
    found = [name for name in by_auroc[::-1] if "label 1" in name]
    assert column(opened, caption, 0) == found
    assert field.find_element("xpath", "../output").text == f"{len(found)} of 14"
    printed = opened.print(tmp_path / "page.pdf")
    assert all(name in printed for name in names) and "Filter rows" not in printed, "what is filtered away is printed"
    opened.open(tmp_path / "one" / "report.html", 1600, script=False)
    assert column(opened, caption, 0) == list(names)
    assert not opened.driver.find_elements("css selector", "main button, main input")
    assert opened.noted()[0] == []


def test_a_pointer_on_a_curve_is_told_its_numbers(tmp_path: Path, opened: Browser) -> None:
    opened.open(write_report_page(written(tmp_path, "multilabel", count=200)), 800, script=False)
    told = opened.driver.execute_script("""
      const line = document.querySelector('svg[aria-label^="ROC curve"]');
      return [...line.querySelectorAll('circle.hover')].map(dot => { const box = dot.getBoundingClientRect();
        dot.scrollIntoView({block: 'center', behavior: 'instant'}); const now = dot.getBoundingClientRect();
        const at = document.elementFromPoint(now.x + now.width / 2, now.y + now.height / 2);
        return [dot.textContent, at.closest('svg') === line, box.width]; });
    """)
    assert len(told) > 8 and all(on for _, on, _ in told)
    points = [tuple(map(float, re.findall(r"\d\.\d{4}", words))) for words, _, _ in told]
    assert points == sorted(points) and points[0] == (0.0, 0.0) and points[-1] == (1.0, 1.0)
