"""The commands that pack datasets, and prove them and runs: shard and verify."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from medtrain.cli import packing_warnings
from medtrain.cli.contents_table import contents_table
from medtrain.cli.flag_types import Flag
from medtrain.config.configfile import with_cluster
from medtrain.config.schema import Config, SlurmConfig
from medtrain.core import permissions
from medtrain.core.console import busy, in_line, say, say_json
from medtrain.core.counts import counted
from medtrain.core.errors import InputError, nearest
from medtrain.datasets.own_data import NOTHING, OwnData
from medtrain.datasets.record import View
from medtrain.imaging.pixel_limit import MAX_PIXELS
from medtrain.runs.run import Run, command_for, run_names, runs_flag
from medtrain.shards import image_colors, sample_names
from medtrain.shards.compatibility import recipe_for, recipe_of
from medtrain.shards.pack import pack
from medtrain.shards.pack_checks import ensure_apart
from medtrain.shards.pack_request import Request, options_for
from medtrain.shards.packed_dataset import PackedDataset, is_packed
from medtrain.shards.packing_jobs import submit
from medtrain.shards.plan import MAX_REJECTS, PackOptions
from medtrain.shards.verify import notes, verify_shards


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


def resources(jobs: Jobs) -> SlurmConfig:
    """What each job asks of Slurm: the cluster's defaults without its GPUs and nodes, below the flags."""
    profile = with_cluster(Config(), jobs.cluster).slurm if jobs.cluster else SlurmConfig()
    given = {
        name: value
        for name in ("partition", "account", "cpus_per_task", "mem_gb", "time")
        if (value := getattr(jobs, name))
    }
    return replace(profile, nodes=1, spare_nodes=0, tasks_per_node=1, gpus_per_node=0, **given)


HERE = Jobs()


def shard(
    dataset: Positional[Annotated[str, arg(metavar="DATASET")]],
    root: Path | None = None,
    out: Path | None = None,
    max_samples: int = 0,
    shard_mb: float = 256.0,
    seed: int = 42,
    encoding: Literal["copy", "jpeg", "tiff"] = "copy",
    size: int = 0,
    views: tuple[View, ...] = (),
    color_mode: Literal["", "gray", "rgb"] = "",
    workers: int = 0,
    max_rejects: int = MAX_REJECTS,
    max_pixels: int = MAX_PIXELS,
    partial: Flag = False,
    annotations: Path | None = None,
    share: permissions.Share = "private",
    keep_names: Flag = False,
    own: OmitArgPrefixes[OwnData] = NOTHING,
    jobs: OmitArgPrefixes[Jobs] = HERE,
    json: Flag = False,
) -> None:
    """Pack a dataset into WebDataset tar shards. A call that was cut off continues where it stopped.

    Args:
        dataset: Name of the dataset (medtrain data list); folder or csv: your own.
        root: Folder with its raw files.
        out: Folder for the shards (default: shards/DATASET).
        max_samples: Pack only this many images, drawn at random by the seed (0: all).
        shard_mb: Size of a shard in MB.
        seed: Decides the split and the order in the shards.
        encoding: The files as they are but for comments and the like (copy), or 8-bit gray (or RGB) as JPEG of quality
            95 or as TIFF without loss. Clips are always packed without loss.
        size: Shrink to this many pixels on the shorter side (0: as it is); of clips the side of the square (0: 112).
        views: Pack only images of these views (frontal: PA and AP too; none named: all).
        color_mode: Pack in gray (the default) or in color. Of your own images some are looked at where it is not given.
        workers: Processes that pack (0: one a core). The bytes are the same for any number.
        max_rejects: More missing or unreadable images than this are an error.
        max_pixels: An image, or a frame of a clip, of more pixels is rejected before it is decoded.
        partial: Pack what there is of a dataset whose tables name more images than are there.
        annotations: The table of a dataset whose table may lie anywhere (default: the one in the root).
        share: Who may read the packed dataset besides you: nobody, or the group of its folder.
        keep_names: Write OUT.names.csv beside OUT, for you alone: which file each sample was packed from.
        json: Print one JSON document.
    """
    permissions.apply(share)
    out = out or Path("shards") / (own.name or dataset)
    ensure_apart(root, out)
    asked = PackOptions(seed, shard_mb, max_samples, encoding, size, views, color_mode, max_pixels=max_pixels)
    request = Request(dataset, root, asked, max_rejects, partial, annotations, own, keep_names=keep_names)
    if keep_names:
        sample_names.ensure_can_keep(out)
    busy(f"reading the list of {dataset}")
    source, read = request.open()
    options = options_for(source, asked)
    if not options.clips and not color_mode:
        if is_packed(out):
            options = replace(options, color_mode="rgb" if PackedDataset.open(out).channels == 3 else "")
        elif request.is_own(source):
            busy(f"looking whether {dataset} has images in color")
            options = image_colors.with_color_mode(options, read)
    request = replace(request, options=options)
    if jobs.slurm:
        ids = submit(request, out, jobs.tasks, resources(jobs), share=share, opened=(source, read))
        recipe = recipe_of(dataset, lambda: source.task or "multilabel", source.clips, len(read), options.rgb)
        _show_jobs(recipe, out, ids, json)
        return
    if out.exists():
        permissions.warn_of_open(out, share)
    records, request = request.kept(read), request.pinned(out)
    origin = request.origin(source)
    manifest = pack(records, source.classes, out, request.options, workers, max_rejects, origin, keep_names)
    packing_warnings.warn_of(manifest, request.options, out)
    if json:
        say_json(manifest)
        return
    say(contents_table(manifest))
    say(f"\npacked in {out} (split {manifest['split_rule']})")
    if keep_names:
        say(f"which file each sample is: {sample_names.path_for(out)}")
    say(f"train on it: medtrain train {recipe_for(PackedDataset(out, manifest))} --shards {shlex.quote(str(out))}")


