"""What is no regular file, or promises more pixels than are allowed: named, left out, never waited for."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import simplejpeg
from clip_files import beating, dicom_clip, encoded_frames, gradients, save, save_compressed, save_video
from dicom_files import as_bytes

from medtrain.cli.commands.check import check
from medtrain.core.jsonfiles import read_json_lines
from medtrain.curation.scan import scan_files
from medtrain.datasets.record import Record
from medtrain.datasets.sources import mednist
from medtrain.imaging import pixel_limit
from medtrain.imaging.decode import decode, decode_all
from medtrain.imaging.video import reader
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions


def odd_files(folder: Path) -> dict[str, str]:
    """name -> why it cannot be read, beside twenty good images; all in `folder`."""
    folder.mkdir(parents=True)
    for number in range(20):
        data = simplejpeg.encode_jpeg(np.full((24, 24, 1), 12 * number, np.uint8), colorspace="GRAY")
        (folder / f"{number:02}.jpeg").write_bytes(data)
    os.mkfifo(folder / "fifo.jpeg")
    (folder / "zero.jpeg").symlink_to("/dev/zero")
    (folder / "fifo link.jpeg").symlink_to(folder / "fifo.jpeg")
    (folder / "loop.jpeg").symlink_to(folder / "loop.jpeg")
    (folder / "folder.jpeg").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "socket.jpeg"))  # a socket's name has 107 bytes at most
    return {
        "fifo.jpeg": "it is a FIFO, not a regular file",
        "fifo link.jpeg": "it is a FIFO, not a regular file",
        "zero.jpeg": "it is a device, not a regular file",
        "socket.jpeg": "it is a socket, not a regular file",
        "folder.jpeg": "it is a folder, not a regular file",
        "loop.jpeg": "Too many levels of symbolic links",
    }


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = odd_files(tmp_path / "raw")
    records = [Record("drawn", path.name, path, {"a": 1}) for path in sorted((tmp_path / "raw").iterdir())]
    looks = scan_files(records, False, 1, True)
    assert {record.image: look.reason for record, look in zip(records, looks, strict=True) if look.reason} == odd
    manifest = pack(records, ("a",), tmp_path / "out", PackOptions(), 1)
    told = {row["image"]: row["reason"] for row in read_json_lines(tmp_path / "out" / "rejects.jsonl")}
    assert told == odd and sum(split["samples"] for split in manifest["splits"].values()) == 20


def test_a_clip_that_is_no_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.dcm"
    os.mkfifo(path)
    (look,) = scan_files([Record("drawn", "one", path, {})], False, 1, True, clips=True)
    assert look.reason == "it is a FIFO, not a regular file"
    for read in (reader.header, lambda path: list(reader.frames(path))):
        with pytest.raises(OSError, match="it is a FIFO"):
            read(path)  # type: ignore[operator]


def test_a_dataset_with_odd_files_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the command, of a dataset that lists its folders by itself; a folder may hold a link to a folder above."""
    monkeypatch.chdir(tmp_path)
    odd = odd_files(tmp_path / "raw" / "Hand")
    (tmp_path / "raw" / "Hand" / "up").symlink_to(tmp_path / "raw")
    for other in set(mednist.CLASSES) - {"Hand"}:
        (tmp_path / "raw" / other).mkdir()
        (tmp_path / "raw" / other / "one.jpeg").write_bytes((tmp_path / "raw" / "Hand" / "00.jpeg").read_bytes())
    check("mednist", tmp_path / "raw", workers=1)
    said = capfd.readouterr().err
    assert all(reason in said for name, reason in odd.items() if name not in ("folder.jpeg",)), said


