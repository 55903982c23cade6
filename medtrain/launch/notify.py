"""Tell a person what became of a run, by a program or a webhook: from the supervisor, once, and never at its cost.

The address of a webhook is a secret. It comes from the environment or from a file that only its owner can read, and
goes nowhere else: not into settings, scripts, logs, trackers, arguments, nor to the ranks. What is told has no host,
no path and no text of errors, which may name files of patients.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medtrain import __version__
from medtrain.config import cluster_files, sbatch_options
from medtrain.config.configfile import load
from medtrain.config.schema import Config
from medtrain.core.errors import EXIT_INPUT, EXIT_NUMERICAL, InputError
from medtrain.runs import attempts
from medtrain.runs.run import Run
from medtrain.slurm.environment import own_job
from medtrain.slurm.job_environment import NOTIFY_URL, without
from medtrain.tracking.run_log import tell

TIMEOUT_S = 10.0  # for all of them together
UNUSABLE = "input that cannot be used"
STANDSTILL = 5  # attempts without a newer checkpoint, whatever ended them
WEBHOOK, COMMAND, MAIL = "webhook", "command:", "mail"
WORDS = {
    "finished": "{run}: finished at step {step:,}",
    "failed": "{run}: failed at step {step:,}: {cause}",
    "given_up": "{run}: given up at step {step:,} after three crashes without a newer checkpoint: {cause}",
    "stuck": "{run}: stuck at step {step:,}: {cause}",
}
# The kinds of ends of runs.exit_causes, without what names nodes and files.
CAUSES = {
    "crashed": "a rank ended with an error",
    "killed": "a signal killed a rank",
    "hung": "a rank hung",
    "memory": "out of memory",
    "preempted": "preempted",
    "time limit": "time limit",
    "node failure": "node failure",
    "requeued": "requeued",
    "lost": "ended without a word",
}
# What Slurm's own mails are asked for (man sbatch, --mail-type); a job that is requeued has not ended.
MAILS = {"finished": "END", "failed": "FAIL", "given_up": "FAIL", "stuck": "INVALID_DEPEND"}


def ensure_ready(config: Config) -> None:
    """Raise InputError where those who are to be told cannot be: now, and not when the run is over."""
    for word in config.notify:
        if word == WEBHOOK:
            address()
        elif word.startswith(COMMAND) and shutil.which(_program(word)[0]) is None:
            raise InputError(
                f"--notify: {_program(word)[0]} is no program that can be run",
                "give its whole path: --notify command:/path/of/a/program   (chmod +x it)",
            )


def with_mail(config: Config) -> Config:
    """The config with the options of sbatch by which Slurm itself sends mails, where that is wanted; those that are
    there already count."""
    word = next((word for word in config.notify if word.partition(":")[0] == MAIL), "")
    options = sbatch_options.named(config.slurm.sbatch)
    if not word or "mail-type" in options:
        return config
    options["mail-type"] = ",".join(dict.fromkeys(MAILS[event] for event in config.notify_on))
    if whom := word.partition(":")[2]:
        options.setdefault("mail-user", whom)
    return replace(config, slurm=replace(config.slurm, sbatch=sbatch_options.spelled(options)))


def address() -> str:
    """Where the webhook is; InputError where that is unknown, is no address, or others can read it."""
    file = cluster_files.user_folder() / "notify-url"
    url, place = os.environ.get(NOTIFY_URL, ""), NOTIFY_URL
    if not url:
        place = str(file)
        try:
            mode = file.stat()
            if mode.st_uid != os.geteuid() or stat.S_IMODE(mode.st_mode) & 0o077:
                raise InputError(
                    f"{file} holds the secret address of a webhook, and others can read it (it has mode"
                    f" {stat.S_IMODE(mode.st_mode):o})",
                    f"chmod 600 {shlex.quote(str(file))}   and get another address: this one may be known",
                )
            url = file.read_text(errors="replace")
        except OSError:
            raise InputError(
                f"--notify webhook: there is no address, neither in {NOTIFY_URL} nor in {file}",
                f"export {NOTIFY_URL}=...   or write it into that file, of mode 600",
            ) from None
    url = url.strip()
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and url.isprintable() and " " not in url:
            return url
    raise InputError(f"what {place} holds is no address of a webhook", "it begins with https://")


def tell_of_giving_up(run: Run, end: attempts.Row) -> None:
    """No further attempt is made: the run failed for a reason that stays, or crashed three times."""
    code = run.status().get("exit_code")
    if code in (EXIT_INPUT, EXIT_NUMERICAL):
        tell_of(run, "failed", UNUSABLE if code == EXIT_INPUT else "numbers that are not finite")
    else:
        tell_of(run, "given_up", CAUSES.get(end.get("kind", ""), CAUSES["crashed"]))


def tell_of_a_standstill(run: Run) -> None:
    """Before an attempt: whether those before it, which others ended, came no further; told once."""
    ends = [row for row in attempts.since_begun(attempts.rows_of(run)) if row["event"] == "end"]
    still = [row for row in ends if row["step"] == ends[-1]["step"]]
    if len(still) == STANDSTILL:
        last = CAUSES.get(still[-1].get("kind", ""), "stopped")
        tell_of(run, "stuck", f"{STANDSTILL} attempts ended without a newer checkpoint (the last: {last})")


def tell_of(run: Run, event: str, cause: str = "") -> None:
    """Tell all that the run's settings name, in TIMEOUT_S; what does not work is one warning in its log."""
    try:
        config = load(run.config_file)
        if not config.notify or event not in config.notify_on:
            return
        mails = [word for word in config.notify if word.partition(":")[0] == MAIL]
        problems = _tell_all([word for word in config.notify if word not in mails], _message(run, event, cause))
        problems += ["mail: Slurm sends it, and this run is no job"] if mails and not own_job() else []
    except Exception as error:  # whatever it is, the run is not to end by it, and its text might hold the address
        problems = [type(error).__name__]
    if problems:
        tell(run, f"warning: {run.name}: nobody was told by --notify that it is {event}: {'; '.join(problems)}")


