"""The command explain: where in an image a run's best weights see what they predict, by HiResCAM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Figures, Flag, RunName
from medtrain.core.console import busy, in_line, say, say_json
from medtrain.core.errors import InputError
from medtrain.evaluation import preconditions
from medtrain.reporting.explanations import explain_files
from medtrain.reporting.style import written_as
from medtrain.runs.run import Run


def explain(
    name: RunName,
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")]],
    labels: tuple[str, ...] = (),
    out: Path = Path("explain"),
    figures: Figures = ("png",),
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """Draw where a run's best weights see what they predict (HiResCAM): a PNG for each image, a map for each label.

    Of a clip, called clip-001 and so on, the PNG shows moments of it, and a GIF for each label moves. The layer that is
    looked at is the last whose map has at least 6 x 6 cells; the figure names it. Names of the files are in the figures
    only where nobody else can look into the folder.

    Args:
        name: Name of the run.
        images: Image files (JPEG, PNG, TIFF, DICOM), or clips (DICOM, MP4, AVI).
        labels: Labels to explain (default: the three with the highest score).
        out: Folder for the figures. None that is there already is written over: the new one gets a number.
        figures: Formats of the figures: png, svg, pdf.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run, images = Run.find(runs, name), preconditions.files(images)
    preconditions.require_checkpoint(run)
    preconditions.require_labels(run, labels)
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{out} cannot be a folder for figures ({error.strerror})", "give --out DIR") from None
    busy(f"loading the network of {name}")
    with written_as(figures):
        found = explain_files(run, images, labels, out)
    if json:
        say_json(found)
    else:
        for each in found:
            files = "   ".join([each["figure"], *each.get("other_formats", ()), *each.get("animations", ())])
            said = ", ".join(f"{label} {probability:.3f}" for label, probability in each["labels"].items())
            say(in_line(f"{files}   {said}"))
