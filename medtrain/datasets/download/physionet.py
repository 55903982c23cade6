"""A release of PhysioNet, file by file, each proved by the release's own list of checksums."""

from __future__ import annotations

import re
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets.download.credentials import physionet
from medtrain.datasets.download.http_client import GO_ON, Remote, fetch

SITE = "https://physionet.org"
LIST = "SHA256SUMS.txt"
LINE = re.compile(r"([0-9a-f]{64})\s+\*?(\S.*)")
WORKERS = 8  # most files are small: a connection waits more than it carries


def download(release: str, root: Path) -> None:
    """Fetch every file of a release ("vindr-cxr/1.0.0") into `root`; those that are there are kept."""
    files = f"{SITE}/files/{release}"
    access = physionet(SITE, f"{SITE}/content/{release}/")
    fetch([Remote(f"{files}/{LIST}", LIST)], root, access)
    found = [LINE.fullmatch(line.strip()) for line in (root / LIST).read_text().splitlines() if line.strip()]
    named = [(match[2], match[1]) for match in found if match and ".." not in Path(match[2]).parts]
    if len(named) < len(found) or any(Path(name).is_absolute() for name, _ in named):
        (root / LIST).unlink()
        raise InputError(f"{files}/{LIST}: is no list of checksums", f"open it in a browser, {GO_ON}")
    fetch([Remote(f"{files}/{name}", name, checksum) for name, checksum in named], root, access, WORKERS)
