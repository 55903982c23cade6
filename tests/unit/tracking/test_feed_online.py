"""W&B with a server: a stand-in on this machine that keeps what W&B's own programs send it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from feeding import end, feed, in_journal, make_run, names_this_machine, offline_runs, train, write_journal
from feeding import no_network as no_network
from limits import HANG_S


class Server(ThreadingHTTPServer):
    """One project with one run: the lines of its history, and every other request as text."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.history: dict[int, str] = {}
        self.run = ""
        self.heard = ""

    def rows(self) -> dict[int, dict[str, float]]:
        """The steps in the order of their lines."""
        lines = [json.loads(self.history[number]) for number in sorted(self.history)]
        assert len({line["_step"] for line in lines}) == len(lines), "a step twice"
        return {line["_step"]: {key: line[key] for key in line if not key.startswith("_")} for line in lines}

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What W&B's GraphQL service would say, as far as its client needs it."""
        project = {"id": "1", "name": "medtrain", "entity": {"id": "1", "name": "me"}}
        last = self.history[max(self.history)] if self.history else "{}"
        bucket = {
            "id": "b",
            "name": self.run,
            "displayName": "d",
            "config": "{}",
            "historyLineCount": len(self.history),
        }
        if operation == "RunResumeStatus":
            counts = {
                "logLineCount": 0,
                "eventsLineCount": 0,
                "eventsTail": "[]",
                "tags": [],
                "wandbConfig": '{"t": 1}',
            }
            tail = {"historyTail": json.dumps([last]), "summaryMetrics": last}
            return {"model": {**project, "bucket": {**bucket, **counts, **tail}} if self.run else None}
        if operation == "UpsertBucket":
            self.run = variables["name"]
            return {"upsertBucket": {"bucket": {**bucket, "name": self.run, "project": project}, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.heard += body.decode(errors="replace") + "\n"
        reply: dict[str, Any] = {}
        if self.path.endswith("/graphql"):
            request = json.loads(body)
            reply = {"data": self.server.answer(request.get("operationName", ""), request.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            chunk = (json.loads(body).get("files") or {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            self.server.history.update(enumerate(chunk["content"], chunk["offset"]))
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_POST

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    yield server
    server.shutdown()


def test_a_resumed_run_goes_on_after_the_last_step_of_the_server(tmp_path: Path, server: Server) -> None:
    run = make_run(tmp_path, "wandb")
    trainer, _ = train(run, attempt=0, checkpoint=0, end=45)
    end(trainer)
    # An epoch's line may still be added to a step that has none, and W&B takes no second row of a step.
    assert list(server.rows()) == list(range(1, 45))
    trainer, _ = train(run, attempt=0, checkpoint=40, end=100)
    end(trainer)
    assert list(server.rows()) == list(range(1, 101))
    assert server.rows() == in_journal(run)
    assert len(offline_runs(run)) == 1
    for secret in ("grant-4711", "/secret/shards", str(tmp_path), sys.executable):
        assert secret not in server.heard
    assert not names_this_machine(server.heard)
    assert "densenet121" in server.heard


def test_an_offline_run_is_synced_whole(tmp_path: Path, server: Server) -> None:
    run = make_run(tmp_path, "wandb", mode="offline")
    write_journal(run, 50)
    assert feed(run).stderr == "" and not server.heard
    program = Path(sys.executable).with_name("wandb")
    subprocess.run([program, "sync", *offline_runs(run)], check=True, capture_output=True, timeout=HANG_S, cwd=tmp_path)
    assert list(server.rows()) == list(range(1, 51))
    assert server.rows() == in_journal(run)
