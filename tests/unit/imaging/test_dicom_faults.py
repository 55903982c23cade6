"""What a DICOM file says of a person is not said again where the file cannot be used, nor warned of."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pydicom
import pytest
from dicom_files import as_bytes, dataset, stored
from limits import HANG_S

from medtrain.imaging.decode import decode, header
from medtrain.imaging.dicom_faults import Unusable, unusable

NAME = "DOE^JANE"
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # of what is written here


@pytest.mark.parametrize("keyword", ["NumberOfFrames", "PhotometricInterpretation", "WindowCenter", "RescaleSlope"])
def test_a_name_in_any_element_stays_in_the_file(keyword: str, capfd: pytest.CaptureFixture[str]) -> None:
    made = dataset(stored())
    made[keyword] = pydicom.DataElement(keyword, "LO", NAME)
    made[keyword].VR = pydicom.datadict.dictionary_VR(keyword)
    data = as_bytes(made)
    assert NAME.encode() in data
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"^DICOM that cannot be read") as read:
            decode(data)
        looked = "" if keyword not in ("PhotometricInterpretation",) else str(header(data))
    assert "DOE" not in "".join([str(read.value), looked, *(str(each.message) for each in warned), *capfd.readouterr()])


def test_a_picture_that_is_cut_off_says_how_much_is_there() -> None:
    made = dataset(stored())
    made.PixelData = made.PixelData[:1000]
    with pytest.raises(ValueError, match=r"its picture is cut off: 1,000 of 3,840 bytes"):
        decode(as_bytes(made))


def test_a_thread_that_is_done_does_not_let_another_warn() -> None:
    """As warnings.catch_warnings does, one in each."""
    heard: list[str] = []
    inside, left = threading.Event(), threading.Event()

    def warn_late() -> None:
        with unusable("it cannot be read"):
            inside.set()
            assert left.wait(HANG_S)
            warnings.warn(NAME, stacklevel=1)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        thread = threading.Thread(target=warn_late)
        with unusable("it cannot be read"):
            thread.start()
            assert inside.wait(HANG_S)
        left.set()
        thread.join()
        heard += [str(each.message) for each in warned]
        warnings.warn("afterwards", stacklevel=1)
        assert [*heard, "afterwards"] == [str(each.message) for each in warned] == ["afterwards"]


def test_a_failing_disk_is_no_fault_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), unusable("it cannot be read"):
        (tmp_path / "none").read_bytes()
    with pytest.raises(Unusable, match=r"^it cannot be read$"), unusable("it cannot be read"):
        raise OSError("of pydicom")
