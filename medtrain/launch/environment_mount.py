"""A packed environment on the node of a rank: mounted by the first rank there, unmounted behind the last one.

A rank holds a shared lock of a file beside the mount point for as long as it lives, however it ends. In a step of Slurm
the shell of the node's first rank stays, waits for all others to let go, and unmounts: what a step leaves running is
killed with it. Elsewhere a process in the background does that. Where Slurm kills that shell too, the next rank on the
node finds a mount point whose lock nobody holds, and removes it.
"""

from __future__ import annotations

import compileall
import os
import secrets
import tarfile
from pathlib import Path

from medtrain.core.console import warn
from medtrain.core.errors import InputError
from medtrain.core.files import whole
from medtrain.runs.code_snapshot import MANIFEST, sources
from medtrain.slurm.environment import own_job

ARCHIVE = "medtrain.tar"

SHELL = r"""
image=$1 base=${TMPDIR:-/tmp}/medtrain-$(id -u) at=${TMPDIR:-/tmp}/medtrain-$(id -u)/$2
shift 2
let_go() { fusermount3 -uz "$1" || fusermount -uz "$1" || umount -l "$1"; } 2>/dev/null
end() { flock 9; let_go "$at"; rmdir "$at"; rm -rf "$at.code"; } 2>/dev/null
mkdir -p -m 700 "$base" && [ -O "$base" ] || { echo "medtrain: $base is not yours" >&2; exit 71; }
exec 9>>"$at.lock" 8>>"$at.mounting"
flock -s 9; flock 8
if ! [ -x "$at/bin/python3" ]; then
    for lock in "$base"/*.lock; do
        old=${lock%.lock}
        (
            exec 7>>"$lock"
            flock -n 7 && { let_go "$old"; rmdir "$old"; rm -rf "$old.code" "$lock" "$old.mounting"; }
        ) 2>/dev/null
    done
    let_go "$at"
    fuse=$(command -v squashfuse_ll) || fuse="squashfuse -o kernel_cache"  # the former keeps what it has read anyway
    # Signals that Slurm sends to every process of a step are for the ranks, which save while this is mounted.
    mkdir -p "$at" && ( trap "" HUP INT TERM USR1 USR2; exec $fuse -o ro "$image" "$at" 7>&- 8>&- 9>&- ) ||
        { echo "medtrain: $(hostname): $image could not be mounted by squashfuse" >&2; exit 71; }
    if [ -z "$SLURM_LOCALID" ]; then
        ( trap "" HUP INT TERM USR1 USR2; exec 9>&- 8>&- 9>>"$at.lock"; end ) </dev/null >/dev/null 2>&1 &
    fi
fi
if [ -f "$3/medtrain.tar" ]; then
    new=$at.code/.new  # whole or not there: whoever unpacked it before may have been killed
    [ -d "$at.code/medtrain" ] || {
        rm -rf "$new" && mkdir -p "$new" && tar -xf "$3/medtrain.tar" -C "$new" && mv "$new/medtrain" "$at.code"
    } || exit 71
    option=$1 start=$2
    shift 3
    set -- "$option" "$start" "$at.code" "$@"
fi
exec 8>&-
for library in "$at"/lib/libpython*; do
    [ -e "$library" ] && export LD_LIBRARY_PATH="$at/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" && break
done
[ "$SLURM_LOCALID" = 0 ] || exec "$at/bin/python3" "$@"
trap : TERM USR1 USR2
"$at/bin/python3" "$@"
code=$?
exec 9>&- 9>>"$at.lock"
end
[ $code -le 128 ] || { trap - TERM USR1 USR2; kill -$((code - 128)) $$; }
exit $code
"""


def mounted(image: str, command: list[str]) -> list[str]:
    """The command with the interpreter of a packed environment, which is mounted for it where it starts."""
    path = Path(image).absolute()
    if not path.is_file():
        raise InputError(f"packed_environment is {image}, and there is no such file", "make it: medtrain env pack FILE")
    token = f"{own_job() or os.getpid()}-{secrets.token_hex(4)}"
    return ["sh", "-c", SHELL, "sh", str(path), token, *command[1:]]


def archive_code(root: Path) -> None:
    """Write a run's copy of medtrain into one file beside it, compiled, which each node unpacks for its ranks: they
    look for hundreds of files in it. The copy decides: a file that holds anything else is written anew. Without it, as
    on a full disk, ranks run from the copy itself."""
    file = root / ARCHIVE
    if not (root / MANIFEST).exists() or _archived(file) == sources(root):
        return
    try:
        file.unlink(missing_ok=True)
        with whole(file) as new, tarfile.open(fileobj=new, mode="w", format=tarfile.GNU_FORMAT) as tar:
            compileall.compile_dir(root / "medtrain", quiet=2)
            tar.add(root / "medtrain", "medtrain")
    except OSError as error:
        warn(f"{file} cannot be written ({error.strerror}); ranks look for the files of medtrain one by one")


def _archived(file: Path) -> dict[str, bytes]:
    """The sources in an archive; none where it is not whole."""
    try:
        with tarfile.open(file) as tar:
            found = {member.name: tar.extractfile(member) for member in tar if not member.name.endswith(".pyc")}
            return {name: content.read() for name, content in found.items() if content is not None}
    except (OSError, tarfile.TarError):
        return {}
