#!/usr/bin/env bash
# PyTorch 2.14.1 on CPU (pip, with the oneDNN that it bundles): the weight gradient of a Conv3d in bfloat16 is wrong where
# the depth is 2 and the kernel spans 3 with padding 1, and likewise for depths up to 4 under a kernel of 5. Planes of the
# kernel are left with what was in memory: values of any size, or NaN. Nothing is raised, and the loss stays finite. Depths
# of 1 and 4 under a kernel of 3 are right, and so is float32. The temporal convolutions of R(2+1)D have such a depth
# where a clip has few frames. Seen 2026-11-30 on Linux, x86_64, AMD EPYC with AVX512_BF16:
#     depth 1: right    depth 2: WRONG    depth 3: right    depth 4: right
# medtrain/distributed/cpu_bf16.py compares the two before a clip is trained on in bfloat16. Exit code 0: as described; 1: it
# has changed, or this CPU computes otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cat >"$folder/gradient.py" <<'PY'
import sys

import torch
from torch import nn

torch.manual_seed(0)


def is_right(depth: int) -> bool:
    """Whether the weight gradient in bfloat16 is that in float32 but for rounding."""
    layer = nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), bias=False)
    clips = torch.randn(2, 16, depth, 8, 8)
    upstream = torch.randn(2, 16, depth, 8, 8)
    layer(clips).backward(upstream)
    exact = layer.weight.grad.clone()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(clips)
    made.backward(upstream.to(made.dtype))
    return bool((layer.weight.grad - exact).abs().max() < 0.05 * exact.abs().max())


found = {depth: is_right(depth) for depth in (1, 2, 3, 4)}
print("    ".join(f"depth {depth}: {'right' if right else 'WRONG'}" for depth, right in found.items()))
sys.exit(found != {1: True, 2: False, 3: True, 4: True})
PY
"$folder/venv/bin/python" "$folder/gradient.py"
