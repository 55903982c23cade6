"""A packed dataset that does not fit the settings is refused before there is a run folder or a job."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medtrain.config import configfile
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.labels import task_of
from medtrain.datasets.record import Record
from medtrain.datasets.sources import chest_demo, demo, mura_demo
from medtrain.launch import new_run, submit
from medtrain.shards import compatibility, mixture
from medtrain.shards.pack import pack
from medtrain.shards.packed_dataset import PackedDataset, manifest_checksum
from medtrain.shards.plan import PackOptions


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`chest` holds chest_demo, `shapes` demo, `bones` mura_demo; `blank` chest images without any label."""
    folder = tmp_path_factory.mktemp("packed")
    chest_demo.download(folder / "raw/chest", samples=30)
    demo.download(folder / "raw/shapes", samples=60)
    mura_demo.download(folder / "raw/bones", samples=60)
    records = chest_demo.records(folder / "raw/chest")
    unknown: dict[str, int | None] = dict.fromkeys(chest_demo.CLASSES)
    blank = [Record("clinic", record.image, record.path, unknown, record.patient) for record in records]
    for name, own, source in (
        ("chest", records, chest_demo),
        ("shapes", demo.records(folder / "raw/shapes"), demo),
        ("bones", mura_demo.records(folder / "raw/bones"), mura_demo),
        ("blank", blank, chest_demo),
    ):
        pack(own, source.CLASSES, folder / name, PackOptions(), 1)  # type: ignore[arg-type]
    return folder


def settings(recipe: str, shards: Path, **data: object) -> Config:
    config = configfile.resolve(recipe)
    return replace(config, data=replace(config.data, shards=str(shards), **data))  # type: ignore[arg-type]


def older(folder: Path, to: Path) -> Path:
    """A copy as it was packed before manifests had a task and a checksum."""
    shutil.copytree(folder, to)
    manifest = json.loads((to / "manifest.json").read_text())
    for name in ("task", "checksum"):
        del manifest[name]
    (to / "manifest.json").write_text(json.dumps(manifest))
    return to


OWN = {"chest": ("chest_demo", "multilabel"), "shapes": ("demo", "multiclass"), "bones": ("mura_demo", "abnormality")}
WRONG = [("mednist", "chest"), ("demo", "chest"), ("mura", "chest"), ("demo", "bones"), ("mura_demo", "shapes")]


@pytest.mark.parametrize("name", OWN)
def test_a_manifest_states_the_task_and_an_older_one_is_judged_by_its_labels(
    packed: Path, tmp_path: Path, name: str
) -> None:
    recipe, task = OWN[name]
    before = older(packed / name, tmp_path / name)
    for folder in (packed / name, before):
        assert compatibility.stated(PackedDataset.open(folder)) == task
        assert compatibility.recipe_for(PackedDataset.open(folder)) == recipe
        compatibility.ensure_fits(settings(recipe, folder))


@pytest.mark.parametrize(("recipe", "name"), WRONG)
@pytest.mark.parametrize("old", [False, True])
def test_another_task_is_refused_with_the_recipe_that_fits(
    packed: Path, tmp_path: Path, recipe: str, name: str, old: bool
) -> None:
    folder = older(packed / name, tmp_path / name) if old else packed / name
    with pytest.raises(InputError, match=f"its labels are .* and the task of recipe {recipe} is") as caught:
        compatibility.ensure_fits(settings(recipe, folder))
    assert f"medtrain train {OWN[name][0]} --shards {folder}" in caught.value.fix


def test_clips_and_images_are_told_apart(packed: Path) -> None:
    with pytest.raises(InputError, match="holds images, and recipe echo_demo trains on clips"):
        compatibility.ensure_fits(settings("echo_demo", packed / "chest"))


@pytest.mark.parametrize("start", ["train", "submit", "dry run"])
def test_train_submit_and_dry_run_refuse_before_there_is_a_folder(packed: Path, tmp_path: Path, start: str) -> None:
    config = replace(settings("mednist", packed / "chest"), runs=str(tmp_path / "runs"), run="mine")
    with pytest.raises(InputError, match="several labels at once"):
        if start == "dry run":
            submit.submit(config, dry_run=True)
        else:
            new_run.new_run(config)
    assert not (tmp_path / "runs").exists()


# ---- what rank 0 judged only after the queue ----------


def test_sampling_of_what_is_not_there_is_refused_first(packed: Path) -> None:
    with pytest.raises(InputError, match=r"--sampling names chest_dem \(did you mean chest_demo\?\)"):
        compatibility.ensure_fits(settings("chest_demo", packed / "chest", sampling=("chest_dem=2",)))
    with pytest.raises(InputError, match="leaves nothing to train on"):
        compatibility.ensure_fits(settings("chest_demo", packed / "chest", sampling=("chest_demo=0",)))


def test_a_table_without_any_label_is_refused_first(packed: Path) -> None:
    with pytest.raises(InputError, match="no sample of the training split has a label"):
        compatibility.ensure_fits(settings("chest_demo", packed / "blank"))


def test_names_of_folders_and_of_datasets_are_told_apart(packed: Path) -> None:
    for names in ({"datasets": ("chest_demo",)}, {"datasets": ("chest",), "holdout": "chest_demo"}):
        with pytest.raises(InputError, match=r"no packed dataset is there.*chest holds chest_demo"):
            mixture.classes(settings("chest_demo", packed, **names).data)
    with pytest.raises(InputError, match=r"names of the datasets that were packed, whatever their folders") as caught:
        compatibility.ensure_fits(settings("chest_demo", packed, datasets=("chest",), sampling=("chest=2",)))
    assert caught.value.fix == "choose of chest_demo"


def test_what_labels_look_like() -> None:
    """Rows of which nothing is known have no say; of one column alone nothing can be told."""
    for rows, task in (
        ([[1, 0, 0], [0, 0, 1], [-1, -1, -1]], "multiclass"),
        ([[1, 0, 0], [0, 0, 0]], "multilabel"),
        ([[1, 1, 0], [0, 0, 1]], "multilabel"),
        ([[1, 0, -1], [0, 0, 1]], "multilabel"),
        ([[1, -1, -1], [-1, 0, -1]], "abnormality"),
        ([[1], [1]], "multilabel"),
        ([[-1, -1], [-1, -1]], "multilabel"),
    ):
        assert task_of(np.array(rows, np.int8)) == task, rows


def test_the_task_is_part_of_what_the_checksum_covers(packed: Path) -> None:
    manifest = PackedDataset.open(packed / "shapes").manifest
    assert manifest_checksum({**manifest, "task": "multilabel"}) != manifest["checksum"]
