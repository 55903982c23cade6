"""The values and comments of a new cluster file, by what Slurm 22.05 to 26.05 answer of partitions, nodes and users."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken_machine import program
from slurm_answers import VERSIONS, Answers

from medtrain.config.schema import SlurmConfig
from medtrain.core.errors import MachineError
from medtrain.doctor.checks import slurm
from medtrain.doctor.checks.cluster import gpus_of
from medtrain.doctor.profiles import access, accounts, environment_modules, new_profile, profile, profile_text
from medtrain.doctor.profiles.accounts import Accounts, Association, Limits
from medtrain.doctor.profiles.environment_modules import Modules
from medtrain.doctor.profiles.survey import Node, Partition, Survey, survey

NODE = Node("IDLE", (("a100", 4),), cpus=48, threads=1, memory_mb=512_000, disk_mb=0)
LAB = Association("lab", "", ("normal", "long"), "normal", Limits())


@pytest.mark.parametrize("version", VERSIONS)
def test_what_each_version_answers_becomes_values(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two nodes one is drained; cores and memory that the system keeps for itself are no job's."""
    Answers(tmp_path / "slurm", version, monkeypatch)
    seen = survey()
    (low,) = seen.partitions
    assert (seen.name, low.name, low.in_service, len(low.nodes), low.limit) == ("hippo", "low", 1, 2, None)
    made = profile.profile(low, access.entry(low, seen), seen)
    assert made.config == SlurmConfig(
        partition="low", gpus_per_node=4, cpus_per_task=30, mem_gb=500, time="24:00:00", signal_seconds=120
    )
    text = profile_text.text("hippo", made, seen, [("preemption", slurm.preemption() or slurm.ok(""))])
    assert "# 1 of 2 nodes in service" in text
    assert "gpus_per_node: 4     # all of a node, of type a100" in text
    plugin = "namespace/tmpfs" if version >= "25.11" else "job_container/tmpfs"
    assert "Local scratch of a node: /local, 800 GB; each job has a /tmp of its own" in text
    assert f"({plugin})." in text
    assert "#   low*       1/2    -      -      -        a100:4       30     125  requeue 5s  <- this file" in text
    assert "Stopped and preempted runs resume here by themselves" in text


def seen(*partitions: Partition, known: Accounts | None = None, **settings: str) -> Survey:
    """A survey of a cluster without accounting, or with these accounts."""
    return Survey(settings, partitions, known or Accounts("no accounting"), Modules(), "ann")


