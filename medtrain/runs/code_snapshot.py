"""A run's own copy of medtrain: made with the run, used by every attempt, compared with the installed one.

`RUN/code/medtrain` is the package, `RUN/code/manifest.json` says what it is. From then on the source can be edited,
broken or deleted: the batch script, the ranks and their helpers run the copy. What pip installed is not copied; its
versions are written down.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import struct
import sys
import time
from importlib import metadata
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Any

from medtrain import __version__
from medtrain.config import cluster_files, configfile, fingerprint
from medtrain.core import processes
from medtrain.core.errors import InputError, MachineError, MedtrainError
from medtrain.core.files import UNFINISHED, sync_folder
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.core.processes import ROOT
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.ownership import alive
from medtrain.runs.run import Run, command_for, resume_command

MANIFEST = "manifest.json"
UPDATE_CODE = "--update-code"  # of `resume`: take the installed medtrain in place of the run's own copy
# Those that compute or write what a run leaves behind.
PACKAGES = (
    "torch", "torchvision", "timm", "accelerate", "numpy", "opencv-python-headless", "simplejpeg", "kornia_rs",
    "safetensors", "xxhash", "PyYAML", "submitit", "wandb", "mlflow-skinny", "tensorboard",
)  # fmt: skip


def create_snapshot(run: Run) -> None:
    """Copy the medtrain that runs here into a run, in place of an earlier copy."""
    files = sources(processes.ROOT)
    ensure_compilable(files)
    manifest = describe(files)
    now = {key: manifest[key] for key in ("digest", "version")}
    earlier = snapshot_manifest(run).get("history", [])
    manifest["history"] = [*earlier, {**now, "step": run.last_step(), "time": time.time()}]
    try:
        write_copy(run, files, manifest)
    except OSError as error:
        raise MachineError(
            f"{run.code}: the copy of medtrain cannot be written ({error.strerror})", "make room on the disk"
        ) from None


def write_copy(run: Run, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """Write the copy in a hidden folder and give it its name when it is whole and on the disk."""
    for orphan in run.folder.glob(f".code*{UNFINISHED}"):
        shutil.rmtree(orphan)
    new = run.folder / f".code.{os.getpid()}{UNFINISHED}"
    for name, content in files.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        with (new / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    # The cluster files are the site's, not the run's: `resume --cluster NAME` sees them as they are then. Their values
    # are in the run's config.yaml, so that it needs none of them.
    (new / "slurm").symlink_to(cluster_files.PACKAGED.parent)
    write_json(new / MANIFEST, manifest)
    for path in (new, *new.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            sync_folder(path)
    if run.code.exists():  # a full folder cannot be replaced in one go
        run.code.rename(run.folder / f".code.old{UNFINISHED}")
    new.rename(run.code)
    sync_folder(run.folder)
    shutil.rmtree(run.folder / f".code.old{UNFINISHED}", ignore_errors=True)


def sources(root: Path) -> dict[str, bytes]:
    """The files of the medtrain in `root` by their path from there, without what Python and editors leave."""
    package = root / "medtrain"
    files = {}
    for path in sorted(package.rglob("*")):
        parts = path.relative_to(root).parts
        left_over = path.suffix == ".pyc" or any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not left_over:
            files["/".join(parts)] = path.read_bytes()
    return files


def ensure_compilable(files: dict[str, bytes]) -> None:
    """A source that Python cannot read would fail only when the job starts."""
    for name, content in files.items():
        if name.endswith(".py") and not is_compiled(processes.ROOT / name):
            try:
                compile(content, name, "exec", dont_inherit=True)
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None)
                raise InputError(
                    f"{processes.ROOT / name}: not valid Python ({error.args[0]}, line {line})",
                    "fix it: a run takes a copy of it",
                ) from None


def is_compiled(source: Path) -> bool:
    """Whether Python has compiled this file as it is now, by the header that its own imports go by (PEP 552)."""
    try:
        with Path(cache_from_source(source)).open("rb") as file:
            magic, flags, changed, size = struct.unpack("<4s3I", file.read(16))
    except (OSError, struct.error):
        return False
    now = source.stat()
    expected = (MAGIC_NUMBER, 0, int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF)
    return (magic, flags, changed, size) == expected


def describe(files: dict[str, bytes]) -> dict[str, Any]:
    """What the manifest says of a copy: versions, and a SHA-256 of each file and of them all."""
    hashes, digest = _hashes(files)
    return {
        "version": __version__,
        "digest": digest,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name))},
        "files": hashes,
    }


def _hashes(files: dict[str, bytes]) -> tuple[dict[str, str], str]:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashes, hashlib.sha256(lines.encode()).hexdigest()


def version_of(package: str) -> str:
    """Of an installed package; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def snapshot_manifest(run: Run) -> dict[str, Any]:
    """The manifest of a run's copy; `{}` where it has none yet, or one that a power loss left empty."""
    try:
        return read_json(run.code / MANIFEST)
    except ValueError:
        return {}


