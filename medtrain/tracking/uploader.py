"""Feeds a tracker from a run's journal: in a helper process of the trainer, or when a user asks (`medtrain sync`)."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, TextIO

from medtrain.config import configfile
from medtrain.config.schema import Config
from medtrain.core import permissions
from medtrain.core.console import paint, show_error
from medtrain.core.errors import EXIT_ENVIRONMENT, MedtrainError
from medtrain.core.files import locked, sweep
from medtrain.core.processes import ASKING_OR_HANGUP, command
from medtrain.runs.run import Run
from medtrain.tracking.backends import open_backend
from medtrain.tracking.backends.common import REMEDIES, TrackerBackend, metric_names
from medtrain.tracking.gpu_curve import GpuCurve
from medtrain.tracking.journal_reader import StepReader
from medtrain.tracking.metric_names import of_test, renamed
from medtrain.tracking.pipe import wait_for_end
from medtrain.tracking.uploader_process import catch_up, upload_lock

POLL_SECONDS = 1.0
ROWS_AT_ONCE = 500
LAST_SECONDS = 3600
RESTARTS = "MEDTRAIN_FEED_RESTARTS"
MAX_RESTARTS = 3


def main(folder: str, asked: str = "") -> int:
    """Feed until standard input ends. The exit code is 0 whatever becomes of the tracker, 2 if there is no such run.

    With `asked` (online or offline) a user waits: W&B is used in that mode, and the exit code tells how it went.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_OR_HANGUP)
    permissions.apply()
    os.nice(10)  # a replay of many steps must not slow the training down
    run = Run(folder)
    try:
        config = configfile.load(run.config_file)
    except MedtrainError as error:
        show_error(error.problem, error.fix)
        return error.exit_code
    if asked:
        config = replace(config, tracking=replace(config.tracking, mode=asked))  # type: ignore[arg-type]
    permissions.apply(config.share)
    tracker = config.tracking.tracker
    if tracker == "none":
        return 0
    terminal = os.fdopen(os.dup(2), "w")
    try:
        if switched_off(config):
            print(f"W&B is switched off (wandb disabled): the curve is in {run.journal} alone", file=terminal)
            return 0
        run.trackers.mkdir(mode=0o750, exist_ok=True)
        divert_output(run)
        with locked(upload_lock(run), wait=True):  # the helper of an earlier attempt may still be sending
            sweep(run.trackers)
            upload_run(run, config)
        note(f"{tracker} has the whole journal")
    except ConnectionError as error:
        if int(os.environ.get(RESTARTS, "0")) >= MAX_RESTARTS:
            give_up(run, tracker, error, terminal, asked)
        else:
            restart(run, error, terminal, asked)
    except Exception as error:
        give_up(run, tracker, error, terminal, asked)
    return 0


def switched_off(config: Config) -> bool:
    """Whether W&B is wanted, but a user has switched it off by its own means, and not on by ours."""
    if config.tracking.tracker != "wandb" or config.tracking.mode != "auto":
        return False
    from medtrain.tracking.backends import wandb

    try:
        return wandb.switch() == wandb.DISABLED
    except ImportError:  # the feed says what is missing
        return False


def upload_run(run: Run, config: Config) -> None:
    """Send the journal from its first line, and what is added to it until the attempt ends."""
    note(f"feeding {config.tracking.tracker}")
    steps, gpus = StepReader(run.journal), GpuCurve(run)
    feed = open_backend(run, config)
    names = metric_names(run)
    ended = False
    while not ended:
        ended = wait_for_end(POLL_SECONDS)  # asked before reading: what is read after the end is the whole journal
        send_new(steps, feed, names, gpus)
    # Orphaned by a kill, with a server that never answers, it would block the helpers of later attempts for ever.
    signal.alarm(LAST_SECONDS)
    if steps.last and (feed.amends or steps.last_is_whole):
        feed.send([renamed(gpus.added(steps.last), names)])
    if steps.last and (numbers := of_test(run)):
        feed.send_test(renamed(steps.last._replace(values=numbers), names))
    feed.finish()


def send_new(steps: StepReader, feed: TrackerBackend, names: Callable[[str], str], gpus: GpuCurve) -> None:
    """Send the steps that are complete by now."""
    gpus.read()
    while rows := steps.take(ROWS_AT_ONCE):
        feed.send([renamed(gpus.added(row), names) for row in rows])
    feed.flush()


def divert_output(run: Run) -> None:
    """Send what the trackers print, from here and from their own processes, to the log."""
    log = os.open(run.trackers / "feed.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def restart(run: Run, error: Exception, terminal: TextIO, asked: str) -> NoReturn:
    """Begin again in a fresh interpreter: a tracker's own process is gone, and with it what it had not written."""
    note(f"begin again after {describe(error)}")
    os.environ[RESTARTS] = str(int(os.environ.get(RESTARTS, "0")) + 1)
    os.dup2(terminal.fileno(), 2)
    os.execv(sys.executable, command("medtrain.tracking.uploader", str(run.folder), *([asked] if asked else [])))


def give_up(run: Run, tracker: str, error: Exception, terminal: TextIO, asked: str) -> NoReturn:
    """One line to the user, what to do in it, and the same in the log; an error where the user waits for it."""
    fix = f"{remedy(tracker, error)}, then {catch_up(run)}"
    if asked:
        text = f"{tracker} did not take the curve of run {run.name} ({describe(error)})"
        lines = f"{paint('error: ', '31;1', terminal)}{text}\n{paint('  fix: ', '32', terminal)}{fix}\n"
    else:
        text = f"no more goes to {tracker} ({describe(error)}), training continues; {fix}"
        lines = paint(f"warning: {text}", "33", terminal) + "\n"
    with contextlib.suppress(OSError):
        terminal.write(lines)
        terminal.flush()
    with contextlib.suppress(OSError):  # the disk may be what is full
        note(text)
    # A tracker's own exit hooks would wait for a server that does not answer.
    os._exit(EXIT_ENVIRONMENT if asked else 0)


def remedy(tracker: str, error: Exception) -> str:
    """What the user can do about `error`."""
    if isinstance(error, ImportError):
        return f"install it: {REMEDIES[tracker].install}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room on the disk"
    return REMEDIES[tracker].check


def describe(error: Exception) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def note(text: str) -> None:
    """One line in the log."""
    os.write(1, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
