"""The doctor finds planted defects, each of them real, and cries no wolf on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command import medtrain

from medtrain.cli.commands.doctor import doctor, line
from medtrain.core.errors import InputError, MachineError
from medtrain.doctor import local as module
from medtrain.doctor.checks import Finding, ask, cluster, devices, fail, folder, ok, resources, slurm, software, warn
from medtrain.doctor.local import examine
from medtrain.doctor.probe import job_script

ROOT = Path(module.__file__).parents[2]


@pytest.fixture
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as PATH, and no job around us."""
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    slurm.configuration.cache_clear()
    return tmp_path / "bin"


def program(bin_folder: Path, name: str, text: str) -> None:
    """A shell script as a command."""
    (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (bin_folder / name).chmod(0o755)


def read_only_folder(tmp_path: Path) -> Path:
    """A folder that cannot be written, for root neither."""
    if os.geteuid() == 0:
        return Path("/sys/kernel")
    tmp_path.chmod(0o500)
    return tmp_path


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
    for name in ("python", "medtrain", "packages", "imports", "jpeg", "cpu", "slurm", "folder", "clock", "privacy"):
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


# Python and its packages.


def bare_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The Python below this virtual environment, which has none of its packages."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", **environment}
    command = [sys._base_executable, *arguments]  # type: ignore[attr-defined]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=120)


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


# Slurm. What a real cluster says is looked at in tests/cluster.


def test_slurm_without_some_of_its_commands(no_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm.programs().state == "ok"
    assert slurm.partitions() is slurm.submitting() is slurm.requeueing() is None
    assert slurm.preemption() is slurm.accounting() is None
    for name in ("srun", "sinfo", "squeue", "scancel", "scontrol"):
        program(no_slurm, name, "exit 0")
    found = slurm.programs()
    assert (found.state, found.text) == ("FAIL", "not found: sbatch")


def test_a_job_without_slurms_commands(no_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm.job().text == "this is not inside a Slurm job"
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert slurm.programs().state == "FAIL", "a job's ranks could not be started"
    assert slurm.job().text == "inside job 42 on node[1-2], tasks: 8"


def test_a_command_that_hangs_is_given_up() -> None:
    start = time.monotonic()
    answer = ask("sleep", "60", seconds=0.3)
    assert (answer.code, answer.reason) == (None, "no answer in time")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("1:30", 1.5), ("00:01:00", 1), ("12:00:00", 720), ("2-12", 3600), ("1-00:30:00", 1470),
        ("UNLIMITED", None), ("NONE", None), ("", None),
    ],
)  # fmt: skip
def test_times_as_slurm_writes_them(text: str, minutes: float | None) -> None:
    assert slurm.minutes(text) == minutes


def test_gpus_among_the_resources_of_a_node() -> None:
    assert [cluster._gpus(gres) for gres in ("gpu:4", "gpu:a100:4(S:0-1),nvme:1", "gpu:a:1,gpu:b:2", "(null)")] == [
        4,
        4,
        3,
        0,
    ]


ONE_EACH: dict[int, list[str] | None] = {0: ["0"], 1: ["0"]}  # a cgroup shows each rank its own, as number 0


@pytest.mark.parametrize(
    ("visible", "devices", "fault"),
    [
        ({0: ["0", "1"], 1: ["0", "1"]}, {0: None, 1: None}, ""),
        ({0: ["0", "1"], 1: ["0", "1"]}, {0: ["GPU-a", "GPU-b"], 1: ["GPU-a", "GPU-b"]}, ""),
        (ONE_EACH, {0: ["GPU-a"], 1: ["GPU-b"]}, ""),
        (ONE_EACH, {0: ["GPU-a"], 1: ["GPU-a"]}, "nvidia-smi shows 1 GPUs"),
        (ONE_EACH, {0: ["GPU-a", "GPU-b"], 1: ["GPU-a", "GPU-b"]}, "2 ranks share 1 GPU(s)"),
        (ONE_EACH, {0: None, 1: None}, "2 ranks share 1 GPU(s)"),
        ({0: ["MIG-a", "MIG-b"], 1: ["MIG-a", "MIG-b"]}, {0: ["MIG-a", "MIG-b"], 1: ["MIG-a", "MIG-b"]}, ""),
        ({0: ["0", "1"], 1: ["0", "1"]}, {0: [], 1: []}, "nvidia-smi shows 0 GPUs"),
        ({0: [], 1: []}, {0: None, 1: None}, "ranks see no GPU, although Slurm granted some"),
    ],
)
def test_each_rank_has_a_gpu_of_its_own(
    visible: dict[int, list[str] | None], devices: dict[int, list[str] | None], fault: str
) -> None:
    assert resources._gpu_fault(visible, devices, 2, "") == fault


