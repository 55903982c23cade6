"""imaging without kornia_rs and python-gdcm: the same pixels, or a sentence that names what to install."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from clip_files import COMPRESSED
from dicom_files import SYNTAXES, as_bytes, compressed, dataset, stored
from kornia_rs.io import decode_image_png_u8, decode_image_png_u16
from packing import digests, pack_files
from PIL import Image
from png_files import NOISE, PASSES, chunk, drawn, picture
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGExtended12Bit
from without import environment, python

from medtrain.core.errors import MachineError
from medtrain.imaging import dicom_frame, png, png_plain
from medtrain.imaging.decode import decode

# Decodes every file of a folder and keeps the pixels, or the fault; ARGV: folder, file of the answers.
DECODE = """
import sys
from pathlib import Path
import numpy as np
from medtrain.imaging.decode import decode
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        found[path.name] = decode(path.read_bytes(), colour=path.name.startswith("colour"))
    except Exception as error:
        found[path.name] = np.array(f"{type(error).__name__}: {error} / {getattr(error, 'fix', '')}")
np.savez(sys.argv[2], **found)
assert not {"kornia_rs", "gdcm"} & {name for name, module in sys.modules.items() if module}
"""
PACK = """
import sys
from pathlib import Path
from medtrain.core.errors import MachineError
from packing import pack_files
try:
    pack_files(Path(sys.argv[1]), Path(sys.argv[2]))
except MachineError as error:
    print(error.problem, error.fix, sep="|")
    sys.exit(error.exit_code)
"""


def animated(mode: str) -> bytes:
    """A PNG whose animation does not begin with the picture that it shows without."""
    frames = [
        Image.fromarray(NOISE[i : i + 20, :20] if mode == "I;16" else (NOISE[i : i + 20, :20] >> 8).astype(np.uint8))
        for i in range(3)
    ]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=True)
    return file.getvalue()


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk(kind, content) + data[at:]


def interlaced(side: int, depth: int) -> bytes:
    pixels = NOISE[:side, :side] if depth == 16 else NOISE[:side, :side] >> 8
    pixels = pixels.astype(f">u{depth // 8}")
    rows = b"".join(
        bytes([number % 5]) + row.tobytes()
        for x, y, across, down in PASSES
        for number, row in enumerate(pixels[y::down, x::across])
        if row.size
    )
    return drawn(rows, side, interlaced=True, depth=depth)


def greys() -> dict[str, bytes]:
    """PNGs that kornia_rs decodes, and some that it does not."""
    found = {f"{mode} {side} {level}": picture(mode, side, compress_level=level)
             for mode in ("L", "I;16") for side in (1, 7, 60) for level in (0, 9)}  # fmt: skip
    found |= {
        f"interlaced {depth} {side}": interlaced(side, depth) for depth in (8, 16) for side in (*range(1, 10), 20)
    }
    for mode in ("L", "I;16"):
        base = picture(mode, 20)
        found |= {
            f"{mode} animated": animated(mode),
            f"{mode} transparent": with_chunk(base, b"tRNS", b"\0\3"),
            f"{mode} gamma": with_chunk(base, b"gAMA", struct.pack(">I", 45455)),
            f"{mode} few bits": with_chunk(base, b"sBIT", b"\5"),
            f"{mode} palette of no use": with_chunk(base, b"PLTE", b"\1\2\3"),
            f"{mode} unknown": with_chunk(base, b"ABCD", b""),
            f"{mode} cut": base[: len(base) // 2] + base[-12:],
        }
    rows = zlib.compress(b"".join(b"\0" + bytes(range(30)) for _ in range(30)))
    found["wrong checksum"] = drawn(rows[:-1] + b"x", 30, compressed=True)
    found["no checksum"] = drawn(rows[:-4], 30, compressed=True)
    found["small window"] = drawn(b"\x08\x1d" + rows[2:], 30, compressed=True)
    found["more rows"] = drawn(rows, 29 - 5, compressed=True)
    found["fewer rows"] = drawn(rows, 31, compressed=True)
    return found


def reached(data: bytes, by: str) -> np.ndarray | None:
    """What a decoder makes of a grey PNG; None where it refuses."""
    height, width, depth = struct.unpack_from(">IIB", data, 16)
    decoders = {8: decode_image_png_u8, 16: decode_image_png_u16} if by == "kornia_rs" else {}
    try:
        return np.asarray(decoders.get(depth, png_plain.decode)(data, (width, height), "mono"))
    except Exception:  # that of kornia_rs has no name of its own
        return None


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())


def test_grey_png_has_the_pixels_and_faults_of_kornia_rs() -> None:
    assert png.DECODERS[8] is decode_image_png_u8, "where it is installed it decodes, with nothing between"
    files = greys()
    refused = {name for name, data in files.items() if reached(data, "kornia_rs") is None}
    assert {"L unknown", "L cut", "fewer rows"} <= refused < files.keys() - {"wrong checksum", "L animated"}
    assert [name for name, data in files.items() if not same(reached(data, "kornia_rs"), reached(data, "us"))] == []


@pytest.mark.parametrize("depth", [8, 16])
def test_a_changed_bit_makes_the_same_of_both(depth: int) -> None:
    """Each bit of the compressed rows, in a chunk whose checksum is right again."""
    rows = zlib.compress(b"".join(b"\1" + NOISE[i, : 5 * depth // 16].tobytes()[: 5 * depth // 8] for i in range(5)))
    for place in range(8 * (len(rows) - 4)):
        changed = bytearray(rows)
        changed[place // 8] ^= 1 << place % 8
        data = drawn(bytes(changed), 5, compressed=True, depth=depth)
        one, other = reached(data, "kornia_rs"), reached(data, "us")
        assert one is None or same(one, other), f"bit {place}"


def test_every_kind_of_png_is_the_same_without_kornia_rs(tmp_path: Path) -> None:
    files = {**greys(), **{f"{kind} {mode}": picture(mode, 20) for mode in ("1", "LA", "P", "RGB", "RGBA")
                           for kind in ("grey", "colour")}}  # fmt: skip
    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.png").write_bytes(data)
    done = python(environment(tmp_path / "env", "kornia_rs"), DECODE, folder, tmp_path / "found.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for name, data in files.items():
            there = found[f"{name}.png"]
            try:
                assert same(decode(data, colour=name.startswith("colour")), there), name
            except ValueError as error:
                assert str(there).startswith(f"ValueError: {error} /"), name


def test_a_set_that_was_begun_without_kornia_rs_ends_with_it_as_the_same_bytes(tmp_path: Path) -> None:
    raw, whole, halved = (tmp_path / name for name in ("raw", "whole", "halved"))
    raw.mkdir()
    for number in range(20):
        Image.fromarray((NOISE[number : number + 64, :64] >> 4).astype(np.uint16)).save(raw / f"{number:02d}.png")
    pack_files(raw, whole)
    done = python(environment(tmp_path / "env", "kornia_rs"), PACK, raw, halved)
    assert done.returncode == 0, done.stderr
    assert digests(halved) == digests(whole)
    for path in (halved / "manifest.json", *sorted(halved.glob("train-*"))[2:4]):
        path.unlink()  # as after a kill
    pack_files(raw, halved)
    assert digests(halved) == digests(whole)


@pytest.fixture(scope="module")
def dicoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM file of each transfer syntax, and one that is not compressed."""
    folder, work = tmp_path_factory.mktemp("dicom"), tmp_path_factory.mktemp("work")
    plain = as_bytes(dataset(stored()))
    (folder / "native").write_bytes(plain)
    for name, syntax in SYNTAXES.items():
        (folder / name).write_bytes(compressed(plain, syntax, work))
    few = dataset((stored(8)).astype(np.uint8), 8, BitsAllocated=8)
    few["PixelData"].VR = "OB"
    (folder / "JPEG baseline").write_bytes(compressed(as_bytes(few), COMPRESSED["JPEG baseline"], work))
    extended = dataset(stored())
    extended.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    extended.PixelData = encapsulate([bytes(imagecodecs.jpeg8_encode(stored(), level=92, bitspersample=12))])
    extended["PixelData"].VR = "OB"
    (folder / "12-bit JPEG").write_bytes(as_bytes(extended))
    return folder


