"""Many questions to a fresh Python for the price of one start: each is answered in a fork of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

# Reads a prelude and snippets; answers each snippet, in its own fork, with what it printed and how it ended.
DRIVER = """
import json, os, sys, tempfile, traceback
asked = json.load(sys.stdin)
exec(asked["prelude"])
for snippet in asked["snippets"]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (child := os.fork()) == 0:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            code = 1
            try:
                exec(snippet)
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
        print(json.dumps([code, *said]), flush=True)
"""


class Answer(NamedTuple):
    """How a snippet ended, and what it printed."""

    code: int
    out: str
    err: str


def in_forks(prelude: str, snippets: Mapping[str, str], **options: Any) -> dict[str, Answer]:
    """What each snippet answers, by its name, in a Python that has run `prelude`, which must leave one thread."""
    asked = json.dumps({"prelude": prelude, "snippets": list(snippets.values())})
    command = [sys.executable, "-c", DRIVER]
    done = subprocess.run(command, input=asked, text=True, capture_output=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return {name: Answer(*json.loads(line)) for name, line in zip(snippets, done.stdout.splitlines(), strict=True)}