@pytest.mark.parametrize(
    "left", ["\0" * 40, 'probe+{"event": "met", "ra', "probe.no JSON", "a line of somebody else's"]
)
def test_what_a_rank_left_half_said_spoils_nothing(left: str, tmp_path: Path) -> None:
    died = {"event": "died", "rank": 0, "node": "a", "code": 1}
    whole = {"event": "hello", "rank": 1}
    lines = [f"0: {left}", f"0: probe.{json.dumps(died)}", f"1: probe.{json.dumps(whole)}", '1: probe+{"event": "me']
    (tmp_path / "ranks.log").write_text("\n".join(lines))
    assert job_script.read_ranks(tmp_path / "ranks.log") == [died, whole]


def test_options_that_need_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are about a cluster"):
        doctor(tmp_path, nodes=2)
    with pytest.raises(InputError, match="there is no cluster file"):
        doctor(tmp_path, cluster="nowhere")
    with pytest.raises(InputError, match="must not be negative"):
        doctor(tmp_path, cluster="example", wait=-1)


def test_without_slurm_no_probe_is_sent(no_slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MachineError, match="there is no Slurm here"):
        doctor(tmp_path, cluster="example")
    assert list(tmp_path.iterdir()) == [no_slurm]


# The folder.


def test_a_good_folder(tmp_path: Path) -> None:
    found = folder.writing(tmp_path)
    assert found.state == "ok"
    assert all(word in found.text for word in ("write", "sync", "rename", "append", "link"))
    assert list(tmp_path.iterdir()) == []
    assert folder.clock(tmp_path).state == "ok"
    assert re.match(r"[\d,.]+ GB free", folder.room(tmp_path).text)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    found = folder.writing(read_only_folder(tmp_path))
    assert (found.state, "cannot be written" in found.text) == ("FAIL", True)


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    found = folder.writing(tmp_path / "none")
    assert (found.state, f"mkdir -p {tmp_path / 'none'}" in found.fix) == ("FAIL", True)
    (tmp_path / "file").write_text("")
    found = folder.writing(tmp_path / "file")
    assert (found.state, "Not a directory" in found.text) == ("FAIL", True)


def test_a_step_that_the_file_system_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> None:
        (place / "none" / "link").symlink_to("a")

    monkeypatch.setitem(folder.STEPS, "link", refuse)
    found = folder.writing(tmp_path)
    assert (found.state, "it is not possible to link (No such file" in found.text) == ("FAIL", True)
    assert list(tmp_path.iterdir()) == []


def test_little_room_is_a_warning() -> None:
    assert folder.room_finding(10.1, None).state == "ok"
    assert folder.room_finding(9.9, None).state == "warn"
    assert folder.room_finding(500.0, 9_999).state == "warn"
    assert folder.room_finding(500.0, 10_000).state == "ok"


def test_clocks_that_differ_are_a_warning() -> None:
    assert folder.clock_finding(100.5, 100.0, 101.0).state == "ok"
    assert folder.clock_finding(99.0, 100.9, 101.0).state == "ok", "some file systems keep whole seconds"
    assert folder.clock_finding(104.0, 100.0, 101.0).text == "the file system's clock is 3 s ahead of this machine's"
    assert folder.clock_finding(40.0, 100.0, 101.0).text == "the file system's clock is 60 s behind this machine's"


def test_folders_open_to_everybody_are_a_warning(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert folder.privacy(tmp_path).state == "ok"
        tmp_path.chmod(0o777)
        assert folder.privacy(tmp_path).fix == f"chmod o-w {tmp_path}"
        tmp_path.chmod(0o1777)
        assert folder.privacy(tmp_path).state == "ok", "sticky, as /tmp: only the owner may rename or delete"
        tmp_path.chmod(0o700)
        os.umask(0o000)
        assert folder.privacy(tmp_path).state == "warn"
        assert os.umask(0o000) == 0, "the check leaves the umask as it was"
    finally:
        os.umask(before)


def test_the_kind_of_file_system_is_that_of_the_deepest_mount(tmp_path: Path, no_slurm: Path) -> None:
    mounts = tmp_path / "mounts"
    (tmp_path / "my data" / "runs").mkdir(parents=True)
    point = str(tmp_path / "my data").replace(" ", "\\040")
    mounts.write_text(f"dev / ext4 rw 0 0\nserver:/x {point} nfs4 rw 0 0\ntmpfs {tmp_path}/my tmpfs rw 0 0\n")
    assert folder.kind(tmp_path / "my data" / "runs", mounts) == "nfs4"
    assert folder.kind(tmp_path, mounts) == "ext4"
    assert folder.kind(Path("/dev/shm")) == "tmpfs"
    assert folder.sharing(Path("/dev/shm")) is None, "without Slurm there is nobody to share with"
    program(no_slurm, "sbatch", "exit 0")
    found = folder.sharing(Path("/dev/shm"))
    assert found is not None
    assert (found.state, "other nodes cannot see" in found.text) == ("warn", True)


def test_words_for_states() -> None:
    assert (ok("x").state, warn("x", "y").state, fail("x", "y").state) == ("ok", "warn", "FAIL")
