"""Programs that load an export as anybody would, without medtrain: what proves it, and shows how it is used.

Each is `python -I -c PROGRAM FOLDER`. From its standard input it reads arrays, each as its length (8 bytes, big-endian)
and the bytes of a .npy file: float32 [B, channels, H, W] of 0 to 255. It writes the answers float64 [B, outputs] alike.
"""

from __future__ import annotations

TALK = """
import os
answered = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what libraries print is no answer

def answers(answer):
    import io, struct, sys
    import numpy as np
    told = sys.stdin.buffer
    while head := told.read(8):
        pixels = np.load(io.BytesIO(told.read(struct.unpack(">Q", head)[0])), allow_pickle=False)
        made = io.BytesIO()
        np.save(made, np.asarray(answer(pixels), np.float64))
        answered.write(struct.pack(">Q", made.tell()) + made.getvalue())
        answered.flush()
"""

TORCH_EXPORT = """
import sys, torch
network = torch.export.load(sys.argv[1] + "/model.pt2").module()
def answer(pixels):
    with torch.inference_mode():
        return network(torch.from_numpy(pixels)).numpy()
answers(answer)
"""

ONNX = """
import sys, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", providers=["CPUExecutionProvider"])
def answer(pixels):
    return session.run(["outputs"], {"pixels": pixels})[0]
answers(answer)
"""

# What the card of a network without its preprocessing says, done with PyTorch alone.
PREPARE = """
def prepared(pixels, told):
    how = told["normalization"]
    if how["per_image"]:
        around = list(range(1, pixels.ndim))
        mean = pixels.mean(around, keepdim=True)
        deviation = (pixels - mean).square().mean(around, keepdim=True).sqrt().clamp(min=1)
        pixels = (pixels - mean) / deviation
    pixels = pixels.expand(-1, told["network"]["channels"], *[-1] * (pixels.ndim - 2))
    if not how["per_image"]:
        shape = (1, -1) + (1,) * (pixels.ndim - 2)
        mean, deviation = (255 * torch.tensor(how[name]).reshape(shape) for name in ("mean", "std"))
        pixels = (pixels - mean) / deviation
    return pixels

def finished(logits, told):
    final = told["output"]["function"]
    return logits.softmax(1) if final == "softmax" else logits.sigmoid() if final == "sigmoid" else logits

def run(network, told):
    network.eval()
    def answer(pixels):
        with torch.inference_mode():
            logits = network(prepared(torch.from_numpy(pixels), told)).double()
            return finished(logits, told).numpy()
    answers(answer)
"""

BUILD = """
def built(about):
    if about["library"] == "timm":
        import timm
        return timm.create_model(about["name"], num_classes=about["outputs"], in_chans=about["channels"])
    import torchvision
    network = torchvision.models.get_model(about["name"], weights=None, num_classes=about["outputs"])
    first = network.get_submodule(about["first"])
    if first.in_channels != about["channels"]:
        shape = first.out_channels, first.kernel_size, first.stride, first.padding
        network.set_submodule(about["first"], type(first)(about["channels"], *shape, bias=False))
    return network
"""

SAFETENSORS = """
import json, sys, torch
from safetensors.torch import load_file
told = json.load(open(sys.argv[1] + "/medtrain.json"))
network = built(told["network"])
network.load_state_dict(load_file(sys.argv[1] + "/model.safetensors"))
run(network, told)
"""

HF = """
import json, sys, torch
told = json.load(open(sys.argv[1] + "/medtrain.json"))
config = json.load(open(sys.argv[1] + "/config.json"))
if "pretrained_cfg" in config:  # as timm writes it; from the Hub: "hf-hub:USER/NAME"
    import timm
    network = timm.create_model("local-dir:" + sys.argv[1], pretrained=True)
else:
    from safetensors.torch import load_file
    network = built(config)
    network.load_state_dict(load_file(sys.argv[1] + "/model.safetensors"))
run(network, told)
"""

TIMM = """
import json, sys, timm, torch
told = json.load(open(sys.argv[1] + "/medtrain.json"))
network = timm.create_model("local-dir:" + sys.argv[1], pretrained=True)
run(network, told)
"""

MONAI = """
import sys, torch
from pathlib import Path
from monai.bundle import ConfigParser, load
folder = Path(sys.argv[1]).resolve()
network = load(folder.name, bundle_dir=folder.parent, workflow_type="inference", device="cpu").eval()
config = ConfigParser()
config.read_config(folder / "configs" / "inference.json")
before, after = (config.get_parsed_content(name + "processing") for name in ("pre", "post"))
def answer(pixels):
    with torch.inference_mode():
        logits = network(torch.stack([before(sample) for sample in pixels]))
        return torch.stack([after(sample) for sample in logits]).numpy()
answers(answer)
"""

PROGRAMS = {
    "monai_bundle": TALK + MONAI,
    "onnx": TALK + ONNX,
    "torch_export": TALK + TORCH_EXPORT,
    "hf": TALK + PREPARE + BUILD + HF,
    "safetensors": TALK + PREPARE + BUILD + SAFETENSORS,
    "timm": TALK + PREPARE + TIMM,
}
