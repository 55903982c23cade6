"""The test cluster with accounting: MariaDB and slurmdbd in the same folder, so that sacct knows what was."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from slurm_cluster import PATH, Cluster, claim_ports

INSTALL = "apt-get install -y --no-install-recommends slurmdbd mariadb-server"
PROGRAMS = ["slurmdbd", "mariadbd", "mariadb-install-db", "sacct", "sacctmgr"]
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]

DAEMON = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={user}
StoragePass=none
StorageLoc=slurm_acct_db
"""
SETTINGS = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.sock
AccountingStorageEnforce=limits
"""
# Nothing outlives the folder, so nothing needs to reach the disk, and nobody else reaches the port.
DATABASE = [
    "--no-defaults", "--skip-grant-tables", "--skip-log-bin", "--bind-address=127.0.0.1",
    "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M",
]  # fmt: skip


class AccountedCluster(Cluster):
    """A `Cluster` whose jobs are remembered by slurmdbd and shown by sacct; up after 3 to 5 seconds."""

    def __init__(self, nodes: int = 2, **options: Any) -> None:
        super().__init__(nodes, **options)
        self._dbd_lock, self._dbd_port = claim_ports(2)

    def down(self) -> None:
        """Ends every process of the cluster and deletes its folder; a second call does nothing."""
        super().down()
        self._dbd_lock.close()

    def _write_settings(self) -> None:
        super()._write_settings()
        places = {"folder": self.folder, "port": self._dbd_port, "database": self._dbd_port + 1, "user": self.user}
        with self.conf.open("a") as conf:
            conf.write(SETTINGS.format(**places))
        daemon = self.folder / "slurmdbd.conf"  # slurmdbd looks for it beside slurm.conf
        daemon.touch(mode=0o600)
        daemon.write_text(DAEMON.format(**places))

    def _start_controller(self) -> None:
        if "slurmdbd" not in self._daemons:
            self._start_database()
            self._start("slurmdbd", "slurmdbd", "-D")
            self._poll(lambda: self.run("sacctmgr", "-n", "list", "cluster").returncode == 0, "slurmdbd to answer")
            self._demand("sacctmgr", "-i", "add", "cluster", "test")
        super()._start_controller()

    def _start_database(self) -> None:
        data = self.folder / "database"
        place = [f"--datadir={data}", f"--user={self.user}"]
        command = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", *place]
        env = {**os.environ, "PATH": PATH}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        socket = self.folder / "mariadb.sock"
        port = f"--port={self._dbd_port + 1}"
        self._start("mariadbd", "mariadbd", *DATABASE, *place, port, f"--socket={socket}", f"--pid-file={socket}.pid")
        self._poll(Path(socket).exists, "MariaDB to open its socket")
