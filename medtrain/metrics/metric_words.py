"""What a number of a report is called in words: acronyms are in capitals."""

from __future__ import annotations

CAPITALS = {"auroc": "AUROC", "ece": "ECE", "f1": "F1", "mae": "MAE", "r2": "R2", "rmse": "RMSE"}
OTHERS = {"lr": "learning rate", "val": "validation", "train": "training", "spearman": "Spearman's rho"}


def metric_words(name: str) -> str:
    """`macro AUROC` of `macro_auroc`, `validation MAE` of `val_mae`."""
    return " ".join({**CAPITALS, **OTHERS}.get(word.lower(), word) for word in name.split("_"))


def metric_title(name: str) -> str:
    """The same as a title, with a capital at its beginning."""
    words = metric_words(name)
    return words[:1].upper() + words[1:]
