"""What the probe sees on one node without help from another: software, GPUs, memory, folder, weights."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import socket
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medtrain import __version__
from medtrain.config.schema import PUBLISHED
from medtrain.doctor.checks import ask, run_folder, software
from medtrain.doctor.probe import CLOCK, read_clock

GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SLURM_GPU_BIND")
PACKAGE = Path(__file__).parents[2]


def rank_facts() -> dict[str, Any]:
    """What may differ from rank to rank: its GPUs and its share of the node."""
    environment = {name: os.environ[name] for name in GPU_VARIABLES if name in os.environ}
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return {
        "gpus": environment,
        "devices": _devices(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": _memory_mb(),
        "address_space_mb": None if limit == resource.RLIM_INFINITY else limit // 2**20,
    }


def node_facts(place: Path, weights: list[dict[str, str]]) -> dict[str, Any]:
    """What is the same for all ranks of a node; `place` is the probe's folder."""
    host = socket.gethostname()
    return {
        "host": host,
        "own_addresses": addresses(host),
        "network": _network(),
        "software": software_facts(),
        "folder": _folder_facts(place),
        "weights": {_title(wanted): fault for wanted in weights if (fault := weights_fault(**wanted))},
    }


def software_facts() -> dict[str, str]:
    """Versions, and a digest of medtrain's own source."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".yaml"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    optional = (name for name, *_ in software.OPTIONAL.values())
    versions = {software.split(requirement)[0]: "missing" for requirement in (*software.requirements(), *optional)}
    for name in versions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    own = {"medtrain": __version__, "source of medtrain": digest.hexdigest()[:12]}
    return {"Python": platform.python_version(), **own, **versions}


def addresses(name: str) -> list[str]:
    """What a host name resolves to here; empty where it does not."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)})
    except OSError:
        return []


def weights_fault(weights: str, backbone: str) -> str:
    """Why pretrained weights cannot be loaded here without a network; empty if they can."""
    if weights not in PUBLISHED:
        return "" if os.access(weights, os.R_OK) else f"{weights} cannot be read"
    if backbone.startswith("convnext"):
        return _timm_fault(backbone)
    name = _published(backbone)
    if not name:
        return f"torchvision here knows no published weights of {backbone}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    file = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser() / "hub" / "checkpoints" / name
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return f"{file}: {error.strerror}"
    # torch names a file after the first digits of its hash.
    return "" if digest.startswith(name.split("-")[-1].split(".")[0]) else f"{file} is damaged"


def _timm_fault(backbone: str) -> str:
    """timm keeps published weights where Hugging Face's library does."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    kept = f"models--timm--{backbone}{'' if '.' in backbone else '.*'}/snapshots/*/*"
    if any(path.suffix == ".safetensors" and path.exists() for path in cache.glob(kept)):
        return ""
    return f"{cache}: none of {backbone}"


def _published(backbone: str) -> str:
    """The file of published weights as torchvision's source names it: importing it takes seconds."""
    found = find_spec("torchvision")
    for folder_name in (found.submodule_search_locations or []) if found else []:
        for path in Path(folder_name, "models").rglob("*.py"):
            if names := re.findall(rf"/({re.escape(backbone)}-[0-9a-f]{{8}}\.pth)", path.read_text()):
                return str(names[0])
    return ""


def _title(wanted: dict[str, str]) -> str:
    return f"{wanted['weights']} ({wanted['backbone']})"


def _network() -> str:
    """The same for nodes that share one network stack, as containers and test clusters on one machine do."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/net").readlink())
    except OSError:
        return socket.gethostname()


def _devices() -> list[str] | None:
    """UUIDs of the GPUs, or of the MIG slices where a GPU is cut, that the driver shows here; None without a driver."""
    try:
        answer = ask("nvidia-smi", "-L")
    except OSError:
        return None
    found = re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", answer.out) if answer.code == 0 else []
    return [uuid for uuid in found if uuid.startswith("MIG")] or found


def _memory_mb() -> int | None:
    """A rank's share of the memory that Slurm gives the job on this node; None where it sets no limit."""
    slurm = {name: int(text) for name, text in os.environ.items() if name.startswith("SLURM_") and text.isdigit()}
    ranks = slurm.get("SLURM_NTASKS_PER_NODE") or 1
    if each := slurm.get("SLURM_MEM_PER_CPU"):
        return each * slurm.get("SLURM_CPUS_ON_NODE", 1) // ranks
    node = slurm.get("SLURM_MEM_PER_NODE")
    return node // ranks if node else None


def _folder_facts(place: Path) -> dict[str, Any]:
    """How the folder of the runs looks from here; `missing` where there is none with the probe in it."""
    runs = place.parent
    if not (place / CLOCK).exists():
        return {"missing": "another folder of that name" if runs.exists() else "no folder of that name"}
    written = run_folder.writing(runs)
    facts: dict[str, Any] = {"kind": run_folder.kind(runs), "writing": vars(written)}
    if written.state == "ok":
        facts |= {"clock": run_folder.written(runs), "room": vars(run_folder.room(runs))}
    return {**facts, "doctors_clock": read_clock(place)}
