"""Images in color: found among one's own, packed, read as they are, never in a mode other than the settings'."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_images import class_tree, colored_spots, draw

from medtrain import Loader, datasets, open_index, open_webdataset
from medtrain.config import configfile
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.evaluation.inputs import in_channels
from medtrain.imaging.decode import decode
from medtrain.launch.new_run import ready
from medtrain.shards import mixture
from medtrain.shards.compatibility import recipe_for
from medtrain.shards.image_colors import with_color_mode
from medtrain.shards.pack import pack
from medtrain.shards.packed_dataset import PackedDataset
from medtrain.shards.plan import PackOptions

RGB = PackOptions(color_mode="rgb")


def records_in(root: Path) -> list[Record]:
    return datasets.open_dataset("folder", root)[1]


def packed(root: Path, out: Path, options: PackOptions) -> Path:
    source, records = datasets.open_dataset("folder", root)
    pack(records, source.classes, out, options, workers=1)
    return out


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`raw`, and its shards `gray`, `rgb`, and by an encoding `tiff` and `jpeg`."""
    folder = tmp_path_factory.mktemp("spots")
    raw = colored_spots(folder / "raw")
    draw(raw / "red" / "gray.jpg", 5)  # a gray file among them
    for name, options in {
        "gray": PackOptions(), "rgb": RGB, "tiff": replace(RGB, encoding="tiff", size=24),
        "jpeg": replace(RGB, encoding="jpeg"),
    }.items():  # fmt: skip
        packed(raw, folder / name, options)
    return folder


def pixels_of(shards: Path, side: int = 24) -> np.ndarray:
    loader = Loader(open_index(shards, "train"), global_batch=8, image_size=side, workers=1)
    found = np.concatenate([batch.inputs.numpy() for batch in loader.every_sample(8)])
    loader.close()
    return found


@pytest.mark.parametrize("name", ["rgb", "tiff", "jpeg"])
def test_the_loader_has_the_colors_of_the_files(name: str, spots: Path) -> None:
    index = open_index(spots / name, "train")
    loader = Loader(index, global_batch=8, image_size=24, workers=1)
    for batch in loader.every_sample(8):
        assert batch.inputs.shape[1:] == (3, 24, 24)
        for sample, image in zip(batch.samples.tolist(), batch.inputs.numpy(), strict=True):
            row = index.samples[sample]
            data = index.shard_path(int(row["shard"])).read_bytes()[int(row["offset"]) :][: int(row["size"])]
            expected = cv2.resize(decode(data, colour=True), (24, 24), interpolation=cv2.INTER_LINEAR)
            np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))
    loader.close()


def test_without_loss_means_without_loss(spots: Path, tmp_path: Path) -> None:
    whole = packed(spots / "raw", tmp_path / "whole", replace(RGB, encoding="tiff"))
    np.testing.assert_array_equal(pixels_of(whole), pixels_of(spots / "rgb"))


def test_jpeg_keeps_the_colors_of_small_things(spots: Path) -> None:
    apart = np.abs(pixels_of(spots / "jpeg").astype(int) - pixels_of(spots / "rgb"))
    assert apart.mean() < 2.5 and apart.max() < 40


def test_the_manifest_says_so(spots: Path) -> None:
    said = {name: json.loads((spots / name / "manifest.json").read_text()) for name in ("gray", "rgb", "tiff")}
    assert "colours" not in said["gray"]["options"] and "clips" not in said["gray"]["options"]
    assert said["rgb"]["pixels"].endswith("; read in RGB") and said["tiff"]["pixels"].startswith("8-bit RGB")
    assert (PackedDataset.open(spots / "gray").channels, PackedDataset.open(spots / "rgb").channels) == (1, 3)
    assert PackedDataset.open(spots / "rgb").clips is None
    assert recipe_for(PackedDataset.open(spots / "rgb")).endswith(" --color_mode rgb --channels 3")


def test_a_pipeline_of_webdataset_gives_what_the_loader_gives(spots: Path) -> None:
    assert all(sample["image"].ndim == 3 for sample in open_webdataset(spots / "rgb", "train"))
    assert all(sample["image"].ndim == 2 for sample in open_webdataset(spots / "gray", "train"))
    assert all(sample["image"].ndim == 2 for sample in open_webdataset(spots / "rgb", "train", colour=False))


