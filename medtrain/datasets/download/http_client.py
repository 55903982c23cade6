"""Files from the web, in parallel: each one whole and checked, or left where the next call resumes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import alone, sync_folder
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.core.progress import Progress
from medtrain.datasets.download.credentials import Credentials

if TYPE_CHECKING:
    import requests

PIECE = 1 << 20
TRIES = 6  # without a byte more
SLOWEST_S = 30.0  # between two tries
WAIT_S = 60.0  # for an answer, and for the next bytes
FULL = (errno.ENOSPC, errno.EDQUOT)
LATER = (408, 425, 429, 500, 502, 503, 504)
GO_ON = "then give the same command again: it continues with what is missing"


@dataclass(frozen=True)
class Remote:
    """A file to fetch: where it is, its name below the root folder, and its sha256 where that is known beforehand."""

    url: str
    name: str
    sha256: str = ""


class _Broken(Exception):
    """The rest of a file did not come; another try may bring it."""


def fetch(remotes: list[Remote], root: Path, access: Credentials, workers: int = 4) -> None:
    """Bring files into `root`. What is there already stays; what broke off resumes from its last byte.

    A file has its name when its length and its checksum are right. InputError where the site refuses or has no such
    file, or a checksum stays wrong; MachineError where the net or the disk gives out.
    """
    missing = [remote for remote in remotes if not (root / remote.name).exists()]
    fetcher = _Fetcher(root, access, Progress(len(remotes), "fetching", "files", done=len(remotes) - len(missing)))
    pool = ThreadPoolExecutor(workers)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with alone(root, "fetching"):
            for job in as_completed([pool.submit(fetcher.fetch, remote) for remote in missing]):
                job.result()
    except OSError as error:
        problem = f"{root}: cannot be written ({error.strerror}); what has come is kept"
        raise MachineError(problem, f"{'make room' if error.errno in FULL else 'fix that'}, {GO_ON}") from None
    finally:
        fetcher.end.set()
        pool.shutdown(cancel_futures=True)
        fetcher.progress.close()


class _Fetcher:
    """What the threads share, and a connection for each."""

    def __init__(self, root: Path, access: Credentials, progress: Progress) -> None:
        self.root, self.access, self.progress = root, access, progress
        self.end = threading.Event()
        self._bytes = 0
        self._lock = threading.Lock()
        self._own = threading.local()

    def fetch(self, remote: Remote) -> None:
        """One file, in as many tries as bring it on."""
        path = self.root / remote.name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f".{path.name}.part")
        idle, spoiled = 0, 0
        while not self.end.is_set():
            before = _size(part)
            try:
                told = self._append(remote, part)
                wanted = remote.sha256 or told
                if self.end.is_set():
                    return
                if not wanted or _sha256(part) == wanted:
                    break
                part.unlink()
                _mark(part).unlink(missing_ok=True)
                spoiled += 1
                reason = "its checksum is wrong"
                if spoiled == 2:
                    raise InputError(
                        f"{remote.url}: came twice with a wrong checksum", f"ask those who publish it, {GO_ON}"
                    )
            except _Broken as error:
                reason = str(error)
            idle = 0 if _size(part) > before else idle + 1
            if idle == TRIES:
                raise MachineError(f"{remote.url}: {reason}", f"check the network, {GO_ON}") from None
            self.end.wait(min(2**idle - 1, SLOWEST_S))
        if self.end.is_set():
            return
        part.replace(path)
        _mark(part).unlink(missing_ok=True)
        sync_folder(path.parent)
        with self._lock:
            self.progress.advance(1, f"{self._bytes / 1e6:,.0f} MB")

    def _append(self, remote: Remote, part: Path) -> str:
        """What `part` lacks; from the beginning where the file at the site is another by now. Its sha256 as told."""
        import requests

        have, mark = _size(part), read_json(_mark(part))
        if mark and mark["bytes"] == have:
            return str(mark["sha256"])
        asked = {"Range": f"bytes={have}-"} if have and mark else {}
        try:
            with self._session().get(remote.url, headers=asked, stream=True, timeout=WAIT_S) as answer:
                if answer.status_code == 416:  # the part is as long as the file, or longer
                    part.unlink()
                    raise _Broken("it has another length by now")
                if answer.status_code not in (200, 206):
                    self._refuse(remote, answer)
                length = _whole_length(answer)
                found = {"tag": answer.headers.get("ETag", ""), "bytes": length, "sha256": _told_sha256(answer)}
                if answer.status_code == 206 and found != mark:
                    part.unlink()
                    raise _Broken("it is another file by now")
                self._make_room(part, length, have if answer.status_code == 206 else 0)
                if length is None or length > PIECE:  # a small file is fetched again from its beginning
                    write_json(_mark(part), found)
                self._write(answer, part, "ab" if answer.status_code == 206 else "wb")
        except requests.RequestException as error:
            raise _Broken(f"the connection broke ({type(error).__name__})") from None
        if not self.end.is_set() and length is not None and _size(part) != length:
            raise _Broken(f"{_size(part):,} of {length:,} bytes came")
        return str(found["sha256"])

    def _write(self, answer: requests.Response, part: Path, mode: str) -> None:
        with part.open(mode) as file:
            for piece in _pieces(answer):
                file.write(piece)
                with self._lock:
                    self._bytes += len(piece)
                    self.progress.advance(0, f"{self._bytes / 1e6:,.0f} MB")
                if self.end.is_set():
                    return
            os.fsync(file.fileno())

    def _session(self) -> requests.Session:
        """A thread's own: it keeps its connection, and takes the login elsewhere with no redirect."""
        import requests

        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.headers.update({"Accept-Encoding": "identity", **self.access.headers})
            self._own.session.auth = self.access.login
        return self._own.session  # type: ignore[no-any-return]

    def _refuse(self, remote: Remote, answer: requests.Response) -> NoReturn:
        if answer.status_code in LATER:
            with suppress(ValueError):
                time.sleep(min(float(answer.headers.get("Retry-After", 0)), 60))
            raise _Broken(f"the site answers {answer.status_code} ({answer.reason})")
        if answer.status_code in (401, 403):
            raise InputError(f"{remote.url}: the site refuses ({answer.status_code})", self.access.refused)
        raise InputError(
            f"{remote.url}: the site answers {answer.status_code} ({answer.reason})",
            "the file has moved: look at the page of the dataset, and report it to the maintainers of medtrain",
        )

    def _make_room(self, part: Path, length: int | None, have: int) -> None:
        free, needed = shutil.disk_usage(part.parent).free, (length or 0) - have
        if needed > free:
            problem = f"{self.root}: {part.name[1:-5]} needs {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free"
            raise MachineError(problem, f"make room, {GO_ON}")


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """The bytes as they are sent: an archive is not unpacked on the way."""
    import requests
    import urllib3

    try:
        yield from answer.raw.stream(PIECE, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from None


def _whole_length(answer: requests.Response) -> int | None:
    """Bytes of the whole file, where the site tells."""
    told = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    return int(told) if told.isdigit() else None


def _told_sha256(answer: requests.Response) -> str:
    """The sha256 of a large file, which Hugging Face tells on the way to where it lies; empty where nobody does."""
    for step in (*answer.history, answer):
        if re.fullmatch(r'"?[0-9a-f]{64}"?', tag := step.headers.get("X-Linked-ETag", "")):
            return tag.strip('"')
    return ""


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _mark(part: Path) -> Path:
    """What tells which file a part is of."""
    return part.with_suffix(".mark")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