def partition(*nodes: Node, **fields: str) -> Partition:
    """A partition of these nodes, of one usual one where none is given."""
    return Partition({"PartitionName": "gpu", "State": "UP", "MaxTime": "UNLIMITED", **fields}, nodes or (NODE,))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ""),
        ({"State": "DOWN"}, "DOWN"),
        ({"AllowGroups": "ALL", "AllowAccounts": "lab,zoo", "AllowQos": "normal"}, ""),
        ({"AllowGroups": "no-such-group,other"}, "only groups no-such-group, other"),
        ({"AllowAccounts": "a,b,c,d"}, "only accounts a, b and 2 more"),
        ({"DenyAccounts": "lab"}, "not for account lab"),
        ({"DenyAccounts": "lab", "AllowAccounts": "lab"}, ""),  # of both the first does not count
        ({"AllowQos": "urgent"}, "only QOS urgent"),
        ({"DenyQos": "normal,long"}, "not for your QOS"),
        ({"RootOnly": "YES"}, "for root only"),
        ({"ReqResv": "YES"}, "needs a reservation"),
        ({"MaxTime": "00:01:00"}, "limit too short to train"),
        ({"MaxTime": "00:02:00"}, ""),
    ],
)
def test_who_may_use_a_partition(fields: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    entry = access.entry(partition(**fields), seen(known=Accounts(default="lab", rows=(LAB,))))
    assert (entry.account, entry.why_not) == ("lab", said)


def test_who_may_use_a_partition_of_a_cluster_without_accounting() -> None:
    """Up to 24.05 a job without an account is not let in where accounts are named; QOS are not looked at."""
    known = {version: accounts.of("ann", {"SLURM_VERSION": version}) for version in ("24.05.8", "24.11.0", "26.05.3")}
    named = partition(AllowAccounts="lab", AllowQos="urgent")
    said = {version: access.entry(named, seen(known=found)).why_not for version, found in known.items()}
    assert said == {"24.05.8": "only account lab", "24.11.0": "", "26.05.3": ""}
    accounted = seen(known=Accounts("sacctmgr is not here"), AccountingStorageType="accounting_storage/slurmdbd")
    assert access.entry(partition(AllowQos="urgent"), accounted).why_not == "only QOS urgent"


def test_root_is_in_every_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert access.entry(partition(AllowGroups="no-such-group"), seen()).why_not == ""
    assert access.entry(partition(replace(NODE, state="IDLE+DRAIN")), seen()).why_not == "no node in service"


def test_the_account_and_the_qos_that_a_job_must_name() -> None:
    zoo = Association("zoo", "gpu", ("normal",), "normal", Limits(minutes=60))
    known = Accounts(default="lab", rows=(zoo, LAB), qos={"long": Limits(minutes=9000), "normal": Limits(gpus=2)})
    here = seen(known=known)
    entry = access.entry(partition(), here)
    assert (entry.account, entry.qos, entry.limits) == ("lab", "", Limits(gpus=2)), "the default QOS needs no name"
    entry = access.entry(partition(AllowAccounts="zoo", MaxTime="2:00:00"), here)
    assert (entry.account, entry.limits) == ("zoo", Limits(minutes=60, gpus=2))
    entry = access.entry(partition(AllowQos="long"), here)
    assert (entry.qos, entry.limits) == ("long", Limits(minutes=9000))
    entry = access.entry(partition(QoS="long"), here)
    assert entry.limits == Limits(minutes=9000, gpus=2), "a partition's own QOS limits its jobs too"
    assert access.entry(partition(), seen(known=Accounts(enforced=True))).why_not == "ann has no account"


@pytest.mark.parametrize(
    ("made", "bounds", "values"),
    [
        (partition(), {}, (4, 12, 500)),
        (partition(replace(NODE, cpus=50, threads=2)), {}, (4, 12, 500)),
        (partition(replace(NODE, cpus=52, threads=2)), {}, (4, 12, 500)),  # 13 would be half a core
        (partition(replace(NODE, cpus=2)), {}, (4, 1, 500)),
        (partition(replace(NODE, memory_mb=1)), {}, (4, 12, 0)),  # as where nobody configured it
        (partition(MaxMemPerNode="102400", MaxCPUsPerNode="16"), {}, (4, 4, 100)),
        (partition(MaxMemPerCPU="1024"), {}, (4, 12, 48)),
        (partition(), {"gpus": 2}, (2, 12, 250)),
        (partition(), {"cpus": 8, "memory_mb": 10240}, (4, 2, 10)),
        (partition(replace(NODE, gpus=())), {}, (0, 48, 500)),
        (partition(NODE, NODE, replace(NODE, gpus=(("v100", 8),), cpus=16)), {}, (4, 12, 500)),  # on more nodes
        (partition(NODE, replace(NODE, state="DOWN", gpus=(("h100", 8),))), {}, (4, 12, 500)),
    ],
)  # fmt: skip
def test_what_a_job_gets_of_a_node(made: Partition, bounds: dict[str, Any], values: tuple[int, int, int]) -> None:
    given = profile.share(made, access.Entry(limits=Limits(**bounds)), seen())
    assert (given.gpus, given.cores_each, given.memory_gb) == values


def test_types_of_gpus() -> None:
    assert gpus_of("gpu:a100:4(S:0-1),nvme:1") == (("a100", 4),)
    assert gpus_of("gpu:4") == (("", 4),)
    assert gpus_of("gpu:a:1,gpu:b:2,gpu:a:1") == (("a", 2), ("b", 2))
    assert gpus_of("(null)") == ()
    slices = replace(NODE, gpus=(("a100", 1), ("a100_1g.5gb", 28)))
    assert profile.share(partition(slices), access.Entry(), seen()).kind == ("a100", 1), "no ranks on slices of a GPU"
    mixed = partition(NODE, NODE, replace(NODE, gpus=(("v100", 2),)), replace(NODE, gpus=()))
    made = profile.profile(mixed, access.entry(mixed, seen()), seen(mixed))
    assert (made.config.gpu_type, made.config.gpus_per_node) == ("a100", 4)
    assert made.remarks["gpus_per_node"] == "all of a node on 2 nodes, or v100"
    assert "a100:4, v100:2, none" in profile_text.text("x", made, seen(mixed), [])


@pytest.mark.parametrize(
    ("limit", "time", "seconds"),
    [("UNLIMITED", "24:00:00", 120), ("7-00:00:00", "24:00:00", 120), ("1-00:00:00", "24:00:00", 120),
     ("01:30:00", "01:30:00", 120), ("00:04:00", "00:04:00", 90), ("00:02:00", "00:02:00", 30)],
)  # fmt: skip
def test_time_and_warning(limit: str, time: str, seconds: int) -> None:
    made = partition(MaxTime=limit, MinNodes="2")
    found = profile.profile(made, access.entry(made, seen()), seen()).config
    assert (found.time, found.signal_seconds, found.nodes) == (time, seconds, 2)


def test_times_are_written_as_slurm_reads_them() -> None:
    for minutes in (0.5, 1, 90, 1440, 1441, 10_080, 20_161.5):
        assert slurm.minutes(slurm.clock(minutes)) == minutes
    assert [slurm.clock(minutes) for minutes in (1440, 2880)] == ["24:00:00", "2-00:00:00"]


SACCTMGR = """case "$*" in
*" associations "*) printf '%s\\n' 'lab||normal,spot|spot|||gres/gpu=2|' 'zoo|gpu|||1-0|cpu=8,mem=100G||gres/gpu=4' ;;
*" qos "*) printf '%s\\n' 'normal|||||' 'spot|10:00:00|cpu=64||gres/gpu=8,gres/gpu:a100=1|' ;;
*" user "*) echo zoo ;;
esac"""


def test_what_accounting_tells(no_slurm: Path) -> None:
    settings = {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageEnforce": "associations,limits",
    }
    assert accounts.of("ann", {}).unknown.startswith("there is no accounting")
    assert accounts.of("ann", settings).unknown.startswith("sacctmgr is not here")
    program(no_slurm, "sacctmgr", "echo 'no route to slurmdbd' >&2; exit 1")
    assert "sacctmgr does not answer (no route to slurmdbd)" in accounts.of("ann", settings).unknown
    program(no_slurm, "sacctmgr", SACCTMGR)
    known = accounts.of("ann", settings)
    assert (known.unknown, known.default, known.enforced) == ("", "zoo", True)
    lab, zoo = known.rows
    assert lab == Association("lab", "", ("normal", "spot"), "spot", Limits(gpus=2))
    assert zoo == Association("zoo", "gpu", (), "normal", Limits(1440, 4, 8, 102_400))
    assert known.qos == {"normal": Limits(), "spot": Limits(minutes=600, gpus=8, cpus=64)}


TREE = r"""case "$*" in
*ParentName*) printf '%s\n' 'root||' 'root||root' 'physics|root|' 'lab|physics|' 'lab||ann' 'zoo|root|' ;;
*" associations "*) echo 'lab||normal|||||' ;;
*" user "*) echo lab ;;
esac"""


@pytest.mark.parametrize("version", ["24.05.8", "24.11.0"])
def test_accounts_below_one_that_is_allowed(version: str, no_slurm: Path) -> None:
    program(no_slurm, "sacctmgr", TREE)
    settings = {"SLURM_VERSION": version, "AccountingStorageType": "accounting_storage/slurmdbd",
                "AccountingStorageEnforce": "associations"}  # fmt: skip
    here = seen(known=accounts.of("ann", settings), **settings)
    below = version == "24.11.0"
    for fields, said in (
        ({"AllowAccounts": "physics"}, "" if below else "only account physics"),
        ({"DenyAccounts": "physics"}, "not for account lab" if below else ""),
        ({"AllowAccounts": "zoo"}, "only account zoo"),
        ({"DenyAccounts": "zoo"}, ""),
    ):
        entry = access.entry(partition(**fields), here)
        assert (entry.account, entry.why_not) == ("lab", said)


# As Environment Modules 5.2 and Lmod 8.6 list modules on standard error.
TCL = "/opt/modules:\ncuda/12.1\ncuda/12.4(default)\ngcc/12\npython/3.11\n"
LMOD = "/opt/modules:\ncuda/\ncuda/12.1\ncuda/12.4\ngcc/\ngcc/12\npython/\npython/3.11\n"


@pytest.mark.parametrize(
    ("variable", "text", "words"), [("MODULES_CMD", TCL, "avail --terse"), ("LMOD_CMD", LMOD, "--terse avail")]
)
def test_modules(variable: str, text: str, words: str, no_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODULES_CMD", "LMOD_CMD", "LOADEDMODULES"):
        monkeypatch.delenv(name, raising=False)
    assert environment_modules.look() == Modules()
    program(no_slurm, "modules", f'[ "$*" = "bash {words}" ] && printf "%s" "{text}" >&2; echo "export A=1;"')
    monkeypatch.setenv(variable, str(no_slurm / "modules"))
    monkeypatch.setenv("LOADEDMODULES", "gcc/12:python/3.11")
    found = environment_modules.look()
    assert found == Modules(("cuda/12.1", "cuda/12.4", "python/3.11"), ("gcc/12", "python/3.11"))
    made = profile.profile(partition(), access.Entry(), seen())
    shown = profile_text.text("x", made, replace(seen(partition()), modules=found), [])
    assert "# setup: " in shown and "#   - module load gcc/12\n" in shown
    assert "# Modules here: cuda/12.1, cuda/12.4, python/3.11\n" in shown


def test_without_slurm_or_with_a_silent_controller(no_slurm: Path) -> None:
    with pytest.raises(MachineError, match="there is no Slurm here") as caught:
        new_profile.write("mine", "")
    assert "example.yaml" in caught.value.fix
    program(no_slurm, "sbatch", "exit 0")
    program(no_slurm, "scontrol", "echo 'Slurmctld(primary) at n0 is DOWN'")
    with pytest.raises(MachineError, match="Slurm does not answer") as caught:
        new_profile.write("mine", "")
    assert "scontrol ping" in caught.value.fix
