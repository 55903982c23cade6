"""Whether two checkouts of medtrain make the same bits: packed shards, and the tensors after 24 steps of each recipe.

    python benchmarks/same_bits.py [--before DIR] [--work DIR]

Without `--before` it prints the sums of this checkout. With it, it makes those of the other one too, side by side, and
ends with exit code 1 where they differ. A change of the code's shape must change none of them. The recipes keep their
settings but for what makes them small: network, image size, batch, and 96 samples.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from medtrain.core.console import table

HERE = Path(__file__).resolve().parents[1]
DATASETS = ("demo", "chest_demo", "mura_demo", "echo_demo")
SMALL = (
    "--epochs 1 --batch_size 4 --accumulate 1 --max_samples 96 --workers 1 --precision fp32 --tracker none"
    " --weights '' --eval_batch_size 8"
)
# recipe -> its data, and what makes it small
RECIPES = {
    "demo": ("demo", "--backbone test_resnet"),
    "mednist": ("demo", "--backbone test_resnet"),
    "chest": ("chest_demo", "--backbone convnext_atto --image_size 64"),
    "chest_demo": ("chest_demo", "--image_size 64"),
    "mura": ("mura_demo", "--backbone densenet121 --image_size 64"),
    "mura_baseline": ("mura_demo", "--backbone densenet121 --image_size 64"),
    "mura_demo": ("mura_demo", "--image_size 64"),
    "echo": ("echo_demo", "--image_size 48 --frames 4"),
    "echo_demo": ("echo_demo", "--frames 4"),
}


def main() -> None:
    """Make all of one checkout or of two, and print the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder of the other checkout")
    parser.add_argument("--work", type=Path, help="folder for the data (default: one that is removed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = options.work or Path(name)
        here = sums(HERE, work / "here")
        before = sums(options.before.absolute(), work / "before") if options.before else {}
    same = {what: before.get(what) == digest for what, digest in here.items()}
    rows = [(what, digest[:32], *(("yes" if same[what] else "NO",) if before else ())) for what, digest in here.items()]
    print(table(("made", "sha256", *(("same",) if before else ())), rows))
    sys.exit(int(bool(before) and not all(same.values())))


def sums(checkout: Path, folder: Path) -> dict[str, str]:
    """What was made -> its SHA-256."""
    found = {}
    for name in DATASETS:
        raw, packed = folder / "raw" / name, folder / "packed" / name
        medtrain(checkout, f"data download {name} --root {raw}")
        medtrain(checkout, f"shard {name} --root {raw} --out {packed} --workers 2")
        found[f"shards of {name}"] = digest(sorted(packed.glob("*.tar")), packed)
    for recipe, (name, small) in RECIPES.items():
        run = folder / "runs" / recipe
        places = f"--runs {folder / 'runs'} --shards {folder / 'packed' / name}"
        medtrain(checkout, f"train {recipe} --run {recipe} {places} {SMALL} {small}")
        last = (run / "checkpoints" / "last").resolve()
        found[f"24 steps of {recipe}"] = digest(sorted(last.glob("*.safetensors")), last)
    return found


def command(checkout: Path, arguments: str) -> dict[str, Any]:
    """What subprocess needs to run a command of a checkout."""
    module = "medtrain" if (checkout / "medtrain" / "__main__.py").exists() else "medtrain.cli"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    return {"args": [sys.executable, "-m", module, *shlex.split(arguments)], "env": environment, "cwd": checkout}


def medtrain(checkout: Path, arguments: str) -> None:
    """Run a command of a checkout."""
    print(f"{checkout.name}: medtrain {arguments.split(' --')[0]}", file=sys.stderr, flush=True)
    done = subprocess.run(**command(checkout, arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}\n{done.stdout}{done.stderr}")


def digest(files: list[Path], folder: Path) -> str:
    """Of the names and contents of files, of which there must be some."""
    if not files:
        sys.exit(f"{folder}: nothing was made")
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


if __name__ == "__main__":
    main()