def has_old_names(run: Run) -> bool:
    """Whether a run's own copy is from before settings were renamed (medtrain.config.renamed)."""
    return run.code.exists() and not (run.code / "medtrain" / "config" / "renamed.py").exists()


def runs_here(run: Run) -> bool:
    """Whether what runs here is the run's own copy."""
    return run.code.exists() and run.code.samefile(processes.ROOT)


def tampered(run: Run) -> str:
    """What is not as it was when a run's copy of medtrain was made; empty where all is."""
    written, (there, digest) = snapshot_manifest(run), _hashes(sources(run.code))
    told = written.get("files", {})
    bad = sorted(name for name in told | there if told.get(name) != there.get(name))
    if not bad and written.get("digest") == digest:
        return ""
    return f"the run's copy of medtrain was changed ({', '.join(bad[:5] if told else ()) or MANIFEST})"


def ensure_intact(run: Run) -> None:
    """A copy that somebody edited, or that is not whole, is not what the run was started with."""
    if told := tampered(run):
        raise InputError(
            f"{run.code}: {told}", f"put it back, or take the installed medtrain: {resume_command(run)} {UPDATE_CODE}"
        )


def exec_snapshot(run: Run, arguments: list[str]) -> None:
    """Give this process to the run's own copy, which begins the command line anew. Returns where that runs already, or
    where the run is from before there were copies."""
    if not run.code.exists() or runs_here(run):
        return
    ensure_intact(run)
    if snapshot_manifest(run)["digest"] != describe(sources(processes.ROOT))["digest"]:
        text = f"run {run.name} resumes with its own copy of medtrain, the installed one differs:"
        print(f"{text} {command_for(run, 'diff')} shows how; resume {UPDATE_CODE} takes it", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, processes.command("medtrain.cli.main", *arguments, root=run.code))


def replace_snapshot(run: Run) -> None:
    """Replace a run's copy by the installed medtrain, if that can resume it."""
    place = alive(run, sure=True)
    if place is not None:
        raise InputError(
            f"run {run.name} is under way with its own copy of medtrain ({place.kind} {place.id})",
            f"end it first: {command_for(run, 'stop')}",
        )
    if reason := incompatibility(run):
        raise InputError(f"the installed medtrain cannot resume run {run.name}: {reason}", resume_command(run))
    before = snapshot_manifest(run)
    create_snapshot(run)
    text = (
        "had this medtrain already"
        if before.get("digest") == snapshot_manifest(run)["digest"]
        else "resumes with this medtrain"
    )
    print(f"run {run.name} {text} ({__version__}, {snapshot_manifest(run)['digest'][:12]})", file=sys.stderr)


def incompatibility(run: Run) -> str:
    """Why the medtrain that runs here cannot resume a run, as far as its settings tell; empty if it can."""
    try:
        config = configfile.load(run.config_file)
    except MedtrainError as error:
        return error.problem
    saved = newest_manifest(run.checkpoints).get("fingerprints", {}).get("config")
    if saved and saved != fingerprint.fingerprint(config):
        return "it has other settings that decide the weights than the newest checkpoint was made with"
    return ""


def root_of(run: Run) -> Path:
    """The folder of the medtrain that a run resumes with: its own copy, once it has one."""
    return run.code if run.code.exists() else ROOT
