"""The errors a user meets: what is wrong, what to do about it, and the exit code a script can rely on."""

from __future__ import annotations

import errno
from collections.abc import Sequence

EXIT_DONE = 0
EXIT_ENVIRONMENT = 1
EXIT_INPUT = 2
EXIT_NUMERICAL = 3
EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: stopped early, go on later


class MedtrainError(Exception):
    """A fault that the user can fix: printed as two lines, without a traceback.

    `problem` says what is wrong and where; `fix` says what to do.
    """

    exit_code = EXIT_INPUT

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


class InputError(MedtrainError):
    """What the user gave (a path, a flag, a file's content) cannot be used. Exit code 2."""


class MachineError(MedtrainError):
    """The machine lacks something: a package, a device, Slurm, room on the disk. Exit code 1."""

    exit_code = EXIT_ENVIRONMENT


class Hang(MachineError):
    """Training hangs; `rank` is the one that the others wait for, empty where none is."""

    def __init__(self, problem: str, fix: str, rank: str) -> None:
        super().__init__(problem, fix)
        self.rank = rank


class NumericalError(MedtrainError):
    """Training ran, and its numbers broke: a loss, a gradient or a weight that is not finite. Exit code 3."""

    exit_code = EXIT_NUMERICAL


# What a system call says that only a person can change -> what to do about it.
REMEDIES = {
    errno.ENOSPC: "make room on the disk (df -h), then give the same command again",
    errno.EDQUOT: "your quota is used up: make room, then give the same command again",
    errno.EFBIG: "the system allows no file of that size: ulimit -f",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.EACCES: "check who may use it (ls -ld), or choose another path",
    errno.EPERM: "check who may use it (ls -ld), or choose another path",
    errno.EROFS: "it lies on a filesystem that cannot be written to: choose another path",
    errno.ENOENT: "check the path: something on it is not there (any more)",
    errno.ENOTDIR: "check the path: a file stands where a folder must be",
    errno.EISDIR: "check the path: a folder stands where a file must be",
    errno.EEXIST: "move away what is there, or choose another path",
    errno.ELOOP: "check the path: its links lead in a ring",
    errno.EIO: "the disk or the network filesystem fails: ask your administrator",
    errno.ESTALE: "the network filesystem has lost it: give the same command again",
    errno.EMFILE: "too many files are open: ulimit -n, or fewer --workers",
    errno.ENFILE: "too many files are open on this machine: try again",
    errno.EAGAIN: "the system allows no more processes or memory now: ulimit -u, or fewer --workers",
    errno.ENOMEM: "free memory, or choose fewer --workers",
}


def of_system(error: OSError) -> MachineError | None:
    """What went wrong with the machine, in words; None of errors that rather are a fault of this program's."""
    if error.errno not in REMEDIES:
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    return MachineError(f"{where}{error.strerror or error}", REMEDIES[error.errno])


ALIKE = 0.6  # of 1: less is another word
BEGINNING = 3  # letters that are enough where a word is the beginning of one known word alone


def nearest(word: str, known: Sequence[str]) -> str:
    """` (did you mean X?)` for the known word most like `word`, or an empty string."""
    found = most_alike(word, known)
    return f" (did you mean {found}?)" if found else ""


def most_alike(word: str, known: Sequence[str]) -> str:
    """The known word that is most likely meant by a misspelled one; an empty string where none is like it.

    Small and capital letters, - and _, and dashes before a flag make no difference; of words that are equally alike it
    is the first.
    """
    import difflib

    plain = _plain(word)
    beginning = [other for other in known if _plain(other).startswith(plain)] if len(plain) >= BEGINNING else []
    same = [other for other in known if _plain(other) == plain]
    if same or len(beginning) == 1:
        return (same or beginning)[0]
    alike = [(difflib.SequenceMatcher(None, plain, _plain(other)).ratio(), other) for other in known]
    best, found = max(alike, key=lambda one: one[0], default=(0.0, ""))  # the first of several
    return found if best >= ALIKE else ""


def _plain(word: str) -> str:
    return word.lstrip("-").replace("_", "-").casefold()
