"""A dataset packed by Slurm: an array of jobs reads the files, one packs them, a last job puts the shards together."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from medtrain.config.schema import SlurmConfig
from medtrain.core import permissions, processes
from medtrain.core.console import say, show_error
from medtrain.core.errors import InputError, MedtrainError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.datasets.record import Record
from medtrain.datasets.source import Source
from medtrain.shards.pack import pack, pack_share, read_share
from medtrain.shards.pack_checks import check_options, check_records, ensure_same_dataset
from medtrain.shards.pack_request import Request
from medtrain.slurm import job_environment, queries, sbatch

REQUEST = "request.json"
STAGES = ("read", "pack", "finish")


def submit(
    request: Request,
    out: Path,
    tasks: int,
    slurm: SlurmConfig,
    after: str = "",
    dry_run: bool = False,
    needs: Path | None = None,
    share: str = "private",
    opened: tuple[Source, list[Record]] | None = None,
) -> list[str]:
    """Send the three jobs, each of which waits for the one before, the first for the job `after`, which writes the file
    `needs`; returns their ids. `opened` is the dataset, where it was read before.

    The bytes are those of `medtrain shard` without Slurm. Given again, it continues with what is missing.
    """
    if not dry_run:
        sbatch.require_slurm("omit --slurm")
    ensure_can_pack(request, out, tasks, opened)
    logs = out / "slurm"
    request = request if dry_run else request.pinned(out)
    told = {"request": request.told(), "tasks": tasks, "needs": str(needs or ""), "after": after, "share": share}
    if not dry_run:
        if out.exists():
            permissions.warn_of_open(out, share)
        logs.mkdir(parents=True, exist_ok=True, mode=0o750)
        write_json(out / REQUEST, told)
    sent: list[str] = []
    for stage in STAGES:
        asked = replace(slurm, dependency=sent[-1] if sent else after)
        names = "%j" if stage == "finish" else "%A_%a"  # as Slurm's own commands name them
        array = {"output": f"{logs.absolute()}/{names}.log"} | (
            {} if stage == "finish" else {"array": f"0-{tasks - 1}"}
        )
        executor = sbatch.executor(logs, f"{request.dataset}-{stage}", asked, **array)
        command = shlex.join(processes.command("medtrain.shards.packing_jobs", str(out.absolute()), stage))
        sent.append(sbatch.send(executor, command, "give the same command again", dry_run))
        if not dry_run:
            write_json(out / REQUEST, {**told, "jobs": sent})
    return sent


def ensure_can_pack(
    request: Request, out: Path, tasks: int, opened: tuple[Source, list[Record]] | None = None
) -> tuple[Source, list[Record]]:
    """The dataset and the records that are packed; InputError where that cannot be done, or another job does it."""
    if tasks < 1:
        raise InputError(f"tasks is {tasks}: at least 1 is needed", "give --tasks 8")
    check_options(request.options)
    source, read = opened or request.open()
    records = request.kept(read)
    check_records(records, request.options)
    ensure_same_dataset(records, source.classes, out, request.options, request.origin(source))
    for job in read_json(out / REQUEST).get("jobs", ()):
        if place := queries.queue_state(job):
            raise InputError(
                f"{out}: is packed by job {job} already ({place.state.lower()})",
                f"wait for it, or first: scancel {job}",
            )
    return source, records


def run(out: Path, stage: str) -> None:
    """One job's work; of an array's, the share of this task."""
    told = read_json(out / REQUEST)
    permissions.apply(told.get("share", "private"))
    request, tasks = Request.of(told["request"]), int(told["tasks"])
    if stage == STAGES[0] and told.get("needs") and not Path(told["needs"]).exists():
        raise InputError(
            f"{told['needs']} is not there: job {told['after']}, which checks the dataset, has not done its work",
            f"see its log beside that file, and check by hand: medtrain check {request.dataset} --root {request.root}",
        )
    source, read = request.open()
    records, classes, origin = request.kept(read), source.classes, request.origin(source)
    part = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    if stage == "read":
        read_share(records, out, request.options, part, tasks)
    elif stage == "pack":
        pack_share(records, classes, out, request.options, part, tasks, origin)
    else:
        most, keep_names = request.max_rejects, request.keep_names
        pack(records, classes, out, request.options, max_rejects=most, origin=origin, keep_names=keep_names)
        say(f"packed in {out}")


def main(out: str, stage: str) -> int:
    """Returns an exit code."""
    job_environment.reconcile_environment()
    permissions.apply()
    try:
        run(Path(out), stage)
    except MedtrainError as error:
        show_error(error.problem, error.fix)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