def settings(shards: Path, color_mode: str, channels: int = 3) -> Config:
    told = {"data": {"shards": str(shards), "color_mode": color_mode}, "model": {"channels": channels}}
    return configfile.merge(configfile.resolve("mednist"), told, "test")


def test_settings_and_shards_agree(spots: Path) -> None:
    assert ready(settings(spots / "rgb", "rgb")).data.color_mode == "rgb"
    assert ready(settings(spots / "gray", "gray")).data.color_mode == "gray"
    with pytest.raises(InputError, match="holds images in rgb, and color_mode is gray") as error:
        ready(settings(spots / "rgb", "gray"))
    assert error.value.fix == "give --color_mode rgb --channels 3"
    with pytest.raises(InputError, match="holds images in gray, and color_mode is rgb"):
        ready(settings(spots / "gray", "rgb"))
    with pytest.raises(InputError, match="give --channels 3"):
        ready(settings(spots / "rgb", "rgb", channels=1))


def test_the_same_files_in_gray_are_other_data(spots: Path) -> None:
    gray, rgb = (settings(spots / name, "rgb").data for name in ("gray", "rgb"))
    assert mixture.open_split(gray, "train").digest == mixture.open_split(rgb, "train").digest
    assert mixture.fingerprint(gray) != mixture.fingerprint(rgb)
    assert mixture.is_of(mixture.fingerprint(rgb), rgb) and not mixture.is_of(mixture.fingerprint(rgb), gray)


def test_color_and_gray_are_not_mixed(spots: Path) -> None:
    data = replace(settings(spots, "rgb").data, datasets=("gray", "rgb"))
    with pytest.raises(InputError, match="gray: packed in gray; rgb: packed in color") as error:
        mixture.open_split(data, "train")
    assert "--color_mode" in error.value.fix
    for name, other in (("gray", "rgb"), ("rgb", "gray")):
        config = settings(spots, name)
        held_out = replace(config, data=replace(config.data, datasets=(name,), holdout=other))
        with pytest.raises(InputError, match="gray: packed in gray; rgb: packed in color"):
            ready(held_out)  # before it is trained


def test_color_is_found(spots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_color_mode(PackOptions(), records_in(spots / "raw")).rgb
    told = capsys.readouterr().err
    assert "note: 40 of 41 images that were looked at are in color" in told and "--color_mode gray" in told
    few = class_tree(tmp_path / "few", each=20)
    for number in range(4):
        (few / "cat" / f"color{number}.png").write_bytes((spots / "raw/red" / f"{3 * number}.png").read_bytes())
    assert not with_color_mode(PackOptions(), records_in(few)).rgb
    assert "4 of 44 images that were looked at are in color: all are packed in gray" in capsys.readouterr().err


def test_gray_in_files_for_color_is_gray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many X-rays are: three channels alike, a palette, a small colored letter; and one file that is none."""
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 1), np.uint8).repeat(3, 2)
        pixels[:4, :6] = (0, 0, 255)
        path = tmp_path / "xrays" / "ab"[number % 2] / f"{number}.{('jpg', 'png')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    (tmp_path / "xrays" / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff, and no more")
    assert with_color_mode(PackOptions(), records_in(tmp_path / "xrays")) == PackOptions()
    assert not capsys.readouterr().err


def test_options_of_older_plans_mean_what_they_meant() -> None:
    old = {"seed": 42, "colours": "grey", "encoding": "tiff", "size": 112}  # before images had color
    assert PackOptions.of(old).clips and PackOptions.of(old).color_mode == "gray"
    assert not PackOptions.of({"seed": 42, "colours": ""}).clips
    for options in (RGB, PackOptions(), PackOptions.of(old)):
        assert PackOptions.of(json.loads(json.dumps(options.stored()))) == options
    assert "clips" not in PackOptions.of(old).described() and RGB.described()["clips"] is False


def test_images_of_a_program_are_seen_as_the_run_sees_them() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert in_channels(gray, False) is gray
    np.testing.assert_array_equal(in_channels(gray, True), np.dstack([gray] * 3))
    np.testing.assert_array_equal(in_channels(np.dstack([gray] * 3), False), gray)