def _show_jobs(recipe: str, out: Path, ids: list[str], json: bool) -> None:
    """Of what packs the dataset on Slurm, and of what to do meanwhile."""
    if json:
        say_json({"jobs": ids, "out": str(out)})
        return
    say(f"jobs {', '.join(ids)} read the files, pack them, and end it; their logs are in {out / 'slurm'}")
    where = shlex.quote(str(out))
    say(f"train as soon as it is packed: medtrain submit {recipe} --shards {where} --dependency {ids[-1]}")


def verify(
    what: Positional[Annotated[Path, arg(metavar="SHARDS|RUN")]],
    level: Literal["quick", "crc", "decode"] = "crc",
    workers: int = 0,
    runs: Path = Path("runs"),
    files_only: Flag = False,
    from_step: int = -1,
    ranks: int = 0,
    scratch: Path | None = None,
    json: Flag = False,
) -> int:
    """Prove a packed dataset or a run. Nothing of it is changed.

    A packed dataset (a folder): it is whole, and no patient or image stands in two splits. Exit code 2 if not.

    A run (its name or folder): every file of its checkpoints is as it was written, and journal, settings and code are
    those of the newest one (exit code 2 if not). This is what training makes: its last steps are trained again, beside
    the run, and give the same bits (exit code 3 if not). In a Slurm allocation with its ranks, else here.

    Args:
        what: Folder of a packed dataset, or name or folder of a run.
        level: Shards: sizes only, every byte, or every image decoded.
        workers: Shards: threads (0: one a core).
        runs: Run: folder that holds the runs.
        files_only: Run: only its files, no training.
        from_step: Run: train again from the checkpoint of this step (-1: the one before the newest; 0: the beginning).
        ranks: Run: ranks that train (0: as many as made the checkpoint; others only with --determinism exact).
        scratch: Run: folder where the steps are trained again (default: beside the run).
        json: Print one JSON document.
    """
    run = run_of(what, runs)
    if run is None:
        if files_only or from_step != -1 or ranks or scratch:
            raise InputError(
                f"{what} is a packed dataset: --files_only, --from_step, --ranks and --scratch are for runs",
                f"omit them: medtrain verify {shlex.quote(str(what))}",
            )
        return verify_dataset(what, level, workers, json)
    if level != "crc" or workers:
        raise InputError(
            f"{what} is a run: --level and --workers are for packed datasets",
            f"omit them (a quick look at a run: {command_for(run, 'verify')} --files_only)",
        )
    busy(f"reading the checkpoints of {run.name}")
    from medtrain.checkpoints.verify_run import verify_run  # torch

    return verify_run(run, files_only, from_step, ranks, scratch, json)


def run_of(what: Path, runs: Path) -> Run | None:
    """The run that a name or folder means; None where it is a packed dataset. Raises InputError for anything else."""
    named = Run(runs / what)
    found = next((run for run in (Run(what), named) if run.config_file.exists()), None)
    packed = is_packed(what) and not (what / "state.json").exists()
    if packed and found and found.folder != what.absolute():
        here, there = (shlex.quote(str(path)) for path in (what.absolute(), runs / what))
        raise InputError(
            f"{what} is a packed dataset here, and a run in {runs}",
            f"write medtrain verify {here}   or medtrain verify {there}",
        )
    if found or packed:
        return None if packed else found
    if (what / "state.json").exists():
        raise InputError(f"{what} is one checkpoint", "verify its run, by name: medtrain verify RUN")
    if what.is_dir() and list(what.glob("*.tar")):
        return None  # shards without a manifest: there it is said what to do
    raise InputError(
        f"{what} is neither a packed dataset (a folder with manifest.json) nor a run in {runs.absolute()}"
        f"{nearest(str(what), run_names(runs))}",
        f"list the runs: medtrain status{runs_flag(runs)}   (another folder: --runs DIR)",
    )


def verify_dataset(out: Path, level: Literal["quick", "crc", "decode"], workers: int, json: bool) -> int:
    """Prove that a packed dataset is whole; returns 0, or 2 if it is not."""
    faults = verify_shards(out, level, workers)
    images = PackedDataset.open(out).samples
    lacks = notes(out)
    if json:
        say_json({"folder": str(out), "level": level, "images": images, "faults": faults, "notes": lacks})
    else:
        for fault in faults:
            say(f"FAULT {in_line(fault)}")
        for note in lacks:
            say(f"note: {note}")
        fix = "copy what is damaged again, or delete each such shard, its .idx and manifest.json and pack again"
        say(
            f"{out}: {counted(len(faults), 'faults')}; {fix}"
            if faults
            else f"{out}: {counted(images, 'images')}, no fault (level {level})"
        )
    return 2 if faults else 0
