"""Start the ranks of a run, here or through srun, and start them again until the run is finished.

One rule everywhere: what the run folder says decides, not exit codes. Finished: done. A fault that another attempt
cannot mend (bad input, broken numbers): give up. A stop that the user asked for: leave. Anything else: again, from
the newest checkpoint; three crashes in a row without a newer checkpoint end it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

from medtrain.console import say, show_error, warn
from medtrain.durable import sweep
from medtrain.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_NUMERICAL, EXIT_RESUMABLE
from medtrain.preempt import SUPERVISOR
from medtrain.run import Run, append_json, read_json_lines, resume_command, set_status
from medtrain.status import place_name

CRASHES_WITHOUT_PROGRESS = 3
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


def supervise(run: Run) -> int:
    """Attempt after attempt until the run ends; returns its exit code. In a Slurm job one attempt, then a requeue."""
    ranks = Srun(run) if in_slurm_job() else LocalRanks(run)
    asked = Asked(ranks).install()
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        note(run, {"event": "begin", "time": time.time()})  # what crashed before a person started it again is past
    while not (run.stop_file.exists() or (asked.signal and not in_batch_script())):
        code = attempt(run, ranks)
        if run.status().get("state") == "finished":
            return EXIT_DONE
        if hopeless(run):
            return give_up(run, code)
        if in_batch_script() and not run.stop_file.exists():
            return requeue(run)
        if not asked.signal:
            say(f"{run.name}: the attempt ended early ({cause(run, code)}); going on from step {run.last_step():,}")
    return leave(run)


def attempt(run: Run, ranks: Srun | LocalRanks) -> int:
    """One start of all ranks, written down before and after in attempts.jsonl. Returns their exit code."""
    number = 1 + sum(row["event"] == "start" for row in read_json_lines(run.attempts))
    place = {"job": os.environ.get("SLURM_JOB_ID", ""), "nodes": place_name(), "ranks": ranks.count, "pid": os.getpid()}
    note(run, {"attempt": number, "event": "start", "time": time.time(), "step": run.last_step(), **place})
    set_status(run, state="starting", error="", fix="", signal="", exit_code=None)
    run.failure_file.unlink(missing_ok=True)
    for folder in (run.folder, run.hangs, run.figures, run.evaluation):
        sweep(folder)
    code = ranks.start_and_wait()
    if failure := run.failure():
        set_status(run, state="failed", **failure)
    elif run.status().get("state") in ("starting", "running"):
        set_status(run, state="stopped" if code == EXIT_RESUMABLE else "crashed")
    end = {
        "time": time.time(),
        "step": run.last_step(),
        "exit_code": code,
        "cause": cause(run, code),
        "state": run.status().get("state"),
    }
    note(run, {"attempt": number, "event": "end", **end})
    return code


def note(run: Run, row: dict[str, object]) -> None:
    """Write a line about an attempt; where the disk is full the run still goes on."""
    try:
        append_json(run.attempts, row)
    except OSError as error:
        warn(f"{run.attempts}: {error.strerror}")


def hopeless(run: Run) -> bool:
    """Whether another attempt would end the same way."""
    status = run.status()
    if status.get("state") == "failed" and status.get("exit_code") in (EXIT_INPUT, EXIT_NUMERICAL):
        return True
    rows = read_json_lines(run.attempts)
    begun = max((i for i, row in enumerate(rows) if row["event"] == "begin"), default=0)
    ends = [row for row in rows[begun:] if row["event"] == "end"][-CRASHES_WITHOUT_PROGRESS:]
    crashed = all(row["state"] in ("crashed", "failed") for row in ends)
    stuck = len({row["step"] for row in ends}) == 1
    return len(ends) == CRASHES_WITHOUT_PROGRESS and crashed and stuck


def give_up(run: Run, code: int) -> int:
    """Say why no further attempt is made."""
    status = run.status()
    set_status(run, state="failed")
    problem = (
        status.get("error")
        or f"{CRASHES_WITHOUT_PROGRESS} attempts crashed without a newer checkpoint ({cause(run, code)})"
    )
    show_error(problem, status.get("fix") or f"read the log, mend the cause, then: {resume_command(run)}")
    known = (EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_NUMERICAL)
    return code if code in known else EXIT_ENVIRONMENT


def leave(run: Run) -> int:
    """The user asked for a stop: say how to go on."""
    run.stop_file.unlink(missing_ok=True)
    set_status(run, state="stopped")
    say(f"{run.name}: stopped at step {run.last_step():,}; go on with: {resume_command(run)}")
    return EXIT_RESUMABLE


def requeue(run: Run) -> int:
    """Put this Slurm job back in the queue and leave.

    A batch script that merely ends, in the grace time of a preemption too, is not requeued by Slurm. After a
    preemption without grace Slurm has done it already, and says that the job is pending.
    """
    job = os.environ["SLURM_JOB_ID"]
    set_status(run, state="queued")
    for _ in range(60):
        answer = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        if answer.returncode == 0 or "pending" in answer.stderr:
            say(f"{run.name}: job {job} goes back to the queue; it will go on from step {run.last_step():,}")
            return EXIT_RESUMABLE
        if "disabled" in answer.stderr or "denied" in answer.stderr.lower():
            break
        time.sleep(5)  # the controller may be restarting
    warn(f"job {job} could not be requeued: {answer.stderr.strip()}; go on with: {resume_command(run)}")
    return EXIT_RESUMABLE


def cause(run: Run, code: int) -> str:
    """Why an attempt ended, in words."""
    status = run.status()
    if status.get("state") == "finished":
        return "finished"
    if status.get("error"):
        return str(status["error"])
    if status.get("state") in ("stopped", "queued"):
        return f"asked to stop by {status.get('signal') or 'a signal'}"
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return f"a rank was killed by {signal.Signals(number).name}"
    return f"a rank left with exit code {code}"


def in_slurm_job() -> bool:
    """Whether this is the batch script of a Slurm job or an salloc shell, and not one of a job's tasks."""
    return "SLURM_JOB_ID" in os.environ and "SLURM_STEP_ID" not in os.environ


