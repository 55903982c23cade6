"""A run resumes with its own copy of medtrain, whatever becomes of the installed one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command import SMALL, command_line, medtrain, read_until, wait_until
from limits import HANG_S
from places import REPOSITORY as CHECKOUT
from process_table import children

from medtrain.config import configfile
from medtrain.core import processes
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import append_json, read_json, write_json
from medtrain.runs import code_snapshot
from medtrain.runs.checkpoint_manifest import FORMAT, manifest_bytes
from medtrain.runs.run import Run

SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "4"]
# Lies in a copy and says where every module of medtrain came from that the processes of a run use.
TELL = """
import sys
from medtrain.cli import main
from medtrain.cli.commands import runs
from medtrain.launch import rank_main, submit, supervisor
from medtrain.loading import pool, worker
from medtrain.tracking import uploader, uploader_process
from medtrain.tracking.backends import tensorboard
files = {module.__file__ for name, module in sys.modules.items() if name.startswith("medtrain")}
print(*sorted(file for file in files if file))
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A medtrain that may be edited and broken, as the installed one of every process that a test starts."""
    package = tmp_path / "installed" / "medtrain"
    shutil.copytree(CHECKOUT / "medtrain", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.chdir(tmp_path)  # the current folder comes before PYTHONPATH, and must not hold a medtrain
    return package


def make_run(folder: Path) -> Run:
    """A run as `submit` leaves it, with this test's own medtrain as its copy."""
    run = Run.create(folder / "runs", "first")
    code_snapshot.create_snapshot(run)
    configfile.save(configfile.resolve("demo"), run.config_file)
    return run


def train_arguments(shards: Path, name: str, *more: str) -> list[str]:
    return ["train", "mednist", "--shards", str(shards), "--run", name, *SETTINGS, *more]


def tensors(run: Path) -> Any:
    return json.loads((run / "checkpoints" / "last" / "manifest.json").read_text())["tensors"]


def command_lines_below(pid: int) -> dict[int, str]:
    """The command line of every process below one."""
    found: dict[int, str] = {}
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        found.update(command_lines_below(child))
    return found


