"""What the GPUs do is recorded by a helper of each node, through pynvml and the ABI of NVML; absent where it is."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from feeding import make_run, wait_until
from inprocess import new_run, train_here
from nvml_library import GIB, KnownGpus

from medtrain.config import configfile
from medtrain.config.schema import Config, SlurmConfig
from medtrain.core import processes
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.runs import attempts, fencing
from medtrain.runs.gpu_record import Row, gpu_use, last_rows
from medtrain.runs.removal import remove
from medtrain.runs.run import Run
from medtrain.runs.status import attempts_table, describe
from medtrain.tracking.gpu_curve import GpuCurve
from medtrain.tracking.gpu_meter import IdleGuard, Meter
from medtrain.tracking.gpu_recorder_process import GpuRecorderProcess
from medtrain.tracking.journal_reader import Row as StepRow
from medtrain.tracking.nvml import NoNvml, Nvml, Sample
from medtrain.training import loop
from medtrain.training.node_gpus import recorded_gpus

BUSY, BARE, MIG = (93, 20 * GIB, 400_000, 1), (40, 10 * GIB, 200_000, -1), (-1, 5 * GIB, -1, -1)
RANK = """
import sys, time
from pathlib import Path
from medtrain.runs.run import Run
from medtrain.tracking.gpu_recorder_process import GpuRecorderProcess

