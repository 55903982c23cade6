#!/usr/bin/env bash
# What timm writes of weights that a network never had. timm.create_model(NAME, pretrained=False) takes over the facts of
# NAME's default weights, and save_for_hf (save_pretrained of the Hub) writes them beside weights trained from scratch:
# their tag, licence and paper, and test_input_size, which stays where the input_size is overridden by
# model_config={"pretrained_cfg": ...}. Who loads the folder then prepares test images at the size of the other weights
# (resolve_model_data_config(..., use_test_size=True)), and reads their licence. timm 1.0.31, PyTorch 2.14.1; seen
# 2026-11-30 on Linux, x86_64, Python 3.11, of networks with random weights saved with input_size (3, 64, 64):
#                               tag       licence         test size on loading
#     resnet18                  a1_in1k   apache-2.0      288 x 288
#     convnext_atto             d2_in1k   apache-2.0      288 x 288
#     vit_small_patch16_dinov3  lvd1689m  dinov3-license  64 x 64
# Remedy: set "tag", "license", "test_input_size" and all that is stated in that pretrained_cfg too.
# Exit code 0: as described; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
cat >"$folder/saved.py" <<'PY'
import json
import sys

import timm
from timm.data import resolve_model_data_config
from timm.models import save_for_hf

SEEN = {
    "resnet18": ("a1_in1k", "apache-2.0", 288),
    "convnext_atto": ("d2_in1k", "apache-2.0", 288),
    "vit_small_patch16_dinov3": ("lvd1689m", "dinov3-license", 64),
}
changed = False
for name, expected in SEEN.items():
    folder = f"{sys.argv[1]}/{name}"
    own = {"input_size": [3, 64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    untrained = timm.create_model(name, pretrained=False, num_classes=2)
    save_for_hf(untrained, folder, model_config={"pretrained_cfg": own}, safe_serialization=True)
    with open(f"{folder}/config.json") as file:
        told = json.load(file)["pretrained_cfg"]
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    size = resolve_model_data_config(loaded, use_test_size=True)["input_size"][-1]
    found = told.get("tag"), told.get("license"), size
    print(f"{name:26}tag {found[0]}, licence {found[1]}, test size on loading {size} x {size}")
    changed |= found != expected
sys.exit(changed)
PY
"$folder/venv/bin/python" "$folder/saved.py" "$folder"
