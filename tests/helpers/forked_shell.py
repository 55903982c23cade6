"""`medtrain` and `python` as a shell finds them, without their imports: what the shell starts is forked (fork_server).

The two stand in a folder for the front of PATH. Each is forked_program, which has the test process fork what it stands
for, waits, and ends alike.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import socket
import sys
import tempfile
import threading
from pathlib import Path

import forked_program
from fork_server import Forked
from forked_program import SIZE, STATUS

PROGRAMS = {"medtrain": ["-m", "medtrain"], "python": []}


@functools.cache
def programs() -> Programs:
    """Made once a process."""
    return Programs()


class Programs:
    """The folder for PATH, and a thread that answers for as long as this process lives."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="programs-")  # mode 700: what connects has code run
        self.path = self._folder.name
        address = f"{self.path}/socket"
        for name, words in PROGRAMS.items():
            command = shlex.join([sys.executable, "-IS", forked_program.__file__, address, *words])
            program = Path(self.path, name)
            program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            program.chmod(0o700)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(address)
        self._listening.listen()
        self._forking = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as text:
            head, streams, _, _ = socket.recv_fds(connection, SIZE.size, 3)
            asked = json.loads(text.read(SIZE.unpack(head)[0]))
            with self._forking:  # one after the other: the fork server answers in turn
                process = Forked(
                    [sys.executable, *asked["words"]], stdin=streams[0], stdout=streams[1], stderr=streams[2],
                    env=asked["environment"], cwd=asked["folder"],
                )  # fmt: skip
            for stream in streams:
                os.close(stream)
            connection.sendall(STATUS.pack(process.wait()))
