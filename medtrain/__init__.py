"""medtrain: train on medical images on a Slurm cluster, and never lose work."""

__version__ = "0.1.0"
