"""List the licences of what `pip install medtrain` installs, from its metadata: docs/third_party_licences.md.

    python docs/list_licences.py

Run it in an environment that has medtrain's packages (`bash tests/run.sh` makes one). Versions are not listed, so that
the table does not age with each release of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from medtrain.doctor.checks.software import requirements, split

FILE = Path(__file__).resolve().parent / "third_party_licences.md"
LONGEST = 120  # characters of a field that names a licence; a longer one is the licence's text
PURPOSES = {
    "torch": "tensors, networks, distributed training",
    "torchvision": "networks for images and clips",
    "timm": "networks for images",
    "accelerate": "one training loop for CPUs, GPUs and ranks",
    "submitit": "batch scripts for Slurm",
    "wandb": "the tracker Weights & Biases",
    "numpy": "arrays",
    "safetensors": "the files of checkpoints and weights",
    "xxhash": "checksums",
    "simplejpeg": "JPEG (bundles libjpeg-turbo)",
    "opencv-python-headless": "PNG, TIFF, resizing (bundles FFmpeg, which medtrain does not use)",
    "av": "videos (bundles FFmpeg)",
    "tifffile": "TIFF",
    "imagecodecs": "compressed TIFF",
    "pydicom": "DICOM",
    "PyYAML": "settings files",
    "tyro": "the command line",
    "matplotlib": "figures",
    "scikit-learn": "ROC and precision-recall curves of a run's report",
    "scipy": "the bootstrap of these curves (sparse matrices)",
    "tqdm": "progress bars of downloads",
    "requests": "downloads",
    "huggingface_hub": "downloads from Hugging Face",
    "webdataset": "shards in loops of one's own",
    "nvidia-ml-py": "what the GPUs of a run do (NVML)",
}
EXTRAS = {
    "python-gdcm": "`dicom`: compressed DICOM",
    "kornia_rs": "`fast`: grey PNG",
    "monai": "`monai`: proves a MONAI bundle",
    "onnx": "`onnx`: weights as an ONNX file",
    "onnxscript": "`onnx`: from a network of PyTorch",
    "onnxruntime": "`onnx`: what proves and runs it",
    "pyarrow": "`parquet`: tables in Parquet",
    "mlflow-skinny": "`mlflow`: the tracker MLflow",
    "sqlalchemy": "`mlflow`: its database",
    "alembic": "`mlflow`: its database",
    "tensorboard": "`tensorboard`: the tracker TensorBoard",
}
HEAD = """\
# Licences of other packages

medtrain itself is under [Apache-2.0](../LICENSE). `pip install medtrain` installs the packages below, each under its
own licence, as its metadata states it. Made by `python docs/list_licences.py` on Linux, x86_64; which packages are
installed depends on the platform.

Worth knowing before you redistribute an environment or a container image:

* **FFmpeg.** The wheels of PyAV (av) are BSD-3-Clause and bundle FFmpeg, which is LGPL 3 or later, and x264 and x265,
  which are GPL; these two only encode, and medtrain only decodes. The wheels of opencv-python-headless bundle an
  FFmpeg of their own (LGPL 2.1).
* **CUDA.** On Linux, torch installs NVIDIA's libraries, most of which are proprietary (the rows nvidia-*). A build of
  torch for CPUs needs none of them.
* **MPL 2.0.** certifi and tqdm are as a whole or in part under the Mozilla Public License, which asks for the source of
  files that you change.
"""


def found(names: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that these requirements and all theirs need here, by name."""
    there: dict[str, Distribution] = {}
    waiting, met = [Requirement(name) for name in names], set()
    while waiting:
        wanted = waiting.pop()
        if (key := (wanted.name.lower(), frozenset(wanted.extras))) in met:
            continue
        met.add(key)
        try:
            package = distribution(wanted.name)
        except PackageNotFoundError:  # of another platform, as far as its marker tells nothing
            continue
        there[package.name] = package
        needs = map(Requirement, package.requires or ())
        extras = ("", *wanted.extras)
        waiting += [
            need for need in needs if not need.marker or any(need.marker.evaluate({"extra": e}) for e in extras)
        ]
    return there


def licence(package: Distribution) -> str:
    """As the metadata state it: an SPDX expression, a line of words, or a classifier."""
    told = package.metadata
    if expression := told.get("License-Expression"):
        return str(expression)
    words = told.get("License") or ""
    if words and "\n" not in words and len(words) < LONGEST:
        return words.strip()
    kinds = [kind.rpartition(" :: ")[2] for kind in told.get_all("Classifier", []) if kind.startswith("License ::")]
    return ", ".join(kinds) or "not stated"


def plain(name: str) -> str:
    """A package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def table(names: Iterable[str], purposes: dict[str, str]) -> str:
    """A table in Markdown of installed packages, the direct ones with what they are for."""
    packages = found(names)
    known = {plain(name): purpose for name, purpose in purposes.items()}
    rows = [
        f"| {name} | {licence(packages[name])} | {known.get(plain(name), '')} |" for name in sorted(packages, key=plain)
    ]
    return "\n".join(["| package | licence | medtrain uses it for |", "|---|---|---|", *rows]) + "\n"


def page() -> str:
    """The whole page."""
    direct = [split(requirement)[0] for requirement in requirements()]
    own = {name: distribution(name) for name in EXTRAS}
    extras = "\n".join(f"| {name} | {licence(package)} | {EXTRAS[name]} |" for name, package in own.items())
    return f"""{HEAD}
## pip install medtrain

{table(direct, PURPOSES)}
## Extras

Each also installs what it needs.

| package | licence | extra, and what for |
|---|---|---|
{extras}
"""


if __name__ == "__main__":
    FILE.write_text(page())
    print(FILE)
