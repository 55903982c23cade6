#!/usr/bin/env bash
# A TIFF may say that 0 is white (PhotometricInterpretation 0, TIFF 6.0 section 8), and may hold its colours in planes
# (PlanarConfiguration 2). Of 8 bits OpenCV and Pillow turn "0 is white" round; of 16 bits they do not, without a word,
# and Pillow refuses big-endian ones. Of 16-bit colour in planes OpenCV returns other pixels. Digitised films are often
# 16-bit and "0 is white". OpenCV 5.0.0.93, Pillow 13.0.0, files by tifffile 2026.3.3; seen 2026-11-29 on Linux, x86_64:
#     8 bits, 0 is white:                  OpenCV turned,     Pillow turned
#     16 bits, 0 is white, little endian:  OpenCV not turned, Pillow not turned
#     16 bits, 0 is white, big endian:     OpenCV not turned, Pillow refused
#     16-bit RGB, pixel by pixel:          OpenCV right
#     16-bit RGB, in planes:               OpenCV wrong
# Exit code 0: as described; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 pillow==13.0.0 \
    tifffile==2026.3.3 numpy==2.4.6
cat >"$folder/tiff.py" <<'PY'
import io
import sys

import cv2
import numpy as np
import tifffile
from PIL import Image

RAMP = np.linspace(0, 65535, 192).astype(np.uint16).reshape(12, 16)


def written(pixels, **tags):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **tags)
    return file.getvalue()


def by_opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def by_pillow(data):
    try:
        return np.asarray(Image.open(io.BytesIO(data)))
    except OSError:
        return None


def turned(found, stored):
    if found is None:
        return "refused"
    if np.array_equal(found, np.iinfo(stored.dtype).max - stored):
        return "turned"
    return "not turned" if np.array_equal(found, stored) else "other pixels"


told = []
for bits, order, stored in (("8", "<", (RAMP >> 8).astype(np.uint8)), ("16", "<", RAMP), ("16", ">", RAMP)):
    data = written(stored, photometric="miniswhite", byteorder=order)
    told.append((turned(by_opencv(data), stored), turned(by_pillow(data), stored)))
    print(f"{bits} bits, 0 is white, byte order {order}: OpenCV {told[-1][0]}, Pillow {told[-1][1]}")
colour = np.dstack([RAMP, RAMP[::-1], RAMP // 3])
for name, pixels, planes in (("pixel by pixel", colour, "contig"), ("in planes", np.moveaxis(colour, 2, 0), "separate")):
    found = by_opencv(written(pixels, photometric="rgb", planarconfig=planes))
    told.append(found is not None and np.array_equal(found[:, :, ::-1], colour))
    print(f"16-bit RGB, {name}: OpenCV {'right' if told[-1] else 'wrong'}")
seen = [("turned", "turned"), ("not turned", "not turned"), ("not turned", "refused"), True, False]
sys.exit(told != seen)
PY
"$folder/venv/bin/python" "$folder/tiff.py"
