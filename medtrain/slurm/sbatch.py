"""Batch scripts, written and handed to Slurm by submitit."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrain.config import sbatch_options
from medtrain.config.dependency import as_sbatch_has_it
from medtrain.config.moldable import nodes_text
from medtrain.config.schema import SlurmConfig
from medtrain.core.console import say
from medtrain.core.errors import MachineError
from medtrain.slurm import queries
from medtrain.slurm.job_environment import as_on_a_login_node

UNREACHABLE = ("unable to contact slurm controller", "munge", "configuration source", "socket timed out")
AGAIN = "give the same command again"
# slurm/*.sbatch have the same lines (tests/unit/slurm/test_jobenv.py compares them).
TRAPS = (
    # The shell must outlive a signal that is meant for the ranks; a trap, unlike "ignore", is not inherited.
    "trap : TERM USR1 USR2",
    # One task of an array has the number of the whole; whether this is a task only Slurm's record says:
    # SLURM_ARRAY_JOB_ID may have been inherited.
    "medtrain_job() {",
    "    if [[ $1 =~ ArrayJobId=([0-9]+)\\ ArrayTaskId=([0-9]+) ]]; then",
    '        echo "${BASH_REMATCH[1]}_${BASH_REMATCH[2]}"',
    "    else",
    '        echo "$SLURM_JOB_ID"',
    "    fi",
    "}",
    # A signal may end the command before it listens (128 + USR1, USR2, TERM), such as a node's late word on the job's
    # life before; and Slurm does not bring back a job that then ends. A cancelled one is not RUNNING. From 24.05 on
    # Slurm itself brings back what ends in the grace time of a preemption; and what comes from Command on is text of
    # users.
    "medtrain_back() {",
    "    local record",
    '    until record=$(scontrol --oneliner show job "$SLURM_JOB_ID"); do sleep 5; done',
    '    record=$(grep "^JobId=$SLURM_JOB_ID " <<<"$record")',
    "    record=${record%% Command=*}",
    "    [[ $record =~ JobState=(RUNNING|SIGNALING) ]] || return",
    "    [[ $record =~ PreemptTime=[0-9] && ! $(scontrol --version) =~ \\ 2[0-3]\\. ]] && return",
    '    scontrol requeue "$(medtrain_job "$record")"',
    "}",
    # A job with --requeue=expedite (Slurm 25.11) that fails outside of a preemption is held in the queue for ever.
    "medtrain_end() {",
    "    local record",
    '    record=$(scontrol --oneliner show job "$SLURM_JOB_ID" | grep "^JobId=$SLURM_JOB_ID ") || return',
    "    [[ $record =~ \\ ExpeditedRequeue=Yes ]] || return",
    "    record=${record%% Command=*}",
    "    [[ $record =~ JobState=(RUNNING|SIGNALING) && ! $record =~ PreemptTime=[0-9] ]] || return",
    '    scancel "$(medtrain_job "$record")"',
    "}",
    "trap 'case $? in 0) ;; 138|140|143) medtrain_back ;; *) medtrain_end ;; esac' EXIT",
)


def executor(folder: Path, name: str, slurm: SlurmConfig, **extra: Any) -> Any:
    """submitit's executor for a job `name` that logs to `folder` and asks for what `slurm` says.

    `extra` are further options of sbatch, with _ for -.
    """
    from submitit.slurm.slurm import SlurmExecutor

    class Executor(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2  # a dry run must work where there is no Slurm

        def _num_tasks(self) -> int:
            return 1 if slurm.min_nodes else int(super()._num_tasks())  # it multiplies nodes, and 1-2 is no number

    made, ranks = Executor(folder=folder), sbatch_options.ranks_per_node(slurm)
    request: dict[str, Any] = {
        "job_name": name,
        "nodes": slurm.nodes + slurm.spare_nodes,
        "ntasks_per_node": ranks,
        "gpus_per_node": sbatch_options.typed_gpus(slurm),
        "cpus_per_task": slurm.cpus_per_task,
        "mem": mem(slurm.mem_gb),
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
    }
    if slurm.min_nodes:
        # With --ntasks-per-node=R Slurm takes the job for one of A x R tasks, and gives it no more nodes than tasks. So
        # a node has one task with the cores of all its ranks, and srun says what is in it (launch.spare_nodes).
        request |= {"nodes": nodes_text(slurm), "cpus_per_task": slurm.cpus_per_task * ranks}
        del request["ntasks_per_node"]
    more: dict[str, Any] = {"requeue": True, "open-mode": "append"}
    further = sbatch_options.named(slurm.sbatch)
    more |= {option: True if value is None else value for option, value in further.items()}
    more |= {option.replace("_", "-"): value for option, value in extra.items()}
    if slurm.array_throttle and "array" in more:
        more["array"] += f"%{slurm.array_throttle}"
    if slurm.time:
        more["time"] = slurm.time
    if slurm.dependency:
        more |= {"dependency": as_sbatch_has_it(slurm.dependency), "kill-on-invalid-dep": "yes"}
    made.update_parameters(
        **{option: value for option, value in request.items() if value},
        time=None,
        signal_delay_s=slurm.signal_seconds,
        wckey=None,
        use_srun=False,
        stderr_to_stdout=True,
        additional_parameters=more,
        setup=["umask 077", *TRAPS, *slurm.setup],
    )
    return made


def send(executor: Any, command: str, again: str, dry_run: bool = False) -> str:
    """Hand a batch script with one command to Slurm; returns the job id. MachineError where Slurm says no.

    With `dry_run` the script is printed instead, to the letter, and a word comes back in place of the id.
    """
    if dry_run:
        say(script(executor, command))
        return f"JOB_{executor.parameters['job_name']}"
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        # submitit prints what sbatch says, and raises it as well.
        with as_on_a_login_node(), contextlib.redirect_stderr(io.StringIO()):
            return str(executor._submit_command(command).job_id)
    except (FailedJobError, FailedSubmissionError) as error:
        said = " ".join(str(error).split())[-400:]
        unreachable = any(word in said.lower() for word in UNREACHABLE)
        fix = queries.remedy(said) if unreachable else "correct the request (sinfo shows the partitions)"
        raise MachineError(f"Slurm did not take the job: {said}", f"{fix}, then: {again}") from None


def script(executor: Any, command: str) -> str:
    """The batch script with one command, to the letter."""
    return executor._make_submission_file_text(command, "")  # type: ignore[no-any-return]


@contextlib.contextmanager
def as_file(script: str) -> Iterator[str]:
    """A script as a file for `sbatch --test-only`, with the environment that a job is sent with."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        with as_on_a_login_node():
            yield file.name


def refusal(script: str) -> str:
    """What Slurm says against a script that it only has to look at; empty where it would take it."""
    with as_file(script) as file:
        return queries.ask("sbatch", "--test-only", file)[1]


def mem(gigabytes: float) -> str:
    """As Slurm writes it."""
    return f"{round(gigabytes * 1024)}M" if gigabytes else ""


def require_slurm(instead: str) -> None:
    """Raise MachineError where there is no Slurm, `instead` says what to type there, or where its controller does not
    answer: before anything is made for a job that it could not take."""
    require_commands(instead)
    if problem := queries.why_no_answer():
        raise MachineError(f"Slurm does not answer ({problem})", f"{queries.remedy(problem)}, then: {AGAIN}")


def there() -> bool:
    """Whether Slurm's commands are here."""
    return shutil.which("sbatch") is not None


def require_commands(instead: str) -> None:
    """Raise MachineError where Slurm's commands are not."""
    if not there():
        raise MachineError("there is no Slurm here (sbatch is not found)", f"{instead}   or log in to your cluster")
