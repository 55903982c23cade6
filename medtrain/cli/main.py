"""The command table, parsed in two steps: our own look at COMMAND and RECIPE, then tyro for that command's flags."""

from __future__ import annotations

import errno
import gc
import os
import sys

from medtrain.cli.command_table import COMMANDS
from medtrain.core.errors import EXIT_ENVIRONMENT, MedtrainError, nearest, of_system

HELP = """\
medtrain: train on medical images on a Slurm cluster, and never lose work.

usage: medtrain COMMAND ...          medtrain help COMMAND shows its flags

{commands}

train, submit and pipeline take a RECIPE and its settings, for instance:
  medtrain train mednist --shards shards/mednist --run first --epochs 5
resume uses the medtrain that the run was made with; with --update-code the
installed one. Commands take the name of a run or the path of its folder.
Settings: recipe < -c file.yaml (repeatable, later files win) < flags; flags
take - or _.
Exit codes: 0 done, 1 environment, 2 your input, 3 numbers broke, 75 stopped
early (resume continues).
"""


def main() -> None:
    """The entry point `medtrain`."""
    from medtrain.core.search_path import leave_out_working_folder

    leave_out_working_folder(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))  # noqa: PTH120 - nothing was imported yet
    from medtrain.core import output_streams, permissions

    permissions.apply()
    arguments = sys.argv[1:]
    logged = bool(arguments) and arguments[0] in COMMANDS and COMMANDS[arguments[0]].logged
    if merely_prints(arguments):
        output_streams.open_all()
        sys.exit(run(arguments))
    output_streams.install(wait=not logged)
    code = run(arguments)
    if code == 0 and not logged and (reason := output_streams.lost(blamed=True)):
        from medtrain.core.console import show_error

        show_error(f"what it printed is not whole: {reason}", "the work is done; print to a place with room")
        code = EXIT_ENVIRONMENT
    gc.freeze()  # else the interpreter looks through all of torch once more before it ends: a second and a half
    sys.exit(code)


def merely_prints(arguments: list[str]) -> bool:
    """Whether a command line ends with its reader."""
    asks = not arguments or arguments[0].startswith("-") or arguments[0] == "help"
    names = () if asks else (arguments[0], " ".join(arguments[:2]))
    return asks or any(name in COMMANDS and COMMANDS[name].prints for name in names)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code. A MedtrainError is two lines; anything else keeps its traceback."""
    try:
        try:
            return _dispatch(arguments)
        finally:
            if sys.stdout is not None:  # closed by the one who called (>&-)
                sys.stdout.flush()  # a reader that is gone shows here and not in the interpreter's last moments
    except MedtrainError as error:
        from medtrain.core.console import show_error

        show_error(error.problem, error.fix)
        return error.exit_code
    except ModuleNotFoundError as error:
        if str(error.name).startswith("medtrain"):
            raise
        from medtrain.core.console import show_error

        show_error(f"the Python package {error.name} is not installed", "medtrain doctor says what is missing")
        return EXIT_ENVIRONMENT
    except BrokenPipeError:  # `medtrain status | head`
        if not merely_prints(arguments):
            raise  # of a work's own pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return 0
    except OSError as error:
        told = of_system(error)
        if told is None:
            raise
        from medtrain.core.console import show_error

        show_error(told.problem, told.fix)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # what is still buffered would fail once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return told.exit_code
    except KeyboardInterrupt:
        from medtrain.core.console import say_over

        say_over(f"medtrain {arguments[0]}: stopped by Ctrl-C")
        return 128 + 2  # as a shell counts a SIGINT


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["help"] and len(arguments) > 1:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(commands=_command_lines(list(COMMANDS))), end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        from medtrain import __version__

        print(__version__)
        return 0
    group = [name for name in COMMANDS if name.startswith(f"{arguments[0]} ")]
    if group and arguments[1:2] in ([], ["-h"], ["--help"]):
        print(f"usage: medtrain {arguments[0]} COMMAND ...\n\n{_command_lines(group)}")
        return 0
    words = 2 if group else 1
    command, rest = " ".join(arguments[:words]), arguments[words:]
    if command not in COMMANDS:
        problem = f"there is no command {command!r}{nearest(command, group or list(COMMANDS))}"
        raise MedtrainError(problem, "see them all: medtrain --help")
    from medtrain.core import deferred_imports
    from medtrain.slurm.job_environment import forget_launcher

    forget_launcher()
    deferred_imports.install()  # for commands that evaluate
    return _settings_command(command, rest) if COMMANDS[command].usage else _plain_command(command, rest)


def _command_lines(names: list[str]) -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(f"  {name:<{width}}  {COMMANDS[name].what}" for name in names)


def _plain_command(command: str, rest: list[str]) -> int:
    from importlib.util import find_spec

    if command == "doctor" and find_spec("tyro") is None:  # it must be able to say so
        from medtrain.cli.commands.doctor import doctor

        return doctor()
    from medtrain.cli.flags import call

    return call(COMMANDS[command].place, command, rest)


def _settings_command(command: str, rest: list[str]) -> int:
    if command == "resume":  # by the run's own copy of medtrain
        from medtrain.cli.resume_with import resume_with

        rest = resume_with(rest)
    if rest and not any(word == "-h" or word.startswith("--help") for word in rest):
        from medtrain.core.console import busy

        busy(f"medtrain {command}: reading the settings")
    from medtrain.cli.flags import call_with_settings, data_check

    if command == "train" and (check := data_check(rest)):
        return _plain_command("check", check)
    return call_with_settings(command, rest)


if __name__ == "__main__":
    main()
