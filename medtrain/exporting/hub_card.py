"""README.md of an export: the model card, with what the Hugging Face Hub reads at its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.config.schema import PUBLISHED, Config
from medtrain.reporting.html_report.model_card import words
from medtrain.reporting.html_report.run_page import card_text
from medtrain.runs.run import Run

METRICS = {
    "multiclass": ["accuracy", "roc_auc"], "multilabel": ["roc_auc", "f1"], "abnormality": ["roc_auc", "accuracy"],
    "score": ["mae", "r_squared"],
}  # fmt: skip
USES = {
    "hf": "`{load}` builds the network; how pixels become its input is in medtrain.json.",
    "monai_bundle": "The bundle takes pixels of 0 to 255 and gives probabilities or scores.",
    "onnx": "model.onnx takes pixels of 0 to 255 and gives probabilities or scores; ONNX Runtime runs it.",
    "safetensors": "model.safetensors has the tensors by the names of the network's library.",
    "timm": '`timm.create_model("local-dir:FOLDER", pretrained=True)` builds the network.',
    "torch_export": "model.pt2 takes pixels of 0 to 255 and gives probabilities; `torch.export.load` reads it.",
}


def write_card(run: Run, config: Config, described: dict[str, Any], path: Path) -> None:
    """The head, the card of the run, how to use the files, and licences."""
    _, _, card = card_text(run).partition("\n")  # its checksum is that of the card alone
    text = f"---\n{_head(config, described)}---\n{card}\n{_use(described)}\n{_licence(described)}"
    path.write_text(text, encoding="utf-8")


def _head(config: Config, described: dict[str, Any]) -> str:
    from huggingface_hub import ModelCardData

    of_timm = described["network"]["library"] == "timm"
    licence = described["licence"]["id"]
    base = None
    if config.model.weights in PUBLISHED and of_timm:
        from medtrain.models.families.timm import published

        base = published(config.model.backbone)
    told = ModelCardData(
        license=licence or None, library_name="timm" if of_timm and described["format"] in ("hf", "timm") else None,
        tags=["medical", "medtrain", config.task, described["network"]["name"], described["format"]],
        pipeline_tag="video-classification" if config.data.frames else "image-classification",
        metrics=METRICS[config.task], base_model=base, model_name=described["run"],
    )  # fmt: skip
    return f"{told.to_yaml()}\n"


def _use(described: dict[str, Any]) -> str:
    load = 'timm.create_model("hf-hub:REPO", pretrained=True)'
    if described["network"]["library"] != "timm":
        load = f'torchvision.models.get_model("{described["network"]["name"]}", weights=None, ...)'
    lines = ["## Use", "", USES[described["format"]].format(load=load)]
    lines += ["`consumer.py` is a program that loads it and answers without medtrain; `medtrain predict FOLDER FILES`"]
    lines += ["reads it too.", ""]
    proof = described["proof"]
    apart = f"at most {proof['largest_difference']:.2g} apart (bound {proof['bound']:g})"
    where = f"{proof['samples']:,} samples of the {proof['split']} split"
    return "\n".join([*lines, f"It gave the answers of the run to {where}, {apart}.", ""])


def _licence(described: dict[str, Any]) -> str:
    told = described["licence"]
    began = told["weights"]
    source = f" ({words(began['source'])})" if began["source"] else ""
    lines = ["## Licence", ""]
    stated = "stated by who exported them" if told["stated"] else "that of the weights that training began from"
    lines += [
        f"* these weights: {words(told['id'])}, {stated}" if told["id"] else "* these weights: no licence is stated"
    ]
    lines += [f"* training began from: {words(began['began_as'])}; licence: {words(began['licence'])}{source}"]
    lines += [f"* trained on {words(one['name'])}: {words(one['licence'])}" for one in told["data"]]
    return "\n".join([*lines, ""])