def test_the_copy_is_whole_private_and_told_in_the_manifest(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    files = code_snapshot.sources(CHECKOUT)
    assert code_snapshot.sources(run.code) == files
    assert {
        "medtrain/launch/rank_main.py",
        "medtrain/config/recipes/demo.yaml",
        "medtrain/tracking/backends/wandb.py",
    } <= files.keys()
    assert not list(run.code.rglob("__pycache__"))
    manifest = read_json(run.code / "manifest.json")
    assert manifest["files"].keys() == files.keys()
    assert manifest["packages"]["torch"] and manifest["python"] == ".".join(map(str, sys.version_info[:3]))
    assert [row["digest"] for row in manifest["history"]] == [manifest["digest"]]
    for path in (run.code, *run.code.rglob("*")):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert not list(run.folder.glob(".*")), "something hidden was left"
    assert (run.code / "slurm" / "clusters" / "example.yaml").exists(), "--cluster NAME finds the site's files"


@pytest.mark.parametrize("trap", ["current_folder", "python_path", "safe_path"])
def test_every_module_comes_from_the_copy(trap: str, tmp_path: Path) -> None:
    """In a checkout, with an editable install, whatever Python is told to look at first."""
    run = make_run(tmp_path)
    (run.code / "medtrain" / "tell.py").write_text(TELL)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env.update({"python_path": {"PYTHONPATH": str(CHECKOUT)}, "safe_path": {"PYTHONSAFEPATH": "1"}}.get(trap, {}))
    command = processes.command("medtrain.tell", root=run.code)
    done = subprocess.run(command, cwd=CHECKOUT, env=env, check=True, capture_output=True, text=True)
    files = done.stdout.split()
    assert len(files) > 20 and all(file.startswith(f"{run.code}/medtrain/") for file in files), files


def test_an_argument_may_look_like_anything(tmp_path: Path) -> None:
    (tmp_path / "a b'c").mkdir()
    run = make_run(tmp_path / "a b'c")
    (run.code / "medtrain" / "tell.py").write_text("import sys; print(sys.argv[1:])")
    words = ["-c", "", "--x=$HOME", "a b"]
    done = subprocess.run(processes.command("medtrain.tell", *words, root=run.code), capture_output=True, text=True)
    assert done.stdout == f"{words}\n"


def test_a_source_that_breaks_and_goes_while_a_run_trains_changes_nothing(
    installed: Path, demo_shards: Path, tmp_path: Path
) -> None:
    medtrain(*train_arguments(demo_shards, "calm"))
    command = command_line(*train_arguments(demo_shards, "storm", "--epochs", "40", "--tracker", "tensorboard"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = Run("runs/storm")
    wait_until(run.config_file.exists, process)
    for file in installed.rglob("*.py"):
        file.write_text("this is not Python")
    wait_until(lambda: any(run.checkpoints.glob("step-*")), process)
    shutil.rmtree(installed)
    below = command_lines_below(process.pid)
    assert sum("medtrain.loading.worker" in line for line in below.values()) > 0
    assert sum("medtrain.tracking.uploader" in line for line in below.values()) == 1
    assert all(str(run.code) in line for line in below.values() if "medtrain" in line), below
    (rank,) = [pid for pid, line in below.items() if "medtrain.launch.rank_main" in line]
    os.kill(rank, signal.SIGKILL)
    printed = read_until("resuming from step", process)
    wait_until(lambda: run.journal.read_text().count('"kind": "epoch"') >= 3, process)
    process.send_signal(signal.SIGTERM)
    printed += process.communicate(timeout=HANG_S)[0]
    assert process.returncode == 75, printed
    assert (run.folder / "trackers" / "tensorboard").exists()
    saved = json.loads((run.checkpoints / "last" / "state.json").read_text())["step"]
    assert saved >= 24
    calm = [line for line in Path("runs/calm/metrics.jsonl").read_text().splitlines() if '"step"' in line]
    losses = [(row["step"], row["loss"]) for row in map(json.loads, calm) if row["kind"] == "step"]
    ours = [json.loads(line) for line in run.journal.read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in ours if row["kind"] == "step"][: len(losses)] == losses


def test_resume_goes_on_with_the_copy_and_thaw_takes_the_installed_one(
    installed: Path, demo_shards: Path, tmp_path: Path
) -> None:
    medtrain(*train_arguments(demo_shards, "calm", "--epochs", "1"))
    run, before = Run("runs/calm"), read_json(Path("runs/calm/code/manifest.json"))
    trainer = (installed / "training" / "loop.py").read_text()
    (installed / "training" / "loop.py").write_text(trainer + "\nraise SystemExit('the installed medtrain')\n")
    resumed = medtrain("resume", "calm", "--epochs", "1", "--json")
    assert json.loads(resumed.stdout)["state"] == "finished"
    (line,) = [line for line in resumed.stderr.splitlines() if "its own copy" in line]
    assert "medtrain diff calm" in line and "--update-code" in line
    assert read_json(run.code / "manifest.json") == before

    done = medtrain("resume", "calm", "--update-code", "--epochs", "2", check=False)
    assert "the installed medtrain" in done.stdout + done.stderr, "this is what runs now"
    after = read_json(run.code / "manifest.json")
    assert [row["digest"] for row in after["history"]] == [before["digest"], after["digest"]]
    assert after["history"][1]["step"] == run.last_step() > 0

    (installed / "training" / "loop.py").write_text(trainer)
    resumed = medtrain("resume", "calm", "--update-code")
    assert "resumes with this medtrain" in resumed.stderr and "its own copy" not in resumed.stderr
    assert len(read_json(run.code / "manifest.json")["history"]) == 3


def test_a_run_from_before_there_were_copies_gets_one(installed: Path, demo_shards: Path, tmp_path: Path) -> None:
    medtrain(*train_arguments(demo_shards, "old", "--epochs", "1"))
    run = Run("runs/old")
    shutil.rmtree(run.code)
    assert "no copy of medtrain" in medtrain("diff", "old", check=False).stderr
    medtrain("resume", "old")
    assert code_snapshot.sources(run.code) == code_snapshot.sources(installed.parent)


def test_diff_shows_files_packages_and_settings(installed: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert "the copy is the installed one" in medtrain("diff", "first").stdout
    manifest = read_json(run.code / "manifest.json")
    write_json(run.code / "manifest.json", {**manifest, "packages": {**manifest["packages"], "torch": "1.0"}})
    (installed / "loading" / "order.py").write_text(
        (installed / "loading" / "order.py").read_text().replace("sample", "example")
    )
    (installed / "models" / "families" / "new.py").write_text("NAMES = ()")
    (installed / "metrics" / "classification.py").unlink()
    (installed / "config" / "recipes" / "demo.yaml").write_text("# other\nepochs: 77\n")
    text = medtrain("diff", "first").stdout
    assert "--- copy/medtrain/loading/order.py" in text and "+++ installed/medtrain/loading/order.py" in text
    assert "+NAMES = ()\n\\ No newline at end of file\n" in text
    assert re.search(r"^torch +1\.0 +\S+$", text, re.M) and re.search(r"^epochs +77 +8$", text, re.M)
    assert "medtrain resume first --update-code" in text and "\x1b" not in text
    found = json.loads(medtrain("diff", "first", "--json").stdout)
    assert found["added"] == ["medtrain/models/families/new.py"] and found["removed"] == [
        "medtrain/metrics/classification.py"
    ]
    assert found["changed"] == ["medtrain/config/recipes/demo.yaml", "medtrain/loading/order.py"]
    assert found["packages"]["torch"][0] == "1.0" and found["settings"]["epochs"][0] == 77
    assert not found["obstacle"]


def test_a_medtrain_that_cannot_go_on_with_a_run_is_not_taken(installed: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    config = (installed / "config" / "schema.py").read_text()
    (installed / "config" / "schema.py").write_text(config.replace("    dropout: float", "    drop: float"))
    before = code_snapshot.sources(run.code)
    assert "there is no setting model.dropout" in medtrain("diff", "first").stdout
    done = medtrain("resume", "first", "--update-code", check=False)
    assert done.returncode == 2 and "there is no setting model.dropout" in done.stderr
    assert code_snapshot.sources(run.code) == before
    (installed / "config" / "schema.py").write_text(config)
    other = manifest_bytes({"format": FORMAT, "fingerprints": {"config": "other"}})
    for step, told in ((1, other), (2, b"")):  # a power loss left the newest one empty
        (run.checkpoints / f"step-{step:08d}").mkdir()
        (run.checkpoints / f"step-{step:08d}" / "manifest.json").write_bytes(told)
    done = medtrain("resume", "first", "--update-code", check=False)
    assert done.returncode == 2 and "other settings that decide the weights" in done.stderr


def test_a_source_that_is_not_python_is_refused_before_anything_waits(
    installed: Path, demo_shards: Path, tmp_path: Path
) -> None:
    (installed / "launch" / "rank_main.py").write_text("def main(:\n")
    done = medtrain(*train_arguments(demo_shards, "first"), check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2
    assert "medtrain/launch/rank_main.py: not valid Python (invalid syntax, line 1)" in done.stderr
    assert not Path("runs/first/config.yaml").exists(), "the name can be used again"
    shutil.copy(CHECKOUT / "medtrain" / "launch" / "rank_main.py", installed / "launch")
    medtrain(*train_arguments(demo_shards, "first", "--epochs", "1"))


def test_a_copy_that_was_edited_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    (run.code / "medtrain" / "training" / "optim.py").write_text("LR = 7\n")
    done = medtrain("resume", "first", check=False, cwd=tmp_path)
    assert (
        done.returncode == 2
        and "was changed (medtrain/training/optim.py)" in done.stderr
        and "--update-code" in done.stderr
    )
    (run.code / "manifest.json").write_bytes(b"")
    with pytest.raises(InputError, match="was changed"):
        code_snapshot.ensure_intact(run)
    code_snapshot.create_snapshot(run)
    code_snapshot.ensure_intact(run)


def test_a_run_that_is_under_way_is_not_thawed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()", "medtrain"], stdin=subprocess.PIPE) as process:
        row = {"event": "start", "attempt": 1, "step": 0, "job": "", "nodes": socket.gethostname(), "pid": process.pid}
        row["time"] = time.time()
        append_json(run.attempts, row)
        (run.code / "manifest.json").touch()
        before = (run.code / "manifest.json").stat().st_mtime_ns
        done = medtrain("resume", "first", "--runs", run.folder.parent, "--update-code", check=False)
        assert done.returncode == 2 and "is under way with its own copy" in done.stderr
        assert (run.code / "manifest.json").stat().st_mtime_ns == before
        process.communicate(b"\n")


def test_a_copy_that_is_killed_in_the_making_is_whole_or_absent(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    code = "import sys; from medtrain.runs import code_snapshot as c, run\n"
    code += "while True: c.create_snapshot(run.Run(sys.argv[1]))"
    for number in range(12):
        with subprocess.Popen([sys.executable, "-c", code, str(run.folder)], cwd=CHECKOUT) as process:
            time.sleep(0.3 + number * 0.061)
            process.kill()
        if run.code.exists():
            code_snapshot.ensure_intact(run)
    code_snapshot.create_snapshot(run)
    code_snapshot.ensure_intact(run)
    assert not list(run.folder.glob(".code*")), "the next one clears up"
