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
import threading
import time
from types import FrameType

from medtrain import attempts, helper, slurmjob
from medtrain.attempts import note
from medtrain.console import say, show_error, warn
from medtrain.durable import sweep
from medtrain.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_NUMERICAL, EXIT_RESUMABLE
from medtrain.preempt import SUPERVISOR
from medtrain.run import Run, read_json_lines, resume_command, set_status

CRASHES_WITHOUT_PROGRESS = 3
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


def supervise(run: Run) -> int:
    """Attempt after attempt until the run ends; returns its exit code. In a Slurm job one attempt, then a requeue."""
    ranks = Srun(run) if in_slurm_job() else LocalRanks(run)
    asked = Asked(ranks, run).install()
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        note(run, {"event": "begin", "time": time.time()})  # what crashed before a person started it again is past
    while not (run.stop_file.exists() or (asked.signal and not in_batch_script())):
        end = attempt(run, ranks, asked)
        if end["kind"] == "finished":
            return EXIT_DONE
        if hopeless(run):
            return give_up(run, end)
        if end["kind"] == "cancelled":  # Slurm would take it back, and the user wants it gone
            break
        if in_batch_script() and not run.stop_file.exists():
            return requeue(run)
        if not asked.signal:
            say(f"{run.name}: the attempt ended early ({end['cause']}); going on from step {run.last_step():,}")
    return leave(run)


def attempt(run: Run, ranks: Srun | LocalRanks, asked: Asked) -> attempts.Row:
    """One start of all ranks, written down before and after in attempts.jsonl. Returns what was written after."""
    if silent := attempts.unended(read_json_lines(run.attempts)):
        note(run, attempts.silent_end(run, silent))  # now: the ranks will cut the journal back to the checkpoint
    start = attempts.start_row(run, ranks.count)
    note(run, start)
    set_status(run, state="starting", error="", fix="", signal="", exit_code=None)
    run.failure_file.unlink(missing_ok=True)
    for folder in (run.folder, run.hangs, run.figures, run.evaluation):
        sweep(folder)
    code = ranks.start_and_wait()
    if failure := run.failure():
        set_status(run, state="failed", **failure)
    elif run.status().get("state") in ("starting", "running"):
        set_status(run, state="stopped" if code == EXIT_RESUMABLE else "crashed")
    end = attempts.end_row(run, start, code, ranks.first, asked.signal)
    note(run, end)
    return end


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


def give_up(run: Run, end: attempts.Row) -> int:
    """Say why no further attempt is made."""
    status = run.status()
    set_status(run, state="failed")
    problem = (
        status.get("error")
        or f"{CRASHES_WITHOUT_PROGRESS} attempts crashed without a newer checkpoint ({end['cause']})"
    )
    show_error(problem, status.get("fix") or f"read the log, mend the cause, then: {resume_command(run)}")
    known = (EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_NUMERICAL)
    return int(end["exit_code"]) if end["exit_code"] in known else EXIT_ENVIRONMENT


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
    bad = attempts.nodes_to_avoid(read_json_lines(run.attempts))
    left_out, why_not = slurmjob.nodes_without(job, bad) if bad else ("", "")
    for _ in range(360):
        _, problem = slurmjob.ask_controller("scontrol", "requeue", job)
        if not problem or "pending" in problem:
            if bad:
                note_avoided(run, bad, slurmjob.exclude(job, left_out) if left_out else why_not)
            say(f"{run.name}: job {job} goes back to the queue; it will go on from step {run.last_step():,}")
            return EXIT_RESUMABLE
        if "disabled" in problem or "denied" in problem.lower():
            break
        time.sleep(5)  # the controller may be restarting
    warn(f"job {job} could not be requeued: {problem}; go on with: {resume_command(run)}")
    return EXIT_RESUMABLE


