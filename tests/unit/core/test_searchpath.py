"""A user's own files with the names of Python's modules, in the folder where medtrain is started: never executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from limits import HANG_S

from medtrain.core import processes

PRINT = "import sys; print(*sys.modules)"
INSTALLED = shutil.which("medtrain", path=str(Path(sys.executable).parent))


def trapped(folder: Path) -> Path:
    """A folder with a file for every module of Python's library; each leaves a mark when it is executed."""
    folder.mkdir()
    # What the interpreter needs before it looks at its command line is its own affair (PYTHONPATH=. alone breaks it).
    early = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True).stdout.split()
    for name in sys.stdlib_module_names - set(early) - {"nt", "_winapi"}:  # of Windows: looked for at the start
        (folder / f"{name}.py").write_text(f"open({str(folder / 'executed')!r}, 'a').write('{name} ')\n")
    assert {"random", "secrets", "json", "queue", "runpy"} <= {path.stem for path in folder.iterdir()}
    return folder


def run_there(command: list[str], folder: Path, pythonpath: str | None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {} if pythonpath is None else {"PYTHONPATH": pythonpath}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=HANG_S)


def executed(folder: Path) -> str:
    """The names of the files that were executed, once each."""
    mark = folder / "executed"
    return mark.read_text() if mark.exists() else ""


@pytest.mark.parametrize("pythonpath", [None, "", ".", ":/nowhere", "./", "/nowhere::/there"])
def test_no_process_of_a_run_executes_what_lies_in_the_working_folder(pythonpath: str | None, tmp_path: Path) -> None:
    """Every rank, supervisor, loader process, feeding process and doctor's probe begins as this command does."""
    folder = trapped(tmp_path / "here")
    done = run_there(processes.command("medtrain.cli.main", "recipes", "--json"), folder, pythonpath)
    assert (done.returncode, executed(folder)) == (0, ""), done.stderr
    assert "mednist" in done.stdout


@pytest.mark.parametrize("pythonpath", [None, "."])
def test_the_command_and_its_pools_execute_nothing_of_the_working_folder(
    pythonpath: str | None, demo_tree: Path, tmp_path: Path
) -> None:
    """`check` decodes in a pool of processes that multiprocessing starts by `python -c`."""
    if INSTALLED is None:
        pytest.skip("medtrain is not installed beside this Python: pip install -e .")
    if sys.version_info < (3, 11) and pythonpath is None:
        pytest.skip("Python 3.10 has neither -P nor PYTHONSAFEPATH for what multiprocessing starts")
    folder = trapped(tmp_path / "here")
    if pythonpath:  # the first line of the installed script is executed before medtrain can do anything
        (folder / "re.py").unlink(missing_ok=True)
    done = run_there([INSTALLED, "check", "demo", "--root", str(demo_tree)], folder, pythonpath)
    assert (done.returncode, executed(folder)) == (0, ""), done.stderr


def test_what_a_full_path_names_is_still_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("print('found')\n")
    code = "from medtrain.core.search_path import leave_out_working_folder as go; go('/nowhere'); import mine"
    done = run_there([sys.executable, "-c", code], tmp_path, str(tmp_path))
    assert done.stdout == "found\n", done.stderr
    assert "No module named 'mine'" in run_there([sys.executable, "-c", code], tmp_path, "").stderr
