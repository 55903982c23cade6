"""Checks of Python, the packages it has, and what they can do."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from medtrain.doctor.checks import Finding, ask, fail, ok, warn

OLDEST_PYTHON = (3, 10)
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
PIP = f"{sys.executable} -m pip install"
# Packages that medtrain does without, by their modules -> name, the extra that has each, and what is lost without.
OPTIONAL = {
    "gdcm": ("python-gdcm", "dicom", "DICOM of JPEG lossless, JPEG-LS, JPEG 2000 or 12-bit JPEG cannot be read"),
    "kornia_rs": ("kornia_rs", "fast", "grey PNG is decoded more slowly, to the same pixels"),
}
IMPORT_SECONDS = 300.0  # the first import of torch from a shared folder reads gigabytes

# Says each name before the import, so that a crash of the whole process still has a culprit.
IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    print("?", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("!", name, type(error).__name__, *str(error).split(), flush=True)
print("done")
"""


def python() -> Finding:
    """The version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return fail(f"Python {version}, and {oldest} is needed", f"make the environment with Python {oldest} or newer")
    return ok(f"{version} ({sys.executable})")


def packages() -> Finding:
    """Which required packages are missing or too old."""
    wanted = requirements()
    bad = {requirement: fault for requirement in wanted if (fault := _fault(requirement))}
    if bad:
        asked = " ".join(f"'{requirement}'" for requirement in bad)
        return fail(", ".join(bad.values()), f"{PIP} {asked}")
    return ok(f"all {len(wanted)} required packages are there")


def optional() -> Finding:
    """Which packages are missing that medtrain does without, and what that costs."""
    missing = [told for module, told in OPTIONAL.items() if not _is_there(module)]
    if missing:
        extras = ",".join(extra for _, extra, _ in missing)
        return warn("; ".join(f"{name} is missing: {cost}" for name, _, cost in missing), f"{PIP} 'medtrain[{extras}]'")
    return ok(f"{' and '.join(name for name, _, _ in OPTIONAL.values())} are there")


def imports() -> Finding:
    """Whether the packages that are there can be imported: a broken binary shows only then."""
    names = import_names([requirement for requirement in requirements() if not _fault(requirement)])
    names += filter(_is_there, OPTIONAL)
    # Not from here: the folder that one stands in comes first in the search for modules.
    answer = ask(sys.executable, "-c", IMPORT, *names, seconds=IMPORT_SECONDS, cwd="/")
    lines = answer.out.splitlines()
    broken = [line[2:].replace(" ", ": ", 1) for line in lines if line.startswith("! ")]
    if lines[-1:] != ["done"]:
        culprit = next((line[2:] for line in reversed(lines) if line.startswith("? ")), "Python")
        broken.append(f"{culprit}: its import ended the process ({answer.reason})")
    if broken:
        again = " ".join(line.split(":")[0] for line in broken)
        return fail("; ".join(broken)[:500], f"install again what is broken: {PIP} --force-reinstall PACKAGE ({again})")
    return ok(f"all {len(names)} can be imported")


def jpeg() -> Finding:
    """An image that is coded and decoded is still the same image."""
    import numpy as np
    import simplejpeg

    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64, 1).astype(np.uint8)
    again = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(ramp, 95, "GRAY"), "GRAY")
    worst = int(np.abs(again.astype(int) - ramp).max())
    if worst > 8:
        return fail(
            f"simplejpeg decodes wrongly: a grey value is off by {worst}", f"{PIP} --force-reinstall simplejpeg"
        )
    return ok(f"simplejpeg {metadata.version('simplejpeg')} codes and decodes")


def tracker() -> Finding:
    """Whether W&B has a key, and how it is switched itself."""
    from medtrain.tracking.backends.wandb import DISABLED, OFFLINE, goes_online, switch

    if goes_online("auto"):
        return ok("W&B has a key: runs are shown online")
    if (how := switch()) in (OFFLINE, DISABLED):
        kept = "runs are kept offline" if how == OFFLINE else "it gets nothing"
        return ok(f"W&B is {how} by its own switch (WANDB_MODE, or wandb {how}): {kept}")
    return ok("W&B has no key: runs are kept offline (for online: wandb login, or set WANDB_API_KEY)")


def requirements() -> list[str]:
    """`name>=version` of every required package, from pyproject.toml where it is at hand.

    What pip noted when medtrain was installed is older than the source after a `git pull`.
    """
    if PYPROJECT.exists():
        found = re.search(r"(?ms)^dependencies = (\[.*?^\])", PYPROJECT.read_text())
        if found:
            return [str(item) for item in ast.literal_eval(found.group(1))]
    noted = metadata.requires("medtrain") or []
    return [requirement for requirement in noted if "extra ==" not in requirement]


def import_names(wanted: list[str]) -> list[str]:
    """The module by which each required package is imported: opencv-python-headless is cv2."""
    packages_of = metadata.packages_distributions()
    names = []
    for requirement in wanted:
        name = split(requirement)[0]
        modules = [module for module, owners in packages_of.items() if name in owners and module[0] != "_"]
        names += [module for module in modules if module == name] or modules[:1]
    return names


def split(requirement: str) -> tuple[str, str]:
    """`("torch", "2.6")` of `torch>=2.6`."""
    name, _, least = requirement.partition(">=")
    return name.strip(), least.strip()


def _is_there(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _fault(requirement: str) -> str:
    name, least = split(requirement)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return f"{name} is {version}, and {least} is needed" if _release(version) < _release(least) else ""


def _release(version: str) -> tuple[int, ...]:
    """(2, 6) of 2.6.0+cu124: trailing zeros say nothing."""
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"[^\d.]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def own_install() -> Finding:
    """Whether the package that runs is the one that is installed."""
    try:
        version = metadata.version("medtrain")
    except metadata.PackageNotFoundError:
        return warn("medtrain is run from its source and is not installed", f"{PIP} -e {PYPROJECT.parent}")
    return ok(f"{version} in {Path(__file__).parents[2]}")
