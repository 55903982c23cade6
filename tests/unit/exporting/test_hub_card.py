"""The card of an export, written where the locale is not UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from written_run import written

WRITE = """
import sys
from pathlib import Path
from medtrain.config import configfile
from medtrain.exporting.hub_card import write_card
from medtrain.runs.run import Run
run = Run(Path(sys.argv[1]))
described = {
    "network": {"library": "timm", "name": "tiny"}, "format": "onnx", "run": run.name,
    "licence": {"id": "mit", "stated": True, "data": [{"name": "R\\u00f6ntgen", "licence": "unknown"}],
                "weights": {"source": "", "began_as": "random", "licence": "none"}},
    "proof": {"largest_difference": 0.0, "bound": 1e-4, "samples": 8, "split": "test"},
}
write_card(run, configfile.load(run.config_file), described, Path(sys.argv[2]))
"""


def test_without_a_locale_of_utf_8(tmp_path: Path) -> None:
    run, card = written(tmp_path, "multiclass"), tmp_path / "README.md"
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", WRITE, str(run.folder), str(card)]
    done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\n") and "\n---\n\n# one\n" in text and "* trained on Röntgen: unknown" in text
    assert "sha256" not in text  # the head and the end are not of the card whose checksum it was
