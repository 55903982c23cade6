"""W&B: an offline run is written anew in every attempt, an online run resumes after the server's last step."""

from __future__ import annotations

import contextlib
import errno
import io
import netrc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from medtrain.config.schema import Config
from medtrain.runs.run import Run
from medtrain.tracking.backends.common import public_config
from medtrain.tracking.backends.stale_folders import StaleFolders
from medtrain.tracking.backends.wandb_file import history
from medtrain.tracking.journal_reader import Row

OFFLINE, DISABLED = "offline", "disabled"  # of W&B's words for its mode
WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
# They come and go with W&B's versions, and W&B refuses those that it does not know.
INTERNAL_SETTINGS: dict[str, Any] = {
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,  # 15 s by default, all lost at a SIGKILL
}


@contextlib.contextmanager
def detecting_service_exit() -> Iterator[None]:
    """Raise ConnectionError where W&B's own process is gone: of all signals, SIGTERM from Slurm ends it for sure."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith(("wandb.sdk.lib.service", "wandb.sdk.mailbox")):
            raise ConnectionError(f"W&B's own process is gone: {error}") from error
        raise


class WandbBackend:
    """One W&B run for all attempts.

    Offline, W&B cannot resume a run: each start begins a folder of its own. A folder with every step and the same
    run id replaces those of the earlier attempts, so that `wandb sync` finds exactly one.
    """

    def __init__(self, run: Run, config: Config, identity: str) -> None:
        self._online = goes_online(config.tracking.mode)
        self.amends = not self._online
        self._earlier = StaleFolders(run.trackers / "wandb", "*run-*", "*.wandb")
        self._wandb = start_wandb(run, config, identity, self._online)
        self._first = self._wandb.starting_step if self._online else 0
        self._file = Path(self._wandb.settings.sync_file)
        self._sent = 0

    @detecting_service_exit()
    def send(self, rows: list[Row]) -> None:
        """Log each step under its own number and time."""
        for row in rows:
            if row.step >= self._first:
                self._wandb.log({**row.values, "_timestamp": row.time}, step=row.step)
                self._sent += 1

    @detecting_service_exit()
    def send_test(self, row: Row) -> None:
        """In the run's summary: a step that the server has takes no more values."""
        self._wandb.summary.update(row.values)

    def flush(self) -> None:
        """W&B's own process writes; drop the older folders once it has written as much as they hold."""
        if not self._online:
            self._earlier.drop_once_replayed(self._file)

    @detecting_service_exit()
    def finish(self) -> None:
        """Wait until W&B has written or uploaded everything."""
        import wandb

        self._wandb.finish()
        wandb.teardown()  # offline, finish alone does not wait for the file
        if not self._online:
            self._prove()
        self._earlier.drop(self._file.parent)

    def _prove(self) -> None:
        """W&B does not say that it could not write: count what is in its file."""
        written = sum(1 for _ in history(self._file))
        if written != self._sent:
            raise ConnectionError(errno.ENOSPC, f"W&B wrote {written} of {self._sent} steps", str(self._file))


@detecting_service_exit()
def start_wandb(run: Run, config: Config, identity: str, online: bool) -> Any:
    """A W&B run that tells W&B the settings and nothing of the code, the machine or its user."""
    # A home folder may be small, or not there on compute nodes.
    os.environ.setdefault("WANDB_CACHE_DIR", str(run.trackers / "cache"))
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # The address of W&B's process in the trainer, or of a dead one before a restart.
    os.environ.pop("WANDB_SERVICE", None)
    import wandb

    settings = wandb.Settings(
        mode="online" if online else "offline",
        resume="allow" if online else None,
        run_id=identity,
        run_name=run.name,
        project=config.tracking.project,
        entity=config.tracking.entity or None,
        root_dir=str(run.trackers),
        console="off",
        silent=True,
        host="-",
        program="medtrain",
        save_code=False,
        disable_code=True,
        disable_git=True,
        **{name: value for name, value in INTERNAL_SETTINGS.items() if name in wandb.Settings.model_fields},
    )
    return wandb.init(config=public_config(run, config), allow_val_change=True, settings=settings)


def goes_online(mode: Literal["auto", "online", "offline"]) -> bool:
    """Whether to talk to the server; `auto` does where a key is at hand and W&B's own switch does not forbid it."""
    if mode != "auto":
        return mode == "online"
    return (bool(os.environ.get("WANDB_API_KEY")) or in_netrc()) and switch() not in (OFFLINE, DISABLED)


def switch() -> str:
    """How W&B itself is set: online, offline or disabled, by WANDB_MODE, or by `wandb offline` and `wandb disabled`,
    which write it to the folder `wandb` of the working folder."""
    mode = os.environ.get("WANDB_MODE") or str(own_settings().mode)
    return {"dryrun": OFFLINE, "run": "online"}.get(mode, mode)  # its older words


def own_settings() -> Any:
    """W&B's settings, by its files and environment variables."""
    from wandb.sdk import wandb_setup  # `wandb.setup()` would start W&B's process

    with contextlib.redirect_stderr(io.StringIO()):  # it tells which files it reads
        return wandb_setup.singleton().settings


def in_netrc() -> bool:
    """Whether `wandb login` left a key for the server in the netrc file."""
    address = os.environ.get("WANDB_BASE_URL") or str(own_settings().base_url)  # `wandb login --host` writes it down
    hosts = (urlsplit(address).hostname, *WANDB_HOSTS)
    try:
        known = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc")
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False
    return any(host in known.hosts for host in hosts if host)
