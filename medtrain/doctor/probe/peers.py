"""What the probe learns from other nodes: can they be reached, what time have they, do they see the same files."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 5.0
SEEN_SECONDS = 10.0  # a network file system may show a new file so late
FLIP_SECONDS = 1.5
FLIP_BYTES = 20_000


def listen() -> int:
    """Tell everybody who connects the time; returns the port, one that is free here, as a run takes one."""
    server = socket.create_server(("", 0), backlog=128)

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # one that hung up must not keep the others waiting
                connection.sendall(struct.pack("!d", time.time()))

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def meet(address: str, port: int) -> dict[str, Any]:
    """Connect to a node: `fault`, or by how many seconds its clock is ahead, and how exact that is."""
    before = time.time()
    try:
        with socket.create_connection((address, port), timeout=CONNECT_SECONDS) as connection:
            (theirs,) = struct.unpack("!d", connection.recv(8, socket.MSG_WAITALL))
    except (OSError, struct.error) as error:
        return {"fault": f"{getattr(error, 'strerror', None) or error}"}
    after = time.time()
    return {"ahead": theirs - (before + after) / 2, "exact": (after - before) / 2}


def leave_token(place: Path, node: str) -> str:
    """Leave files that other nodes should see; returns why that is not possible, or an empty string.

    None may look for a file that is not there yet: NFS would take it for missing for half a minute.
    """
    try:
        (place / f"flip-{node}").write_bytes(bytes(FLIP_BYTES))
        (place / f"seen-{node}").write_text(node)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def unseen(place: Path, nodes: list[str]) -> list[str]:
    """The nodes whose files do not show here."""
    deadline = time.monotonic() + SEEN_SECONDS
    while True:
        missing = [node for node in nodes if not _holds(place / f"seen-{node}", node)]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.2)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def flip(place: Path, node: str) -> dict[str, Any]:
    """Replace this node's file again and again by rename, each time with other content."""
    done, deadline = 0, time.monotonic() + FLIP_SECONDS
    try:
        while time.monotonic() < deadline:
            (place / "flip.new").write_bytes(bytes([done % 256]) * FLIP_BYTES)
            (place / "flip.new").replace(place / f"flip-{node}")
            done += 1
            time.sleep(0.001)
    except OSError as error:
        return {"fault": error.strerror or str(error)}
    return {"renames": done}


def watch(place: Path, writer: str) -> dict[str, Any]:
    """Read the file that another node flips: how often it was whole, torn, or for a moment not there."""
    counts = {"whole": 0, "torn": 0, "gone": 0, "stale": 0}
    contents: set[bytes] = set()
    deadline = time.monotonic() + FLIP_SECONDS
    while time.monotonic() < deadline:
        kind = _read(place / f"flip-{writer}", contents)
        counts[kind] += 1
        time.sleep(0.001)
    return {**counts, "contents": len(contents)}


def _read(path: Path, contents: set[bytes]) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return "gone"
    except OSError:  # ESTALE: NFS, when the file that is open was replaced
        return "stale"
    contents.add(data[:1])
    return "whole" if len(data) == FLIP_BYTES and data.count(data[:1]) == FLIP_BYTES else "torn"
