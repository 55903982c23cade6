"""Real runs tell a real server and a real program that they finished, failed and were given up, and tell no secret."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import SMALL, medtrain
from webhook import SECRET, Webhook

PROGRAM = """\
#!/bin/sh
ps axww >"$(dirname "$0")/processes"
cat >>"$(dirname "$0")/told"
"""
# A rank that ends as soon as it begins, as on a node without its libraries.
ENDS = "import os, sys\nif 'medtrain.launch.rank_main' in sys.orig_argv:\n    os._exit(1)\n"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    server = Webhook()
    yield server
    server.close()


def train(shards: Path, folder: Path, hook: Webhook, *more: object, **variables: str) -> tuple[int, str]:
    """A run that tells a webhook and a program; its exit code, after proof that the secret is nowhere."""
    program = folder / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    environment = {**os.environ, "MEDTRAIN_NOTIFY_URL": hook.address, **variables}
    line = ["train", "demo", "--shards", shards, "--runs", folder / "runs", "--run", "first", *SMALL, "--epochs", "1"]
    done = medtrain(*line, "--notify", "webhook", f"command:{program}", *more, check=False, env=environment)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert "medtrain" in (folder / "processes").read_text()
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr
    assert [json.loads((folder / "told").read_text())] == hook.messages, "both are told the same, once"
    return done.returncode, done.stdout + done.stderr


def test_finished(demo_shards: Path, tmp_path: Path, hook: Webhook) -> None:
    code, printed = train(demo_shards, tmp_path, hook)
    assert code == 0 and "nobody was told" not in printed
    (message,) = hook.messages
    assert message["text"] == "first: finished at step 12" and message["attempts"] == 1


def test_failed_for_a_reason_that_stays(demo_shards: Path, tmp_path: Path, hook: Webhook) -> None:
    code, _ = train(demo_shards, tmp_path, hook, "--lr", "1e30")
    assert code == 3
    (message,) = hook.messages
    assert message["event"] == "failed" and message["text"].endswith(": numbers that are not finite")


def test_given_up_after_three_crashes(demo_shards: Path, tmp_path: Path, hook: Webhook) -> None:
    (tmp_path / "sitecustomize.py").write_text(ENDS)
    code, _ = train(demo_shards, tmp_path, hook, PYTHONPATH=str(tmp_path))
    assert code == 1
    (message,) = hook.messages
    assert (message["event"], message["attempts"], message["state"]) == ("given_up", 3, "failed")
    assert "after three crashes without a newer checkpoint: a rank ended with an error" in message["text"]
