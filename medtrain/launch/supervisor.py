"""Start the ranks of a run, here or through srun, and start them again until the run is finished.

One rule everywhere: what the run folder says decides, not exit codes. Finished: done. A fault that another attempt
cannot fix (bad input, broken numbers): give up. A stop by the user: leave. Anything else: again, from
the newest checkpoint, in a Slurm job as a new step of it where that can help (see restart), else by way of the queue;
three crashes in a row without a newer checkpoint end it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType

from medtrain.config.configfile import load
from medtrain.config.sbatch_options import ranks_per_node
from medtrain.config.schema import SlurmConfig
from medtrain.core import output_streams, permissions
from medtrain.core.console import say_over, show_error, warn
from medtrain.core.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_INPUT,
    EXIT_NUMERICAL,
    EXIT_RESUMABLE,
    InputError,
    MedtrainError,
)
from medtrain.core.files import sweep
from medtrain.core.processes import ASKING_OR_HANGUP
from medtrain.core.running_time import CLOCK
from medtrain.launch import dependencies, grace_time, notify, spare_nodes, successor
from medtrain.launch.rank_command import rank_command
from medtrain.launch.rank_processes import LocalRanks, Srun
from medtrain.launch.restart import SILENT_S, note_avoided, why_not_here
from medtrain.runs import attempts, fencing, ownership, suspensions
from medtrain.runs.attempts import note
from medtrain.runs.run import Run, resume_command, set_status
from medtrain.slurm import job_environment, queries
from medtrain.slurm.environment import in_batch_script, in_slurm_job, own_job
from medtrain.tracking.run_log import tell

CRASHES_WITHOUT_PROGRESS = 3
STOPPING = "stopping after this step, with a checkpoint; Ctrl-C again ends it at once, without one"
KILLED = "ending at once, without a checkpoint"


def supervise(run: Run, alone: bool = True, succeeds: bool = False) -> int:
    """Attempt after attempt until the run ends; returns its exit code. A Slurm job ends before, where it is requeued.

    `alone`: the job has nothing else to do, so that it ends with this run. `succeeds`: no person started it; it
    continues a job that Slurm ended. Raises InputError where the run has another owner that lives, and Superseded where
    another has taken it over.
    """
    ownership.take(run)
    try:
        return _until_it_ends(run, alone, succeeds)
    finally:
        fencing.release(run.folder)


def _until_it_ends(run: Run, alone: bool, succeeds: bool) -> int:
    config = load(run.config_file)
    permissions.apply(config.share)
    slurm = config.slurm
    try:
        command = rank_command(run, config)
    except MedtrainError as error:
        return cannot_begin(run, error)
    if in_slurm_job():
        ranks: Srun | LocalRanks = Srun(
            attempts.log_file(run, own_job()), command.words, command.srun, command.environment
        )
    else:
        ranks = LocalRanks(ranks_per_node(slurm), command.words)
    if in_slurm_job() and not run.last_step():
        try:
            dependencies.prove_packed(run, config)
        except InputError as error:
            return cannot_begin(run, error)
    asked = SignalForwarder(ranks, run).install()
    if in_slurm_job():
        CLOCK.watch(lambda stopped_s: note_suspension(run, stopped_s))
    ends: list[attempts.Row] = []
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" and not succeeds:
        note(run, {"event": "begin", "time": time.time()})  # what crashed before a person started it again is past
    while not (run.stop_file.exists() or (asked.signal and not in_batch_script())):
        successor.ensure(run, slurm)
        spare_nodes.choose(run, ranks, slurm)
        end = attempt(run, ranks, asked, slurm.signal_seconds)
        ends.append(end)
        if end["kind"] == "finished":
            successor.revoke(run)
            notify.tell_of(run, "finished")
            return EXIT_DONE
        if hopeless(run, ends):
            return give_up(run, end, alone)
        why = _given_back(run, end, ranks, asked, slurm)
        if (why or not in_batch_script()) and attempts.ended_by_user(run, end):
            break
        if why:
            return requeue(run, why, slurm.min_nodes)
        if not asked.signal and not run.stop_file.exists():
            tell(run, f"{run.name}: the attempt ended early ({end['cause']}); resuming from step {run.last_step():,}")
        ownership.again(run)
    return leave(run)


def _given_back(
    run: Run, end: attempts.Row, ranks: Srun | LocalRanks, asked: SignalForwarder, slurm: SlurmConfig
) -> str:
    """Why this job goes back to the queue after an attempt; empty where it is kept, ends with a stop, or is none."""
    if isinstance(ranks, LocalRanks) or not in_batch_script():
        return ""
    why = why_not_here(run, end, ranks, slurm, lambda: bool(asked.signal) or run.stop_file.exists())
    return "" if run.stop_file.exists() else why


def note_suspension(run: Run, stopped_s: float) -> None:
    """Write down and say that Slurm has suspended this job, once it runs again: no attempt ends by that."""
    start = attempts.unended(attempts.rows_of(run))
    with contextlib.suppress(fencing.Superseded):
        if start and (row := suspensions.suspension(start, stopped_s)):
            note(run, row)
            tell(run, f"{run.name}: the job was {suspensions.words([row])}; it continues")


def cannot_begin(run: Run, error: MedtrainError) -> int:
    """Say what a job lacks of what it has waited for, or its container; no ranks are started, which would take long to
    say the same."""
    set_status(run, state="failed", error=error.problem, fix=error.fix, exit_code=error.exit_code)
    successor.revoke(run)
    show_error(error.problem, error.fix)
    notify.tell_of(run, "failed", notify.UNUSABLE)
    return error.exit_code


def attempt(run: Run, ranks: Srun | LocalRanks, asked: SignalForwarder, warned_s: float) -> attempts.Row:
    """One start of all ranks, written down before and after in attempts.jsonl. Returns what was written after.

    `warned_s` is how long before its time limit the job wants a signal.
    """
    attempts.close_silent(run)  # now: the ranks will cut the journal back to the checkpoint
    notify.tell_of_a_standstill(run)
    start = attempts.start_row(run, ranks.count, ranks.nodes)
    note(run, start)
    set_status(run, state="starting", error="", fix="", signal="", exit_code=None)
    run.failure_file.unlink(missing_ok=True)
    for folder in (run.folder, run.hangs, run.figures, run.evaluation):
        sweep(folder)
    # A signal that came before the ranks: in a grace time there is none to start them in.
    code = EXIT_RESUMABLE if asked.signal and in_batch_script() else ranks.start_and_wait(fencing.for_ranks(run.folder))
    if failure := run.failure():
        set_status(run, state="failed", **failure)
    elif run.status().get("state") in ("starting", "running"):
        set_status(run, state="stopped" if code == EXIT_RESUMABLE else "crashed")
    end = attempts.end_row(run, start, code, ranks.first, asked.signal, warned_s)
    note(run, end)
    return end


def hopeless(run: Run, own: list[attempts.Row]) -> bool:
    """Whether another attempt would end the same way; `own` are the ends that this process saw, should a full disk
    keep them from being written down."""
    status = run.status()
    if status.get("state") == "failed" and status.get("exit_code") in (EXIT_INPUT, EXIT_NUMERICAL):
        return True
    written = [row for row in attempts.since_begun(attempts.rows_of(run)) if row["event"] == "end"]
    ends = max(written, own, key=len)[-CRASHES_WITHOUT_PROGRESS:]
    crashed = all(row["state"] in ("crashed", "failed") for row in ends)
    stuck = len({row["step"] for row in ends}) == 1
    return len(ends) == CRASHES_WITHOUT_PROGRESS and crashed and stuck


def give_up(run: Run, end: attempts.Row, alone: bool) -> int:
    """Say why no further attempt is made."""
    status = run.status()
    problem = (
        status.get("error")
        or f"{CRASHES_WITHOUT_PROGRESS} attempts crashed without a newer checkpoint ({end['cause']})"
    )
    fix = status.get("fix") or f"read the log, remove the cause, then: {resume_command(run)}"
    set_status(run, state="failed", error=problem, fix=fix)
    successor.revoke(run)
    show_error(problem, fix)
    notify.tell_of_giving_up(run, end)
    if alone:
        grace_time.stay_away()
    known = (EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_NUMERICAL)
    return int(end["exit_code"]) if end["exit_code"] in known else EXIT_ENVIRONMENT


def leave(run: Run) -> int:
    """The user asked for a stop: say how to resume."""
    set_status(run, state="stopped")
    successor.revoke(run)
    run.stop_file.unlink(missing_ok=True)
    tell(run, f"{run.name}: stopped at step {run.last_step():,}; resume: {resume_command(run)}")
    grace_time.stay_away()
    return EXIT_RESUMABLE


def requeue(run: Run, why: str = "", fewest: int = 0) -> int:
    """Put this Slurm job back in the queue and leave; `why` is what the user is told, and `fewest` the nodes that are
    enough, where it may have more now.

    A batch script that merely ends is not requeued by Slurm, but for the grace time of a preemption from Slurm 24.05
    on (see grace_time). After a preemption without grace Slurm has done it already, and says that the job is pending.
    """
    job = own_job()
    set_status(run, state="queued")
    bad = attempts.nodes_to_avoid(attempts.rows_of(run))
    left_out, why_not = queries.nodes_without(job, bad, fewest) if bad else ("", "")
    if heir := successor.takes_over(run, job):
        if bad:
            note_avoided(run, bad, queries.exclude(heir, left_out) if left_out else why_not)
        tell(run, f"{run.name}: Slurm cancels job {job}; job {heir} will resume from step {run.last_step():,}")
        return EXIT_RESUMABLE
    deadline = CLOCK.now() + SILENT_S
    while True:
        if grace_time.brings_back(job):
            if bad:
                note_avoided(run, bad, "Slurm itself requeues a job that it preempts")
            tell(run, f"{run.name}: Slurm requeues job {job}; it will resume from step {run.last_step():,}")
            return EXIT_RESUMABLE
        _, problem = queries.ask_controller("scontrol", "requeue", job)
        if not problem or "pending" in problem:
            if bad:
                note_avoided(run, bad, queries.exclude(job, left_out) if left_out else why_not)
            back = f"job {job} goes back to the queue" + (f" ({why})" if why else "")
            tell(run, f"{run.name}: {back}; it will resume from step {run.last_step():,}")
            return EXIT_RESUMABLE
        if "disabled" in problem or "denied" in problem.lower() or CLOCK.now() > deadline:
            break
        time.sleep(5)  # the controller may be restarting
    if heir := successor.waiting(run):
        tell(run, f"{run.name}: job {job} may not be requeued; job {heir} will resume from step {run.last_step():,}")
        return EXIT_RESUMABLE
    warn(f"job {job} could not be requeued: {problem}; resume: {resume_command(run)}")
    notify.tell_of(run, "stuck", "Slurm did not requeue its job; resume it by hand")
    return EXIT_RESUMABLE


class SignalForwarder:
    """Passes a signal on to the ranks and remembers it. A second Ctrl-C ends them at once."""

    def __init__(self, ranks: Srun | LocalRanks, run: Run) -> None:
        self.signal = ""
        self._ranks, self._run = ranks, run

    def install(self) -> SignalForwarder:
        """Listen."""
        for number in ASKING_OR_HANGUP:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants HUP ignored
                signal.signal(number, self._pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING_OR_HANGUP)
        return self

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        again = bool(self.signal) and number == signal.SIGINT
        if not self.signal or number == signal.SIGTERM:  # what Slurm says now, it may not say any more afterwards
            threading.Thread(target=self._ask_why, args=(signal.Signals(number).name,), daemon=True).start()
        self.signal = signal.Signals(number).name
        self._ranks.signal(
            signal.SIGKILL if again else signal.SIGTERM if number in (signal.SIGINT, signal.SIGHUP) else number
        )
        if number == signal.SIGINT:
            say_over(KILLED if again else STOPPING)

    def _ask_why(self, name: str) -> None:
        """At its time limit a job has KillWait to live, and nobody brings it back unless it asks for that at once."""
        with contextlib.suppress(fencing.Superseded):
            self._heard(name)

    def _heard(self, name: str) -> None:
        over = attempts.hear(self._run, name).get("Reason") == "TimeLimit"
        if over and in_batch_script() and not self._run.stop_file.exists():
            queries.ask_controller("scontrol", "requeue", own_job())


if __name__ == "__main__":
    output_streams.install(wait=False)
    job_environment.reconcile_environment()
    try:
        started, succeeds = Run(sys.argv[1]), sys.argv[2:] == [successor.WORD]
        if succeeds and not successor.adopt(started):
            sys.exit(EXIT_DONE)
        sys.exit(supervise(started, succeeds=succeeds))
    except MedtrainError as error:
        show_error(error.problem, error.fix)
        sys.exit(error.exit_code)
