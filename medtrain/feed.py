"""Helper process that feeds a tracker from a run's journal: `python -m medtrain.feed RUN_FOLDER`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import NoReturn, TextIO

from medtrain import configfile
from medtrain.config import Config
from medtrain.console import paint, show_error
from medtrain.durable import sweep
from medtrain.errors import MedtrainError
from medtrain.feed_process import catch_up
from medtrain.feeds import REMEDIES, Feed, open_feed
from medtrain.feeds.steps import StepReader
from medtrain.helper import NOT_FOR_HELPERS, command
from medtrain.run import Run

POLL_SECONDS = 1.0
ROWS_AT_ONCE = 500
LAST_SECONDS = 3600
RESTARTS = "MEDTRAIN_FEED_RESTARTS"
MAX_RESTARTS = 3


def main(folder: str) -> int:
    """Feed until standard input ends. The exit code is 0 whatever becomes of the tracker, 2 if there is no such run."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NOT_FOR_HELPERS)
    os.umask(0o077)
    os.nice(10)  # a replay of many steps must not slow the training down
    run = Run(folder)
    try:
        config = configfile.load(run.config_file)
    except MedtrainError as error:
        show_error(error.problem, error.fix)
        return error.exit_code
    tracker = config.tracking.tracker
    if tracker == "none":
        return 0
    terminal = os.fdopen(os.dup(2), "w")
    try:
        run.trackers.mkdir(mode=0o700, exist_ok=True)
        divert_output(run)
        with only_helper(run):
            sweep(run.trackers)
            feed_run(run, config)
        note(f"{tracker} has the whole journal")
    except ConnectionError as error:
        if int(os.environ.get(RESTARTS, "0")) >= MAX_RESTARTS:
            give_up(run, tracker, error, terminal)
        else:
            restart(run, error, terminal)
    except Exception as error:
        give_up(run, tracker, error, terminal)
    return 0


def feed_run(run: Run, config: Config) -> None:
    """Send the journal from its first line, and what is added to it until the attempt ends."""
    note(f"feeding {config.tracking.tracker}")
    steps = StepReader(run.journal)
    feed = open_feed(run, config)
    ended = False
    while not ended:
        ended = wait_for_end(POLL_SECONDS)  # asked before reading: what is read after the end is the whole journal
        send_new(steps, feed)
    # Orphaned by a kill, with a server that never answers, it would block the helpers of later attempts for ever.
    signal.alarm(LAST_SECONDS)
    if steps.last and (feed.amends or steps.last_is_whole):
        feed.send([steps.last])
    feed.finish()


def send_new(steps: StepReader, feed: Feed) -> None:
    """Send the steps that are complete by now."""
    while rows := steps.take(ROWS_AT_ONCE):
        feed.send(rows)
    feed.settle()


def wait_for_end(seconds: float) -> bool:
    """Wait so long at the most; True once standard input is at its end, because the trainer closed it or died."""
    try:
        readable, _, _ = select.select([0], [], [], seconds)
        return bool(readable) and not os.read(0, 4096)
    except OSError:  # started without any standard input
        return True


def divert_output(run: Run) -> None:
    """Send what the trackers print, from here and from their own processes, to the log."""
    log = os.open(run.trackers / "feed.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


@contextlib.contextmanager
def only_helper(run: Run) -> Iterator[None]:
    """Wait for the helper of an earlier attempt, which may still be sending: two would send the same steps."""
    with (run.trackers / "feed.lock").open("w") as file:
        # A shared filesystem without locks is no reason not to feed.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def restart(run: Run, error: Exception, terminal: TextIO) -> NoReturn:
    """Begin again in a fresh interpreter: a tracker's own process is gone, and with it what it had not written."""
    note(f"begin again after {describe(error)}")
    os.environ[RESTARTS] = str(int(os.environ.get(RESTARTS, "0")) + 1)
    os.dup2(terminal.fileno(), 2)
    os.execv(sys.executable, command("medtrain.feed", str(run.folder)))


def give_up(run: Run, tracker: str, error: Exception, terminal: TextIO) -> NoReturn:
    """One line to the user, what to do in it, and the same in the log."""
    warning = f"no more goes to {tracker} ({describe(error)}), training goes on; "
    warning += f"{remedy(tracker, error)}, then {catch_up(run)}"
    with contextlib.suppress(OSError):
        terminal.write(paint(f"warning: {warning}", "33", terminal) + "\n")
        terminal.flush()
    with contextlib.suppress(OSError):  # the disk may be what is full
        note(warning)
    # A tracker's own exit hooks would wait for a server that does not answer.
    os._exit(0)


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