def bombs(tmp_path: Path) -> dict[str, bytes]:
    """Small files of 12,000 x 12,000 pixels by their headers: the rest is missing or empty."""
    side = 12_000
    ihdr = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    jpeg = bytearray(simplejpeg.encode_jpeg(np.zeros((8, 8, 1), np.uint8), colorspace="GRAY"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", side, side)
    tiff = cv2.imencode(".tiff", np.zeros((8, 8), np.uint8))[1].tobytes()
    for tag in (256, 257):
        entry = tiff.index(struct.pack("<HH", tag, 3))
        tiff = tiff[: entry + 2] + struct.pack("<HII", 4, 1, side) + tiff[entry + 12 :]
    picture = dicom_clip(np.zeros((1, 8, 8), np.uint8), "MONOCHROME2", Rows=side, Columns=side)
    end = struct.pack(">I", 0) + b"IEND\xaeB`\x82"
    return {"png": b"\x89PNG\r\n\x1a\n" + chunk + end, "jpeg": bytes(jpeg), "tiff": tiff, "dicom": as_bytes(picture)}


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "dicom"])
def test_an_image_of_too_many_pixels_is_rejected_before_it_is_decoded(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"12,000 x 12,000 pixels are more than the 100,000,000 allowed"):
        decode(bombs(tmp_path)[kind])


@pytest.mark.parametrize("kind", ["dcm", "mp4", "avi"])
def test_a_clip_of_too_many_pixels_is_rejected_before_it_is_decoded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = gradients(4, 48, 64)
    path = tmp_path / f"clip.{kind}"
    if kind == "dcm":
        save(dicom_clip(clip), path)
    else:
        save_video(path, clip, "mp4v" if kind == "mp4" else "MJPG")
    monkeypatch.setattr(pixel_limit, "_most", 48 * 64 - 1)
    with pytest.raises(ValueError, match=r"64 x 48 pixels are more than the 3,071 allowed"):
        next(reader.frames(path))


def test_the_limit_is_a_setting_of_check_and_of_packing(tmp_path: Path) -> None:
    records = []
    for number, side in enumerate((24, 40)):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(np.full((side, side, 1), 99, np.uint8), colorspace="GRAY"))
        records.append(Record("drawn", path.name, path, {"a": 1}, patient=str(number)))
    reason = "40 x 40 pixels are more than the 1,000 allowed (--max_pixels)"
    assert [look.reason for look in scan_files(records, True, 1, True, max_pixels=1000)] == ["", reason]
    pack(records, ("a",), tmp_path / "out", PackOptions(max_pixels=1000), 1)
    assert read_json_lines(tmp_path / "out" / "rejects.jsonl") == [{"image": "1.jpg", "reason": reason}]
    assert PackOptions().described() == PackOptions(max_pixels=pixel_limit.MAX_PIXELS).described()
    assert "max_pixels" not in PackOptions().described(), "what was packed before stays the same"


def test_a_jpeg_without_loss_is_never_shrunk_while_it_is_decoded(tmp_path: Path) -> None:
    """libjpeg-turbo scales a DCT alone (its libjpeg.txt, "scale_num, scale_denom"): a lossless JPEG, by its own marker
    SOF3, is decoded whole by the loader too, as check and packing do. So is one behind a preview of another kind."""
    picture = beating(2, 200, 240)[0, :, :, :1]
    made = dicom_clip(np.stack([picture[..., 0]] * 2), "MONOCHROME2")
    lossless = encoded_frames(save_compressed(made, tmp_path / "clip.dcm", "JPEG lossless"))[0]
    assert b"\xff\xc3" in lossless
    preview = simplejpeg.encode_jpeg(np.zeros((16, 16, 1), np.uint8), colorspace="GRAY")
    behind = lossless[:2] + b"\xff\xe1" + (2 + len(preview)).to_bytes(2, "big") + preview + lossless[2:]
    for data in (lossless, behind):
        np.testing.assert_array_equal(decode(data), picture[..., 0])
        np.testing.assert_array_equal(decode(data, at_least=32), picture[..., 0])
        np.testing.assert_array_equal(decode_all([data, data], 32)[1], picture[..., 0])
    usual = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), colorspace="GRAY")
    assert decode(usual, at_least=32).shape == decode_all([usual], 32)[0].shape == (50, 60)
    assert pydicom.dcmread(tmp_path / "clip.dcm").file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")
