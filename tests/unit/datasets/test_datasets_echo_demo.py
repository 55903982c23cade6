"""The drawn clips: the same each time, of every kind of file, and seen the worse the lower their score is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.sources import echo_demo
from medtrain.datasets.sources.echo_demo import Clip, draw
from medtrain.imaging.video import reader, sector


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    echo_demo.download(folder, samples=40)
    return folder


def test_records(root: Path) -> None:
    records = echo_demo.records(root)
    assert len(records) == 40 and records[0].image == "line 2"
    assert {record.source for record in records} == {"echo_demo"}
    assert all(record.path.is_file() and record.patient.startswith("DRAWN-") for record in records)
    assert {record.labels["good"] for record in records} == {0, 1}
    assert {record.meta["view"] for record in records} == set(echo_demo.VIEWS)
    assert len({record.patient for record in records}) < 25  # several clips of a patient
    about = echo_demo.about(root, records)
    assert about["scores"]["kind"] == "share" and about["scores"]["unknown"] == 0


def test_files_as_scanners_write_them(root: Path) -> None:
    headers = {}
    for record in echo_demo.records(root):
        told = headers[record.path] = reader.header(record.path)
        assert 20 <= told.frames <= 48 and told.height == told.width in echo_demo.SIDES
        assert told.frame_ms == 0 or 20 <= told.frame_ms <= 50.1
    assert set(Counter(told.colour for told in headers.values())) >= {"YBR_FULL_422", "MONOCHROME2", "RGB", "MJPG"}
    assert {path.suffix for path in headers} == {"", ".dcm", ".avi", ".mp4"}
    boxed = [told for told in headers.values() if told.regions]
    assert any(told.regions[0].y1 >= told.height for told in boxed), "no region is wrong"
    assert any(told.regions[0].y1 < told.height for told in boxed), "no region is right"
    plain = next(path for path, told in headers.items() if told.patient)
    assert "DRAWN" in str(pydicom.dcmread(plain, stop_before_pixels=True).PatientName)


def test_every_frame_can_be_read_and_the_sector_is_found_without_the_text(root: Path) -> None:
    for record in echo_demo.records(root)[:8]:
        seen = sector.find_sector(record.path, reader.header(record.path))
        frames = [seen.cut(frame) for frame in reader.frames(record.path)]
        assert len(frames) == reader.header(record.path).frames
        assert seen.box[1] > 0.05 * reader.header(record.path).height, "the text is above the sector"
        assert np.std(np.stack(frames), axis=0).mean() > 1, "nothing moves"


def test_the_same_bytes_each_time_and_a_small_set_is_part_of_a_large_one(root: Path, tmp_path: Path) -> None:
    echo_demo.download(tmp_path / "again", samples=12)
    rows = (tmp_path / "again" / "annotations.csv").read_text().splitlines()
    assert rows == (root / "annotations.csv").read_text().splitlines()[:13]
    for record in echo_demo.records(tmp_path / "again"):
        inside = record.path.relative_to(tmp_path / "again")
        assert record.path.read_bytes() == (root / inside).read_bytes()
    echo_demo.download(tmp_path / "other", samples=10, seed=1)
    assert (tmp_path / "other" / "annotations.csv").read_text() != (tmp_path / "again" / "annotations.csv").read_text()


def test_nothing_but_how_well_the_heart_is_seen_depends_on_the_score() -> None:
    def drawn(score: float) -> np.ndarray:
        rng = np.random.default_rng(5)
        clip = replace(Clip.drawn(rng), side=160, frames=8, score=score)
        return np.stack(list(draw(clip, rng))).astype(float)

    best, middle, worst = drawn(1.0), drawn(0.5), drawn(0.0)
    outlines = [clip.max(axis=0) > 0 for clip in (best, middle, worst)]
    assert all((outline == outlines[0]).mean() > 0.97 for outline in outlines), "the sector is another"

    def likeness(clip: np.ndarray) -> float:
        """Of the tissue to that of the best clip, without what lasts for one frame."""
        one, other = (cv2.GaussianBlur(each.mean(axis=0), (0, 0), 3)[outlines[0]] for each in (best, clip))
        return float(np.corrcoef(one, other)[0, 1])

    assert likeness(middle) > 0.9 and likeness(worst) > 0.5, "another heart"

    def contrast(clip: np.ndarray) -> float:
        return float(clip.mean(axis=0)[outlines[0]].std())

    assert contrast(best) > 1.3 * contrast(middle) > 1.3 * contrast(worst)

    def flicker(clip: np.ndarray) -> float:
        return float(np.abs(np.diff(clip, axis=0)).mean() / contrast(clip))

    assert flicker(worst) > 2 * flicker(best)


def test_both_classes_have_the_same_frames_hearts_and_files() -> None:
    clips = [Clip.drawn(np.random.default_rng((7, number))) for number in range(2000)]
    good, poor = ([clip for clip in clips if (clip.score >= 0.5) == state] for state in (True, False))
    assert 0.5 < len(good) / len(clips) < 0.6
    for name in ("frames", "side", "frame_ms", "radius", "gain", "beat_ms", "fading"):
        values = [np.array([getattr(clip, name) for clip in each], float) for each in (good, poor)]
        error = np.hypot(*(each.std() / len(each) ** 0.5 for each in values))
        assert abs(values[0].mean() - values[1].mean()) < 4 * error, name
    kinds = [Counter(clip.kind for clip in each) for each in (good, poor)]
    assert all(abs(kinds[0][kind] / len(good) - kinds[1][kind] / len(poor)) < 0.08 for kind in echo_demo.KINDS)


def test_a_folder_that_holds_something_is_left_alone(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        echo_demo.download(root)
    with pytest.raises(InputError, match="5 samples are too few"):
        echo_demo.download(tmp_path / "few", samples=5)
    with pytest.raises(InputError, match="holds no generated clips"):
        echo_demo.records(tmp_path)
    assert not (tmp_path / "few").exists()
