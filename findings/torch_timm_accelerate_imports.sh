#!/usr/bin/env bash
# What importing and the first call bring along unasked. `import timm` imports wandb, where that is installed (for
# timm.utils.summary), and torchvision.datasets. Making an optimizer, or importing torchvision (for roi_align), imports
# torch._dynamo with sympy, though nothing is compiled; Accelerator.prepare_model imports DTensor, with sympy. Every rank
# of every attempt pays for that: 900 to 1,900 modules beside the 1,200 of PyTorch. PyTorch 2.14.1, torchvision 0.29.1,
# timm 1.0.31, Accelerate 1.15.0, wandb 0.31.0; seen 2026-11-29 on Linux, x86_64, Python 3.11:
#                                       torch._dynamo  sympy  DTensor  torchvision.datasets  wandb
#     import torch                      no             no     no       no                    no
#     torch.optim.AdamW(...)            yes            yes    yes      no                    no
#     import torchvision                yes            yes    yes      yes                   no
#     import timm                       yes            yes    yes      yes                   yes
#     Accelerator().prepare_model(...)  no             yes    yes      no                    no
# Exit code 0: as described; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 \
    accelerate==1.15.0 wandb==0.31.0 numpy==2.4.6
cat >"$folder/imports.py" <<'PY'
import subprocess
import sys

LOOKED_FOR = ("torch._dynamo", "sympy", "torch.distributed.tensor", "torchvision.datasets", "wandb")
ASKED = {
    "import torch": "import torch",
    "torch.optim.AdamW(...)": "import torch; torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())",
    "import torchvision": "import torchvision",
    "import timm": "import timm",
    "Accelerator().prepare_model(...)": "import torch; from accelerate import Accelerator;"
    " Accelerator(cpu=True).prepare_model(torch.nn.Linear(2, 2), evaluation_mode=True)",
}
SEEN = {
    "import torch": "no no no no no",
    "torch.optim.AdamW(...)": "yes yes yes no no",
    "import torchvision": "yes yes yes yes no",
    "import timm": "yes yes yes yes yes",
    "Accelerator().prepare_model(...)": "no yes yes no no",
}
changed = False
print("of each, whether it imports", *LOOKED_FOR)
for name, code in ASKED.items():
    tell = f"{code}\nimport sys, time\nprint(*['yes' if m in sys.modules else 'no' for m in {LOOKED_FOR!r}])"
    tell += "\nprint(len(sys.modules), round(time.process_time(), 1))"
    told, cost = subprocess.check_output([sys.executable, "-c", tell], text=True).splitlines()[-2:]
    modules, seconds = cost.split()
    print(f"{name:34}{told}; {modules} modules, {seconds} CPU s")
    changed |= told != SEEN[name]
sys.exit(changed)
PY
"$folder/venv/bin/python" "$folder/imports.py"
