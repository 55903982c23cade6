"""The errors a user meets: what is wrong, what to do about it, and the exit code a script can rely on."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_ENVIRONMENT = 1
EXIT_INPUT = 2
EXIT_NUMERICAL = 3
EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: stopped early, go on later


class MedtrainError(Exception):
    """A fault that the user can mend: printed as two lines, without a traceback.

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


class NumericalError(MedtrainError):
    """Training ran, and its numbers broke: a loss, a gradient or a weight that is not finite. Exit code 3."""

    exit_code = EXIT_NUMERICAL


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """` (did you mean X?)` for the known word most like `word`, or an empty string."""
    import difflib

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {found[0]}?)" if found else ""
