"""MedNIST: 58,954 greyscale JPEGs of 64 x 64 px in six classes, one folder a class."""

from __future__ import annotations

from pathlib import Path

from medtrain.datasets.layouts import class_folders
from medtrain.datasets.record import Record

TITLE = "CT, MRI, X-ray and hand images at 64 x 64 px in six easy classes, to try a pipeline on real data."
CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
TASK = "multiclass"
IMAGES = 58_954
LICENCE = "CC BY-SA 4.0; assembled by B. J. Erickson (Mayo Clinic) from sets of TCIA, RSNA and NIH."
SHARING = "free"
ACCESS = (
    "curl -LO https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/MedNIST.tar.gz "
    "&& tar xf MedNIST.tar.gz   (59 MB), then use --root MedNIST"
)


def records(root: Path) -> list[Record]:
    """Every image of ROOT/CLASS/*.jpeg, or of ROOT/MedNIST/CLASS/*.jpeg. The dataset has no patient ids."""
    return class_folders("mednist", root, CLASSES, "MedNIST", ACCESS)
