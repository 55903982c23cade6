"""A decoder that ends its process costs one file, named; the command, all other files and their bytes are as if it were
not there."""

from __future__ import annotations

import re
from pathlib import Path

import deadly
import numpy as np
import pytest
import simplejpeg
from clip_files import beating, dicom_clip, save
from places import HELPERS

from medtrain.cli.main import run
from medtrain.core.errors import MachineError
from medtrain.core.isolated_processes import NO_MEMORY, Lost, Pool, Work
from medtrain.core.jsonfiles import read_json, read_json_lines
from medtrain.curation import degraded_copy, scan
from medtrain.datasets.record import Record
from medtrain.imaging import isolated_decode
from medtrain.reporting import dataset_figures as data
from medtrain.shards import pack as shards
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

ENDS = {
    "abort": "its decoder ends the process (SIGABRT)",
    "exit": "its decoder ends the process (exit code 3)",
    "kill": "its decoder ends the process (SIGKILL: out of memory?)",
    "memory": NO_MEMORY,
}


@pytest.fixture
def deadly_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))  # where the other processes find it
    monkeypatch.setattr(shards, "PACKING", deadly.PACKING)
    monkeypatch.setattr(scan, "LOOKING", deadly.LOOKING)
    monkeypatch.setattr(degraded_copy, "WRITING", deadly.WRITING)
    monkeypatch.setattr(isolated_decode, "READING", deadly.READING)
    monkeypatch.setattr(isolated_decode, "_pool", None)


def images(folder: Path, deaths: dict[int, str], once: Path | None = None) -> list[Record]:
    """40 JPEGs, each another; at the numbered ones the decoder ends its process."""
    folder.mkdir()
    made = []
    for number in range(40):
        data = simplejpeg.encode_jpeg(np.full((24, 24, 1), 6 * number, np.uint8), colorspace="GRAY")
        path = folder / f"{number:02}.jpg"
        path.write_bytes(deadly.marked(data, deaths[number], once) if number in deaths else data)
        made.append(Record("drawn", path.name, path, {"a": number % 2}, patient=str(number)))
    return made


def packed(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}


def test_a_death_costs_one_file_and_the_bytes_are_the_same_with_any_number_of_packers(
    tmp_path: Path, deadly_decoder: None
) -> None:
    deaths = {3: "abort", 17: "memory", 18: "exit"}
    records = images(tmp_path / "raw", deaths)
    options = PackOptions(shard_mb=0.02)
    manifest = pack(records, ("a",), tmp_path / "1", options, 1)
    told = {row["image"]: row["reason"] for row in read_json_lines(tmp_path / "1" / "rejects.jsonl")}
    assert told == {f"{number:02}.jpg": ENDS[how] for number, how in deaths.items()}
    assert manifest["rejects"] == 3 and sum(entry["samples"] for entry in manifest["splits"].values()) == 37
    assert sum(len(entry["shards"]) for entry in manifest["splits"].values()) > 3
    pack(records, ("a",), tmp_path / "3", options, 3)
    assert packed(tmp_path / "1") == packed(tmp_path / "3"), "nor is there what dead packers left half written"


def test_a_file_at_which_a_packer_was_killed_by_chance_is_tried_again_alone_and_packed(
    tmp_path: Path, deadly_decoder: None
) -> None:
    records = images(tmp_path / "raw", {5: "kill"}, tmp_path / "killed once")
    manifest = pack(records, ("a",), tmp_path / "out", PackOptions(), 2)
    assert (tmp_path / "killed once").exists() and manifest["rejects"] == 0


def test_check_names_the_file_at_which_a_decoder_ends_its_process(tmp_path: Path, deadly_decoder: None) -> None:
    deaths = {0: "kill", 20: "memory"}
    looks = scan.scan_files(images(tmp_path / "raw", deaths), False, 2, True)
    assert {number: one.reason for number, one in enumerate(looks) if one.reason} == {
        number: ENDS[how] for number, how in deaths.items()
    }
    assert all((one.width, one.height) == (24, 24) for number, one in enumerate(looks) if number not in deaths)