def note_avoided(run: Run, nodes: set[str], problem: str) -> None:
    """Say and write down that the next attempt keeps off nodes where two attempts crashed, or why it does not."""
    number = attempts.started(read_json_lines(run.attempts))[-1]["attempt"]
    note(run, {"attempt": number, "event": "exclude", "time": time.time(), "nodes": sorted(nodes), "problem": problem})
    names = ", ".join(sorted(nodes))
    if problem:
        warn(f"two attempts crashed on {names}, and the next may be there again: {problem}")
    else:
        say(f"{run.name}: two attempts crashed on {names}; the next one keeps off it")


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

    def __init__(self, ranks: Srun | LocalRanks, run: Run) -> None:
        self.signal = ""
        self._ranks, self._run = ranks, run

    def install(self) -> Asked:
        """Listen."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants HUP ignored
                signal.signal(number, self._pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        again = bool(self.signal) and number == signal.SIGINT
        if not self.signal:  # what Slurm says now, it may not say any more when the ranks have saved
            threading.Thread(target=attempts.hear, args=(self._run, signal.Signals(number).name), daemon=True).start()
        self.signal = signal.Signals(number).name
        self._ranks.signal(
            signal.SIGKILL if again else signal.SIGTERM if number in (signal.SIGINT, signal.SIGHUP) else number
        )


class LocalRanks:
    """The ranks as processes of this machine."""

    first = ""  # the rank that failed first

    def __init__(self, run: Run) -> None:
        from medtrain.configfile import load

        slurm = load(run.config_file).slurm
        self.count = slurm.tasks_per_node or slurm.gpus_per_node or 1
        self._command = helper.command("medtrain.worker", str(run.folder), root=helper.root_of(run))
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
        while True:
            over = all(process.poll() is not None for process in self._processes)
            codes = {rank: process.returncode for rank, process in enumerate(self._processes) if process.returncode}
            if codes and not failure:
                first, failure = min(codes.items(), key=lambda item: item[1])  # a killed one (< 0) before its peers
                self.first, deadline = str(first), time.monotonic() + (60 if failure == EXIT_RESUMABLE else 5)
            if over:
                return failure
            if failure and time.monotonic() > deadline:
                self._send(signal.SIGKILL)  # they wait in a collective for a rank that is gone
            time.sleep(0.1)

    def signal(self, number: int) -> None:
        """Send a signal to every rank that lives, and to those that are being started."""
        self._wanted = number
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


class Srun:
    """The ranks as one step of this Slurm job. What srun itself says goes to their log: it names what failed first."""

    first = ""
    _over = False

    def __init__(self, run: Run) -> None:
        self.count = int(os.environ.get("SLURM_NTASKS", 1))
        self._log = run.slurm / f"{os.environ['SLURM_JOB_ID']}.log"
        self._command = [
            "srun", "--kill-on-bad-exit=1", "--wait=60", "--unbuffered", "--label", "--open-mode=append",
            f"--output={self._log}",
            *helper.command("medtrain.worker", str(run.folder), root=helper.root_of(run)),
        ]  # fmt: skip

    def start_and_wait(self) -> int:
        """Start the step and wait for its end."""
        environment = {**os.environ, "MASTER_PORT": str(free_port())}
        if "SLURMD_NODENAME" not in os.environ:  # an salloc shell on a login node: the first rank is elsewhere
            environment["MASTER_ADDR"] = first_node_address()
        # sbatch passes its own cores-a-task to srun only through this variable since Slurm 22.05.
        if "SLURM_CPUS_PER_TASK" in environment:
            environment["SRUN_CPUS_PER_TASK"] = environment["SLURM_CPUS_PER_TASK"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._command, env=environment, stderr=log, start_new_session=True)
        self._over = False
        code = process.wait()
        self._over = True
        return code

    def signal(self, number: int) -> None:
        """Send a signal to every task of the job's steps."""
        if self._over:  # scancel would go on trying for half a minute, and this process has less to live
            return
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
