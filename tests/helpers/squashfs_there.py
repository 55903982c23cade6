"""Whether one file of an environment can be made and mounted here, and containers run."""

from __future__ import annotations

import os
import shutil

INSTALL = "apt-get install -y --no-install-recommends squashfs-tools squashfuse fuse3 bubblewrap"
PROGRAMS = ("mksquashfs", "squashfuse", "squashfuse_ll", "fusermount3", "flock", "unshare", "bwrap")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
if not MISSING and not os.access("/dev/fuse", os.R_OK | os.W_OK):
    MISSING = ["/dev/fuse, which a container needs to be given"]
REASON = f"!!! NOT TESTED: packed environments and containers (missing: {', '.join(MISSING)}); get it by: {INSTALL}"
