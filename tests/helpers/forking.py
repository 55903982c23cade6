"""A process that is forked in place of a new Python, and is what that would be (see fork_server)."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from interpreter import LOADER, program_of, python_path, same_interpreter

_execv = os.execv
fresh_path: list[str] = []


def alone() -> bool:
    """Whether all threads are Python's own, which knows how to fork beside them (the supervisor's heartbeat): with
    those of a library, which computed in parallel, a fork may hang."""
    return len(os.listdir("/proc/self/task")) == threading.active_count()  # noqa: PTH208 - names alone


class Given(NamedTuple):
    """What Popen gives to `_execute_child`, from Python 3.10 on."""

    args: Any
    executable: Any
    preexec_fn: Any
    close_fds: bool
    pass_fds: Any
    cwd: Any
    env: Any
    startupinfo: Any
    creationflags: int
    shell: bool
    p2cread: int
    p2cwrite: int
    c2pread: int
    c2pwrite: int
    errread: int
    errwrite: int
    restore_signals: bool
    gid: Any
    gids: Any
    uid: Any
    umask: int
    start_new_session: bool
    process_group: int = -1


class Either(subprocess.Popen):  # type: ignore[type-arg]
    """A Popen that forks what it can, and starts the rest as ever."""

    def _execute_child(self, *values: Any) -> None:
        given, words = Given(*values), program_of(values[0])
        environment = {
            os.fsdecode(k): os.fsdecode(v) for k, v in (os.environ if given.env is None else given.env).items()
        }
        possible = words and not given.shell and not given.executable and same_interpreter(environment, words)
        if not words or not possible or not self._fork(given, words, environment):
            super()._execute_child(*values)  # type: ignore[misc]
            return
        self._child_created = True
        pipes = ((given.p2cread, given.p2cwrite), (given.c2pwrite, given.c2pread), (given.errwrite, given.errread))
        for theirs, ours in pipes:
            if theirs != -1 and ours != -1:
                os.close(theirs)
        if (devnull := getattr(self, "_devnull", None)) is not None:
            os.close(devnull)

    def _fork(self, given: Given, words: list[str], environment: dict[str, str]) -> bool:
        """Have the program forked and set `pid`; False where that cannot be."""
        raise NotImplementedError


class ForkingPopen(Either):
    """In a process that was forked: forks where it would start this Python."""

    def _fork(self, given: Given, words: list[str], environment: dict[str, str]) -> bool:
        if not alone() and LOADER not in words:
            return False
        sys.stdout.flush()
        sys.stderr.flush()
        everything = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                handlers_as_after_exec()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                if given.start_new_session:
                    os.setsid()
                if given.preexec_fn:
                    given.preexec_fn()
                streams = [given.p2cread, given.c2pwrite, given.errwrite]
                become(words, environment, given.cwd, streams, given.pass_fds if given.close_fds else None)
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return True


def execv(path: Any, args: Any) -> NoReturn:
    """An os.execv that stays in this process where it would start this Python again."""
    words = program_of(args)
    if words is None or not alone() or not same_interpreter(os.environ, words):
        _execv(path, args)
    kept = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and inheritable(fd)]  # noqa: PTH208
    handlers_as_after_exec()
    become(words, dict(os.environ), None, [-1, -1, -1], kept)


def inheritable(descriptor: int) -> bool:
    """Whether an exec leaves a descriptor open; False for one that is closed by now."""
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def handlers_as_after_exec() -> None:
    """What was handled is as at the start of a process again; what was ignored stays ignored."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) and number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def become(
    words: list[str], environment: dict[str, str], cwd: Any, streams: list[int], kept: Any, umask: int | None = None
) -> NoReturn:
    """Be what `python WORDS` would be: same streams, folder, environment and modules of medtrain from anew."""
    code = 1
    try:
        atexit._clear()
        for number, descriptor in enumerate(streams):
            if descriptor != -1:
                os.dup2(descriptor, number)
        if kept is not None:
            for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
                if descriptor > 2 and descriptor not in kept:
                    try_close(descriptor)
            for descriptor in kept:
                os.set_inheritable(descriptor, True)
        if umask is not None:
            os.umask(umask)
        os.environ.clear()
        os.environ.update(environment)
        if cwd is not None:
            os.chdir(cwd)
        for name in [name for name in sys.modules if name.split(".")[0] == "medtrain"]:
            del sys.modules[name]
        open_streams()
        reseed(environment)
        first = {"-c": "", "-m": str(Path.cwd())}.get(words[0], str(Path(words[0]).resolve().parent))
        here = [] if environment.get("PYTHONSAFEPATH") else [first]
        sys.path[:] = [*here, *python_path(environment), *fresh_path]
        sys.argv[:] = [words[0], *words[2:]] if words[0] in ("-c", "-m") else words
        show_in_process_table(words)
        code = run(words)
    finally:
        os._exit(code)


def try_close(descriptor: int) -> None:
    """Close a descriptor, if it is open."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def open_streams() -> None:
    """Standard streams as Python opens them; None where they are closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            stream = open(
                number, "w" if number else "r", encoding="utf-8", closefd=False,
                errors=("strict", "strict", "backslashreplace")[number],
                buffering=1 if number == 2 else -1,
            )  # fmt: skip
        except OSError:
            stream = None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def reseed(environment: Mapping[str, str]) -> None:
    """What a fresh process would draw and count for itself."""
    import random

    import numpy as np

    random.seed()
    np.random.seed()
    if (threads := environment.get("OMP_NUM_THREADS", "1")) != "1":
        import torch

        torch.set_num_threads(int(threads))


def show_in_process_table(words: list[str]) -> None:
    """The command line as `ps` and `pgrep -f` show it, written over the server's, which ends in room for it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    text = "\0".join([sys.executable, *words]).encode()[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def run(words: list[str]) -> int:
    """Run the program in this process to its end; its exit code."""
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    code: Any = 0
    try:
        if words[0] == "-c":
            exec(compile(words[1], "<string>", "exec"), main.__dict__)
        elif words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = code or 120
    return int(code or 0) & 0xFF
