"""Runs whose attempts may have from A to B nodes (`--nodes A-B`): what they need, and what is settled for B nodes.

A run in exact mode has the same bits on any number of ranks up to its number of virtual ranks. So everything that
decides them is settled at submit as for B nodes, and an attempt on fewer of them takes more micro-batches a rank.
"""

from __future__ import annotations

import dataclasses

from medtrain.config import global_batch as batches
from medtrain.config.sbatch_options import named, ranks_per_node
from medtrain.config.schema import Config, SlurmConfig

# Of all nodes together, or of tasks whose number sbatch would have to know.
OF_THE_JOB = ("gpus", "gpus-per-task", "tres-per-task", "cpus-per-gpu", "gpus-per-socket", "ntasks-per-socket",
              "ntasks-per-core", "nodefile", "use-min-nodes")  # fmt: skip


def broken(config: Config) -> list[tuple[bool, str]]:
    """The rules of such a run: each holds or not, with a sentence that says what to write."""
    slurm = config.slurm
    if slurm.min_nodes < 1:
        return []
    text = f"nodes is {nodes_text(slurm)}"
    ranks, parts = widest(slurm), virtual_ranks(config)
    rules = [
        (slurm.min_nodes <= slurm.nodes, f"{text}: write the smaller number first"),
        (
            config.determinism == "exact",
            f"{text}, and only exact mode has the same bits at each number of nodes: give --determinism exact",
        ),
        (slurm.cpus_per_task > 0, f"{text}: the order of sums depends on the cores of a rank: give --cpus_per_task N"),
        (not slurm.spare_nodes, f"{text} and spare_nodes {slurm.spare_nodes}: give one of them"),
        (
            parts >= ranks,
            _too_wide(text, config, parts, ranks),
        ),
    ]
    options = named(slurm.sbatch)
    return rules + [
        (name not in options, f"{text} and --{name}: give --gpus_per_node, --tasks_per_node and --cpus_per_task")
        for name in OF_THE_JOB
    ]


def _too_wide(text: str, config: Config, parts: int, ranks: int) -> str:
    what = f"{text}: a global batch of {config.data.global_batch} is {parts} micro-batches"
    has = f"{config.slurm.nodes} nodes have {ranks} ranks"
    return f"{what}, and {has}: give a larger --global_batch, a smaller --batch_size, or fewer nodes"


def of_cluster(config: Config) -> Config:
    """The config of a cluster file alone, for its check: with a range, its runs will be in exact mode."""
    return dataclasses.replace(config, determinism="exact") if config.slurm.min_nodes else config


def fewest_to_train(slurm: SlurmConfig) -> int:
    """Nodes without which no attempt starts."""
    return slurm.min_nodes or slurm.nodes


def fewest_nodes(slurm: SlurmConfig) -> int:
    """Those, and the spare ones."""
    return fewest_to_train(slurm) + slurm.spare_nodes


def nodes_text(slurm: SlurmConfig) -> str:
    """The number of nodes as sbatch's --nodes has it: `8`, or `2-8`."""
    return f"{slurm.min_nodes}-{slurm.nodes}" if slurm.min_nodes else str(slurm.nodes)


def widest(slurm: SlurmConfig) -> int:
    """Ranks on all nodes."""
    return slurm.nodes * ranks_per_node(slurm)


def global_batch(config: Config) -> int:
    """Samples in one optimizer step, at the widest."""
    return batches.global_batch(config.data, widest(config.slurm))


def virtual_ranks(config: Config) -> int:
    """Micro-batches of one optimizer step, at the widest."""
    return batches.virtual_ranks(config.data, global_batch(config))


def pinned(config: Config) -> Config:
    """The config with the global batch of its widest attempt, where attempts may have fewer nodes."""
    if not config.slurm.min_nodes:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, global_batch=global_batch(config)))
