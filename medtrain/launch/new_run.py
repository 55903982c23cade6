"""Settings to a run folder: looked at, made absolute, given a name, frozen with the code."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from medtrain.config import configfile, moldable
from medtrain.config.backbones import surely_fits
from medtrain.config.schema import PUBLISHED, Config
from medtrain.core import permissions
from medtrain.core.console import say
from medtrain.core.errors import InputError, nearest
from medtrain.launch import first_weights, group_members, notify
from medtrain.runs import code_snapshot, fencing, removal
from medtrain.runs.ownership import take
from medtrain.runs.run import Run, default_name
from medtrain.shards import compatibility, mixture


def new_run(config: Config, packed: bool = True) -> tuple[Run, Config]:
    """Check `config` and make its run folder; published weights are fetched here, ranks look only in the cache."""
    config = ready(config, packed)
    permissions.apply(config.share)
    run = Run(Path(config.runs) / config.run)
    if removal.make_way(run):
        say(f"run {run.name} had ended before its first step: it is made anew")
    run.ensure_new()  # before anything is downloaded for it
    weights = first_weights.fetched(config.model)
    run = Run.create(config.runs, config.run, config.share)
    take(run)
    if weights:
        first_weights.write_down(run, config.model, weights)
    code_snapshot.create_snapshot(run)  # first: its config.yaml is what makes a folder a run
    configfile.save(config, run.config_file)
    fencing.release(run.folder)
    return run, config


def ready(config: Config, packed: bool = True) -> Config:
    """The config with a name and absolute paths (a job starts elsewhere), after a look at what they hold; its shards
    may not be `packed` yet."""
    config = moldable.pinned(with_name(config))
    configfile.check(config, f"recipe {config.recipe}")
    notify.ensure_ready(config)
    config = notify.with_mail(config)
    if config.weights_dir:
        config = dataclasses.replace(config, weights_dir=str(Path(config.weights_dir).absolute()))
    config = with_shards(config, packed)
    if packed and not config.slurm.dependency:  # what it waits for may be what packs them
        compatibility.ensure_fits(config)
    ensure_backbone_fits(config)
    return with_weights(config)


def ensure_backbone_fits(config: Config) -> None:
    """InputError where there is no such network, or it cannot take images or clips of that size."""
    if not surely_fits(config.model.backbone, config.data.image_size, config.data.frames):
        from medtrain import models  # torch
        from medtrain.evaluation import inputs

        models.ensure_fits(config.model, inputs.input_shape(config))


def with_shards(config: Config, packed: bool = True) -> Config:
    """The config with an absolute shards folder, after a look at what is in it where it is `packed`."""
    shards = config.data.shards or ("shards" if config.data.datasets else f"shards/{config.recipe}")
    data = dataclasses.replace(config.data, shards=str(Path(shards).absolute()))
    if packed and not config.slurm.dependency:  # what it waits for may be what packs them
        known = mixture.classes(data)
        if data.study_type not in (*mixture.TOGETHER, group_members.ALL):
            mixture.ensure_study_type(data.study_type, known)
        mixture.ensure_monitor(dataclasses.replace(config, data=data))
    return dataclasses.replace(config, data=data)


def with_weights(config: Config) -> Config:
    """The config with an absolute weights file that is there: a job would tell only when it runs at last."""
    if config.model.weights in ("", *PUBLISHED):
        return config
    path = Path(config.model.weights).absolute()
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such file of weights{nearest(config.model.weights, PUBLISHED)}",
            "give --weights FILE.safetensors, imagenet or kinetics (medtrain data weights BACKBONE), or '' for none",
        )
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weights=str(path)))


def with_name(config: Config, here: bool = False) -> Config:
    """The config with a name for its run: what trains `here` in a job has its job's number, which a requeue does not
    change."""
    job = os.environ.get("SLURM_JOB_ID", "") if here else ""
    return dataclasses.replace(config, run=config.run or default_name(config.recipe, job))
