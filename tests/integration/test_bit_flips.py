"""One flipped bit in what decides a run's results is found; in any other file it changes no result in silence."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import SMALL, command_line, medtrain
from fork_server import Forked
from spoiled import flip
from test_elastic import result, stop_after

from medtrain.checkpoints.verify_run import check_files, journal_faults, made_with_faults
from medtrain.config import configfile, fingerprint
from medtrain.config.schema import Config
from medtrain.core.errors import MedtrainError
from medtrain.runs.checkpoint_manifest import checkpoint_folders
from medtrain.runs.run import Run
from medtrain.shards.verify import verify_shards

OFFSETS = 100
SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "5", "--keep_last", "2", "--determinism", "exact"]


@pytest.fixture(scope="module")
def started(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run that was stopped in its second epoch, and the packed dataset of its own that it trains on."""
    folder = tmp_path_factory.mktemp("flips")
    shards = Path(shutil.copytree(demo_shards, folder / "shards" / "demo"))
    place = ["--shards", shards, "--runs", folder / "runs", "--run", "first"]
    process = Forked(command_line("train", "mednist", *place, *SETTINGS), stdout=subprocess.DEVNULL)
    stop_after(folder / "runs" / "first", 16, process)
    return Run(folder / "runs" / "first"), shards


# ---- what decides results: verify's functions ------------------------------------------------------------------------


def faults_of_run(run: Run, shards: Path) -> list[str]:
    return list(check_files(run).faults)


def faults_beside_checkpoints(run: Run, shards: Path) -> list[str]:
    """Two of those that `check_files` asks, which then reads all checkpoints."""
    whole = checkpoint_folders(run.checkpoints)
    return journal_faults(run, whole, []) + made_with_faults(run, whole)


def faults_of_shards(run: Run, shards: Path) -> list[str]:
    try:
        return verify_shards(shards, "crc")
    except MedtrainError as error:
        return [error.problem]


def parts(kind: str, run: Run, shards: Path) -> list[tuple[Path, range]]:
    """The files of a kind, and where in each a changed bit decides something."""
    if kind == "settings":
        return settings(run.config_file)
    files = {
        "copy of medtrain": [*(run.code / "medtrain").rglob("*.py"), *(run.code / "medtrain").rglob("*.yaml")],
        "checkpoints": [path for folder in checkpoint_folders(run.checkpoints) for path in folder.iterdir()],
        "manifests of checkpoints": [folder / "manifest.json" for folder in checkpoint_folders(run.checkpoints)],
        "journal": [run.journal],
        "environment": [run.environment],
        "manifest": [shards / "manifest.json"],
        "indexes": [*shards.glob("*.idx")],
        "tars": [*shards.glob("*.tar")],
    }[kind]
    return [(path, range(path.stat().st_size)) for path in sorted(files) if path.stat().st_size]


def settings(path: Path) -> list[tuple[Path, range]]:
    """The values of the settings that decide the weights; of the others a resumed run may change any."""
    bound, section, at, found = fingerprint.binding(configfile.load(path)), "", 0, []
    for line in path.read_text().splitlines(keepends=True):
        if match := re.match(r"( *)(\w+):(.*)", line):
            section = section if match[1] else match[2]
            name = f"{section}.{match[2]}" if match[1] else match[2]
            if name in bound and match[3].strip():
                found.append((path, range(at + match.start(3) + 1, at + match.end(3))))
        at += len(line.encode())
    return found


def same_settings(path: Path, before: Config) -> bool:
    """Whether a flip spells the same value otherwise, such as 1E-3."""
    try:
        return fingerprint.binding(configfile.load(path)) == fingerprint.binding(before)
    except MedtrainError:
        return False


JUDGES: dict[str, Callable[[Run, Path], list[str]]] = {
    **dict.fromkeys(("settings", "copy of medtrain", "environment", "journal"), faults_beside_checkpoints),
    **dict.fromkeys(("checkpoints", "manifests of checkpoints"), faults_of_run),
    **dict.fromkeys(("manifest", "indexes", "tars"), faults_of_shards),
}


