"""What a job waits for: looked up when the job is sent, and proved when it begins.

Slurm's word alone is no proof (run on 22.05.8; the rule of arrays is in the source of 26.05 too). `afterok` of a job
that the controller does not know, because of a slip or because it failed and was forgotten after MinJobAge, is met at
once, also with --kill-on-invalid-dep. And once a task of an array has failed, afterok of that array can never be met,
not even when all of its tasks have succeeded since.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medtrain.config.dependency import OK, as_sbatch_has_it, clauses
from medtrain.config.schema import Config
from medtrain.core.console import show_error
from medtrain.core.errors import InputError, MachineError, MedtrainError
from medtrain.runs.run import Run, again_command, command_for
from medtrain.shards import mixture
from medtrain.shards.index import open_index
from medtrain.shards.packed_dataset import PackedDataset
from medtrain.slurm import queries
from medtrain.slurm.queries import ENDED, Fields


def looked_up(config: Config) -> Config:
    """The config that waits only for what is still to come. InputError where `--dependency` waits for the success of a
    job that Slurm does not know, or that has failed; MachineError where the controller does not answer."""
    conditions, joint = clauses(config.slurm.dependency) or ([], ",")
    left = [_left(condition) for condition in conditions]
    if joint == "?" and not all(left):  # one of several is enough, and it holds already
        left = []
    dependency = joint.join(filter(None, left))
    return replace(config, slurm=replace(config.slurm, dependency=dependency))


def _left(condition: str) -> str:
    """What is still to wait for of one condition; all but afterok are Slurm's own affair."""
    kind, _, jobs = condition.partition(":")
    if kind != OK:
        return condition
    live = [job for name in jobs.split(":") for job in _live(name)]
    return ":".join((OK, *live)) if live else ""


def _live(job: str) -> list[str]:
    """What afterok waits for where it is to wait for a job: nothing where it is done, and of an array that Slurm no
    longer counts as a whole the tasks."""
    rows, problem = queries.records(job)
    if problem and "Invalid job id" not in problem:
        raise MachineError(
            f"--dependency: whether job {job} is done is not known ({problem})",
            queries.remedy(problem) + ", then try again",
        )
    if not rows:
        if queries.all_completed(job):
            return []
        raise InputError(
            f"--dependency: Slurm does not know job {job} (a slip, or it ended long ago), and would not wait for it",
            "name a job that is in the queue (squeue --me); where its work is done, omit --dependency",
        )
    if failed := [row for row in rows if row["JobState"] in ENDED - {"COMPLETED"}]:
        names = ", ".join(f"{_name(row)}: {row['JobState']}" for row in failed)
        raise InputError(
            f"--dependency: job {job} has failed ({names})",
            "send it again and name the new job; where its work has been done since, omit --dependency",
        )
    left = [row for row in rows if row["JobState"] not in ENDED]
    new = len(left) == len(rows) and all(row.get("Restarts", "0") == "0" for row in rows)
    if new or "ArrayTaskId" not in rows[0]:
        return [job] if left else []
    return [f"{row['ArrayJobId']}_{task}" for row in left for task in tasks(row["ArrayTaskId"])]


def _name(row: Fields) -> str:
    return f"{row['ArrayJobId']}_{row['ArrayTaskId']}" if "ArrayTaskId" in row else row["JobId"]


def tasks(text: str) -> Iterator[int]:
    """The numbers of tasks as scontrol writes them: `3`, `0-2,5`, `1-9:2`, each with `%4` where so many run at once."""
    for first, last, step in re.findall(r"(\d+)(?:-(\d+))?(?::(\d+))?", text.partition("%")[0]):
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def prove_packed(run: Run, config: Config) -> None:
    """InputError unless each packed dataset of a run is whole, by its manifest, indexes and the sizes of its shards."""
    waited = f" (this job waited for {as_sbatch_has_it(config.slurm.dependency)})" if config.slurm.dependency else ""
    for folder in mixture.folders(config.data):
        try:
            for split in PackedDataset.open(folder).splits:
                open_index(folder, split)
        except InputError as error:
            raise InputError(error.problem + waited, f"{error.fix}   then: {again_command(run)}") from None


def prove_finished(run: Run) -> None:
    """InputError unless a run has come to its end."""
    state = run.status().get("state", "new")
    if state != "finished":
        raise InputError(
            f"run {run.name} is not finished ({state}, saved at step {run.last_step():,}): nothing to evaluate",
            f"see why: {command_for(run, 'status')}   then: {again_command(run)}",
        )


def main(folder: str) -> int:
    """Of a job that waited for a run: whether it is finished. Returns an exit code."""
    try:
        prove_finished(Run(Path(folder)))
    except MedtrainError as error:
        show_error(error.problem, error.fix)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
