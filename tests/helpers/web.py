"""A real HTTP server on this machine, with the faults that sites have, and what it may serve."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
import tarfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from local_server import LocalServer

LARGE = random.Random(1).randbytes(3_000_000)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, address: object) -> None:
        """A client that hangs up is part of the tests."""


class Site(LocalServer):
    """Serves `files` (path -> bytes); what goes wrong with a path is set in the other fields, by the path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []  # path and Range of each request
        self.headers: list[dict[str, str]] = []
        self.breaks: dict[str, list[int]] = {}  # after so many bytes of an answer the connection breaks, each time one
        self.answers: dict[str, list[int]] = {}  # status codes to answer first
        self.login = ""  # user:password
        self.token = ""
        self.ranges = True
        self.always: dict[str, str] = {}  # headers of every answer
        self.sent: Counter[str] = Counter()
        self.listen(self._handler(), _Server)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.answer(self)

            def do_HEAD(self) -> None:
                site.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One answer, with what is to go wrong."""
        path, wanted = request.path, request.headers.get("Range", "")
        self.asked.append((path, wanted))
        self.headers.append(dict(request.headers))
        code = self.answers[path].pop(0) if self.answers.get(path) else self._code(request)
        body = self.files.get(path, b"")
        if code != 200:
            return self._send(request, code, b"", {"Location": f"{self.url}/elsewhere"} if code == 302 else {})
        headers, start = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:8]}"'}, 0
        if self.ranges and wanted:
            start, code = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(body):
                return self._send(request, 416, b"", {})
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self._send(request, code, body[start:], headers)

    def _code(self, request: BaseHTTPRequestHandler) -> int:
        given = request.headers.get("Authorization", "")
        if self.login and given != "Basic " + base64.b64encode(self.login.encode()).decode():
            return 401
        if self.token and given != f"Bearer {self.token}":
            return 403
        return 200 if request.path in self.files else 404

    def _send(self, request: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str]) -> None:
        request.send_response(code)
        for name, value in {**self.always, **headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        breaks = self.breaks.get(request.path)
        sent = body[: breaks.pop(0)] if breaks and code in (200, 206) else body
        request.wfile.write(sent)
        self.sent[request.path] += len(sent)
        if len(sent) < len(body):
            request.close_connection = True


def tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """An archive of these files, written to `path` and read from there."""
    source = path.with_name("packed")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content)
            archive.add(source / name, name)
    shutil.rmtree(source)
    return path.read_bytes()
