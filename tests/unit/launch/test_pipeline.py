"""What a pipeline packs, as its group notes it down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medtrain.config import configfile
from medtrain.datasets.sources import mura_demo
from medtrain.launch import pipeline
from medtrain.shards.pack_request import Request


def test_names_are_kept_where_that_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mura_demo.download(tmp_path / "raw", samples=100)
    config = configfile.resolve("mura_demo")
    config = replace(config, data=replace(config.data, shards=str(tmp_path / "shards")))
    given = {"root": str(tmp_path / "raw")}
    assert not Request.of(pipeline.plan(config, given)[0]["request"]).keep_names
    assert "names.csv" not in capsys.readouterr().err
    packing, types = pipeline.plan(config, given, keep_names=True)
    assert Request.of(packing["request"]).keep_names and "XR_WRIST" in types
    assert f"{tmp_path / 'shards'}.names.csv will name the file of each sample" in capsys.readouterr().err
