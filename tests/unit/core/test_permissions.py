"""Who may read what medtrain writes: by default nobody else, also where the folder was there and is open to all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import SMALL, medtrain

from medtrain import datasets
from medtrain.cli.flags import parse_settings
from medtrain.config import configfile, fingerprint
from medtrain.core import permissions
from medtrain.core.jsonfiles import write_json
from medtrain.shards import pack_request as shards_request
from medtrain.shards import packing_jobs
from medtrain.shards.plan import PackOptions


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """That of most machines; medtrain must not depend on it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """name -> mode of all that lies in a folder."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_symlink()}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}


@pytest.mark.parametrize("share", ["private", "group"])
def test_every_file_of_a_run_and_of_a_packed_set_is_closed_to_others(
    share: str, demo_tree: Path, tmp_path: Path
) -> None:
    """Both in folders that were there before, and are open to all; a setgid bit goes on to the folders within."""
    out, run = tmp_path / "packed", tmp_path / "runs" / "first"
    for folder in (out, run):
        folder.mkdir(parents=True)
        folder.chmod(0o2755)
    shared = ["--share", "group"] if share == "group" else []
    few = ["--max_samples", "60", "--workers", "1"]
    packing = medtrain("shard", "demo", "--root", demo_tree, "--out", out, *few, *shared)
    small = [*SMALL, "--epochs", "1", "--image_size", "32", "--max_samples", "16"]
    words = ["train", "demo", "--shards", out, "--runs", run.parent, "--run", run.name, *small, *shared]
    training = medtrain(*words, "--weights_dir", tmp_path / "models")
    for folder, said in ((out, packing), (run, training)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2755, "what is the user's own is left as it is"
        assert f"warning: {folder} was there already, and others can see what it holds (mode 755)" in said.stderr
        of_file, of_folder = (0o640, 0o2750) if share == "group" else (0o600, 0o2700)
        for name, mode in modes(folder).items():
            path = folder / name
            allowed = {of_folder} if path.is_dir() else {of_file, 0o600}  # 600: a table that names patients
            assert mode in allowed, f"{path} has mode {mode:o}"
    expected = 0o640 if share == "group" else 0o600
    assert modes(tmp_path / "models")["first/model.pth"] == modes(run)["config.yaml"] == expected


def test_a_job_that_packs_shares_as_the_one_who_sent_it_asked(demo_tree: Path, tmp_path: Path) -> None:
    """The jobs read the request from its file: no environment and no umask of a login node comes with them."""
    out = tmp_path / "packed"
    request = shards_request.Request(
        "demo", demo_tree, shards_request.options_for(datasets.source("demo"), PackOptions()), 0, False
    )
    out.mkdir(mode=0o750)
    write_json(out / packing_jobs.REQUEST, {"request": request.told(), "tasks": 1, "share": "group"})
    os.umask(0o077)
    for stage in packing_jobs.STAGES:
        assert packing_jobs.main(str(out), stage) == 0
    assert modes(out)["manifest.json"] == 0o640


def test_sharing_is_no_setting_that_decides_the_weights() -> None:
    config = configfile.resolve("demo")
    assert fingerprint.fingerprint(parse_settings("train", ["demo", "--share", "group"])[0]) == fingerprint.fingerprint(
        config
    )


def test_a_closed_folder_on_the_way_is_told_where_a_group_shall_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "runs").mkdir(parents=True)
    (tmp_path / "mine").chmod(0o700)
    permissions.warn_of_open(tmp_path / "mine" / "runs", "group")
    mine = tmp_path / "mine"
    assert f"the group cannot reach {mine / 'runs'}: {mine} is closed" in capsys.readouterr().err


def test_what_is_no_secret_keeps_the_users_umask(tmp_path: Path) -> None:
    """Published weights lie in a cache that a whole group may share (HF_HOME, TORCH_HOME)."""
    permissions.apply()
    with permissions.as_the_user_has_it():
        (tmp_path / "weights").touch()
    (tmp_path / "run").touch()
    found = modes(tmp_path)
    assert found["run"] == 0o600 and found["weights"] & 0o077 == 0o644 & 0o077 & ~permissions._users_own  # type: ignore[operator]
