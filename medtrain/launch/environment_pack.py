"""One squashfs file of a Python environment with its interpreter, as `medtrain env pack` makes it.

In the file there is one prefix: bin/python3, lib/pythonX.Y with the standard library, and in its site-packages what the
environment and the folders of its .pth files have. Python finds all of it from where its own file lies, so that the
image works wherever it is mounted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import UNFINISHED
from medtrain.launch.environment_compile import compiled

# What an interpreter says of itself. Editable packages add folders to its path by .pth files.
ASK = (
    "import json, sys, sysconfig; print(json.dumps({"
    "'executable': sys.executable, 'base': sys.base_prefix, 'version': sysconfig.get_python_version(),"
    "'tag': sys.implementation.cache_tag,"
    "'stdlib': sysconfig.get_path('stdlib'), 'path': sys.path}))"
)
NEEDLESS = {"__pycache__", "test", "tests", "idlelib", "ensurepip", "lib2to3", "turtledemo"}  # of the standard library
PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Packed:
    """An image that was made."""

    file: Path
    files: int
    """Files in it."""
    size: int
    """Its bytes."""


def pack(out: Path, python: str) -> Packed:
    """Write the environment of an interpreter into one squashfs file; raises InputError and MachineError."""
    if shutil.which("mksquashfs") is None:
        raise MachineError("mksquashfs is not found", "install squashfs-tools (4.5 or newer), or load its module")
    about = _about(python)
    unfinished = out.with_name(f".{out.name}{UNFINISHED}")
    unfinished.unlink(missing_ok=True)
    command = ["mksquashfs", "-", str(unfinished), "-tar", "-quiet", "-no-progress", "-all-root"]
    # A start reads half a gigabyte of libraries. To unpack that by zstd takes 1.6 CPU seconds, by lz4 0.4, and the file
    # is a fifth larger.
    command += ["-comp", "lz4", "-b", "128K"]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None and process.stderr is not None
        try:
            with process.stdin as pipe, tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                link = tarfile.TarInfo("bin/python3")
                link.type, link.linkname = tarfile.SYMTYPE, f"python{about['version']}"
                tar.addfile(link)
                count = sum(_add(tar, source, name) for source, name in _all(about, python))
        except BrokenPipeError:
            count = 0
        said = process.stderr.read().decode(errors="replace").strip()
        if process.wait() or not count:
            raise MachineError(f"mksquashfs failed: {said[-400:]}", "is there room for it, and is it 4.5 or newer?")
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return Packed(out, count, out.stat().st_size)


def _all(about: dict[str, object], python: str) -> Iterator[tuple[Path, str]]:
    """The files, and what of them is not compiled yet."""
    files = {name: source for source, name in contents(about)}
    with tempfile.TemporaryDirectory() as folder:
        new = {name: made for made, name in compiled(python, str(about["tag"]), files, Path(folder))}
        yield from ((path, name) for name, path in (files | new).items())


def contents(about: dict[str, object]) -> Iterator[tuple[Path, str]]:
    """Every file of an environment, and its name in the image, each name once."""
    base, library = Path(str(about["base"])), f"lib/python{about['version']}"
    yield Path(str(about["executable"])).resolve(), f"bin/python{about['version']}"
    for file in sorted((base / "lib").glob("libpython*.so*")):
        yield file, f"lib/{file.name}"
    stdlib = Path(str(about["stdlib"]))
    for path in _files(stdlib, {*NEEDLESS, *PACKAGES} - {"__pycache__"}):
        yield path, f"{library}/{path.relative_to(stdlib)}"
    seen = set()
    told = [Path(str(folder)) for folder in about["path"] if folder]  # type: ignore[attr-defined]
    for folder in (folder for folder in told if folder.is_dir() and stdlib not in (folder, folder.parent)):
        # A checkout holds more than its package, which a run has a copy of.
        parts = [folder] if folder.name in PACKAGES else [path.parent for path in folder.glob("*/__init__.py")]
        for path in (path for part in parts for path in _files(part, set())):
            name = f"{library}/site-packages/{path.relative_to(folder)}"
            if name not in seen and path.suffix != ".pth":
                seen.add(name)
                yield path, name


def _files(folder: Path, without: set[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name not in without and not path.name.startswith("config-"):  # to build programs with Python inside
                yield from _files(path, without)
        else:
            yield path


def _add(tar: tarfile.TarFile, path: Path, name: str) -> int:
    """A file, or where a link points to inside the same folder the link. Of times whole seconds, as .pyc files have."""
    inside = path.is_symlink() and path.readlink().name == str(path.readlink())
    if path.is_symlink() and not inside and not path.exists():
        return 0
    info = tar.gettarinfo(path if inside else path.resolve(), name)
    info.mtime = int(info.mtime)
    if info.islnk():  # two names of one file: the other may not be in the image
        info.type, info.size = tarfile.REGTYPE, path.stat().st_size
    if info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)
    return 1


def _about(python: str) -> dict[str, object]:
    try:
        told = subprocess.run([python, "-I", "-c", ASK], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "strerror", "") or f"exit status {getattr(error, 'returncode', '?')}"
        raise InputError(f"{python} is no Python that starts ({why})", "give --python FILE") from None
    return dict(json.loads(told))
