"""Datasets fetched from sites like theirs: archives, a token, a list of checksums."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from web import LARGE, Site, tar

from medtrain.core.errors import InputError
from medtrain.datasets.download import physionet
from medtrain.datasets.record import labels_sha256
from medtrain.datasets.sources import mimic_cxr, nih, openi, rexgradient


def test_nih(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {f"{i:08d}_000.png": bytes([i]) for i in range(1, 13)}
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    rows = [f"{name},No Finding,0,{i},50,F,PA" for i, name in enumerate(images, start=1)]
    site.files = {
        "/Data_Entry_2017_v2020.csv": (head + "\n".join(rows)).encode(),
        "/train_val_list.txt": "\n".join(list(images)[:10]).encode(),
        "/test_list.txt": "\n".join(list(images)[10:]).encode(),
    }
    for code, (name, content) in zip(nih.ARCHIVES, images.items(), strict=True):
        site.files[f"/{code}.gz"] = tar(tmp_path / "made.tgz", {f"images/{name}": content})
    monkeypatch.setattr(nih, "MIRROR", site.url)
    monkeypatch.setattr(nih, "BOX", site.url)
    with pytest.raises(InputError, match=r"Data_Entry_2017_v2020.csv: has not the labels of NIH's table"):
        nih.download(tmp_path / "nih")
    (tmp_path / "tables").mkdir()
    for name in (nih.TABLES[0], *nih.LISTS):
        (tmp_path / "tables" / name).write_bytes(site.files[f"/{name}"])
    monkeypatch.setattr(nih, "LABELS_SHA256", labels_sha256(nih.records(tmp_path / "tables")))
    nih.download(tmp_path / "nih")
    records = nih.records(tmp_path / "nih")
    assert [record.path.read_bytes() for record in records] == list(images.values())
    site.asked.clear()
    nih.download(tmp_path / "nih")
    assert not site.asked


def test_openi(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = (
        b'<eCitation><uId id="CXR1"/><MeSH><major>Cardiomegaly</major></MeSH><parentImage id="CXR1_1_IM-0001-3001"/>'
        b"</eCitation>"
    )
    site.files = {
        "/NLMCXR_png.tgz": tar(tmp_path / "a.tgz", {"CXR1_1_IM-0001-3001.png": b"image"}),
        "/NLMCXR_reports.tgz": tar(tmp_path / "b.tgz", {"ecgen-radiology/1.xml": report}),
    }
    monkeypatch.setattr(openi, "SITE", site.url)
    openi.download(tmp_path / "openi")
    (record,) = openi.records(tmp_path / "openi")
    assert record.path.read_bytes() == b"image"
    assert record.labels["Cardiomegaly"] == 1


@pytest.mark.skipif(not shutil.which("zstd"), reason="the program zstd is not installed")
def test_rexgradient_needs_a_token(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar(tmp_path / "all.tar", {"deid_png/P/1.png": LARGE}, "w")
    subprocess.run(["zstd", "-q", tmp_path / "all.tar"], check=True)
    packed = (tmp_path / "all.tar.zst").read_bytes()
    site.files = {
        f"/resolve/main/{name}": packed[len(packed) * i // 10 : len(packed) * (i + 1) // 10]
        for i, name in enumerate(rexgradient.PARTS)
    }
    own = {"PatientID": "P", "StudyInstanceUid": "S", "ImagePath": ["../deid_png/P/1.png"], "ImageViewPosition": ["PA"]}
    for name in rexgradient.SPLITS:
        site.files[f"/resolve/main/metadata/{name}_metadata.csv"] = b"id,Findings,Impression\np1,Large effusion.,\n"
        site.files[f"/resolve/main/metadata/{name}_metadata_view_position.json"] = json.dumps({"p1": own}).encode()
    monkeypatch.setattr(rexgradient, "PAGE", site.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    site.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="refuses \\(403\\)") as error:
        rexgradient.download(tmp_path / "rex")
    assert "accept the agreement" in error.value.fix
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    rexgradient.download(tmp_path / "rex")
    assert {record.path.read_bytes() for record in rexgradient.records(tmp_path / "rex")} == {LARGE}


def test_physionet(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = "/files/mimic-cxr-jpg/2.1.0"
    content = {"files/p10/a.jpg": b"image", "mimic-cxr-2.0.0-split.csv.gz": LARGE}
    sums = "".join(f"{hashlib.sha256(value).hexdigest()} {name}\n" for name, value in content.items())
    site.files = {f"{base}/{name}": value for name, value in {**content, "SHA256SUMS.txt": sums.encode()}.items()}
    site.login = "ann:right"
    monkeypatch.setattr(physionet, "SITE", site.url)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(InputError, match="PhysioNet asks for a user and a password") as error:
        mimic_cxr.download(tmp_path / "mimic")
    assert "PHYSIONET_PASSWORD" in error.value.fix
    monkeypatch.setenv("PHYSIONET_USER", "ann")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "wrong")
    with pytest.raises(InputError, match="refuses \\(401\\)") as error:
        mimic_cxr.download(tmp_path / "mimic")
    assert "mimic-cxr-jpg/2.1.0/ signed?" in error.value.fix
    monkeypatch.delenv("PHYSIONET_PASSWORD")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password right\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    mimic_cxr.download(tmp_path / "mimic")
    assert {name: (tmp_path / "mimic" / name).read_bytes() for name in content} == content


@pytest.mark.parametrize("line", ["<html>", "0" * 64 + " ../../outside", "0" * 64 + " /etc/passwd"])
def test_a_list_of_checksums_that_is_none(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    site.files = {"/files/vindr-cxr/1.0.0/SHA256SUMS.txt": line.encode()}
    monkeypatch.setattr(physionet, "SITE", site.url)
    monkeypatch.setenv("PHYSIONET_USER", "ann")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "right")
    with pytest.raises(InputError, match="is no list of checksums"):
        physionet.download("vindr-cxr/1.0.0", tmp_path / "vindr")
    assert len(site.asked) == 1
