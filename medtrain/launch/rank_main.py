"""One rank of a run, whose folder is its argument; started by the supervisor, here or through srun."""

from __future__ import annotations

from medtrain.training.stop_request import StopRequest, end_with_parent

STOP = StopRequest().install()  # before anything heavy: importing torch takes seconds, and a signal then would kill

import contextlib  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from typing import Any, NoReturn  # noqa: E402

from medtrain.config.configfile import load  # noqa: E402
from medtrain.core import deferred_imports, output_streams, permissions  # noqa: E402
from medtrain.core.errors import EXIT_ENVIRONMENT, Hang, MedtrainError  # noqa: E402
from medtrain.distributed.rank_environment import SUPERVISOR, set_rank_environment  # noqa: E402
from medtrain.runs import fencing, ownership  # noqa: E402
from medtrain.runs.run import Run, command_for  # noqa: E402
from medtrain.slurm.environment import node_name  # noqa: E402


def main() -> int:
    """Train, and turn every failure into an exit code and a line in the run folder."""
    run = Run(sys.argv[1])
    output_streams.install(wait=False)
    if SUPERVISOR in os.environ:
        end_with_parent()
    permissions.apply()
    try:
        config = load(run.config_file)
        permissions.apply(config.share)
        set_rank_environment()
        main = os.environ.get("RANK", "0") == "0"
        if not fencing.join(run.folder, main) and main:
            ownership.take(run)  # without a supervisor; under one that told no number it would be refused
        deferred_imports.install()
        gc.disable()  # of what is imported nothing goes: to look through it again and again takes a second
        from medtrain.training.loop import train

        gc.freeze()  # and nor does the collector, once it is on, look at any of it
        code = train(run, config, STOP, lambda error: fail(run, error), write_reports)
        gc.freeze()  # else the interpreter looks through all of it once more before it ends: a second and a half
        return code
    except MedtrainError as error:
        fail(run, error)
    except BaseException as error:
        report(run, traceback.format_exc())
        note(
            run, EXIT_ENVIRONMENT, f"{type(error).__name__}: {error}", "see the traceback: " + command_for(run, "logs")
        )
        leave_at_once(EXIT_ENVIRONMENT)


def fail(run: Run, error: MedtrainError) -> NoReturn:
    """Say what is wrong, to the user and to the supervisor, and leave."""
    report(run, f"{error.problem}\n  fix: {error.fix}")
    note(run, error.exit_code, error.problem, error.fix, **({"hung": error.rank} if isinstance(error, Hang) else {}))
    leave_at_once(error.exit_code)


def write_reports(*about: Any) -> None:
    """What a finished run leaves to read. Imported only then: a rank that starts has no use for it."""
    from medtrain.reporting.split_report import report_finished

    report_finished(*about)


def report(run: Run, text: str) -> None:
    """A failure in train.log and on standard error, with the rank and host in front."""
    from medtrain.tracking.run_log import log

    log(run, f"rank {os.environ.get('RANK', '0')} on {node_name()}: {text}")


def note(run: Run, exit_code: int, problem: str, fix: str, **more: str) -> None:
    """What the supervisor reads to decide whether another attempt can help. The first rank to fail is the one that
    says why: what the others then see is only that it is gone."""
    with contextlib.suppress(OSError, fencing.Superseded):
        fencing.ensure_highest(run.folder)
        descriptor = os.open(run.failure_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "w") as file:
            who = {"rank": int(os.environ.get("RANK", "0")), "host": node_name()}
            json.dump({"exit_code": exit_code, "error": problem, "fix": fix, **who, **more}, file)


def leave_at_once(code: int) -> NoReturn:
    """No clean-up and no collective: the peers may never answer, and the supervisor ends them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