def in_batch_script() -> bool:
    """Whether Slurm can requeue what this process runs in; an salloc shell it cannot."""
    return in_slurm_job() and os.environ.get("ENVIRONMENT") == "BATCH"


def free_port() -> int:
    """A port that nothing listens on; rank 0 runs on this host."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


class Asked:
    """Passes a signal on to the ranks and remembers it. A second Ctrl-C ends them at once."""

    def __init__(self, ranks: Srun | LocalRanks) -> None:
        self.signal = ""
        self._ranks = ranks

    def install(self) -> Asked:
        """Listen."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants HUP ignored
                signal.signal(number, self._pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        again = bool(self.signal) and number == signal.SIGINT
        self.signal = signal.Signals(number).name
        self._ranks.signal(
            signal.SIGKILL if again else signal.SIGTERM if number in (signal.SIGINT, signal.SIGHUP) else number
        )


class LocalRanks:
    """The ranks as processes of this machine."""

    def __init__(self, run: Run) -> None:
        from medtrain.configfile import load

        slurm = load(run.config_file).slurm
        self.count = slurm.tasks_per_node or slurm.gpus_per_node or 1
        self._command = [sys.executable, "-m", "medtrain.worker", str(run.folder)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._wanted = 0

    def start_and_wait(self) -> int:
        """Start every rank; when one fails, end the others. Returns the first failure's exit code, or 0."""
        place = {
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            SUPERVISOR: str(os.getpid()),
        }
        self._processes = [
            # A session of their own: a terminal's Ctrl-C reaches the supervisor alone, which passes it on once.
            subprocess.Popen(
                self._command,
                env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                start_new_session=True,
            )
            for rank in range(self.count)
        ]
        if self._wanted:  # it came while they were being started
            self.signal(self._wanted)
        failure, deadline = 0, 0.0
        while any(process.poll() is None for process in self._processes):
            codes = [process.returncode for process in self._processes if process.returncode]
            if codes and not failure:
                failure, deadline = codes[0], time.monotonic() + (60 if codes[0] == EXIT_RESUMABLE else 5)
            if failure and time.monotonic() > deadline:
                self._send(signal.SIGKILL)  # they wait in a collective for a rank that is gone
            time.sleep(0.1)
        codes = [process.returncode for process in self._processes if process.returncode]
        return failure or (codes[0] if codes else 0)

    def signal(self, number: int) -> None:
        """Send a signal to every rank that lives, and to those that are being started."""
        self._wanted = number
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


class Srun:
    """The ranks as one step of this Slurm job."""

    def __init__(self, run: Run) -> None:
        self.count = int(os.environ.get("SLURM_NTASKS", 1))
        self._log = run.slurm / f"{os.environ['SLURM_JOB_ID']}.log"
        self._command = [
            "srun", "--kill-on-bad-exit=1", "--wait=60", "--unbuffered", "--label", "--open-mode=append",
            f"--output={self._log}", sys.executable, "-m", "medtrain.worker", str(run.folder),
        ]  # fmt: skip

    def start_and_wait(self) -> int:
        """Start the step and wait for its end."""
        environment = {**os.environ, "MASTER_PORT": str(free_port())}
        if "SLURMD_NODENAME" not in os.environ:  # an salloc shell on a login node: the first rank is elsewhere
            environment["MASTER_ADDR"] = first_node_address()
        # sbatch passes its own cores-a-task to srun only through this variable since Slurm 22.05.
        if "SLURM_CPUS_PER_TASK" in environment:
            environment["SRUN_CPUS_PER_TASK"] = environment["SLURM_CPUS_PER_TASK"]
        process = subprocess.Popen(self._command, env=environment, start_new_session=True)
        return process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to every task of the job's steps."""
        name = signal.Signals(number).name.removeprefix("SIG")
        subprocess.run(["scancel", f"--signal={name}", os.environ["SLURM_JOB_ID"]], check=False)


def first_node_address() -> str:
    """The address of the first node of this allocation."""
    names = subprocess.run(["scontrol", "show", "hostnames"], capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(
        ["scontrol", "--oneliner", "show", "node", names.split()[0]], capture_output=True, text=True, check=True
    ).stdout
    return next(word.removeprefix("NodeAddr=") for word in shown.split() if word.startswith("NodeAddr="))


if __name__ == "__main__":
    sys.exit(supervise(Run(sys.argv[1])))
