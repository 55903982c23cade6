"""A server on this machine that takes what is posted to it, over real HTTP, or does so badly."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local_server import LocalServer

SECRET = "T0Psecret4711"


class Webhook(LocalServer):
    """Keeps the `messages` that are posted to its secret `address`; `answers` the code, or nothing at all (0)."""

    def __init__(self, answers: int = 200) -> None:
        self.messages: list[dict[str, Any]] = []
        self._end = threading.Event()
        server, end = self, self._end

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == f"/hook/{SECRET}" and self.headers["Content-Type"] == "application/json"
                server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if answers == 0:
                    end.wait()
                    return
                self.send_response(answers, f"said of {self.path}")
                if answers == 302:
                    self.send_header("Location", f"{server.url}/elsewhere/{SECRET}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.listen(Handler, ThreadingHTTPServer)
        self.address = f"{self.url}/hook/{SECRET}"

    def close(self) -> None:
        """Let go of who waits, and stop serving."""
        self._end.set()
        super().close()
