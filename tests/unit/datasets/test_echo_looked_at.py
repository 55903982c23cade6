"""Clips of one's own as check and explore show them, by lines of the table and not by names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, dataset
from echo_tables import NAME, clip, table
from PIL import Image

from medtrain.cli.commands import check as cli_commands_check
from medtrain.cli.commands import data as cli_commands_data
from medtrain.core.errors import InputError


@pytest.fixture
def spoiled(tmp_path: Path) -> tuple[Path, Path]:
    """Six clips, of which one is not there, one is no clip, one is cut off, and two are the same."""
    root = tmp_path / "clips"
    whole = clip(root / f"{NAME}.dcm", "A", "1.1")
    (root / "copy.dcm").write_bytes(whole.read_bytes())
    (root / "cut.dcm").write_bytes(whole.read_bytes()[:20_000])
    (root / "text.mp4").write_text(NAME)
    clip(root / "long.dcm", "B", "1.2", seed=1, frames=30)
    scores = table(
        tmp_path, f"{NAME},0.9,A4C,train", "copy,0.1,,train", "cut,0.5,,val", "text,0.3,,", "gone.mp4,0.4,,",
        "long,0.6,PLAX,test", head="video_path,quality_score,view,split",
    )  # fmt: skip
    return root, scores


def checked(spoiled: tuple[Path, Path], capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    cli_commands_check.check("echo", spoiled[0], annotations=spoiled[1], workers=1, json=True, **options)
    out, err = capsys.readouterr()
    assert NAME not in out + err
    return json.loads(out)  # type: ignore[no-any-return]


def test_check_tells_all_numbers_of_clips(spoiled: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(spoiled, capsys)
    unreadable = {each["clip"]: each["reason"] for each in found["clips"].pop("unreadable")}
    assert list(unreadable) == ["line 4", "line 5"] and "truncated" in unreadable["line 4"]
    assert found["clips"] == {"found": 5, "missing": 1} and found["missing_rows"] == ["line 6"]
    assert found["frames"] == {"min": 12, "median": 12, "max": 30} and found["sizes"] == {"80x64": 3}
    assert found["frame_rates"] == {"min": 25, "median": 25, "max": 25, "not_told": 0}
    assert found["colour_spaces"] == {"MONOCHROME2": 3} and found["views"] == {"unknown": 4, "A4C": 1, "PLAX": 1}
    assert (found["records"], found["patients"], found["clips_without_patient"]) == (6, 2, 3)
    assert (found["duplicates"], found["conflicts"]) == (1, 1)
    assert found["splits"] == {"test": 1, "train": 2, "val": 1}
    assert found["labels"] == {"good": {"positive": 3, "negative": 2, "unknown": 0}}, "of the clips that are there"
    assert found["scores"] == {
        "kind": "share", "known": 6, "unknown": 0, "min": 0.1, "lower_quartile": 0.325, "median": 0.45,
        "upper_quartile": 0.575, "max": 0.9,
    }  # fmt: skip


def test_check_in_words(spoiled: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    root, scores = spoiled
    cli_commands_check.check("echo", root, annotations=scores, workers=1)
    out, err = capsys.readouterr()
    assert "clips       5 found, 1 missing, 2 unreadable (all were decoded)" in out
    assert "frames      12 to 30 in a clip, median 12\nframe rate  25.0 to 25.0 per second, median 25.0\n" in out
    assert "copies      1 (byte-identical to another clip; a split keeps them together)" in out
    assert "min 0.1, lower quartile 0.325, median 0.45, upper quartile 0.575, max 0.9" in out
    assert out.endswith(f"pack it: medtrain shard echo --root {root} --annotations {scores} --out shards/echo\n")
    assert "warning: clips that are not there (1); packing leaves them out:\n  line 6\n" in err
    assert "identical clips with different labels (1):\n  line 2 (good) = line 3 (not good)" in err
    assert NAME not in out + err


def test_a_quick_check_decodes_no_frame_and_compares_no_files(
    spoiled: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = checked(spoiled, capsys, quick=True)
    assert found["frames"]["max"] == 30 and len(found["clips"]["unreadable"]) == 2
    assert (found["duplicates"], found["conflicts"]) == (None, None)
    found = checked(spoiled, capsys, metadata_only=True)
    assert found["clips"]["found"] is found["frames"] is found["missing_rows"] is None
    cli_commands_check.check("echo", spoiled[0], annotations=spoiled[1], workers=1, quick=True)
    assert "copies      not looked for" in capsys.readouterr().out


@pytest.mark.parametrize("times", [1, 5])  # scores of 0..1, and of 0..5, of which nobody knows what is good
def test_explore_draws_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str], times: int) -> None:
    root = tmp_path / "clips"
    for number in range(4):
        clip(root / f"{number}.dcm", str(number), seed=number)
    scores = table(tmp_path, *(f"{number},{number / 3 * times:.2f}" for number in range(4)))
    cli_commands_data.data_explore("echo", root, out=tmp_path / "out", annotations=scores)
    names = ("distributions", "contact_sheet", "group_sizes")
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / f"echo-{name}.png") for name in names]
    for name in names:
        with Image.open(tmp_path / "out" / f"echo-{name}.png") as image:
            assert min(image.size) > 300


def test_explore_of_clips_in_which_nothing_moves(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    still = dataset(np.zeros((64, 80)), 8, BitsAllocated=8, NumberOfFrames=3, PixelData=bytes(3 * 64 * 80))
    root.mkdir()
    (root / "x.dcm").write_bytes(as_bytes(still))
    with pytest.raises(InputError, match="has no echo clip in which something moves"):
        cli_commands_data.data_explore("echo", root, out=tmp_path / "out", annotations=table(tmp_path, "x,1"))
    assert not (tmp_path / "out").exists()
