"""Chest X-rays in NIH's own layout, from files on disk to a tested model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import medtrain
from PIL import Image
from svg_words import words_of

from medtrain.datasets.labels import PATHOLOGIES, UNCERTAIN
from medtrain.datasets.sources import nih
from medtrain.shards.pack import PackOptions, pack

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
SMALL = ("--backbone", "test_convnext", "--weights", "", "--image_size", "32", "--batch_size", "8", "--tracker", "none")


def draw(root: Path, patients: int = 60) -> None:
    """Noise, with a bright lower half for Effusion and a bright disc for Mass."""
    (root / "images").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), [HEADER]
    for patient in range(1, patients + 1):
        findings = [name for name, period in (("Effusion", 2), ("Mass", 3)) if patient % period == 0]
        pixels = rng.normal(90, 15, (64, 64))
        pixels[40:] += 90 * ("Effusion" in findings)
        pixels[8:24, 8:24] += 90 * ("Mass" in findings)
        name = f"{patient:08d}_000.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / "images" / name)
        rows.append(f"{name},{'|'.join(findings) or 'No Finding'},0,{patient},60,M,PA")
    (root / nih.TABLES[0]).write_text("\n".join(rows))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chest")
    draw(root / "raw")
    medtrain("shard", "nih", "--root", root / "raw", "--out", root / "shards")
    medtrain("train", "chest", "--shards", root / "shards", "--runs", root, "--run", "first", "--epochs", "6",
             "--lr", "2e-3", *SMALL)  # fmt: skip
    return root


def test_two_findings_at_once_are_learnt(trained: Path) -> None:
    medtrain("evaluate", "first", "--runs", trained, "--split", "train")
    report = json.loads((trained / "first" / "evaluation" / "train.json").read_text())
    assert list(report["per_class"]) == list(PATHOLOGIES)
    assert report["macro_labels"]["auroc"] == 2
    assert report["macro_auroc"] > 0.8, report
    assert report["per_class"]["Hernia"]["auroc"] is None
    assert report["per_class"]["Hernia"]["positives"] == 0


def test_what_a_run_leaves(trained: Path) -> None:
    assert (trained / "first" / "figures" / "auroc_test.png").exists()
    assert "mean AUROC" in (trained / "first" / "train.log").read_text()
    rows = [json.loads(line) for line in (trained / "first" / "metrics.jsonl").read_text().splitlines()]
    assert all("val_macro_auroc" in row for row in rows if row["kind"] == "epoch")


def test_figures_in_other_formats_say_what_they_are_of(trained: Path) -> None:
    figures = trained / "first" / "figures"
    told = medtrain("evaluate", "first", "--runs", trained, "--figures", "svg", "pdf").stdout
    names = [f"{kind}_test.{end}" for kind in ("auroc", "curves") for end in ("svg", "pdf")]
    assert told.rstrip().endswith("figures: " + "  ".join(str(figures / name) for name in names))
    samples = json.loads((trained / "first" / "evaluation" / "test.json").read_text())["samples"]
    auroc, curves = (words_of(figures / f"{kind}_test.svg") for kind in ("auroc", "curves"))
    for words in (auroc, curves):
        assert f"run first, test split: {samples} images" in words
        assert "Hernia" in " ".join(words) and "Hernia" not in words, "in the note, and no bar or panel of it"
        assert {"Effusion", "Mass"} <= {*words}
    done = medtrain("report", "first", "--runs", trained, "--figures", "svg", "--json").stdout
    drawn = [Path(path).name for path in json.loads(done)["figures"]]
    assert drawn == ["history.svg", "auroc_test.svg", "curves_test.svg"]
    assert any(word.startswith("run first: ") and "validation images" in word for word in words_of(figures / drawn[0]))


def test_a_dataset_that_is_not_all_there(tmp_path: Path) -> None:
    draw(tmp_path / "raw", patients=130)
    for patient in range(1, 121):
        (tmp_path / "raw" / "images" / f"{patient:08d}_000.png").unlink()
    refused = medtrain("shard", "nih", "--root", tmp_path / "raw", "--out", tmp_path / "shards", check=False)
    assert refused.returncode == 2
    assert "120 of 130 images are not in" in refused.stderr
    assert "pack what there is: --partial" in refused.stderr
    packed = medtrain("shard", "nih", "--root", tmp_path / "raw", "--out", tmp_path / "shards", "--partial")
    assert "120 of 130 images are not there and were left out" in packed.stderr
    assert "Pleural_Thickening" in packed.stdout
    manifest = json.loads((tmp_path / "shards" / "manifest.json").read_text())
    assert sum(entry["samples"] for entry in manifest["splits"].values()) == 10


def test_explain_draws_a_figure_for_each_image(trained: Path, tmp_path: Path) -> None:
    images = sorted((trained / "raw" / "images").iterdir())[:2]
    told = json.loads(
        medtrain("explain", "first", *images, "--runs", trained, "--out", tmp_path, "--labels", "Mass", "Effusion",
                 "--json").stdout
    )  # fmt: skip
    assert [each["image"] for each in told] == [str(image) for image in images]
    for each in told:
        assert list(each["labels"]) == ["Mass", "Effusion"]
        with Image.open(each["figure"]) as figure:
            assert figure.width > 2 * figure.height
    refused = medtrain("explain", "first", images[0], "--runs", trained, "--labels", "Mas", check=False)
    assert refused.returncode == 2
    assert "knows no label 'Mas' (did you mean Mass?)" in refused.stderr


def test_another_dataset_decides_nothing(trained: Path) -> None:
    """It is judged by what the run's own validation chose, and leaves the run's own report alone."""
    own = (trained / "first/evaluation/test.json").read_bytes()
    draw(trained / "other" / "raw", patients=40)
    medtrain("shard", "nih", "--root", trained / "other" / "raw", "--out", trained / "other" / "site2")
    medtrain("evaluate", "first", "--runs", trained, "--shards", trained / "other" / "site2")
    assert (trained / "first/evaluation/test.json").read_bytes() == own
    report = json.loads((trained / "first/evaluation/test-site2.json").read_text())
    limits = {name: row["threshold"] for name, row in json.loads(own)["per_class"].items()}
    assert {name: row["threshold"] for name, row in report["per_class"].items()} == limits
    assert report["temperature"] == json.loads(own)["temperature"]
    again = medtrain("evaluate", "first", "--runs", trained, "--shards", trained / "shards", "--split", "val")
    assert "are, byte for byte, among those that the run was trained on" in again.stderr


def test_explain_writes_over_nothing(trained: Path, tmp_path: Path) -> None:
    image = next((trained / "raw" / "images").iterdir())
    own = tmp_path / image.name
    own.write_bytes(image.read_bytes())
    words = ("explain", "first", own, "--runs", trained, "--json")
    (told,) = json.loads(medtrain(*words, "--out", tmp_path).stdout)
    first = Path(told["figure"]).read_bytes()
    again = medtrain("explain", "first", own, told["figure"], "--runs", trained, "--out", tmp_path,
                     "--figures", "png", "svg").stdout  # fmt: skip
    assert (own.read_bytes(), Path(told["figure"]).read_bytes()) == (image.read_bytes(), first)
    assert str(tmp_path / f"{own.stem}-explained-2.svg") in again, "it says where they are"
    assert {path.name for path in tmp_path.iterdir()} == {
        own.name,
        *(f"{own.stem}-explained{end}" for end in (".png", "-2.png", "-2.svg", "-explained.png", "-explained.svg")),
    }
    refused = medtrain(*words, "--out", own, check=False)
    assert (refused.returncode, "cannot be a folder for figures" in refused.stderr) == (2, True), refused.stderr


def test_names_of_files_stand_where_nobody_else_looks(trained: Path, tmp_path: Path) -> None:
    image = next((trained / "raw" / "images").iterdir())
    words = ("explain", "first", image, "--runs", trained, "--figures", "svg", "--out")
    medtrain(*words, tmp_path / "own")
    (figure,) = (tmp_path / "own").iterdir()
    assert f"{image.name}, run first" in words_of(figure)
    assert (figure.stat().st_mode & 0o777, figure.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    told = medtrain(*words, tmp_path / "open")
    (figure,) = (tmp_path / "open").iterdir()
    assert figure.name == "image-001-explained.svg" and "image 1, run first" in words_of(figure)
    assert image.stem not in figure.read_text(), "the name is nowhere in it"
    assert "do not have the names of the files" in told.stderr


def test_no_image_at_all(trained: Path) -> None:
    for command in ("predict", "explain"):
        refused = medtrain(command, "first", "--runs", trained, check=False)
        assert (refused.returncode, "no image is named" in refused.stderr) == (2, True), refused.stderr


def test_a_label_that_was_not_learnt_keeps_its_counts(trained: Path) -> None:
    report = json.loads((trained / "first" / "evaluation" / "test.json").read_text())
    hernia = report["per_class"]["Hernia"]
    assert (hernia["known"], hernia["positives"], hernia["learned"]) == (report["samples"], 0, False)
    assert hernia["f1"] is None and hernia["ece"] is None
    assert report["micro_known"] == 2 * report["samples"], "it has no part in what is over several labels"


def test_the_last_epoch_and_the_report_of_its_weights_agree(trained: Path) -> None:
    medtrain("evaluate", "first", "--runs", trained, "--split", "val")
    report = json.loads((trained / "first" / "evaluation" / "val.json").read_text())
    rows = [json.loads(line) for line in (trained / "first" / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    best = max(epochs, key=lambda row: row["val_macro_auroc"])
    for name in ("loss", "macro_auroc", "micro_auroc", "micro_known"):
        assert report[name] == pytest.approx(best[f"val_{name}"], rel=1e-6), name


def test_explain_keeps_images_of_one_name_apart(trained: Path, tmp_path: Path) -> None:
    image = sorted((trained / "raw" / "images").iterdir())[0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "view1.png").write_bytes(image.read_bytes())
    words = (tmp_path / "a/view1.png", tmp_path / "b/view1.png", "--runs", trained, "--out", tmp_path / "why", "--json")
    told = json.loads(medtrain("explain", "first", *words).stdout)
    assert len({each["figure"] for each in told}) == len(list((tmp_path / "why").iterdir())) == 2


def test_predict_tells_every_label_above_its_threshold(trained: Path) -> None:
    image = trained / "raw" / "images" / "00000006_000.png"
    found = json.loads(medtrain("predict", "first", image, "--runs", trained, "--json").stdout)[0]
    report = json.loads((trained / "first" / "evaluation" / "test.json").read_text())
    limits = {name: row["threshold"] for name, row in report["per_class"].items()}
    scores = {name: score for name, score in found["probabilities"].items() if score is not None}
    assert found["present"] == [name for name, score in scores.items() if score >= limits[name]]
    told = medtrain("predict", "first", image, image, "--runs", trained).stdout
    assert "most likely" in told
    *rows, nothing = told.split("\n\n")[1].splitlines()[2:]
    lines = {line.split()[0]: line.split()[1:] for line in rows}
    assert list(lines) == [name for name in PATHOLOGIES if name in scores], "of the others nothing was learned"
    assert nothing.startswith("no training image shows ") and "Hernia" in nothing
    mark = "*" if "Mass" in found["present"] else ""
    assert lines["Mass"] == [f"{scores['Mass']:.3f}{mark}"] * 2


def test_a_model_needs_no_shards(trained: Path, tmp_path: Path) -> None:
    """They are moved, or on another machine."""
    image = next((trained / "raw" / "images").iterdir())
    words = ("predict", "first", image, "--runs", trained, "--json")
    before = medtrain(*words).stdout
    (trained / "shards").rename(tmp_path / "elsewhere")
    try:
        assert medtrain(*words).stdout == before
    finally:
        (tmp_path / "elsewhere").rename(trained / "shards")


def test_nothing_is_said_of_what_nothing_was_learnt_about(trained: Path) -> None:
    image = next((trained / "raw" / "images").iterdir())
    (told,) = json.loads(medtrain("predict", "first", image, "--runs", trained, "--json").stdout)
    learnt = {"Effusion", "Mass"}
    assert {name for name, score in told["probabilities"].items() if score is not None} == learnt
    assert {name for name, score in told["calibrated"].items() if score is not None} == learnt
    assert {told["most likely"], *told["present"]} <= learnt


def test_explain_says_nothing_of_it_either(trained: Path, tmp_path: Path) -> None:
    image = next((trained / "raw" / "images").iterdir())
    words = ("explain", "first", image, "--runs", trained, "--out", tmp_path, "--json")
    (told,) = json.loads(medtrain(*words).stdout)
    assert set(told["labels"]) == {"Effusion", "Mass"}
    refused = medtrain(*words, "--labels", "Hernia", check=False)
    assert refused.returncode == 2
    assert "has learned nothing about Hernia" in refused.stderr


def test_without_a_test_split_the_validation_split_is_reported(trained: Path, tmp_path: Path) -> None:
    """CheXpert has none; and its labels that are open are settled for the training alone."""
    options = PackOptions(shard_mb=0.5)
    records = [
        replace(record, split="val" if index % 4 == 0 else "train", labels=record.labels | {"Mass": UNCERTAIN})
        for index, record in enumerate(nih.records(trained / "raw"))
    ]
    pack(records, PATHOLOGIES, tmp_path / "shards", options, 1)
    done = medtrain("train", "chest", "--shards", tmp_path / "shards", "--runs", tmp_path, "--run", "first", "--epochs",
                    "1", "--uncertain", "one", *SMALL)  # fmt: skip
    assert "warning: there is no test split" in done.stdout + done.stderr
    folder = tmp_path / "first" / "evaluation"
    assert str(folder / "val.json") in done.stdout
    assert not (folder / "test.json").exists()
    report = json.loads((folder / "val.json").read_text())
    assert report["samples"] == len(records) // 4
    assert [report["per_class"][name]["known"] for name in ("Mass", "Effusion")] == [0, 15]
    medtrain("evaluate", "first", "--runs", tmp_path)
    medtrain("evaluate", "first", "--runs", tmp_path, "--split", "train")
    training = json.loads((folder / "train.json").read_text())["per_class"]
    assert [training[name]["known"] for name in ("Mass", "Effusion")] == [0, 45], "what a policy settled is no truth"
    counts = {row["label"]: row for row in json.loads((tmp_path / "first" / "labels.json").read_text())}
    assert (counts["Mass"]["positive"], counts["Effusion"]["positive"]) == (45, 30)
    image = next((trained / "raw" / "images").iterdir())
    (told,) = json.loads(medtrain("predict", "first", image, "--runs", tmp_path, "--json").stdout)
    limit = report["per_class"]["Effusion"]["threshold"]
    assert ("Effusion" in told["present"]) == (told["probabilities"]["Effusion"] >= limit), "its thresholds are used"
