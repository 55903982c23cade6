"""Draw the picture of the README, docs/figures/what_you_get.png: what a run on generated chest X-rays leaves.

python docs/draw_what_you_get.py      (two minutes)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

FILE = Path(__file__).resolve().parent / "figures" / "what_you_get.png"
WIDTH = 1100
IMAGE = "raw/images/00000087_001.png"  # of the test split, with an effusion and a large heart
COMMANDS = (
    "data download chest_demo --root raw",
    "shard chest_demo --root raw",
    "train chest_demo --run demo --tracker none",
    f"explain demo {IMAGE} --labels Effusion Cardiomegaly --out maps",
)


def main() -> None:
    """Train as the README does, and put two of its figures one above the other."""
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            subprocess.run(
                [sys.executable, "-m", "medtrain", *command.split()], cwd=folder, check=True,
                stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        figures = (
            Path(folder, "runs/demo/figures/history.png"),
            Path(folder, f"maps/{Path(IMAGE).stem}-explained.png"),
        )
        FILE.write_bytes(
            cv2.imencode(".png", np.vstack([sized(path) for path in figures]), (cv2.IMWRITE_PNG_COMPRESSION, 9))[
                1
            ].tobytes()
        )
    print(FILE)


def sized(path: Path) -> np.ndarray:
    """A figure at the picture's width."""
    picture = cv2.imread(str(path))
    assert picture is not None
    return cv2.resize(
        picture, (WIDTH, round(WIDTH * picture.shape[0] / picture.shape[1])), interpolation=cv2.INTER_AREA
    )


if __name__ == "__main__":
    main()
