#!/usr/bin/env bash
# OpenCV 5.0.0.93 (pip): of an animated PNG whose default image (the chunks IDAT) is no frame of the animation, imdecode
# returns the first frame and not the default image, which is there for decoders that show no animation. kornia_rs 0.2.0
# and Pillow (Image.open) return the default image. Seen 2026-11-30 on Linux, x86_64:
#     default image 10, frames 20 and 30: OpenCV 20, kornia_rs 10, Pillow 10
# medtrain/imaging/png_plain.py takes the chunks of the animation away before OpenCV has the file. Exit code 0: as
# described; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 kornia_rs==0.2.0 pillow==13.0.0 \
    numpy==2.4.6
cat >"$folder/animated.py" <<'PY'
import io
import sys

import cv2
import numpy as np
from kornia_rs.io import decode_image_png_u8
from PIL import Image

frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 20, 30)]
file = io.BytesIO()
frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=True)
data = file.getvalue()
found = {
    "OpenCV": int(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[0, 0]),
    "kornia_rs": int(decode_image_png_u8(data, (8, 8), "mono")[0, 0, 0]),
    "Pillow": Image.open(io.BytesIO(data)).getpixel((0, 0)),
}
print("default image 10, frames 20 and 30:", ", ".join(f"{name} {value}" for name, value in found.items()))
sys.exit(list(found.values()) != [20, 10, 10])
PY
"$folder/venv/bin/python" "$folder/animated.py"
