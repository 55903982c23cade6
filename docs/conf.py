"""Settings of Sphinx: `sphinx-build -W -n docs build/docs` makes the site."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate_reference  # noqa: E402 - found by the line above

from medtrain import __version__  # noqa: E402

generate_reference.write(HERE)  # so that the pages are those of this code

project = "medtrain"
author = "the medtrain authors"
version = release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"medtrain {__version__}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_copyright = False
smartquotes = False  # flags begin with two hyphens
nitpicky = True
