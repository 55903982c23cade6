"""An export is pushed to a hub, under the licence that it must have, or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from command import command_line, medtrain
from hub_server import HubServer
from short_training import train

from medtrain.config.schema import Config, DataConfig, ModelConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.exporting import licences, push_export
from medtrain.exporting.write_export import export_run
from medtrain.runs.run import Run
from medtrain.shards.packed_dataset import CHECKSUM, MANIFEST, manifest_checksum

TOKEN = "hf_of_a_test"  # nothing has it
FROM_HUB = """
import sys, timm, torch
network = timm.create_model("hf-hub:" + sys.argv[1], pretrained=True).eval()
told = network.pretrained_cfg
print(told["label_names"], network(torch.zeros(1, 1, 32, 32)).shape[1], told["license"], told["mean"])
"""


@pytest.fixture(scope="module")
def runs(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small network of timm."""
    folder = tmp_path_factory.mktemp("pushed")
    train(demo_shards, folder, "first", "--epochs", "1", "--max_samples", "8")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server that large files are sent to as the Hub has it without Xet."""
    server = HubServer(large=(".safetensors",))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    yield server
    server.close()


def test_a_push_arrives_whole_private_and_is_loaded_from_there(runs: Path, hub: HubServer, tmp_path: Path) -> None:
    command = command_line("export", "first", "--to", "hf", "--push", "lab/net", "--license", "mit", "--runs", runs)
    done = subprocess.run(command, capture_output=True, text=True)  # no fork: the library reads its settings at import
    assert done.returncode == 0, done.stderr
    assert f"pushed: {hub.url}/lab/net (private)   licence: mit" in done.stdout
    folder = runs / "first" / "exports" / "hf"
    own = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in hub.files.items()} == own
    told = hub.repos["lab/net"]
    assert told.get("visibility") == "private" or told.get("private") is True
    assert hub.tokens == {f"Bearer {TOKEN}"} and len(hub.blobs) == 1
    assert all(TOKEN not in text for text in (done.stdout, done.stderr, *map(str, hub.paths)))
    assert not [path for path in runs.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    head = yaml.safe_load(hub.files["README.md"].decode().split("---\n")[1])
    assert (head["license"], head["library_name"], head["pipeline_tag"]) == ("mit", "timm", "image-classification")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache")}
    loaded = subprocess.run([sys.executable, "-I", "-c", FROM_HUB, "lab/net"], capture_output=True, env=environment)
    assert loaded.returncode == 0, loaded.stderr.decode()
    labels = read_json(folder / "medtrain.json")["output"]["labels"]
    assert loaded.stdout.decode().strip() == f"{labels} {len(labels)} mit [0.5]"
    # Again, and to a repository that is public already: what is there is sent, and nothing is computed anew.
    hub.private = False
    before = (folder / "model.safetensors").stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True)
    assert f"pushed: {hub.url}/lab/net (public)   licence: mit" in again.stdout, again.stderr
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="of another format, of other weights or under another licence"):
        export_run(Run(runs / "first"), "hf", reuse=True, licence="cc-by-4.0")


@pytest.mark.parametrize(
    ("path", "code", "kind", "fix"),
    [("/api", 401, InputError, "hf auth login"), ("/api/repos", 403, InputError, "HF_TOKEN"),
     ("/api/repos", 404, InputError, "check the name"), ("/api/repos", 503, MachineError, "wait until")],
)  # fmt: skip
def test_what_the_server_refuses_is_told(
    path: str, code: int, kind: type[Exception], fix: str, hub: HubServer, tmp_path: Path
) -> None:
    (tmp_path / "medtrain.json").write_text("{}")
    hub.fail_with = {path: code}
    with pytest.raises(kind, match=f"{hub.url} answered {code} to the push into lab/net: the stand-in") as raised:
        push_export.push_export(tmp_path, "lab/net")
    assert fix in raised.value.fix and str(tmp_path) in raised.value.fix  # type: ignore[attr-defined]
    assert TOKEN not in f"{raised.value}{raised.value.fix}" and not hub.files  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [401, 404, 503])
def test_no_secret_is_in_a_message(code: int, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fail_with, hub.echo = {"/api": code}, True
    host = hub.url.removeprefix("http://")
    password = "p%40ss"  # as a URL has p@ss
    basic = base64.b64encode(b"somebody:p@ss").decode()
    for endpoint in (hub.url, f"http://somebody:{password}@{host}"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises((InputError, MachineError), match=f"{hub.url} answered {code} to the push") as raised:
            push_export.push_export(tmp_path, "lab/net")
        told = f"{raised.value}{raised.value.fix}"
        assert "says" in told and " …" in told
        assert not [secret for secret in (TOKEN, password, "p@ss", basic, "somebody") if secret in told], told
    assert hub.tokens & {f"Bearer {TOKEN}", f"Basic {basic}"}


def test_where_it_is_pushed_is_told_without_the_password(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "medtrain.json").write_text("{}")
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http://", "http://somebody:secret@"))
    assert push_export.push_export(tmp_path, "lab/net") == f"{hub.url}/lab/net (private)"
    gone = HubServer(large=())
    gone.close()
    monkeypatch.setenv("HF_ENDPOINT", gone.url.replace("http://", "http://somebody:secret@"))
    with pytest.raises(MachineError, match=f"the push to {gone.url} failed") as raised:
        push_export.push_export(tmp_path, "lab/net")
    assert "secret" not in f"{raised.value}{raised.value.fix}"


@pytest.mark.parametrize("stated", ["mit\ntags: [x]", "my licence", "-mit", "cc:by"])
def test_a_licence_that_cannot_be_one(stated: str) -> None:
    licences.ensure_name("cc-by-nc-4.0")
    with pytest.raises(InputError, match="is no name of a licence"):
        licences.ensure_name(stated)


def test_without_a_server_a_token_or_a_name(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.close()
    with pytest.raises(MachineError, match=f"the push to {hub.url} failed: .*refused") as raised:
        push_export.push_export(tmp_path, "lab/net")
    assert "HF_ENDPOINT" in raised.value.fix
    with pytest.raises(InputError, match="is no name of a repository"):
        push_export.ensure_can_push("net")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no token") as missing:
        push_export.ensure_can_push("lab/net")
    assert "hf auth login" in missing.value.fix


def settings(tmp_path: Path, dataset: str, backbone: str = "densenet121", weights: str = "") -> Config:
    """Of a run on a packed dataset of that name."""
    shards = tmp_path / dataset
    shards.mkdir(exist_ok=True)
    manifest = {"schema": 1, "dataset": dataset, "classes": ["a"], "splits": {}}
    write_json(shards / MANIFEST, {**manifest, CHECKSUM: manifest_checksum(manifest)})
    model = ModelConfig(backbone=backbone, weights=weights)
    return replace(Config(), data=DataConfig(shards=str(shards)), model=model)


def test_terms_of_data_and_weights_decide(tmp_path: Path) -> None:
    def may(dataset: str, stated: str = "", **model: str) -> str:
        config, run = settings(tmp_path, dataset, **model), Run(tmp_path / "older")
        licences.ensure_may_push(run, config, stated)
        licences.ensure_kept(run, config, stated)
        return str(licences.described(run, config, stated)["id"])

    assert may("demo") == "" and may("demo", "mit") == "mit"
    assert may("nih", weights="imagenet") == "bsd-3-clause"
    assert may("nih", backbone="convnext_tiny.fb_in1k", weights="imagenet") == "apache-2.0"
    assert may("nih", "mit", backbone="convnext_tiny.fb_in1k", weights="imagenet") == "mit"
    assert may("nih", backbone="convnextv2_atto.fcmae", weights="imagenet") == "cc-by-nc-4.0"
    with pytest.raises(InputError, match=r"under cc-by-nc-4\.0, which passes on to what is made of them"):
        may("nih", "mit", backbone="convnextv2_atto.fcmae", weights="imagenet")
    for dataset in ("mimic_cxr", "vindr_cxr", "nih+mimic_cxr"):
        with pytest.raises(InputError, match=r"may not be pushed to a public hub: .*PhysioNet Credentialed"):
            may(dataset, "mit")
    with pytest.raises(InputError, match="not known to medtrain: chexpert: Stanford") as raised:
        may("chexpert")
    assert "--license ID" in raised.value.fix
    assert may("chexpert", "cc-by-nc-4.0") == "cc-by-nc-4.0"
    with pytest.raises(InputError, match="own_scans: unknown licence"):
        may("own_scans")
    for backbone in ("convnext_tiny.dinov3_lvd1689m", "res2net50_26w_4s.in1k"):
        with pytest.raises(InputError, match=f"not known to medtrain: {backbone}"):
            may("nih", backbone=backbone, weights="imagenet")
    with pytest.raises(InputError, match=r"a file of your own: unknown licence$"):
        may("nih", weights=str(tmp_path / "mine.safetensors"))


def test_the_command_refuses_before_it_computes(runs: Path, hub: HubServer, tmp_path: Path) -> None:
    """A run on data of unknown terms: nothing is written, and nobody is asked."""
    config = Run(runs / "first").config_file
    before = config.read_text()
    shards = settings(tmp_path, "own_scans").data.shards
    values = yaml.safe_load(before)
    values["data"]["shards"] = shards
    config.write_text(yaml.safe_dump(values))
    try:
        done = medtrain("export", "first", "--to", "onnx", "--push", "lab/net", "--runs", runs, check=False)
    finally:
        config.write_text(before)
    assert done.returncode == 2 and "own_scans" in done.stderr and "--license ID" in done.stderr
    assert not hub.paths and not (runs / "first" / "exports" / "onnx").exists()


def test_the_licence_is_the_one_that_the_run_wrote_down(tmp_path: Path) -> None:
    """And not looked up again: libraries may say another now."""
    run, config = Run(tmp_path / "first"), settings(tmp_path, "nih", weights="imagenet")
    run.folder.mkdir()
    began = {"began_as": "densenet121 (imagenet)", "sha256": "0" * 64, "licence": "cc-by-sa-4.0", "source": "a page"}
    write_json(run.first_weights, began)
    told = licences.described(run, config, "")
    assert (told["id"], told["weights"]["source"]) == ("cc-by-sa-4.0", "a page")
    with pytest.raises(InputError, match=r"cc-by-sa-4\.0, which passes on"):
        licences.ensure_kept(run, config, "mit")
