"""Data of one's own by the commands that a new user types: a folder, a table, a dataset file."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_files import beating
from command import medtrain
from own_images import class_tree, draw, table_of
from short_training import QUICK

from medtrain.core.jsonfiles import read_json
from medtrain.shards.index import open_index

EACH = 20


def run(*words: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return medtrain(*words, cwd=cwd, check=check)


def trained(cwd: Path, line: str, *words: object) -> dict[str, object]:
    """The test report of a run that the line which packing printed begins."""
    told = line.split("medtrain train ")[1].split()
    run("train", *told, "--run", "own", *QUICK, *words, cwd=cwd)
    return dict(read_json(cwd / "runs" / "own" / "evaluation" / "test.json"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of two classes in folders, of ten patients, who stand in the file names."""
    root = class_tree(tmp_path / "photos", each=EACH)
    for path in sorted(root.glob("*/*.jpg")):
        path.rename(path.with_name(f"P{int(path.stem) // 2}_{path.name}"))
    return root


def test_from_a_folder_to_a_report(photos: Path, tmp_path: Path) -> None:
    done = run("shard", "folder", "--root", photos, "--patient_from", "/(P[0-9]+)_", "--name", "pets", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "train on it: medtrain train mednist --shards shards/pets"
    manifest = read_json(tmp_path / "shards" / "pets" / "manifest.json")
    assert (manifest["dataset"], manifest["task"], manifest["classes"]) == ("pets", "multiclass", ["cat", "dog"])
    splits = {
        split: set(open_index(tmp_path / "shards" / "pets", split).samples["group"]) for split in manifest["splits"]
    }
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == EACH // 2, "no patient in two splits"
    report = trained(tmp_path, done.stdout, "--epochs", "3")
    assert set(report["per_class"]) == {"cat", "dog"}  # type: ignore[call-overload]


def scores_table(folder: Path) -> Path:
    lines = ["name;brightness"]
    for number in range(EACH):
        draw(folder / "images" / f"{number}.jpg", number, bright=bool(number % 2))
        lines.append(f"{number};{0.9 if number % 2 else 0.1}" if number % 5 else f"{number};")
    return table_of(folder / "table.csv", *lines)


def test_a_score_of_images_is_learned(tmp_path: Path) -> None:
    table = scores_table(tmp_path)
    words = ("--table", table, "--root", tmp_path / "images", "--image", "name", "--labels", "brightness")
    done = run("shard", "csv", *words, cwd=tmp_path)
    assert "no column tells the patient" in done.stderr
    assert done.stdout.splitlines()[-1].endswith(
        "medtrain train mednist --task score --monitor mae --shards shards/csv"
    )
    scores = open_index(tmp_path / "shards" / "csv", "train").scores
    assert set(scores[~np.isnan(scores)].round(1).astype(str)) == {"0.1", "0.9"} and np.isnan(scores).any()
    report = trained(tmp_path, done.stdout, "--epochs", "1")
    assert report["mae"] is not None


def test_clips_of_two_classes_are_told_apart(tmp_path: Path) -> None:
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["clip", "kind", "patient"])
        for number in range(EACH):
            path = tmp_path / f"{number}.avi"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
            for frame in beating(8, 60, 80, brightest=(90, 220)[number % 2], noise=number / 10 + 1):
                writer.write(frame)
            writer.release()
            rows.writerow([path.name, ("dark", "bright")[number % 2], f"P{number}"])
    words = ("--image", "clip", "--labels", "kind", "--patient", "patient", "--size", "32")
    done = run("shard", "csv", "--table", tmp_path / "clips.csv", *words, cwd=tmp_path)
    line = done.stdout.splitlines()[-1]
    assert line.endswith("medtrain train echo --task multiclass --monitor accuracy --shards shards/csv")
    small = (
        "--backbone",
        "r2plus1d_18",
        "--weights",
        "",
        "--frames",
        "4",
        "--stride",
        "1",
        "--clips",
        "1",
        "--epochs",
        "1",
    )
    assert trained(tmp_path, line, *small)["accuracy"] is not None


PLUGIN = '''
"""Pets, whose file names tell whose they are."""

from pathlib import Path

from medtrain.datasets.layouts import class_folders

TITLE, LICENCE, ACCESS = "Pets.", "Our own.", "ask us"
CLASSES, TASK, IMAGES = ("cat", "dog"), "multiclass", 0


def records(root: Path):
    return class_folders("pets", root, CLASSES, "photos", ACCESS)
'''


