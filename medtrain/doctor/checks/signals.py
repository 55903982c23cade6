"""What the probe learned of the signals that Slurm sends, and of the way back into the queue."""

from __future__ import annotations

from medtrain.doctor.checks import ADMIN, Finding, fail, ok, slurm, warn
from medtrain.doctor.checks.probe_result import Line, Told

BY_HAND = "until then resume by hand after each stop: medtrain resume RUN"
SOON_SECONDS = 25.0  # Slurm's warning comes half a minute after the start at the earliest
SLACK_SECONDS = 2.0  # between the KILL and a rank's last heartbeat


def passed_on(told: Told) -> Finding | None:
    """Whether the supervisor's own signal reaches all ranks."""
    row = _row(told, "signalled")
    if row is None:
        return None
    missing = _missing(told, "SIGUSR1")
    if missing or row["problem"]:
        return fail(
            f"scancel --signal=USR1 did not reach {_ranks(missing)} {row['problem']}".rstrip(),
            f"{ADMIN}; until then stop runs by medtrain stop, which leaves a file as well",
        )
    return ok(f"scancel --signal reaches all {len(told.up)} ranks")


def warning(told: Told) -> Finding | None:
    """Whether Slurm warns all ranks before the time limit, as --signal asks it to."""
    if _row(told, "requeued") is None:
        return None
    missing = _missing(told, "SIGUSR2")
    slow = (_row(told, "up") or {"seconds": 0.0})["seconds"]
    if missing and slow > SOON_SECONDS:
        return warn(
            f"the ranks took {slow:.0f} s to start; the warning before the time limit may have come before them",
            "ask again: the first start on a node is the slowest",
        )
    if missing:
        return fail(
            f"the warning before the time limit (--signal=USR2) did not reach {_ranks(missing)}: "
            "a run would be killed at the limit and not resume",
            f"{ADMIN} which filter or wrapper of sbatch drops --signal; {BY_HAND}",
        )
    begun = {line["rank"]: line["time"] for line in told.said("hello")}
    after = [line["at"] - begun[line["rank"]] for line in told.said("signal") if line["name"] == "SIGUSR2"]
    return ok(f"USR2 before the time limit reaches all {len(told.up)} ranks ({max(after):.0f} s after they started)")


def ending(told: Told) -> Finding | None:
    """Whether a TERM comes first, and how long a rank has from there to the KILL."""
    row = _row(told, "requeued")
    if row is None:
        return None
    what = "scancel" if row["problem"] else "scontrol requeue"
    missing = _missing(told, "SIGTERM")
    if missing:
        return fail(
            f"{what} killed {_ranks(missing)} without a TERM: nothing can be saved",
            f"{ADMIN}; until then save often: --every_minutes 2",
        )
    terms: dict[int, float] = {}
    for line in told.said("signal"):
        if line["name"] == "SIGTERM":
            terms.setdefault(line["rank"], line["at"])
    left = {line["rank"] for line in told.said("left")}
    last = {line["rank"]: line["time"] for line in told.said("alive")}
    killed = [last.get(rank, at) - at for rank, at in terms.items() if rank not in left]
    wait = (slurm.configuration() or {}).get("KillWait", "?").split()[0]
    text = f"{what} sends TERM to all {len(told.up)} ranks"
    if not killed:
        return ok(f"{text}, and they could live on for more than {slurm.SHORT_GRACE_SECONDS} s (KillWait={wait})")
    text = f"{text}, and KILL {min(killed):.0f} s later (KillWait={wait})"
    early = wait.isdigit() and min(killed) < int(wait) - SLACK_SECONDS
    if min(killed) < slurm.SHORT_GRACE_SECONDS - SLACK_SECONDS or early:
        return warn(f"{text}: {slurm.TOO_SOON}", slurm.LONGER_WAIT)
    return ok(text)


def requeue(told: Told) -> Finding | None:
    """Whether the job may go back to the queue, and when it runs again."""
    row = _row(told, "requeued")
    if row is None:
        if any(line.get("life") for line in told.batch) or told.fields.get("Restarts", "0") != "0":
            return warn("the probe was stopped before its end, by a preemption or a failed node", "ask again")
        return warn(
            f"the probe ended before its end (state {told.fields.get('JobState', '?')})", "see above, and ask again"
        )
    if row["problem"]:
        return fail(
            f"Slurm refuses to requeue the job ({row['problem']}): a stopped run would not resume by itself",
            f"{ADMIN} to allow requeueing (JobRequeue, a job_submit filter); {BY_HAND}",
        )
    if told.never:
        return told.never
    if told.requeue_seconds is None or not any(line.get("life") for line in told.batch):
        state = told.fields.get("JobState", "?")
        return fail(f"the requeued job did not run again (state {state})", f"{ADMIN}; {BY_HAND}")
    return ok(f"the job ran again {told.requeue_seconds:.0f} s after scontrol requeue")


def _row(told: Told, event: str) -> Line | None:
    return next((line for line in told.batch if line["event"] == event), None)


def _missing(told: Told, name: str) -> list[int]:
    """The ranks that were there and did not get a signal."""
    return sorted(told.up - {line["rank"] for line in told.said("signal") if line["name"] == name})


def _ranks(numbers: list[int]) -> str:
    return f"ranks {', '.join(map(str, numbers))}" if numbers else "any rank"
