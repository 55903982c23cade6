#!/usr/bin/env bash
# OpenCV 5.0.0.93 (pip, its own FFmpeg): of an interlaced clip cv2.VideoCapture.read returns True for each frame, and
# each time the same picture. Of progressive clips all frames come. Seen 2026-11-29 on Linux, x86_64:
#     progressive H.264  24 frames, 24 different by PyAV, 24 by OpenCV
#     interlaced H.264   24 frames, 24 different by PyAV,  1 by OpenCV
#     interlaced MPEG-2  24 frames, 24 different by PyAV,  1 by OpenCV
# Its FFmpeg says so on standard error only ("Cannot convert interlaced to progressive frames"). Ultrasound scanners
# record interlaced clips. Exit code 0: as described; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 av==18.1.0 numpy==2.4.6
cat >"$folder/clip.py" <<'PY'
import sys

import av
import cv2
import numpy as np

FRAMES = 24


def draw(path, codec, **options):
    """A bar that moves by two pixels a frame."""
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(FRAMES):
            frame = np.zeros((64, 96, 3), np.uint8)
            frame[:, 2 * number : 2 * number + 20] = 220
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode())


def by_opencv(path):
    capture, found = cv2.VideoCapture(path), []
    while True:
        there, frame = capture.read()
        if not there:
            return found
        found.append(frame)


def by_pyav(path):
    with av.open(path) as file:
        return [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]


kinds = {
    "progressive H.264": ("p.mp4", "libx264", {}, 24),
    "interlaced H.264": ("i.mp4", "libx264", {"x264-params": "tff=1"}, 1),
    "interlaced MPEG-2": ("i.mpg", "mpeg2video", {"flags": "+ilme+ildct"}, 1),
}
same = True
for kind, (name, codec, options, expected) in kinds.items():
    draw(name, codec, **options)
    ours, theirs = by_pyav(name), by_opencv(name)
    different = [len({frame.tobytes() for frame in frames}) for frames in (ours, theirs)]
    print(f"{kind:17}  {len(theirs)} frames, {different[0]} different by PyAV, {different[1]:2} by OpenCV")
    same &= (len(ours), len(theirs), *different) == (FRAMES, FRAMES, FRAMES, expected)
sys.exit(not same)
PY
cd "$folder"
"$folder/venv/bin/python" clip.py 2>"$folder/stderr"
grep -q "Cannot convert interlaced to progressive" "$folder/stderr"
