"""A server on this machine that speaks what an upload to the Hugging Face Hub needs, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local_server import LocalServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(LocalServer):
    """Keeps the `files` of its `repos`; `fail_with` is what it answers to whatever path begins with a key."""

    def __init__(self, large: tuple[str, ...] = ()) -> None:
        self.large = large  # suffixes of files that go the way of large ones
        self.repos: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}  # SHA-256 -> a large file
        self.private = True
        self.tokens: set[str] = set()  # of all requests but those to storage
        self.paths: list[str] = []
        self.fail_with: dict[str, int] = {}
        self.echo = False  # whether a refusal repeats the header Authorization
        self.listen(self._handler(), ThreadingHTTPServer)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                code, answer, headers = hub.answer(self.command, self.path, body, self.headers.get("Authorization", ""))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(code)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_POST = do_PUT = respond

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of one answer."""
        self.paths.append(f"{method} {path}")
        if path.startswith("/storage/"):
            self.blobs[hashlib.sha256(body).hexdigest()] = body
            return 200, {}, {}
        if path != "/api/validate-yaml":  # which needs none
            self.tokens.add(token)
        for begin, code in self.fail_with.items():
            if path.startswith(begin):
                return code, {"error": f"the stand-in says {code}{f' to {token}' if self.echo else ''}"}, {}
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(*found.groups())
        missing = re.fullmatch(r"/api/models/([^/]+/[^/]+)", path)
        if missing and missing[1] not in self.repos:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        return 200, self._api(path, body), {}

    def _file(self, repo: str, name: str) -> tuple[int, Any, dict[str, str]]:
        if repo not in self.repos or name not in self.files:
            return 404, {"error": "not here"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
        data = self.files[name]
        return 200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}

    def _api(self, path: str, body: bytes) -> Any:
        repo = next((name for name in self.repos if f"/{name}" in path), "")
        about = {
            "id": repo,
            "sha": COMMIT,
            "private": self.private,
            "siblings": [],
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }
        if path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}"
            self.repos[name] = told
            return {"url": f"{self.url}/{name}", "name": name, "id": name}
        if "/preupload/" in path:
            return {"files": [self._way(one["path"]) for one in json.loads(body)["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            return {"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]}
        if "/commit/" in path:
            return self._commit(repo, [json.loads(line) for line in body.splitlines() if line.strip()])
        return about

    def _way(self, name: str) -> dict[str, Any]:
        mode = "lfs" if name.endswith(self.large) and self.large else "regular"
        return {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _place(self, one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "actions": {"upload": {"href": f"{self.url}/storage/{one['oid']}", "header": {}}}}

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> dict[str, str]:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.blobs[value["oid"]]
        return {"commitUrl": f"{self.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT}
