"""Every command in one table: who does it, what it is for, and how its command line is read."""

from __future__ import annotations


class Command:
    """A command. Its function is imported only when it is called, so that `medtrain --help` is instant."""

    def __init__(
        self,
        place: str,
        what: str,
        *,
        prints: bool = False,
        logged: bool = False,
        usage: str = "",
        switches: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
    ) -> None:
        self.place = place
        """`module:function` in medtrain.cli.commands."""
        self.what = what
        """What it does, in a line of the help."""
        self.prints = prints
        """It merely prints: when its reader leaves it ends. All others do their work whoever reads."""
        self.logged = logged
        """What it prints is in train.log too."""
        self.usage = usage
        """Of a command that takes every setting of a recipe as a flag: what stands behind its name."""
        self.switches = switches
        """Of such a command, the flags without a value that are no settings."""
        self.values = values
        """And those with one."""


COMMANDS = {
    "check": Command("check:check", "check a raw dataset: layout, labels, damage, copies"),
    "shard": Command("shards:shard", "pack a dataset into tar shards"),
    "verify": Command("shards:verify", "prove that packed shards are whole, or a run's checkpoints"),
    "train": Command(
        "runs:train",
        "train a recipe here, supervised",
        logged=True,
        usage="RECIPE [-c FILE.yaml] [--json] [SETTINGS]",
        switches=("json",),
    ),
    "submit": Command(
        "runs:submit",
        "train a recipe as a Slurm job",
        usage="RECIPE [-c FILE.yaml] [--dry-run] [--when] [--json] [SETTINGS]",
        switches=("dry-run", "when", "json"),
    ),
    "status": Command("runs:status", "what the runs are doing", prints=True),
    "logs": Command("runs:logs", "a run's log; -f follows it", prints=True),
    "stop": Command("runs:stop", "save and end a run"),
    "pipeline": Command(
        "groups:pipeline",
        "check, pack, train, evaluate, report as Slurm jobs",
        usage="RECIPE --root DIR [--encoding jpeg] [--size N] [--tasks 8] [--keep_names] [--dry-run] [SETTINGS]",
        switches=("dry-run", "json", "keep-names"),
        values=("root", "encoding", "size", "tasks", "pack_partition", "max_rejects"),
    ),
    "retry": Command("groups:retry", "resume what failed or was stopped in a group of runs", logged=True),
    "report": Command("report:report", "write the report of a run, a group or a dataset as HTML"),
    "resume": Command(
        "runs:resume",
        "resume a run from its newest checkpoint",
        logged=True,
        usage="RUN [--runs DIR] [-c FILE.yaml] [--here] [--update-code] [--json] [SETTINGS]",
        switches=("here", "json"),
    ),
    "rename": Command("runs:rename", "give a run another name"),
    "rm": Command("runs:rm", "remove a run or a group of runs; asks before a loss"),
    "diff": Command("diff:diff", "how the installed medtrain differs from a run's copy", prints=True),
    "sync": Command("sync:sync", "send a run's curve to its tracker"),
    "evaluate": Command("results:evaluate", "score a split with a run's best weights"),
    "compare": Command("compare:compare", "whether runs differ by more than chance: paired tests", prints=True),
    "predict": Command("results:predict", "what a run's best weights predict for image files", prints=True),
    "explain": Command("explain:explain", "where in an image a run sees what it predicts (heat maps)"),
    "export": Command("export:export", "a run's best weights for programs without medtrain"),
    "recipes": Command("recipes:recipes", "the recipes that can be trained", prints=True),
    "recipe new": Command("recipes:recipe_new", "a recipe of your own: a YAML file to edit"),
    "recipe schema": Command("recipes:recipe_schema", "a JSON Schema of the settings, for editors", prints=True),
    "data list": Command("data:data_list", "the datasets that can be packed", prints=True),
    "data info": Command("data:data_info", "what a dataset is, its licence, how to get it", prints=True),
    "data check": Command("check:check", "the same as check"),
    "data download": Command("data:data_download", "download a dataset (demo: generate it)"),
    "data explore": Command("data:data_explore", "figures of a raw dataset: class counts, sizes, samples"),
    "data degrade": Command("degrade:data_degrade", "low-quality versions of clips, in pairs with the originals"),
    "data weights": Command("weights:data_weights", "fetch a backbone's published weights into the shared cache"),
    "data metadata": Command("metadata:data_metadata", "one table of all chest X-rays, or two of MURA"),
    "data label-reports": Command(
        "label_reports:data_label_reports", "read labels from the reports of a dataset, and score them"
    ),
    "cluster init": Command("cluster:cluster_init", "write the file of the cluster that you are on"),
    "cluster list": Command("cluster:cluster_list", "the cluster files that --cluster NAME can name", prints=True),
    "cluster show": Command("cluster:cluster_show", "the settings of a cluster file", prints=True),
    "env pack": Command("environment:env_pack", "one file of the Python environment, for nodes to mount"),
    "completion": Command("completion:completion", "what bash, zsh or fish needs to complete commands", prints=True),
    "doctor": Command("doctor:doctor", "check this machine, or by a short job a Slurm cluster"),
}