@pytest.mark.parametrize("kind", JUDGES)
def test_a_flipped_bit_in_what_decides_results_is_found_by_verify(kind: str, started: tuple[Run, Path]) -> None:
    run, shards = started
    draw, places, before = random.Random(kind), parts(kind, run, shards), configfile.load(run.config_file)
    assert JUDGES[kind](run, shards) == [], "nothing is wrong before"
    for _ in range(OFFSETS):
        path, offsets = draw.choice(places)
        at, bit = draw.choice(offsets), draw.randrange(8)
        flip(path, at, bit)
        told = JUDGES[kind](run, shards)
        same = kind == "settings" and same_settings(path, before)
        flip(path, at, bit)
        assert told or same, f"{path}: bit {bit} of byte {at}"


# ---- every kind of file: the real commands ---------------------------------------------------------------------------


def kinds(run: Run, shards: Path) -> Iterator[Path]:
    """A file of each kind in the folder of a run, and in that of a packed dataset: by name, without its numbers."""
    seen = set()
    for folder in (run.folder, shards):
        for path in sorted(folder.rglob("*")):
            local = path.relative_to(folder).as_posix()
            kind = re.sub(r"\d+|^code/medtrain/.*(?=\.)|train|val|test", "*", local)
            made_by_python = "__pycache__" in path.parts
            if path.is_file() and path.stat().st_size and not made_by_python and (folder, kind) not in seen:
                seen.add((folder, kind))
                yield path


def answers(run: Run, home: Path) -> dict[str, Any]:
    """What the real commands say of a run, and what it has become: a result each, or what they printed."""
    found: dict[str, Any] = {}
    for words in (["status", "--json"], ["resume", run.name, "--json"], ["evaluate", run.name, "--json"]):
        done = medtrain(*words, "--runs", run.folder.parent, check=False, cwd=home)
        told = done.stdout + done.stderr
        assert "Traceback" not in told, told
        if done.returncode:
            assert re.search(r"^error: .+\n  fix: .+\Z", done.stderr.strip(), re.M), (words, told)
        found[words[0]] = (done.returncode, done.stdout, done.stderr)
    return found


@pytest.mark.slow
def test_a_flipped_bit_in_any_file_is_right_or_two_lines_through_the_real_commands(
    started: tuple[Run, Path], tmp_path: Path
) -> None:
    whole = started[0].folder.parents[1]
    home = tmp_path / "home"

    def fresh() -> Run:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(whole, home, symlinks=True)
        config = home / "runs" / "first" / "config.yaml"
        config.write_text(config.read_text().replace(str(whole), str(home)))
        return Run(home / "runs" / "first")

    run = fresh()
    paths = [path.relative_to(home) for path in kinds(run, home / "shards" / "demo")]
    baseline, trained = answers(run, home), result(run.folder)
    scores = json.loads(baseline["evaluate"][1])
    for local in paths:
        draw = random.Random(str(local))
        for _ in range(2):
            run = fresh()
            at, bit = draw.randrange((home / local).stat().st_size), draw.randrange(8)
            flip(home / local, at, bit)
            told = answers(run, home)
            where = f"{local}: bit {bit} of byte {at}"
            assert [row["run"] for row in json.loads(told["status"][1])] == ["first"], where
            if told["resume"][0] == 0 and not names(told["resume"], local):
                assert result(run.folder) == trained, where
            if told["evaluate"][0] == 0 and told["resume"][0] == 0 and not names(told["resume"], local):
                assert json.loads(told["evaluate"][1]) == scores, where
            print(f"{where}: exit code of resume {told['resume'][0]}, of evaluate {told['evaluate'][0]}", flush=True)
    assert len(paths) > 15


def names(told: tuple[int, str, str], local: Path) -> bool:
    """Whether a file that was damaged is named, so that another result is no silent one."""
    return local.name in told[2] or any(part in told[2] for part in local.parts if part.startswith("step-"))