def test_dicom_that_needs_gdcm_says_so_and_the_rest_is_read(dicoms: Path, tmp_path: Path) -> None:
    done = python(environment(tmp_path / "env", "gdcm", "kornia_rs"), DECODE, dicoms, tmp_path / "found.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for name in ("native", "RLE", "JPEG baseline"):
            assert same(decode((dicoms / name).read_bytes()), found[name]), name
        for name in ("JPEG lossless", "JPEG-LS", "JPEG 2000", "12-bit JPEG"):
            assert decode((dicoms / name).read_bytes()).shape == (40, 48)
            assert str(found[name]) == (
                f"MachineError: DICOM files compressed as {name} need the package python-gdcm (No module named 'gdcm')"
                ' / pip install "medtrain[dicom]"'
            )


def test_packing_stops_where_gdcm_is_missing_and_continues_where_it_is_there(dicoms: Path, tmp_path: Path) -> None:
    """An image is not rejected for what the machine lacks."""
    done = python(environment(tmp_path / "env", "gdcm"), PACK, dicoms, tmp_path / "halved")
    assert done.returncode == MachineError.exit_code and done.stdout.endswith('|pip install "medtrain[dicom]"\n'), done
    assert not (tmp_path / "halved" / "manifest.json").exists()
    pack_files(dicoms, tmp_path / "halved")
    pack_files(dicoms, tmp_path / "whole")
    assert digests(tmp_path / "halved") == digests(tmp_path / "whole")


def test_the_doctor_says_what_is_missing_and_what_it_costs(tmp_path: Path) -> None:
    code = "from medtrain.doctor.checks.software import optional; print(*vars(optional()).values(), sep='\\n')"
    state, text, fix = python(environment(tmp_path / "one", "gdcm"), code).stdout.splitlines()
    assert (state, text.split(":")[0]) == ("warn", "python-gdcm is missing") and "JPEG 2000" in text
    assert fix.endswith("-m pip install 'medtrain[dicom]'")
    state, text, fix = python(environment(tmp_path / "both", "gdcm", "kornia_rs"), code).stdout.splitlines()
    assert "kornia_rs is missing: grey PNG is decoded more slowly" in text
    assert fix.endswith("-m pip install 'medtrain[dicom,fast]'")


def test_what_a_codestream_may_be_is_what_pydicom_lists_for_gdcm() -> None:
    """pydicom.pixels.decoders.gdcm, whose plug-in told it before there was a choice."""
    from pydicom.pixels.decoders.gdcm import DECODER_DEPENDENCIES

    assert {*dicom_frame.ENCAPSULATED} == {*DECODER_DEPENDENCIES}
