"""What the probe of a cluster told of GPUs, memory and pretrained weights."""

from __future__ import annotations

from medtrain.config.sbatch_options import gpus_per_node
from medtrain.core.counts import counted
from medtrain.doctor.checks import Finding, fail, ok, warn
from medtrain.doctor.checks.probe_result import Told, each

SMALL_MB, TOO_SMALL_MB = 2048, 1024  # a rank with torch, a network and its loader's processes


def gpus(told: Told) -> Finding | None:
    """Whether each rank has a GPU of its own among those that Slurm granted, picked as training picks it."""
    wanted = gpus_per_node(told.asked)
    if not wanted:
        return None
    bad, shown = {}, []
    for node in told.nodes:
        heard = [line for line in told.said("hello") if line["node"] == node]
        lists = {line["local"]: _visible(line["gpus"]) for line in heard}
        devices = {line["local"]: line["devices"] for line in heard}
        bind = next(
            (
                f" (SLURM_GPU_BIND={line['gpus']['SLURM_GPU_BIND']})"
                for line in heard
                if "SLURM_GPU_BIND" in line["gpus"]
            ),
            "",
        )
        shown += [" and ".join(dict.fromkeys(",".join(found or []) for _, found in sorted(lists.items())))]
        if fault := _gpu_fault(lists, devices, wanted, bind):
            bad[node] = fault
    if bad:
        return fail(
            each(bad),
            "GPUs must be granted by Slurm: gres.conf with File= for each (administrators), and neither "
            "SLURM_GPU_BIND nor CUDA_VISIBLE_DEVICES set in the profile's setup",
        )
    return ok(f"each rank has its own; CUDA_VISIBLE_DEVICES is {shown[0]} on {next(iter(told.nodes))}")


def _visible(variables: dict[str, str]) -> list[str] | None:
    """The GPUs that a rank may see; None where nothing limits it."""
    text = variables.get("CUDA_VISIBLE_DEVICES", variables.get("ROCR_VISIBLE_DEVICES"))
    if text is None:
        return None
    return [gpu for gpu in text.split(",") if gpu not in ("", "-1", "NoDevFiles")]


def _gpu_fault(lists: dict[int, list[str] | None], devices: dict[int, list[str] | None], wanted: int, bind: str) -> str:
    """What is wrong with the GPUs of a node's ranks; by their UUIDs where the driver names them, as a cgroup may number
    the GPUs of each rank from 0."""
    if any(found is None for found in lists.values()):
        return f"CUDA_VISIBLE_DEVICES is not set{bind}: ranks would use GPUs that Slurm gave to others"
    if any(not found for found in lists.values()):
        return f"ranks see no GPU{bind}, although Slurm granted some"
    shown = {gpu for known in devices.values() for gpu in known or ()}
    if any(known is not None for known in devices.values()) and len(shown) < wanted:
        return f"nvidia-smi shows {len(shown)} GPUs"  # it shows all of the node, or those of the job
    named = {local: [_device(gpu, devices[local] or []) for gpu in found or ()] for local, found in lists.items()}
    used = [found[local % len(found)] for local, found in named.items()]
    if len(set(used)) < len(used):
        return f"{len(used)} ranks share {counted(len(set(used)), 'GPUs')}{bind}"
    granted = len({gpu for found in named.values() for gpu in found})
    return f"{granted} GPUs are seen, {wanted} were requested" if granted < wanted else ""


def _device(gpu: str, devices: list[str]) -> str:
    """A GPU of CUDA_VISIBLE_DEVICES, a number or a UUID, by its UUID where that is known."""
    return devices[int(gpu)] if gpu.isdigit() and int(gpu) < len(devices) else gpu


def memory(told: Told) -> Finding:
    """Whether a rank's share of the memory is enough for torch."""
    shares = {line["node"]: line["memory_mb"] for line in told.said("hello") if line["memory_mb"]}
    least = min(shares.values(), default=None)
    fix = "ask for more in the profile: mem_gb: N (a node), or more cpus_per_task: where memory comes with cores"
    if any(line["address_space_mb"] for line in told.said("hello")):
        return warn(
            "the address space is limited (ulimit -v), and CUDA reserves much", "ulimit -v unlimited, in setup:"
        )
    if least is None:
        return ok("Slurm sets no limit")
    text = f"{least / 1024:.1f} GB a rank"
    if least < SMALL_MB:
        return (fail if least < TOO_SMALL_MB else warn)(f"{text}: torch and the loader need 1 to 2 at least", fix)
    return ok(text)


def weights(told: Told) -> Finding:
    """Whether pretrained weights are at hand on every node, as nodes often have no network."""
    missing = {node: "; ".join(line["weights"].values()) for node, line in told.nodes.items() if line["weights"]}
    if missing:
        what = ", ".join(sorted({name for line in told.nodes.values() for name in line["weights"]}))
        say = fail if told.planned_run else warn  # of all recipes, most are nobody's plan
        return say(
            f"pretrained weights {what} are not there: {each(missing)}",
            "remove a damaged file; load them once where there is a network, into a home or TORCH_HOME that the nodes "
            "share (medtrain data weights BACKBONE), or give --weights FILE.safetensors",
        )
    who = "the settings name" if told.planned_run else "the recipes name"
    return ok(f"all pretrained weights that {who} are on every node (or none is named)")
