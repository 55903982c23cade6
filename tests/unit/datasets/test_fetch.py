"""Fetching from a real server on this machine: ranges, broken connections, checksums, logins, a full disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from limits import HANG_S
from web import LARGE, Site, tar

from medtrain.core.errors import InputError, MachineError
from medtrain.datasets.download import http_client
from medtrain.datasets.download.archives import unpack, unpack_zstd
from medtrain.datasets.download.credentials import OPEN, Credentials
from medtrain.datasets.download.http_client import Remote


def remote(site: Site, name: str, right: bool = True) -> Remote:
    content = site.files[f"/{name}"] if right else b"other"
    return Remote(f"{site.url}/{name}", f"folder/{name}", hashlib.sha256(content).hexdigest())


def left_over(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file() and path.name != ".lock")


def test_files_come_whole_and_are_not_fetched_twice(site: Site, tmp_path: Path) -> None:
    both = [remote(site, "large"), remote(site, "small")]
    http_client.fetch(both, tmp_path / "new", OPEN)
    assert (tmp_path / "new/folder/large").read_bytes() == LARGE
    assert left_over(tmp_path / "new") == ["large", "small"]
    asked = len(site.asked)
    http_client.fetch(both, tmp_path / "new", OPEN)
    assert len(site.asked) == asked == 2


def test_a_broken_connection_goes_on_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.breaks["/large"] = [1_200_000, 900_000]
    http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    assert (tmp_path / "folder/large").read_bytes() == LARGE
    starts = [int(wanted[6:-1] or 0) if wanted else 0 for _, wanted in site.asked]
    assert starts == [0, 1_200_000, 2_100_000]
    assert site.sent["/large"] == len(LARGE)


def test_a_killed_call_goes_on_in_the_next(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "SLOWEST_S", 30.0)
    site.breaks["/large"] = [2_000_000] + [0] * http_client.TRIES
    fetching = multiprocessing.get_context("fork").Process(
        target=http_client.fetch, args=([remote(site, "large")], tmp_path, OPEN)
    )
    fetching.start()
    part = tmp_path / "folder/.large.part"
    deadline = time.monotonic() + HANG_S
    while not (part.exists() and part.stat().st_size == 2_000_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    fetching.kill()
    fetching.join()
    assert not (tmp_path / "folder/large").exists()
    site.breaks.clear()
    site.asked.clear()
    http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    assert site.asked == [("/large", "bytes=2000000-")]
    assert (tmp_path / "folder/large").read_bytes() == LARGE


def test_a_file_that_changed_in_between_is_fetched_from_its_beginning(site: Site, tmp_path: Path) -> None:
    site.breaks["/large"] = [1_500_000] + [0] * http_client.TRIES
    with pytest.raises(MachineError):
        http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    site.breaks.clear()
    site.files["/large"] = LARGE[::-1]
    http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    assert (tmp_path / "folder/large").read_bytes() == LARGE[::-1]


def test_a_site_without_ranges(site: Site, tmp_path: Path) -> None:
    site.ranges, site.breaks["/large"] = False, [1_500_000]
    http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    assert (tmp_path / "folder/large").read_bytes() == LARGE


def test_a_whole_part_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    site.breaks["/large"] = [2_999_999] + [0] * http_client.TRIES
    with pytest.raises(MachineError):
        http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    with (tmp_path / "folder/.large.part").open("ab") as part:
        part.write(LARGE[-1:])
    site.asked.clear()
    http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    assert not site.asked
    assert left_over(tmp_path) == ["large"]


def test_a_busy_site_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.answers["/small"] = [503, 429]
    http_client.fetch([remote(site, "small")], tmp_path, OPEN)
    assert (tmp_path / "folder/small").read_bytes() == b"few bytes"


def test_a_dead_network_ends_in_words_and_keeps_what_came(site: Site, tmp_path: Path) -> None:
    site.breaks["/large"] = [1_500_000] + [0] * http_client.TRIES
    with pytest.raises(MachineError, match=r"/large: .* broke") as error:
        http_client.fetch([remote(site, "large")], tmp_path, OPEN)
    assert "give the same command again" in error.value.fix
    assert (tmp_path / "folder/.large.part").stat().st_size == 1_500_000


def test_another_file_that_fails_costs_no_part(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "PIECE", 1000)
    site.files["/huge"] = LARGE * 20
    with pytest.raises(InputError, match="answers 404"):
        http_client.fetch([remote(site, "huge"), Remote(f"{site.url}/gone", "gone")], tmp_path, OPEN)
    part = tmp_path / "folder/.huge.part"
    assert not part.exists() or 0 < part.stat().st_size < 60_000_000
    came = part.stat().st_size if part.exists() else 0
    site.asked.clear()
    http_client.fetch([remote(site, "huge")], tmp_path, OPEN)
    assert site.asked == [("/huge", f"bytes={came}-" if came else "")]
    assert (tmp_path / "folder/huge").read_bytes() == site.files["/huge"]


def test_a_wrong_checksum_twice(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="came twice with a wrong checksum"):
        http_client.fetch([remote(site, "small", right=False)], tmp_path, OPEN)
    assert left_over(tmp_path) == []


def test_the_checksum_that_a_site_tells(site: Site, tmp_path: Path) -> None:
    """As Hugging Face does; also of a part that was whole already."""
    file = Remote(f"{site.url}/large", "large")
    site.always = {"X-Linked-ETag": f'"{hashlib.sha256(b"other").hexdigest()}"'}
    with pytest.raises(InputError, match="came twice with a wrong checksum"):
        http_client.fetch([file], tmp_path, OPEN)
    assert left_over(tmp_path) == []
    site.always = {"X-Linked-ETag": f'"{hashlib.sha256(LARGE).hexdigest()}"'}
    site.breaks["/large"] = [2_999_999] + [0] * http_client.TRIES
    with pytest.raises(MachineError):
        http_client.fetch([file], tmp_path, OPEN)
    with (tmp_path / ".large.part").open("ab") as part:
        part.write(b"?" if LARGE[-1:] != b"?" else b"!")
    site.breaks.clear()
    http_client.fetch([file], tmp_path, OPEN)
    assert (tmp_path / "large").read_bytes() == LARGE


def test_no_such_file_and_not_let_in(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answers 404"):
        http_client.fetch([Remote(f"{site.url}/gone", "gone")], tmp_path, OPEN)
    site.login = "ann:right"
    with pytest.raises(InputError, match="refuses \\(401\\)") as error:
        http_client.fetch(
            [remote(site, "small")], tmp_path, Credentials(login=("ann", "wrong"), refused="fix the login")
        )
    assert error.value.fix == "fix the login"
    assert "wrong" not in str(error.value) + repr(Credentials(login=("ann", "wrong"), headers={"a": "wrong"}))


def test_a_login_goes_to_no_other_site(site: Site, tmp_path: Path) -> None:
    """As Hugging Face sends its downloads to a storage elsewhere."""
    other = Site()
    site.answers["/small"], other.files = [302], {"/elsewhere": b"stored"}
    site.url = other.url.replace("127.0.0.1", "localhost")  # where the redirect leads
    http_client.fetch(
        [Remote(f"http://127.0.0.1:{site._server.server_port}/small", "small")], tmp_path,
        Credentials({"Authorization": "Bearer secret"}),
    )  # fmt: skip
    other.close()
    assert (tmp_path / "small").read_bytes() == b"stored"
    assert site.headers[0]["Authorization"] == "Bearer secret"
    assert "Authorization" not in other.headers[0]


def test_no_room(site: Site, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(2_000_000)
    with pytest.raises(MachineError, match="needs 3 MB, and 2 MB are free") as error:
        http_client.fetch([remote(site, "small"), remote(site, "large")], disk, OPEN, workers=1)
    assert error.value.fix.startswith("make room")
    assert (disk / "folder/small").exists()


def test_two_at_once_are_refused(site: Site, tmp_path: Path) -> None:
    with http_client.alone(tmp_path, "fetching"), pytest.raises(InputError, match="another process is fetching it"):
        http_client.fetch([remote(site, "small")], tmp_path, OPEN)


def test_archives(tmp_path: Path) -> None:
    content = tar(tmp_path / "one.tgz", {"a/1.png": LARGE, "a/2.png": b"2"})
    hidden = tmp_path / ".one.unfinished" / "a"
    hidden.mkdir(parents=True)
    (hidden / "1.png").write_bytes(LARGE[:-1])  # a call that was killed
    unpack(tmp_path / "one.tgz", tmp_path / "one", "again")
    assert (tmp_path / "one/a/1.png").read_bytes() == LARGE
    assert left_over(tmp_path) == ["1.png", "2.png"]
    for damaged in (content[:-2000], b"x" + content, b""):
        (tmp_path / "two.tgz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"two.tgz: is damaged"):
            unpack(tmp_path / "two.tgz", tmp_path / "two", "again")
        assert not (tmp_path / "two").exists()
        assert not (tmp_path / "two.tgz").exists()


def test_an_archive_cannot_write_outside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/bad.tgz", "w:gz") as archive:
        (tmp_path / "evil").write_text("x")
        archive.add(tmp_path / "evil", "../../evil2")
    with pytest.raises(InputError, match="is damaged"):
        unpack(tmp_path / "in/bad.tgz", tmp_path / "in/out", "again")
    assert not list(tmp_path.rglob("evil2"))


@pytest.mark.skipif(not shutil.which("zstd"), reason="the program zstd is not installed")
def test_an_archive_in_parts(tmp_path: Path) -> None:
    tar(tmp_path / "all.tar", {f"deid_png/{i}.png": LARGE[i:] for i in range(3)}, "w")
    subprocess.run(["zstd", "-q", "--rm", tmp_path / "all.tar"], check=True)
    packed = (tmp_path / "all.tar.zst").read_bytes()
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for wanted, cut in ((True, len(packed)), (False, len(packed) - 100), (False, len(packed) // 2)):
        for i, part in enumerate(parts):
            part.write_bytes(packed[cut * i // 3 : cut * (i + 1) // 3])
        if wanted:
            unpack_zstd(parts, tmp_path / "out", "again")
            assert (tmp_path / "out/deid_png/2.png").read_bytes() == LARGE[2:]
        else:
            with pytest.raises(InputError, match="part0 to part2 could not be unpacked"):
                unpack_zstd(parts, tmp_path / f"out{cut}", "again")
            assert not (tmp_path / f"out{cut}").exists()
        assert any(part.exists() for part in parts) == (not wanted)
