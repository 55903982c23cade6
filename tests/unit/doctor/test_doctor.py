"""The doctor finds planted defects, each of them real, and cries no wolf on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from broken_machine import program, read_only_folder
from command import medtrain
from limits import HANG_S

from medtrain.cli.commands.doctor import doctor, line
from medtrain.doctor import local as module
from medtrain.doctor.checks import Finding, devices, fail, ok, software, warn
from medtrain.doctor.local import examine

ROOT = Path(module.__file__).parents[2]


# The whole command.


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the doctor says of this machine without Slurm, as JSON."""
    place = tmp_path_factory.mktemp("runs")
    (place / "empty").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    done = medtrain("doctor", "--folder", place, "--json", env={**env, "PATH": str(place / "empty")})
    assert [path.name for path in place.iterdir()] == ["empty"], "nothing is left behind"
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_no_false_alarm_on_a_good_machine(report: dict[str, Any]) -> None:
    failures = [check for check in report.values() if check["state"] == "FAIL"]
    assert not failures
    assert set(report["python"]) == {"name", "state", "text", "fix"}
    for name in (
        "python",
        "medtrain",
        "packages",
        "optional",
        "imports",
        "jpeg",
        "cpu",
        "slurm",
        "folder",
        "clock",
        "privacy",
    ):
        assert report[name]["state"] == "ok", report[name]
    assert ".".join(map(str, sys.version_info[:3])) in report["python"]["text"]
    assert "no Slurm here" in report["slurm"]["text"]
    assert "partitions" not in report, "what does not apply is not mentioned"


def test_every_finding_that_is_not_ok_says_what_to_do(report: dict[str, Any]) -> None:
    assert all(check["fix"] for check in report.values() if check["state"] != "ok")


def test_a_failure_is_a_line_with_its_remedy_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKS", {"python": software.python})  # the others are looked at elsewhere
    assert doctor(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 0 failures")
    assert doctor(read_only_folder(tmp_path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    python ")
    assert lines[1].startswith("FAIL  folder ")
    assert "cannot be written" in lines[1]
    assert "  -> choose another: --folder DIR".replace("  ", " ") in lines[1]
    assert lines[2:] == ["", "1 ok, 0 warnings, 1 failures"]


def test_a_crash_inside_a_check_is_a_failure() -> None:
    def crash() -> Finding:
        raise ZeroDivisionError("planted")

    found = examine(crash)
    assert found is not None
    assert (found.state, found.text) == ("FAIL", "this check crashed: ZeroDivisionError: planted")
    assert found.fix


def test_a_finding_is_one_line() -> None:
    assert line("room", warn("a\nb", "do\nthis")) == "warn  room        a b -> do this"


def test_words_for_states() -> None:
    assert (ok("x").state, warn("x", "y").state, fail("x", "y").state) == ("ok", "warn", "FAIL")


# Python and its packages.


def bare_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The Python below this virtual environment, which has none of its packages."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", **environment}
    command = [sys._base_executable, *arguments]  # type: ignore[attr-defined]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=HANG_S)


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a virtual environment")
def test_missing_packages_are_named_even_where_nothing_is_installed(tmp_path: Path) -> None:
    if bare_python("-c", "import tyro").returncode == 0:
        pytest.skip("the Python below the virtual environment has tyro itself")
    done = bare_python("-m", "medtrain", "doctor", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    (packages,) = [row for row in done.stdout.splitlines() if " packages " in row]
    assert packages.startswith("FAIL")
    assert "tyro is missing" in packages
    assert re.search(r"-m pip install .*'tyro>=[\d.]+'", packages)
    gpus = next(row for row in done.stdout.splitlines() if " gpus " in row)
    assert gpus.startswith("FAIL  gpus        the package torch is missing")
    other = bare_python("-m", "medtrain", "recipes")
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr.splitlines()[0] == "error: the Python package tyro is not installed"


def test_an_old_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("tyro", "0.5.0"), ("safetensors", "99.0")):
        (tmp_path / f"{name}-{version}.dist-info").mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (tmp_path / f"{name}-{version}.dist-info" / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = software.packages()
    assert found.state == "FAIL"
    assert re.fullmatch(r"tyro is 0\.5\.0, and [\d.]+ is needed", found.text)
    assert re.fullmatch(rf"{re.escape(sys.executable)} -m pip install 'tyro>=[\d.]+'", found.fix)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('libjpeg.so.8: cannot open')", "simplejpeg: ImportError libjpeg.so.8: cannot open"),
        ("import os; os.abort()", "simplejpeg: its import ended the process"),
    ],
)
def test_a_broken_package_is_found(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "simplejpeg").mkdir()
    (tmp_path / "simplejpeg" / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(software, "requirements", lambda: ["tqdm>=4", "simplejpeg>=1"])  # importing all takes long
    found = software.imports()
    assert (found.state, found.text[: len(said)]) == ("FAIL", said)
    assert "--force-reinstall" in found.fix


def test_versions_are_compared_as_numbers() -> None:
    release = software._release
    assert release("2.10") > release("2.9")
    assert release("2.6.0+cu124") == release("2.6")
    assert release("2.6.0rc1") == release("2.6")
    assert release("1.26") < release("2")


def test_the_doctor_understands_every_requirement() -> None:
    requirements = software.requirements()
    assert len(requirements) >= 10
    assert all(re.fullmatch(r"[\w-]+>=\d+(\.\d+)*", requirement) for requirement in requirements)
    names = software.import_names(requirements)
    assert {"torch", "cv2", "yaml", "PIL"} & set(names) == {"torch", "cv2", "yaml"}
    assert len(names) == len(requirements)


def test_jpeg_and_tracker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert software.jpeg().state == "ok"
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert "offline" in software.tracker().text
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert "online" in software.tracker().text


# Devices.


def test_what_computes_wrongly_is_found() -> None:
    assert devices.computes("cpu", "float32", 1e-4) == ""
    assert "matrix product in bfloat16 is off by" in devices.computes("cpu", "bfloat16", 1e-6)


def test_torch_that_cannot_start_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    found = devices.gpus()
    assert found.state == "FAIL"
    assert "OSError: libcudart.so.12" in found.text
    assert "Traceback" not in found.text


def test_a_driver_that_torch_does_not_see_is_a_failure(no_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices._no_gpu("13.0", "2.14").state == "ok", "a machine without GPUs is fine"
    program(no_slurm, "nvidia-smi", "echo 'NVIDIA-SMI has failed: no driver'; exit 9")
    assert devices._no_gpu("13.0", "2.14").state == "ok", "a login node with the tool and no GPU is fine too"
    program(no_slurm, "nvidia-smi", "echo 'GPU 0: NVIDIA H200 (UUID: x)'; echo 'GPU 1: NVIDIA H200 (UUID: y)'")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = devices._no_gpu(None, "2.14.1+cpu")
    assert (found.state, "sees 2" in found.text, "build for CPUs only" in found.text) == ("FAIL", True, True)
    assert "built for CUDA 13.0" in devices._no_gpu("13.0", "2.14.1").text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices._no_gpu("13.0", "2.14").state == "ok", "hidden on purpose"