recorder = GpuRecorderProcess(Run(sys.argv[1]), "node1", 0.1)
recorder.start(["0"])
print(recorder._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    one = make_run(tmp_path, "none")
    attempts.note(one, attempts.start_row(one, 1))
    return one


def lines(run: Run, name: str = "node1") -> list[Row]:
    path = run.gpus / f"{name}.jsonl"
    return last_rows(path) if path.exists() else []


def recorded(run: Run, uuids: list[str], until: Callable[[list[Row]], bool]) -> list[Row]:
    recorder = GpuRecorderProcess(run, "node1", 0.2)
    recorder.start(uuids)
    wait_until(lambda: until(lines(run)))
    recorder.finish()
    return lines(run)


def test_what_nvml_tells_is_recorded(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = KnownGpus(tmp_path / "nvml", monkeypatch, BUSY, BARE, MIG)
    rows = recorded(run, gpus.uuids, lambda rows: len(rows) >= 2)
    first = rows[0]["gpus"]
    assert {name: first["0"][name] for name in ("utilization_percent", "memory_gib", "power_w")} == {
        "utilization_percent": 93.0, "memory_gib": 20.0, "power_w": 400.0,
    }  # fmt: skip
    assert first["2"] == {"memory_gib": 5.0}, "what a MIG device has not is absent, not zero"
    seconds = sum(row["seconds"] for row in rows)
    assert rows[-1]["energy_wh"] == pytest.approx(600 * seconds / 3600, rel=0.1)
    assert rows[-1]["energy_from"] == ["counter", "power"] and {row["attempt"] for row in rows} == {1}
    mode = stat.S_IMODE((run.gpus / "node1.jsonl").stat().st_mode), stat.S_IMODE(run.gpus.stat().st_mode)
    assert mode == (0o600, 0o700)
    with (run.gpus / "node1.jsonl").open("a") as file:
        file.write('{"attempt": 1, "ti')  # a power cut
    attempts.note(run, attempts.start_row(run, 1))
    again = recorded(run, gpus.uuids, lambda now: len(now) > len(rows))
    assert again[: len(rows)] == rows and again[-1]["attempt"] == 2
    assert again[-1]["energy_wh"] > rows[-1]["energy_wh"], "it is of all attempts"
    told = gpu_use(run, carbon_intensity_g_per_kwh=400)
    assert told is not None and told.gpus == 3 and told.utilization_percent == pytest.approx((93 + 40) / 2)
    assert told.energy_wh and told.co2_g == pytest.approx(told.energy_wh * 0.4)
    assert told.words().startswith("66 % busy, 11.7 GiB, 300 W on average of 3 (last 1 min); ")
    assert ", estimated CO2 " in told.words()
    without = gpu_use(run)
    assert without is not None and without.co2_g is None and "CO2" not in without.words(), "no intensity is invented"


def test_without_nvml_nothing_is_recorded_and_nothing_fails(run: Run) -> None:
    with pytest.raises(NoNvml, match="NVML Shared Library Not Found"):
        Nvml(["0"])
    recorder = GpuRecorderProcess(run, "node1", 0.1)
    recorder.start(["0"])
    assert recorder._process is not None and recorder._process.wait() == 0
    recorder.finish()
    assert not run.gpus.exists() and gpu_use(run) is None
    assert "NVML cannot be used (NVML Shared Library Not Found)" in run.log.read_text()


def test_where_the_driver_is_not_loaded_or_knows_no_such_gpu(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = KnownGpus(tmp_path / "nvml", monkeypatch, BUSY, (93, GIB, 400_000, 2))
    for uuids, loaded in ((["7", "1"], True), (gpus.uuids, False)):
        if not loaded:
            monkeypatch.delenv("NVML_FIGURES")
        recorder = GpuRecorderProcess(run, "node1", 0.1)
        recorder.start(uuids)
        assert recorder._process is not None and recorder._process.wait() == 0
    text = run.log.read_text()
    assert "it knows none of this run's GPUs" in text and "1" in gpus.uuids, "that is divided, and not its own alone"
    assert "Driver Not Loaded" in text and not run.gpus.exists()


@pytest.mark.parametrize("stopped", [False, True])
def test_it_ends_with_its_rank(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    KnownGpus(tmp_path / "nvml", monkeypatch, BUSY)
    rank = subprocess.Popen(
        [sys.executable, "-c", RANK, str(run.folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(processes.ROOT)},
    )  # fmt: skip
    assert rank.stdout is not None
    helper = int(rank.stdout.readline())
    wait_until(lambda: bool(lines(run)))
    if stopped:
        os.kill(helper, signal.SIGSTOP)
    rank.kill()
    rank.wait()
    wait_until(lambda: not fencing.started(helper))


def test_an_attempt_that_was_overtaken_writes_nothing_more(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = KnownGpus(tmp_path / "nvml", monkeypatch, BUSY)
    assert fencing.claim(run.folder, 1, fencing.myself())
    recorder = GpuRecorderProcess(run, "node1", 0.1)
    recorder.start(gpus.uuids)
    wait_until(lambda: bool(lines(run)))
    assert fencing.claim(run.folder, 2, fencing.myself())
    assert recorder._process is not None and recorder._process.wait() == 0, "it leaves by itself"
    fencing.release(run.folder)


def test_an_idle_gpu_is_warned_of_before_the_site_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, "none")
    configfile.save(Config(slurm=SlurmConfig(idle_minutes=0.02)), run.config_file)
    gpus = KnownGpus(tmp_path / "nvml", monkeypatch, (0, GIB, 60_000, 1), BUSY)
    rows = recorded(run, gpus.uuids, lambda rows: any("idle" in row for row in rows))
    warned = [words for row in rows for words in row.get("idle", ())]
    assert len(warned) == 1 and warned[0].startswith("GPU 0 of node1 was idle for 0.0"), warned
    assert "warning: GPU 0 of node1 was idle" in run.log.read_text()
    assert "GPU 0 of node1 was idle" in capfd.readouterr().err


def test_idle_means_most_of_the_minutes_and_is_said_once() -> None:
    guard = IdleGuard(minutes=10)
    busy, idle = {"0": {"utilization_percent": 50.0}}, {"0": {"utilization_percent": 0.0}}
    told = [(at, found) for at in range(60, 1200, 60) if (found := guard.note(idle, at, 60.0))]
    assert told == [(480, {"0": 8.0})], "after 3/4 of the time, once"
    assert not any(guard.note(busy, at, 60.0) for at in range(1200, 1800, 60))
    again = [at for at in range(1800, 3000, 60) if guard.note(idle, at, 60.0)]
    assert again == [2220], "a second idle time is warned of too"
    short = IdleGuard(minutes=10)
    assert not any(short.note(idle if at % 180 else busy, at, 60.0) for at in range(60, 3000, 60))
    unknown = IdleGuard(minutes=10)
    assert not any(unknown.note({"0": {}}, at, 60.0) for at in range(60, 3000, 60)), "not measured is not idle"


def test_energy_is_by_the_counter_or_else_from_power() -> None:
    meter = Meter()
    meter.add({"0": Sample(counter_mj=7_200_000.0), "1": Sample(power_w=100.0)}, 0.0)
    meter.add({"0": Sample(counter_mj=10_800_000.0), "1": Sample(power_w=300.0)}, 36.0)
    told = meter.told()
    assert told["0"].wh == pytest.approx(1.0) and told["0"].how == {"counter"}
    assert told["1"].wh == pytest.approx(2.0) and told["1"].how == {"power"}
    meter.add({"0": Sample(counter_mj=100.0), "1": Sample()}, 72.0)
    told = meter.told()
    assert not told["0"].how and not told["1"].how, "the driver was loaded anew; power is not there"
    meter.interrupted()
    meter.add({"0": Sample(counter_mj=9e9)}, 4000.0)
    assert not meter.told()["0"].how, "what was used while the job was suspended is another's"


def test_where_nothing_can_be_written_training_is_told_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gpus = KnownGpus(tmp_path / "nvml", monkeypatch, BUSY)
    run.gpus.write_text("a file, where the folder would be")
    recorder = GpuRecorderProcess(run, "node1", 0.1)
    recorder.start(gpus.uuids)
    assert recorder._process is not None and recorder._process.wait() == 0
    said = capfd.readouterr().err
    assert "what the GPUs of node1 do is not recorded: FileExistsError" in said and "Traceback" not in said


def test_damaged_lines_are_left_out(run: Run) -> None:
    run.gpus.mkdir()
    good = {"attempt": 1, "time": time.time(), "seconds": 10, "gpus": {"0": {"power_w": 100.0}}, "energy_wh": 1.0}
    bad = ["{", "[]", '{"gpus": 3, "time": 1}', json.dumps({**good, "gpus": {"0": 7}})]
    text = "\n".join([json.dumps(good), *bad]) + "\n"
    (run.gpus / "node1.jsonl").write_text(text)
    told = gpu_use(run)
    assert told is not None and told.power_w == 100 and told.energy_wh == 1.0 and told.utilization_percent is None
    (run.gpus / "node1.jsonl").write_text("\n".join(bad) + "\n")
    assert gpu_use(run) is None


def test_trackers_get_the_figures_with_the_step_after_them(run: Run) -> None:
    curve = GpuCurve(run)
    curve.read()
    step = StepRow(1, 1000.0, {"loss": 0.5})
    assert curve.added(step) == step
    run.gpus.mkdir()
    for node, power in (("node1", 100.0), ("node2", 300.0)):
        rows = [{"time": at, "gpus": {"0": {"power_w": power}}} for at in (500.0, 1001.0, 1004.0)]
        (run.gpus / f"{node}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"time": 10')
    curve.read()
    assert curve.added(step) == step, "what is old belongs to no step"
    assert curve.added(StepRow(2, 1002.0, {})).values == {"gpu_power_w": 200.0}
    assert curve.added(StepRow(3, 1003.0, {})).values == {}
    assert curve.added(StepRow(4, 1010.0, {})).values == {"gpu_power_w": 200.0}


def test_a_run_on_gpus_records_them_and_status_shows_it(
    tmp_path: Path, demo_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = KnownGpus(tmp_path / "nvml", monkeypatch, BUSY, BUSY)
    slurm = {"carbon_intensity_g_per_kwh": 300.0}
    trained = new_run(demo_shards, tmp_path, epochs=1, checkpoint={"every_steps": 0}, slurm=slurm)
    attempts.note(trained, attempts.start_row(trained, 1))
    monkeypatch.setattr(loop, "recorded_gpus", lambda device: ("node1", gpus.uuids))
    train_here(trained)
    told = describe(trained)
    assert told["gpus"]["gpus"] == 2 and told["gpus"]["co2_g"] == pytest.approx(told["gpus"]["energy_wh"] * 0.3)
    line = next(line for line in attempts_table(told).splitlines() if line.startswith("GPUs "))
    assert line.startswith("GPUs    93 % busy, 20.0 GiB, 400 W on average of 2 (last 1 min); ") and "CO2" in line
    page = write_report_page(trained).read_text()
    assert "GPUs in all attempts: 93 % busy, 20.0 GiB, 400 W on average of 2." in page
    assert "Energy of the GPUs in all attempts, from their energy counters: " in page
    assert remove(trained) == [], "it goes with the run"


def test_on_cpus_no_helper_is_started() -> None:
    assert recorded_gpus(torch.device("cpu")) == ("", [])