def _message(run: Run, event: str, cause: str) -> dict[str, Any]:
    job, status = own_job(), run.status()
    facts = {"run": run.name, "step": max(run.last_step(), int(status.get("step") or 0)), "cause": cause}
    text = WORDS[event].format(**facts) + (f" (job {job})" if job else "")
    made = len(attempts.started(attempts.rows_of(run)))
    return {"event": event, **facts, "state": status.get("state", ""), "job": job, "attempts": made, "text": text}


def _tell_all(whom: list[str], message: dict[str, Any]) -> list[str]:
    """Side by side, in threads: neither a name server nor an answer that trickles in may hold the run up."""
    deadline, problems = time.monotonic() + TIMEOUT_S + 1, dict.fromkeys(whom, "")
    names = {word: WEBHOOK if word == WEBHOOK else Path(_program(word)[0]).name for word in whom}

    def one(word: str) -> None:
        try:
            problems[word] = _post(message) if word == WEBHOOK else _run(_program(word), message)
        except Exception as error:
            problems[word] = error.problem if isinstance(error, InputError) else _without_address(error)

    threads = {word: threading.Thread(target=one, args=(word,), name="notify", daemon=True) for word in whom}
    for thread in threads.values():
        thread.start()
    for word, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            problems[word] = f"no end within {TIMEOUT_S:g} s"
    return [f"{names[word]}: {problem}" for word, problem in problems.items() if problem]


def _post(message: dict[str, Any]) -> str:
    """Send it to the webhook; returns why it was not taken. A redirection is not followed: it may lead anywhere."""
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *about: Any) -> None:
            return None

    headers = {"Content-Type": "application/json", "User-Agent": f"medtrain/{__version__}"}
    request = urllib.request.Request(address(), json.dumps(message).encode(), headers)
    try:
        urllib.request.build_opener(NoRedirect).open(request, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        return f"the server answered {error.code}"
    return ""


def _without_address(error: BaseException) -> str:
    """What went wrong on the way, in words that hold nothing of the address: those of the system."""
    inner = getattr(error, "reason", error)
    found = inner if isinstance(inner, BaseException) else error
    if isinstance(found, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(found, http.client.HTTPException):
        return f"no answer that is HTTP ({type(found).__name__})"
    return getattr(found, "strerror", None) or type(found).__name__


def _program(word: str) -> list[str]:
    words = shlex.split(word.removeprefix(COMMAND)) or [""]
    return [str(Path(words[0]).expanduser()), *words[1:]]


def _run(program: list[str], message: dict[str, Any]) -> str:
    """Start it with the text as its last argument and JSON on standard input; returns how it failed."""
    process = subprocess.Popen(
        [*program, message["text"]], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env=without(os.environ, NOTIFY_URL),
    )  # fmt: skip
    try:
        process.communicate(json.dumps(message).encode(), timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"no end within {TIMEOUT_S:g} s"
    return f"it ended with exit code {process.returncode}" if process.returncode else ""
