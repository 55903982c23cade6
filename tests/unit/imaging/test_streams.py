"""Damaged streams of every compressed kind through check and packing: each file is accepted or rejected by name, both
agree, the commands themselves end well, and what is accepted is what its container promises.

The damage is seeded and made when the test runs; no such file is kept. A changed byte in the entropy-coded data of a
codec without checksums may be a picture still. PNG has checksums: there an accepted picture is the whole one's.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from clip_files import COMPRESSED, beating, dicom_clip, encoded_frames, save, save_compressed, save_encoded, save_video
from PIL import Image
from places import RECORDED

from medtrain.core.jsonfiles import read_json_lines
from medtrain.curation.scan import scan_files
from medtrain.datasets.record import Record
from medtrain.imaging.decode import decode
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

DEATH = "its decoder ends the process"
VIDEOS = {"mpeg4.mp4": "mp4v", "vp9.mp4": "vp09", "mjpeg.avi": "MJPG", "xvid.avi": "XVID", "ffv1.avi": "FFV1"}


def stills(folder: Path) -> dict[str, bytes]:
    """A picture of 96 x 128 pixels in each compressed kind of image file."""
    colour = beating(2, 96, 128)[0]
    grey = np.ascontiguousarray(colour[..., :1])
    made = {"baseline.jpg": simplejpeg.encode_jpeg(grey, 95, "GRAY"), "colour.jpg": simplejpeg.encode_jpeg(colour, 95)}
    made["progressive.jpg"] = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    made["8 bits.png"] = cv2.imencode(".png", grey)[1].tobytes()
    made["colour.png"] = cv2.imencode(".png", colour)[1].tobytes()
    made["16 bits.png"] = cv2.imencode(".png", grey.astype(np.uint16) * 257)[1].tobytes()
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        file = io.BytesIO()
        Image.fromarray(grey[..., 0]).save(file, "TIFF", compression=compression)
        made[f"{compression}.tif"] = file.getvalue()
    for name in COMPRESSED:
        two = save_compressed(dicom_clip(np.stack([colour, colour])), folder / "two.dcm", name)
        one = dicom_clip(colour[None], FrameTime=None, FrameIncrementPointer=None)
        made[f"{name}.dcm"] = save_encoded(one, folder / "one.dcm", encoded_frames(two)[:1], syntax(two)).read_bytes()
    made["lossless.jpg"] = encoded_frames(
        save_compressed(dicom_clip(np.stack([grey[..., 0]] * 2), "MONOCHROME2"), folder / "two.dcm", "JPEG lossless")
    )[0]
    return made


def syntax(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path).file_meta.TransferSyntaxUID)


def clips(folder: Path) -> dict[str, bytes]:
    """A clip of 12 frames of 96 x 128 pixels in each compressed kind, and the recorded ones."""
    clip = beating(12, 96, 128)
    made = {path.name: path.read_bytes() for path in sorted(RECORDED.glob("*.mp4"))}
    for name, codec in VIDEOS.items():
        made[name] = save_video(folder / name, clip, codec).read_bytes()
    for name in COMPRESSED:
        made[f"{name}.dcm"] = save_compressed(dicom_clip(clip), folder / "clip.dcm", name).read_bytes()
    save(dicom_clip(clip), folder / "clip.dcm")
    return made


def damaged(data: bytes, seed: int) -> bytes:
    """With 1 to 16 other bytes in one place, or in many; of twelve files one is cut off."""
    rng, spoiled = np.random.default_rng(seed), bytearray(data)
    if seed % 12 == 0:
        return data[: int(rng.integers(len(data)))]
    count = int(rng.integers(1, 17))
    places = rng.integers(0, len(data), count) if seed % 2 else int(rng.integers(len(data))) + np.arange(count)
    for place in places.tolist():
        spoiled[place % len(data)] ^= int(rng.integers(1, 256))
    return bytes(spoiled)


def streams(kinds: dict[str, bytes], folder: Path, count: int) -> list[Record]:
    records = []
    for seed in range(count):
        kind = list(kinds)[seed % len(kinds)]
        path = folder / f"{seed:04} {kind}"
        path.write_bytes(damaged(kinds[kind], seed))
        records.append(Record("drawn", path.name, path, {"a": seed % 2}, patient=str(seed), raw={"quality_score": 1.0}))
    return records


def told(records: list[Record], out: Path, options: PackOptions) -> dict[str, str]:
    """Why files are rejected: the same of check and of packing."""
    looks = scan_files(records, False, 2, True, options.clips)
    checked = {record.image: look.reason for record, look in zip(records, looks, strict=True) if look.reason}
    pack(records, ("a",), out, options, 2, max_rejects=len(records))
    rejected = {row["image"]: row["reason"] for row in read_json_lines(out / "rejects.jsonl")}
    by_sector = {image for image, reason in rejected.items() if "sector" in reason}  # which check does not look for
    assert {image: reason for image, reason in rejected.items() if image not in by_sector} == checked
    assert all(checked.values()) and not list(out.glob(".*.unfinished"))
    deaths = Counter(reason for reason in rejected.values() if DEATH in reason)
    print(f"{len(records)} streams: {len(records) - len(rejected)} accepted, {len(rejected)} rejected, {deaths}")
    return rejected


def accepted(out: Path, suffix: str) -> int:
    """How many samples the shards hold."""
    names: list[str] = []
    for path in out.glob("*.tar"):
        with tarfile.open(path) as shard:
            names += [name for name in shard.getnames() if name.endswith(suffix)]
    return len(names)


COUNTS = [pytest.param(100, id="some"), pytest.param(1000, id="all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_images_are_accepted_or_rejected_by_name_and_the_commands_live(count: int, tmp_path: Path) -> None:
    kinds = stills(tmp_path)
    raw = tmp_path / "raw"
    raw.mkdir()
    records = streams(kinds, raw, count)
    rejected = told(records, tmp_path / "out", PackOptions(encoding="jpeg", shard_mb=0.2))
    assert accepted(tmp_path / "out", ".jpg") == count - len(rejected)
    for record in records:
        kind = record.image.partition(" ")[2]
        if kind.endswith(".png") and record.image not in rejected:
            np.testing.assert_array_equal(decode(record.path.read_bytes()), decode(kinds[kind]), record.image)
    assert count / 4 < len(rejected) < count


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_clips_are_accepted_or_rejected_by_name_and_the_commands_live(count: int, tmp_path: Path) -> None:
    kinds = clips(tmp_path)
    raw = tmp_path / "raw"
    raw.mkdir()
    records = streams(kinds, raw, count)
    how = PackOptions(encoding="tiff", size=32, color_mode="gray", clips=True, shard_mb=0.2)
    rejected = told(records, tmp_path / "out", how)
    assert accepted(tmp_path / "out", ".tif") == count - len(rejected)
    assert count / 4 < len(rejected) < count
    shutil.rmtree(raw)
