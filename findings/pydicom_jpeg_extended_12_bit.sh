#!/usr/bin/env bash
# JPEG Extended of 12 bits (transfer syntax 1.2.840.10008.1.2.4.51) is what PS3.5 10.2 names for lossy 12-bit images.
# pydicom 3.0.2 refuses it with "GDCM does not support 'JPEG Extended' for samples with 12-bit precision"; the GDCM that
# is installed beside it (python-gdcm 3.2.6) decodes it, to the pixels that libjpeg-turbo in imagecodecs 2026.3.6 has.
# Seen 2026-11-29 on Linux, x86_64:
#     pydicom: RuntimeError, GDCM does not support 'JPEG Extended' for samples with 12-bit precision
#     GDCM itself: 64 x 80 pixels of 12 bits, the same as libjpeg-turbo's
# Exit code 0: as described; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 python-gdcm==3.2.6 imagecodecs==2026.3.6 \
    numpy==2.4.6
cat >"$folder/twelve.py" <<'PY'
import sys

import gdcm
import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGExtended12Bit, SecondaryCaptureImageStorage, generate_uid

down, across = np.mgrid[0:64, 0:80]
pixels = (down * 40 + across * 10).astype(np.uint16)
stream = imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=12)
expected = imagecodecs.jpeg8_decode(stream).astype(int)

image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = JPEGExtended12Bit
image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 64, 80, 1, "MONOCHROME2"
image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
image.PixelData = encapsulate([stream])
image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
image.save_as(sys.argv[1], enforce_file_format=True)

try:
    dcmread(sys.argv[1]).pixel_array
    refused = ""
except RuntimeError as error:
    refused = next((line.strip() for line in str(error).splitlines() if "GDCM does not support" in line), "")
print("pydicom:", refused or "decodes it")

reader = gdcm.ImageReader()
reader.SetFileName(sys.argv[1])
assert reader.Read()
data = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
found = np.frombuffer(data, np.uint16).reshape(64, 80).astype(int)
print("GDCM itself:", found.shape, "differs from libjpeg-turbo by at most", abs(found - expected).max())
sys.exit(not refused or not np.array_equal(found, expected))
PY
"$folder/venv/bin/python" "$folder/twelve.py" "$folder/twelve.dcm"
