"""The errors a user meets: what is wrong, what to do about it, and the exit code a script can rely on."""

from __future__ import annotations

import errno

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


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """` (did you mean X?)` for the known word most like `word`, or an empty string."""
    import difflib

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {found[0]}?)" if found else ""
