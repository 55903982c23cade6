"""A real HTTP server on a free port of this machine."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LocalServer:
    """Serves at `url` from `listen` until `close`, each request in a thread of its own."""

    def listen(self, handler: type[BaseHTTPRequestHandler], kind: type[ThreadingHTTPServer]) -> None:
        """Begin to serve."""
        self._server = kind(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
