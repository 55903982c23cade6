"""Clips in pairs with low-quality versions of themselves: what was asked on the pixels, and nobody's name left."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from clip_files import beating, dicom_clip, save, save_video
from command import command_line
from limits import HANG_S

from medtrain.cli.commands import check as cli_commands_check
from medtrain.cli.commands import shards
from medtrain.cli.commands.degrade import data_degrade
from medtrain.core.errors import InputError, MachineError
from medtrain.core.jsonfiles import read_json_lines
from medtrain.datasets.record import Record
from medtrain.datasets.sources import echo, echo_demo
from medtrain.imaging.video import reader
from medtrain.imaging.video.clip_frames import read_clip
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.imaging.video.sector import find_sector
from medtrain.shards.index import open_index

NAME = "Jane^Doe"  # of a folder; the tags and the pictures of drawn clips name DRAWN-0001
VERSIONS = ("original", "degraded")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn clips: DICOM in grey and in YBR."""
    root = tmp_path_factory.mktemp("raw") / NAME
    echo_demo.download(root, samples=12)
    return root


@pytest.fixture(scope="module")
def pairs(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in pairs, written by one process."""
    out = tmp_path_factory.mktemp("pairs") / "out"
    data_degrade("echo_demo", raw, out, workers=1)
    return out


def files(out: Path) -> dict[str, bytes]:
    """Everything in a folder but the lock."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def table(out: Path) -> list[dict[str, str]]:
    with (out / "annotations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pair_of(out: Path, record: Record) -> tuple[Path, Path]:
    original, degraded = (out / version / f"line-{int(record.image[5:]):05}.dcm" for version in VERSIONS)
    return original, degraded


def frames(path: Path) -> np.ndarray:
    return np.stack(list(reader.frames(path)))


def blurred(picture: np.ndarray) -> np.ndarray:
    """By the binomial kernel of 5 pixels, mirrored at the border without the border pixel."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    wide = np.pad(picture.astype(float), 2, mode="reflect")
    rows = sum(weight * wide[i : i + picture.shape[0]] for i, weight in enumerate(weights))
    return np.asarray(sum(weight * rows[:, i : i + picture.shape[1]] for i, weight in enumerate(weights)))


def test_both_of_a_pair_are_the_sector_of_the_source(raw: Path, pairs: Path) -> None:
    """The original is without loss; the degraded one has its frames, times and size, and is black where it is."""
    colours = set()
    for record in echo_demo.records(raw):
        told = reader.header(record.path)
        colours.add(told.colour)
        sector = find_sector(record.path, told)
        original, degraded = pair_of(pairs, record)
        for header in map(reader.header, (original, degraded)):
            assert (header.height, header.width) == sector.mask.shape
            assert header.frames == told.frames and header.frame_ms == pytest.approx(told.frame_ms, rel=1e-9)
            assert header.patient == "" and header.colour == "MONOCHROME2"
        assert np.array_equal(frames(original), np.stack([sector.cut(frame) for frame in reader.frames(record.path)]))
        assert not frames(degraded)[:, sector.mask == 0].any()
        assert "Gaussian blur of kernel 5" in pydicom.dcmread(degraded).DerivationDescription
    assert colours == {"MONOCHROME2", "YBR_FULL_422"}


def test_the_low_quality_is_what_was_asked_for(raw: Path, pairs: Path) -> None:
    """Blur and contrast are the median over the frames of what is measured, for noise takes no median away; its
    deviation is the quantile of a normal distribution that clipping at black cannot reach."""
    for record in echo_demo.records(raw)[:4]:
        inside = find_sector(record.path, reader.header(record.path)).mask > 0
        original, degraded = (frames(path)[..., 0] for path in pair_of(pairs, record))
        expected = np.stack([127.5 + 0.5 * (blurred(frame) - 127.5) for frame in original])
        noise = (degraded - expected)[:, inside]
        assert abs(np.median(noise)) < 0.6
        assert np.quantile(noise, 0.8413) == pytest.approx(0.2 * 255, rel=0.02)
        flat = noise - noise.mean(0)
        assert abs(np.corrcoef(flat[0], flat[1])[0, 1]) < 0.05, "each frame has noise of its own"


def test_nothing_that_is_written_names_anybody(raw: Path, pairs: Path) -> None:
    records = echo_demo.records(raw)
    said = [NAME, "DRAWN", "Drawn", "no hospital", "clips/", str(raw.parent)]
    said += [record.study for record in records]
    written = files(pairs)
    assert len(written) == 2 * 12 + 3
    for name, data in written.items():
        told = data if not name.endswith(".dcm") else data[: data.index(b"\xe0\x7f\x10\x00OB")]
        for word in said:
            assert word not in name
            assert word.encode() not in (data if len(word) > 6 else told), f"{name} says {word}"


def test_the_table(raw: Path, pairs: Path) -> None:
    records, rows = echo_demo.records(raw), table(pairs)
    assert list(rows[0]) == ["video_path", "quality_score", "patient", "view", "split", "pair"]
    people = list(dict.fromkeys(record.patient for record in records))
    for record, one, other in zip(records, rows[::2], rows[1::2], strict=True):
        number = f"line-{int(record.image[5:]):05}"
        assert (one["video_path"], other["video_path"]) == (f"original/{number}.dcm", f"degraded/{number}.dcm")
        assert float(one["quality_score"]) == record.raw["quality_score"] and float(other["quality_score"]) == 0
        assert one["patient"] == other["patient"] == f"patient-{people.index(record.patient) + 1:04}"
        assert one["pair"] == other["pair"] == number and one["view"] == other["view"] == record.meta["view"]


def test_check_and_shard_read_it_and_a_split_parts_no_pair(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli_commands_check.check("echo", pairs, workers=1, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["clips"] == {"found": 24, "missing": 0, "unreadable": []} and found["patients"] == 4
    shards.shard("echo", pairs, tmp_path / "shards", size=32, workers=1)
    means = {read_clip(pairs / row["video_path"], Shape(32, 1)).frames.mean(): row["pair"] for row in table(pairs)}
    splits: dict[str, list[str]] = {}
    for split in ("train", "val"):  # four patients are too few for three
        for sample in open_index(tmp_path / "shards", split).samples:
            pair = next(pair for mean, pair in means.items() if abs(mean - sample["mean"][0]) < 1e-4)
            splits.setdefault(pair, []).append(split)
    assert len(splits) == 12 and all(len(own) == 2 and len(set(own)) == 1 for own in splits.values())
    assert len({own[0] for own in splits.values()}) > 1


def test_the_same_bytes_from_any_number_of_workers(raw: Path, pairs: Path, tmp_path: Path) -> None:
    data_degrade("echo_demo", raw, tmp_path / "two", workers=2)
    assert files(tmp_path / "two") == files(pairs)
    data_degrade("echo_demo", raw, tmp_path / "seed", workers=2, seed=1)
    same = {name for name, data in files(tmp_path / "seed").items() if data == files(pairs)[name]}
    assert same == {name for name in files(pairs) if not name.startswith("degrade")}


def test_it_goes_on_after_a_kill(raw: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = command_line("data", "degrade", "echo_demo", "--root", raw, "--out", out, "--workers", 1)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        until = time.monotonic() + HANG_S
        while not list(out.glob("original/line*")) and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not (out / "annotations.csv").exists()
    (out / "degraded" / ".line-00013.dcm.1-aa.unfinished").write_bytes(b"half")
    whole = {path: path.stat().st_mtime_ns for path in out.glob("original/line*")}
    data_degrade("echo_demo", raw, out, workers=2)
    assert files(out) == files(pairs)
    assert whole and all(path.stat().st_mtime_ns == written for path, written in whole.items())


def clinic(root: Path, *rows: str, head: str = "video_path,quality_score,patient,view,split") -> Path:
    """A table for clips in `root`."""
    root.mkdir(exist_ok=True)
    (root / "scores.csv").write_text("\n".join((head, *rows)) + "\n")
    return root


def moving(path: Path, **more: Any) -> Path:
    """A grey clip of 20 frames."""
    return save(dicom_clip(beating(20, 96, 128)[..., 0].copy(), "MONOCHROME2", **more), path)


def test_what_cannot_be_read_is_told_by_line_and_can_be_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("cut.dcm,0.9,A,,", "fine.dcm,0.8,B,,", "gone.dcm,0.7,A,,", "still.dcm,0.6,C,,", "text.dcm,1,,,")
    root, out = clinic(tmp_path / NAME, *rows), tmp_path / "out"
    whole = moving(root / "fine.dcm").read_bytes()
    (root / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (root / "text.dcm").write_text("an error page")
    save(dicom_clip(np.full((9, 96, 128), 90, np.uint8), "MONOCHROME2"), root / "still.dcm")
    data_degrade("echo", root, out, workers=1, json=True)
    found, err = capsys.readouterr()
    reasons = {each["clip"]: each["reason"] for each in json.loads(found)["left_out"]}
    assert list(reasons) == ["line 2", "line 4", "line 5", "line 6"] and json.loads(found)["pairs"] == 1
    for line, words in (("line 2", "truncated"), ("line 4", "No such file"), ("line 5", "nothing moves")):
        assert words in reasons[line] and f"  {line}: {reasons[line]}" in err
    assert NAME not in err and [row["image"] for row in read_json_lines(out / "rejects.jsonl")] == list(reasons)
    assert sorted(path.name for path in out.glob("*/*")) == ["line-00003.dcm"] * 2
    assert {row["patient"] for row in table(out)} == {"patient-0002"}, "numbers do not depend on what can be read"

    (root / "cut.dcm").write_bytes(whole)
    data_degrade("echo", root, out, workers=1)
    assert [row["patient"] for row in table(out)] == ["patient-0001"] * 2 + ["patient-0002"] * 2
    assert "left out (3)" in capsys.readouterr().err
    data_degrade("echo", root, out, workers=1)  # nothing is missing but what cannot be read
    (root / "fine.dcm").unlink()
    (root / "cut.dcm").unlink()
    with pytest.raises(InputError, match=r"none of 5 clips can be used \(first: line 2: No such file"):
        data_degrade("echo", root, tmp_path / "none", workers=1)


def test_colour_odd_sizes_and_what_a_table_leaves_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = clinic(tmp_path / "clips", "jet.dcm,,P,4CH,test", "plain.avi,0.5,,,train")
    doppler = beating(21, 97, 129, doppler=True)
    save(dicom_clip(doppler, FrameTime="0"), root / "jet.dcm")
    save_video(root / "plain.avi", beating(20, 96, 128), "MJPG")
    (tmp_path / "elsewhere.csv").write_text((root / "scores.csv").read_text())
    data_degrade("echo", root, tmp_path / "out", tmp_path / "elsewhere.csv", score=0.1, workers=1)
    assert "without a patient id (1)" in capsys.readouterr().err
    jet, low_jet, plain, low = echo.records(tmp_path / "out")
    assert (jet.raw["quality_score"], low_jet.raw["quality_score"], low.labels["good"]) == (None, 0.1, 0)
    assert [each.split for each in (jet, low_jet, plain, low)] == ["test", "test", "train", "train"]
    assert (jet.meta, plain.meta, low.patient) == ({"view": "A4C"}, {}, "patient-0002")
    header = reader.header(jet.path)
    assert (header.colour, header.frame_ms) == ("RGB", 0) and reader.header(plain.path).frame_ms == 40
    cut = find_sector(root / "jet.dcm", reader.header(root / "jet.dcm"))
    assert np.array_equal(frames(jet.path), np.stack([cut.cut(frame) for frame in doppler]))
    colourful = frames(low_jet.path).astype(int)
    assert (colourful[..., 0] - colourful[..., 2]).max() > 60


def test_copies_stay_copies(tmp_path: Path) -> None:
    root = clinic(tmp_path / "clips", "a.dcm,1,,,", "b.dcm,1,,,")
    moving(root / "a.dcm", PatientID="", StudyInstanceUID="1.2")
    moving(root / "b.dcm", PatientID="", StudyInstanceUID="1.3")
    data_degrade("echo", root, tmp_path / "out", workers=1)
    written = files(tmp_path / "out")
    assert written["original/line-00002.dcm"] == written["original/line-00003.dcm"]
    assert written["degraded/line-00002.dcm"] != written["degraded/line-00003.dcm"]


def test_a_version_whose_sector_would_be_cut_otherwise_is_not_written(raw: Path, tmp_path: Path) -> None:
    """Black is lifted to grey, and without noise next to nothing moves in it."""
    with pytest.raises(InputError, match="sector is not found again in the degraded version"):
        data_degrade("echo_demo", raw, tmp_path / "out", noise=0.0, blur=9, contrast=0.25, workers=1)
    assert not [path for path in (tmp_path / "out").glob("*/*") if path.is_file()]


def test_a_full_disk(raw: Path, pairs: Path, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(4_000_000)
    with pytest.raises(MachineError, match="No space left on device") as caught:
        data_degrade("echo_demo", raw, disk / "out", workers=1)
    assert "continues with what is missing" in caught.value.fix
    kept = [path for path in (disk / "out").glob("*/*") if path.is_file()]
    assert kept and all(path.read_bytes() == files(pairs)[path.relative_to(disk / "out").as_posix()] for path in kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"blur": 4}, "a kernel has an odd number"), ({"blur": -1}, "odd number"), ({"noise": 1.2}, "0..1"),
        ({"noise": float("nan")}, "0..1"), ({"contrast": 0.0}, "above 0"), ({"score": float("inf")}, "is a number"),
        ({"score": 2.0}, "all others lie in 0..1"), ({"seed": -1}, "negative"), ({"workers": -1}, "negative"),
        ({"blur": 1, "noise": 0.0, "contrast": 1.0}, "degrade nothing"),
        ({"annotations": Path("x.csv")}, "takes no --annotations"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(raw: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        data_degrade("echo_demo", raw, tmp_path / "out", **options)
    assert caught.value.fix and not (tmp_path / "out").exists()


def test_other_sources_and_folders_are_refused(raw: Path, pairs: Path, demo_tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="demo holds images"):
        data_degrade("demo", demo_tree, tmp_path / "out")
    before = sorted(raw.iterdir())
    with pytest.raises(InputError, match="holds something else"):
        data_degrade("echo_demo", raw, raw)
    assert sorted(raw.iterdir()) == before
    with pytest.raises(InputError, match="with other options"):
        data_degrade("echo_demo", raw, pairs, noise=0.1)
