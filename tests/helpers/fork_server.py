"""Commands and ranks of tests without their imports: forked from a process that has them (a tool of tests alone).

Importing torch, torchvision and timm is most of what a command or a rank of a small test costs. A server, one a test
process, imports them once and does nothing else; `Forked`, a subprocess.Popen, has it fork in place of a new Python.
In what was forked, subprocess.Popen and os.execv do the same, so that a supervisor's ranks are forked too, each by its
own parent. Everything of medtrain is imported anew from where the command says.

A process that imported torch under OMP_NUM_THREADS=1 and ran no tensor operation has one thread and forks well. Threads
are counted before each fork: where a library has made any, or the interpreter is told other things than the server was,
Python is started as ever; but not for a loader's worker, which uses nothing of what has threads. Tests of starting, of
signals to a fresh process and of frozen code start Python themselves.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import forking
import interpreter
from forking import Either, ForkingPopen, Given, alone, become, execv
from interpreter import read_at_start

HEAVY = """
numpy cv2 simplejpeg kornia_rs xxhash safetensors.torch yaml tyro pydicom requests tifffile av
torch torch._dynamo torch.distributed torchvision timm accelerate
matplotlib.figure matplotlib.backends.backend_agg matplotlib.backends.backend_svg sklearn.metrics scipy.sparse
"""


# The server.


def serve(control: socket.socket) -> None:
    """Fork what is asked for until the other end is closed; answers with a pid, and on its status pipe with its end."""
    interpreter.told.update(read_at_start(os.environ))  # first: cv2 sets LD_LIBRARY_PATH
    for name in HEAVY.split():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    many = "" if alone() else f"{len(os.listdir('/proc/self/task'))} threads after the imports"  # noqa: PTH208
    control.sendall(json.dumps({"refused": many}).encode() + b"\n")
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    children: dict[int, tuple[int, int]] = {}
    while True:
        for key, _ in waiting.select():
            if key.fileobj is control:
                if not answer(control, waiting, children):
                    return
            else:
                pid, status = children.pop(key.fd)
                waiting.unregister(key.fd)
                os.close(key.fd)
                os.write(status, struct.pack("i", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
                os.close(status)


def answer(control: socket.socket, waiting: selectors.BaseSelector, children: dict[int, tuple[int, int]]) -> bool:
    """Fork one program; False where nobody asks any more."""
    data, descriptors, _, _ = socket.recv_fds(control, 8, 8)
    if not data:
        return False
    size = struct.unpack("Q", data)[0]
    text = b""
    while len(text) < size:
        text += control.recv(size - len(text))
    asked = json.loads(text)
    streams, status = descriptors[:3], descriptors[3]
    pid = os.fork()
    if pid == 0:
        waiting.close()
        subprocess.Popen = ForkingPopen  # type: ignore[misc]
        os.execv = execv  # type: ignore[assignment]
        if asked["session"]:
            os.setsid()
        become(asked["words"], asked["environment"], asked["cwd"], streams, [], asked["umask"])
    for descriptor in streams:
        os.close(descriptor)
    watched = os.pidfd_open(pid)
    children[watched] = (pid, status)
    waiting.register(watched, selectors.EVENT_READ)
    control.sendall(struct.pack("i", pid))
    return True


# The side of the tests.


class Server:
    """The server of this test process, started when it is first needed."""

    control: socket.socket | None = None
    refused = ""

    @classmethod
    def start(cls) -> None:
        """Start it, and wait until it can fork."""
        ours, theirs = socket.socketpair()
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fork_server; fork_server.main()"
        command = [sys.executable, "-c", code, str(theirs.fileno()), " " * 8192]
        subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        theirs.close()
        interpreter.told.update(read_at_start(os.environ))
        with ours.makefile("rb") as lines:
            told = lines.readline()
        cls.refused = json.loads(told)["refused"] if told else "it ended"
        cls.control = ours
        if cls.refused:
            print(f"the fork server is of no use here: {cls.refused}", file=sys.stderr)


class Forked(Either):
    """A Popen whose program the server forks, where it can."""

    _status = -1

    def _execute_child(self, *values: Any) -> None:
        if Server.control is None:
            Server.start()
        super()._execute_child(*values)

    def _fork(self, given: Given, words: list[str], environment: dict[str, str]) -> bool:
        if given.preexec_fn or given.pass_fds or Server.refused:
            return False
        assert Server.control is not None
        self._status, theirs = os.pipe()
        now = os.umask(0)
        os.umask(now)
        asked = {"words": words, "environment": environment, "cwd": os.fspath(given.cwd or Path.cwd()),
                 "umask": now, "session": given.start_new_session}  # fmt: skip
        text = json.dumps(asked).encode()
        pipes = (given.p2cread, given.c2pwrite, given.errwrite)
        streams = [own if own != -1 else number for number, own in enumerate(pipes)]
        told = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*streams, theirs]))]
        Server.control.sendmsg([struct.pack("Q", len(text))], told)
        Server.control.sendall(text)
        self.pid = struct.unpack("i", Server.control.recv(4, socket.MSG_WAITALL))[0]
        os.close(theirs)
        return True

    def _internal_poll(self, _deadstate: Any = None, **_: Any) -> int | None:
        if self._status == -1:
            return super()._internal_poll(_deadstate)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._wait(timeout=0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._status == -1:
            return super()._wait(timeout)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._status, selectors.EVENT_READ)
                if not waiting.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            told = os.read(self._status, 4)
            os.close(self._status)
            self.returncode = struct.unpack("i", told)[0] if told else -signal.SIGKILL  # with the server
        return self.returncode


def main() -> None:
    """The server's program."""
    sys.path.pop(0)
    forking.fresh_path[:] = [place for place in sys.path if place]
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
