"""What a new run is told of its settings before it has a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.config import configfile
from medtrain.launch.new_run import ready


@pytest.mark.parametrize("color_mode", ["gray", "rgb"])
def test_color_of_images_is_warned_of(color_mode: str, demo_shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no error: runs of older versions have the setting, and resume."""
    data = {"shards": str(demo_shards), "color_mode": color_mode}
    config = configfile.merge(configfile.resolve("mednist"), {"data": data, "model": {"channels": 3}}, "test")
    assert ready(config).data.color_mode == color_mode
    assert ("images are read in gray" in capsys.readouterr().err) == (color_mode == "rgb")