def clips(root: Path) -> None:
    """A set of three clips; at the second the decoder ends its process."""
    root.mkdir()
    for name, words in (("a", ""), ("b", "deadly:abort"), ("c", "")):
        made = dicom_clip(beating(12, 120, 160, noise=ord(name) - 96), PatientID=name, ImageComments=words)
        save(made, root / f"{name}.dcm")
    (root / "annotations.csv").write_text("video_path,quality_score\na.dcm,1\nb.dcm,0\nc.dcm,0\n")


def test_degrade_leaves_out_the_clip_at_which_a_decoder_ends_its_process(
    tmp_path: Path, deadly_decoder: None, capfd: pytest.CaptureFixture[str]
) -> None:
    clips(tmp_path / "raw")
    out = tmp_path / "pairs"
    assert run(["data", "degrade", "echo", "--root", str(tmp_path / "raw"), "--out", str(out)]) == 0
    assert f"line 3: {ENDS['abort']}" in capfd.readouterr().err
    assert sorted(path.name for path in (out / "degraded").iterdir()) == ["line-00002.dcm", "line-00004.dcm"]


def test_clips_are_packed_and_checked_beside_one_at_which_a_decoder_ends_its_process(
    tmp_path: Path, deadly_decoder: None, capfd: pytest.CaptureFixture[str]
) -> None:
    clips(tmp_path / "raw")
    assert run(["check", "echo", "--root", str(tmp_path / "raw")]) == 0
    assert f"line 3: {ENDS['abort']}" in capfd.readouterr().err
    assert run(["shard", "echo", "--root", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]) == 0
    assert read_json_lines(tmp_path / "out" / "rejects.jsonl") == [{"image": "line 3", "reason": ENDS["abort"]}]
    assert sum(split["samples"] for split in read_json(tmp_path / "out" / "manifest.json")["splits"].values()) == 2


def test_what_predict_and_explore_read_is_refused_where_its_decoder_ends_the_process(
    tmp_path: Path, deadly_decoder: None
) -> None:
    """`predict.read_image` and `data._thumbnail` read by it: here without torch, and without a run."""
    records = images(tmp_path / "raw", {1: "abort", 2: "memory"})
    assert isolated_decode.apart(isolated_decode.image, records[0].path, 8).shape == (9, 9), (
        "the smallest that is no less"
    )
    for number, how in ((1, "abort"), (2, "memory")):
        with pytest.raises(ValueError, match=re.escape(ENDS[how])):
            isolated_decode.apart(isolated_decode.image, records[number].path, 8)
    with pytest.raises(FileNotFoundError):
        isolated_decode.apart(isolated_decode.image, tmp_path / "nothing.jpg", 8)
    assert data._thumbnail(records[1]) is None
    assert isolated_decode.apart(isolated_decode.image, records[3].path, 0)[0, 0] == 18


def test_processes_that_die_at_no_file_are_the_fault_of_the_machine(
    tmp_path: Path, deadly_decoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pool(1) as pool, pytest.raises(Lost, match="exit code 7"):
        list(pool.run(Work(deadly.die, deadly.nothing), [1]))
    monkeypatch.setattr(shards, "PACKING", Work(deadly.die, deadly.nothing))
    with pytest.raises(MachineError, match=r"a packing process was killed \(exit code 7\); whole shards are kept"):
        pack(images(tmp_path / "raw", {}), ("a",), tmp_path / "out", PackOptions(), 1)


def test_what_a_task_raises_is_raised_when_those_begun_are_done(deadly_decoder: None) -> None:
    work = Work(deadly.double, deadly.nothing)
    with Pool(2) as pool:
        assert dict(pool.run(work, [1, 2, 3])) == {0: 2, 1: 4, 2: 6}
        with pytest.raises(ArithmeticError, match="13"):
            list(pool.run(work, [13, *range(9)]))
        assert dict(pool.run(work, [4])) == {0: 8}, "the processes live on"
