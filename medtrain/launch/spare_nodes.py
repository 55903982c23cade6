"""Which nodes of a job the ranks are started on, where it has more of them than they need (`--spare_nodes`).

A spare node takes the place of one that is drained, or where two attempts crashed. A node that goes down ends the job,
and Slurm requeues it, with spare nodes too. Under `sbatch --no-kill` it would not end; but one that loses its first
node, and with it the batch script, then runs on with nobody in it until its time limit, and is not requeued (tried on
22.05.8).
"""

from __future__ import annotations

from medtrain.config.sbatch_options import ranks_per_node
from medtrain.config.schema import SlurmConfig
from medtrain.launch.rank_processes import LocalRanks, Srun
from medtrain.runs import attempts
from medtrain.runs.run import Run
from medtrain.slurm import queries
from medtrain.slurm.environment import nodes_given, tasks_given
from medtrain.slurm.queries import Fields


def choose(run: Run, ranks: Srun | LocalRanks, slurm: SlurmConfig) -> None:
    """Have the ranks start on all nodes of the job but the spare ones: in Slurm's order, last of all on those
    where two attempts crashed, and on those out of service."""
    if slurm.min_nodes and isinstance(ranks, Srun):  # of how many nodes and tasks it is now, sbatch did not know
        ranks.place(_names(), ranks_per_node(slurm))
        ranks.cores = slurm.cpus_per_task
        return
    spare = slurm.spare_nodes
    wanted = needed(spare)
    if isinstance(ranks, LocalRanks) or not wanted:
        return
    names = _names()
    gone, bad = lost(of_job(attempts.here())[0]), attempts.blamed(attempts.rows_of(run))
    taken = sorted(names, key=lambda name: (name in gone, name in bad))[:wanted]  # sorted() keeps Slurm's order
    if len(taken) == wanted:
        ranks.place([name for name in names if name in taken], tasks_given() // nodes_given())


def _names() -> list[str]:
    """The nodes of this job, in Slurm's order."""
    return queries.ask("scontrol", "show", "hostnames", attempts.here())[0].split()


def needed(spare: int) -> int:
    """On how many nodes the ranks start where the job has so many `spare` ones; 0 where it can have none: it has no
    more nodes than these, or not as many tasks on each."""
    given = nodes_given()
    return given - spare if 0 < spare < given and tasks_given() % given == 0 else 0


def of_job(nodes: str) -> tuple[list[Fields], str]:
    """What the controller says of the nodes of a job, or why it says nothing."""
    shown, problem = queries.ask_controller("scontrol", "--oneliner", "show", "node", nodes)
    return [node for line in shown.splitlines() if (node := queries.parse(line))], problem


def lost(nodes: list[Fields]) -> list[str]:
    """Those out of service."""
    return [node["NodeName"] for node in nodes if queries.out_of_service(node.get("State", ""))]


def enough(nodes: list[Fields], without: set[str], spare: int) -> bool:
    """Whether a job with so many `spare` nodes has enough besides some."""
    return 0 < needed(spare) <= len({node["NodeName"] for node in nodes} - without)
