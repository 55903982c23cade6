"""A dataset packed by Slurm: an array of jobs reads the files, one packs them, a last job puts the shards together."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tyro.conf import FlagCreatePairsOff

from medtrain import datasets, helper, jobenv, permissions, sbatch, slurmjob
from medtrain.config import Config, SlurmConfig
from medtrain.configfile import with_cluster
from medtrain.console import say, show_error, warn
from medtrain.contents import there
from medtrain.errors import InputError, MedtrainError
from medtrain.plan import PackOptions
from medtrain.record import FRACTIONS, Record, with_validation, with_views
from medtrain.run import read_json, write_json
from medtrain.shards import check_options, check_records, pack, pack_share, read_share, refuse_others

REQUEST = "request.json"
STAGES = ("read", "pack", "finish")
CLIP_SIZE = 112  # pixels: what networks of clips are made for (Tran et al., CVPR 2018)
Flag = FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class Request:
    """What is to be packed."""

    dataset: str
    root: Path
    options: PackOptions
    max_rejects: int
    partial: bool
    annotations: Path | None = None

    def told(self) -> dict[str, Any]:
        """As values for JSON; its paths hold in every folder."""
        annotations = str(self.annotations.absolute()) if self.annotations else None
        return {**asdict(self), "root": str(self.root.absolute()), "annotations": annotations}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Request:
        """From what `told` and JSON make of one."""
        options = told["options"]
        made = PackOptions(
            **{**options, "views": tuple(options["views"]), "fractions": tuple(options.get("fractions", FRACTIONS))}
        )
        annotations = Path(told["annotations"]) if told.get("annotations") else None
        return cls(**{**told, "root": Path(told["root"]), "options": made, "annotations": annotations})


def options_for(dataset: str, asked: PackOptions) -> PackOptions:
    """What is asked, with what the dataset decides: how it is split, and that clips are packed without loss at one
    size."""
    found = replace(asked, fractions=datasets.fractions(dataset))
    if not getattr(datasets.source(dataset), "CLIPS", False):
        if asked.colours:
            raise InputError(f"{dataset} holds images, and --colours is for clips", "leave it away")
        return found
    if asked.encoding == "jpeg":
        raise InputError("clips are packed without loss", "leave --encoding away")
    return replace(found, encoding="tiff", size=asked.size or CLIP_SIZE, colours=asked.colours or "grey")


@dataclass(frozen=True)
class Jobs:
    """Packing in Slurm jobs."""

    slurm: Flag = False
    """Pack in Slurm jobs: an array that reads the files, one that packs them, and a last job that ends it."""
    tasks: int = 8
    """Slurm: jobs of each array."""
    cluster: str = ""
    """Slurm: a file of slurm/clusters by name, or a path: the defaults for the fields below."""
    partition: str = ""
    """Slurm: partition."""
    account: str = ""
    """Slurm: account that is charged."""
    cpus_per_task: int = 0
    """Slurm: CPU cores of each job (0: the cluster's default)."""
    mem_gb: float = 0.0
    """Slurm: memory of each job in GB (0: the cluster's default)."""
    time: str = ""
    """Slurm: time limit of each job as Slurm writes it."""


def submit(
    request: Request,
    out: Path,
    tasks: int,
    slurm: SlurmConfig,
    after: str = "",
    dry_run: bool = False,
    needs: Path | None = None,
    share: str = "private",
) -> list[str]:
    """Send the three jobs, each of which waits for the one before, the first for the job `after`, which writes the file
    `needs`; returns their ids.

    The bytes are those of `medtrain shard` without Slurm. Given again, it goes on with what is missing.
    """
    if not dry_run:
        sbatch.need_slurm("leave --slurm away")
    refuse(request, out, tasks)
    logs = out / "slurm"
    told = {"request": request.told(), "tasks": tasks, "needs": str(needs or ""), "after": after, "share": share}
    if not dry_run:
        if out.exists():
            permissions.warn_of_open(out, share)
        logs.mkdir(parents=True, exist_ok=True, mode=0o750)
        write_json(out / REQUEST, told)
    sent: list[str] = []
    for stage in STAGES:
        asked = replace(slurm, after=sent[-1] if sent else after)
        names = "%j" if stage == "finish" else "%A_%a"  # as Slurm's own commands name them
        array = {"output": f"{logs.absolute()}/{names}.log"} | (
            {} if stage == "finish" else {"array": f"0-{tasks - 1}"}
        )
        executor = sbatch.executor(logs, f"{request.dataset}-{stage}", asked, **array)
        command = shlex.join(helper.command("medtrain.packjob", str(out.absolute()), stage))
        sent.append(sbatch.send(executor, command, "give the same command again", dry_run))
        if not dry_run:
            write_json(out / REQUEST, {**told, "jobs": sent})
    return sent


def refuse(request: Request, out: Path, tasks: int) -> list[Record]:
    """The records that are packed; InputError where that cannot be done, or another job does it already."""
    if tasks < 1:
        raise InputError(f"tasks is {tasks}: at least 1 is needed", "give --tasks 8")
    check_options(request.options)
    records = records_of(request)
    check_records(records, request.options)
    refuse_others(records, datasets.source(request.dataset).CLASSES, out, request.options)
    for job in read_json(out / REQUEST).get("jobs", ()):
        if place := slurmjob.queue_state(job):
            raise InputError(
                f"{out}: is packed by job {job} already ({place.state.lower()})",
                f"wait for it, or first: scancel {job}",
            )
    return records


def resources(jobs: Jobs) -> SlurmConfig:
    """What each job asks of Slurm: the cluster's defaults without its GPUs and nodes, below the flags."""
    profile = with_cluster(Config(), jobs.cluster).slurm if jobs.cluster else SlurmConfig()
    given = {
        name: value
        for name in ("partition", "account", "cpus_per_task", "mem_gb", "time")
        if (value := getattr(jobs, name))
    }
    return replace(profile, nodes=1, tasks_per_node=1, gpus_per_node=0, **given)


def records_of(request: Request) -> list[Record]:
    """The records to pack: those of the views that are wanted, and with `partial` those whose image is there."""
    root, partial = request.root, request.partial
    read = datasets.read(request.dataset, root, request.annotations)
    if told := datasets.warned(request.dataset, read):
        warn(told)
    records = with_views(with_validation(read), request.options.views)
    found: list[Record] = []
    missing: list[Record] = []
    for record in records:
        (found if there(record.path) else missing).append(record)
    if len(missing) > request.max_rejects and not partial:
        raise InputError(
            f"{len(missing):,} of {len(records):,} images are not in {root} (the first: {missing[0].image})",
            "complete the dataset, or pack what there is: --partial",
        )
    if partial and missing:
        warn(f"{len(missing):,} of {len(records):,} images are not there and were left out")
    return found if partial else records


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
    records, classes = records_of(request), datasets.source(request.dataset).CLASSES
    part = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    if stage == "read":
        read_share(records, out, request.options, part, tasks)
    elif stage == "pack":
        pack_share(records, classes, out, request.options, part, tasks)
    else:
        pack(records, classes, out, request.options, max_rejects=request.max_rejects)
        say(f"packed in {out}")


def main(out: str, stage: str) -> int:
    """Returns an exit code."""
    jobenv.settle()
    permissions.apply()
    try:
        run(Path(out), stage)
    except MedtrainError as error:
        show_error(error.problem, error.fix)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