def test_a_dataset_file_is_copied_and_a_changed_one_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pets.py").write_text(PLUGIN)
    words = ("shard", "pets", "--root", photos, "--plugin", "pets.py")
    run(*words, cwd=tmp_path)
    out = tmp_path / "shards" / "pets"
    assert (out / "pets.py").read_text() == PLUGIN
    digest = read_json(out / "manifest.json")["plugin"]
    assert digest == read_json(out / "plan.json")["plugin"] and len(digest) == 64
    run(*words, cwd=tmp_path)
    run("verify", "shards/pets", cwd=tmp_path)
    (tmp_path / "pets.py").write_text(PLUGIN + "# another\n")
    done = run(*words, cwd=tmp_path, check=False)
    assert done.returncode == 2 and "was begun with another pets.py" in done.stderr
    done = run("shard", "folder", "--root", photos, "--out", "shards/pets", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "shards/pets: holds shards of pets" in done.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import nothing_of_that_name\n", "pets.py, line 1: ModuleNotFoundError"),
        ("def records(root:\n", "pets.py, line 1: SyntaxError"),
        ('TITLE = "Pets."\n', "has no CLASSES, IMAGES, LICENCE, ACCESS, records"),
    ],
)
def test_slips_with_dataset_files(text: str, problem: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pets.py").write_text(text)
    done = run("check", "pets", "--root", photos, "--plugin", "pets.py", cwd=tmp_path, check=False)
    assert done.returncode == 2 and problem in done.stderr
    done = run("check", "cats", "--root", photos, "--plugin", "pets.py", cwd=tmp_path, check=False)
    assert "is the file of the dataset pets, not of cats | " in done.stderr.replace("\n  fix: ", " | ")


def test_an_installed_package_may_bring_a_dataset(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an entry point, as pip writes it."""
    site = tmp_path / "site"
    (site / "our_package").mkdir(parents=True)
    (site / "our_package" / "__init__.py").touch()
    (site / "our_package" / "pets.py").write_text(PLUGIN)
    (site / "our_package-1.dist-info").mkdir()
    (site / "our_package-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: our_package\nVersion: 1\n")
    (site / "our_package-1.dist-info" / "entry_points.txt").write_text("[medtrain.datasets]\npets = our_package.pets\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    run("shard", "pets", "--root", photos, cwd=tmp_path)
    assert (tmp_path / "shards" / "pets" / "pets.py").read_text() == PLUGIN


def test_a_recipe_of_one_s_own(photos: Path, tmp_path: Path) -> None:
    run("shard", "folder", "--root", photos, cwd=tmp_path)
    done = run("recipe", "new", "pets", "--from", "mednist", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "edit it, then: medtrain train pets.yaml --shards DIR --run NAME"
    recipe = tmp_path / "pets.yaml"
    recipe.write_text(recipe.read_text().replace("patience: 15", "patience: 4"))
    run("train", "pets.yaml", "--shards", "shards/folder", "--run", "own", *QUICK, "--epochs", "1", cwd=tmp_path)
    config = (tmp_path / "runs" / "own" / "config.yaml").read_text()
    assert "recipe: mednist" in config and "patience: 4" in config
    for words, problem in (
        (("recipe", "new", "pets"), "pets.yaml exists already"),
        (("recipe", "new", "pets", "--from", "mednits"), "there is no recipe 'mednits' (did you mean mednist?)"),
        (("recipe", "new", "../pets"), "may have letters, digits"),
        (("train", "gone.yaml", "--shards", "x"), "gone.yaml"),
    ):
        done = run(*words, cwd=tmp_path, check=False)
        assert done.returncode == 2 and problem in done.stderr
    recipe.write_text("epochs: 3\n")
    assert "pets.yaml names no recipe" in run("train", "pets.yaml", cwd=tmp_path, check=False).stderr


def test_what_was_packed_answers_as_json(photos: Path, tmp_path: Path) -> None:
    found = json.loads(run("check", "folder", "--root", photos, "--json", cwd=tmp_path).stdout)
    assert found["labels"]["cat"] == {"positive": EACH, "negative": EACH, "unknown": 0}
    shutil.rmtree(photos / "dog")
    done = run("check", "folder", "--root", photos, cwd=tmp_path, check=False)
    assert done.returncode == 2 and "fix: add the images of another class" in done.stderr
